//! Registering a client (RFC 7591), and looking after the registration (RFC 7592), usable without a client.
//!
//! Each call is a pair, like [`Config::build`](crate::Config::build): a request to send once with redirects off, and the one thing
//! that can read its answer. Where the endpoint is in the server's metadata, the first request is for that, and its answer leads to
//! the next pair.

use alloc::borrow::{Cow, ToOwned};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::body::Body;
use crate::clock::Now;
use crate::config::{Discovery, Server};
use crate::document::{self, Kind, Place};
use crate::error::{Error, ErrorCode};
use crate::grammar;
use crate::json::Value;
use crate::metadata;
use crate::profile::standard_answer;
use crate::request::HttpRequest;
use crate::response::{HttpResponse, MissingLifetime, Reading, Refusal, Verdict, unexpected};
use crate::secret::{Secret, expose_some};
use crate::url::EndpointUrl;

/// What registers clients at one server.
///
/// With the feature `std`, `register` does it all; without, and for hosts with a loop of their own, there are [`Registrar::build`] and
/// [`Registration::finish`].
#[derive(Clone, Debug)]
pub struct Registrar(Arc<Server>);

/// What to ask of the server. In JSON: `{"register": {"metadata": "{…}"}}`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RegistrationRequest {
    /// A new client (RFC 7591 section 3.1).
    Register {
        /// The client's metadata: a JSON object as text (RFC 7591 section 2).
        metadata: Secret,
        /// What permits the registration, where the server wants that (RFC 7591 section 3).
        #[serde(default)]
        initial_access_token: Option<Secret>,
        /// What somebody whom the server trusts says about the client: a JWT (RFC 7591 section 2.3).
        #[serde(default)]
        software_statement: Option<String>,
    },
    /// What the server has registered (RFC 7592 section 2.1).
    Read {
        /// Where the registration is: [`ClientInformation::registration_client_uri`].
        registration_client_uri: String,
        /// [`ClientInformation::registration_access_token`].
        registration_access_token: Secret,
    },
    /// Other metadata in the place of all that was registered (RFC 7592 section 2.2).
    Update {
        /// Where the registration is.
        registration_client_uri: String,
        /// The token that was given for it.
        registration_access_token: Secret,
        /// The client's identifier, unless it is in the metadata.
        #[serde(default)]
        client_id: Option<String>,
        /// The client's secret, where the server wants to see it again.
        #[serde(default)]
        client_secret: Option<Secret>,
        /// All of the client's metadata, not only what is new: a JSON object as text.
        metadata: Secret,
    },
    /// The end of a registration (RFC 7592 section 2.3).
    Delete {
        /// Where the registration is.
        registration_client_uri: String,
        /// The token that was given for it.
        registration_access_token: Secret,
    },
}

/// A request to send once, and the one thing that can read its answer.
#[derive(Clone, Debug)]
#[must_use = "the answer to the request can only be read with it"]
pub struct Registration {
    server: Arc<Server>,
    asked: Asked,
    http: HttpRequest,
}

/// What an answer leads to.
#[derive(Clone, Debug)]
pub enum Registered {
    /// Another request: the answer was the server's metadata.
    Next(Registration),
    /// The client as the server has registered it.
    Client(ClientInformation),
    /// There is no such client any more.
    Deleted,
}

/// A client as the server has registered it (RFC 7591 section 3.2.1, RFC 7592 section 3). Keep it: secrets are not shown twice by
/// every server.
#[derive(Clone, Debug, Serialize)]
pub struct ClientInformation {
    /// The client's identifier.
    pub client_id: String,
    /// Its secret, if it has one.
    #[serde(serialize_with = "expose_some")]
    pub client_secret: Option<Secret>,
    /// When it was registered, in Unix seconds, where the server says so.
    pub client_id_issued_at: Option<i64>,
    /// When the secret ends, in Unix seconds; none if it does not.
    pub client_secret_expires_at: Option<i64>,
    /// What permits to look after the registration, where the server offers that.
    #[serde(serialize_with = "expose_some")]
    pub registration_access_token: Option<Secret>,
    /// Where the registration is.
    pub registration_client_uri: Option<String>,
    /// The metadata that the server registered, which may differ from what was asked for: a JSON object as text, without the
    /// members above.
    pub metadata: String,
}

#[derive(Clone, Debug)]
enum Asked {
    /// The server's metadata, at one of its addresses: the request goes on from there.
    /// The server's metadata, at one of its addresses, for the sake of a new registration.
    Metadata {
        form: usize,
        body: Secret,
        token: Option<Secret>,
    },
    Register {
        token: Option<Secret>,
    },
    Manage {
        uri: EndpointUrl,
        token: Secret,
        client_id: Option<String>,
        client_secret: Option<Secret>,
    },
    Delete {
        token: Secret,
    },
}

impl Registrar {
    /// Reads the options: one JSON object with `profile`, the profile's variables, and `allow_loopback_http` and `policy` if need be.
    ///
    /// # Errors
    /// `invalid_option` or `invalid_profile`, with a message that names the option or field and says what is allowed.
    pub fn new(options: &str) -> Result<Self, Error> {
        Server::new(options).map(|server| Self(Arc::new(server)))
    }

    /// Builds a request, and what reads its answer.
    ///
    /// # Errors
    /// `invalid_option` if the profile has no registration endpoint, the metadata is not one JSON object, or a token or an address
    /// is none.
    pub fn build(&self, request: RegistrationRequest) -> Result<Registration, Error> {
        match request {
            RegistrationRequest::Register { metadata, initial_access_token, software_statement } => {
                let names = member_names(&metadata)?;
                check_absent(&names, INFORMATION)?;
                let statement = software_statement.as_deref();
                let body = joined(&metadata, &names, &[("software_statement", statement)])?;
                initial_access_token.as_ref().map_or(Ok(()), |token| check_token("initial_access_token", token))?;
                self.new_client(body, initial_access_token)
            }
            RegistrationRequest::Read { registration_client_uri, registration_access_token } => {
                self.manage("GET", &registration_client_uri, registration_access_token, None, |uri, token| {
                    Asked::Manage { uri, token, client_id: None, client_secret: None }
                })
            }
            RegistrationRequest::Update {
                registration_client_uri,
                registration_access_token,
                client_id,
                client_secret,
                metadata,
            } => {
                let names = member_names(&metadata)?;
                // RFC 7592 section 2.2.
                check_absent(&names, NOT_SENT_BACK)?;
                if client_id.is_none() && !names.iter().any(|name| name == "client_id") {
                    return Err(invalid("`client_id` is missing: an update names the client (RFC 7592 section 2.2)"));
                }
                let secret = client_secret.as_ref().map(Secret::expose);
                let body =
                    joined(&metadata, &names, &[("client_id", client_id.as_deref()), ("client_secret", secret)])?;
                let body = Some(body);
                self.manage("PUT", &registration_client_uri, registration_access_token, body, |uri, token| {
                    Asked::Manage { uri, token, client_id, client_secret }
                })
            }
            RegistrationRequest::Delete { registration_client_uri, registration_access_token } => {
                self.manage("DELETE", &registration_client_uri, registration_access_token, None, |_, token| {
                    Asked::Delete { token }
                })
            }
        }
    }

    /// The longest answer to read, in bytes.
    #[must_use]
    pub fn answer_cap(&self) -> usize {
        self.0.policy.answer_cap
    }

    fn new_client(&self, body: Secret, token: Option<Secret>) -> Result<Registration, Error> {
        match (&self.0.registration, &self.0.discovery) {
            (Some(endpoint), _) => Ok(registration(self.0.clone(), endpoint, body, token)),
            (None, Some(discovery)) => Ok(ask_for_metadata(self.0.clone(), discovery, 0, body, token)),
            (None, None) => Err(invalid(format!(
                "the profile `{}` has no such endpoint: name it in `endpoints.registration`, or use `discovery`",
                self.0.profile
            ))),
        }
    }

    fn manage(
        &self,
        method: &'static str,
        uri: &str,
        token: Secret,
        body: Option<Secret>,
        asked: impl FnOnce(EndpointUrl, Secret) -> Asked,
    ) -> Result<Registration, Error> {
        let uri = EndpointUrl::parse(uri, self.0.allow_loopback_http)
            .map_err(|why| invalid(format!("`registration_client_uri` is not accepted: {why}")))?;
        check_token("registration_access_token", &token)?;
        let http = request(method, uri.as_str(), Some(&token), body);
        Ok(Registration { server: self.0.clone(), asked: asked(uri, token), http })
    }
}

impl Registration {
    /// The request, to be sent once with redirects off.
    #[must_use]
    pub fn request(&self) -> &HttpRequest {
        &self.http
    }

    /// Reads the answer. `now` is what both clocks show.
    ///
    /// # Errors
    /// What the server said, as one of the stable codes: `invalid_redirect_uri`, `invalid_client_metadata`,
    /// `invalid_software_statement` and `unapproved_software_statement` (RFC 7591 section 3.2.2), `invalid_client` where the token
    /// is not accepted, with `retry_after` where the server asked for a pause.
    pub fn finish(self, response: HttpResponse<'_>, now: Now) -> Result<Registered, Error> {
        let Self { server, asked, .. } = self;
        match asked {
            Asked::Metadata { form, body, token } => metadata_answered(server, form, body, token, &response),
            Asked::Register { token } => {
                // Some servers say 200.
                let expected = if response.status == 200 { 200 } else { 201 };
                let secrets = [token.as_ref(), None, None];
                let client = server.read(expected, secrets, &response, now, |body| server.client(body))?;
                Ok(Registered::Client(client))
            }
            Asked::Manage { uri, token, client_id, client_secret } => {
                let secrets = [Some(&token), client_secret.as_ref(), None];
                let mut client = server.read(200, secrets, &response, now, |body| server.client(body))?;
                if client_id.is_some_and(|id| id != client.client_id) {
                    return Err(unexpected("the answer is about another client: drop it").error);
                }
                // What the answer leaves out has not changed (RFC 7592 section 3).
                client.registration_access_token.get_or_insert(token);
                client.registration_client_uri.get_or_insert_with(|| uri.as_str().to_owned());
                Ok(Registered::Client(client))
            }
            // RFC 7592 section 2.3.
            Asked::Delete { .. } if matches!(response.status, 200 | 204) => Ok(Registered::Deleted),
            Asked::Delete { token } => {
                let secrets = [Some(&token), None, None];
                server.read(204, secrets, &response, now, |_| Ok(Registered::Deleted))
            }
        }
    }
}

impl Server {
    fn read<T>(
        &self,
        expected: u16,
        secrets: [Option<&Secret>; 3],
        response: &HttpResponse<'_>,
        now: Now,
        read: impl FnOnce(&Body<'_>) -> Result<T, Refusal>,
    ) -> Result<T, Error> {
        let reading = Reading {
            shape: &standard_answer(),
            missing_lifetime: MissingLifetime::DoNotCache,
            errors: &BTreeMap::new(),
            requested_scope: &[],
            secrets,
            started: now,
            dpop: None,
            is_exchange: false,
            server: "the registration endpoint",
            cap: self.policy.answer_cap,
        };
        reading.body(expected, response).and_then(|body| read(&body)).map_err(|refusal| {
            let pause = refusal.retry_after.filter(|_| refusal.verdict == Verdict::Transient);
            let error = explained(refusal.error, response.status);
            match pause {
                Some(pause) => error.with_retry_after(pause.min(self.policy.retry_after_max)),
                None => error,
            }
        })
    }

    /// RFC 7591 section 3.2.1, RFC 7592 section 3.
    fn client(&self, body: &Body<'_>) -> Result<ClientInformation, Refusal> {
        let optional = |name: &str| match body.object.find(&[name]) {
            Ok(None) => Ok(None),
            _ => body.text(name).map(Some),
        };
        let moment = |name: &str| match body.object.find(&[name]) {
            Ok(None) => Ok(None),
            Ok(Some(Value::Number(digits))) => digits
                .parse::<i64>()
                .map(Some)
                .map_err(|_| unexpected(format!("`{name}` of the answer is no whole number of seconds"))),
            _ => Err(unexpected(format!("`{name}` of the answer is no number, or is there twice"))),
        };
        let uri = optional("registration_client_uri")?;
        if let Some(uri) = &uri {
            EndpointUrl::parse(uri, self.allow_loopback_http)
                .map_err(|why| unexpected(format!("`registration_client_uri` of the answer is not accepted: {why}")))?;
        }
        Ok(ClientInformation {
            client_id: body.text("client_id")?,
            client_secret: optional("client_secret")?.map(Secret::new),
            client_id_issued_at: moment("client_id_issued_at")?,
            client_secret_expires_at: moment("client_secret_expires_at")?.filter(|end| *end != 0),
            registration_access_token: optional("registration_access_token")?.map(Secret::new),
            registration_client_uri: uri,
            metadata: body.object.without(INFORMATION),
        })
    }
}

/// A metadata document that names the endpoint leads there; another address of it is tried as in the loop (RFC 8414 section 5).
fn metadata_answered(
    server: Arc<Server>,
    form: usize,
    body: Secret,
    token: Option<Secret>,
    response: &HttpResponse<'_>,
) -> Result<Registered, Error> {
    let Some(discovery) = &server.discovery else {
        return Err(invalid("there is no metadata to read: name `endpoints.registration`"));
    };
    let found =
        metadata::open(response, &discovery.issuer, server.policy.answer_cap).and_then(|document| {
            match document.find(&["registration_endpoint"]) {
                Ok(Some(Value::Text(url))) => EndpointUrl::parse(&url, server.allow_loopback_http).map_err(|why| {
                    metadata::unusable(&format!("has a `registration_endpoint` that is not accepted: {why}"))
                }),
                _ => Err(metadata::unusable(
                    "names no `registration_endpoint`: the server registers clients in another way",
                )),
            }
        });
    match found {
        Ok(endpoint) => Ok(Registered::Next(registration(server.clone(), &endpoint, body, token))),
        Err(error) => {
            let next = form.saturating_add(1);
            if next < discovery.urls.len() && error.code() != ErrorCode::ServerUnavailable {
                return Ok(Registered::Next(ask_for_metadata(server.clone(), discovery, next, body, token)));
            }
            Err(error)
        }
    }
}

fn ask_for_metadata(
    server: Arc<Server>,
    discovery: &Discovery,
    form: usize,
    body: Secret,
    token: Option<Secret>,
) -> Registration {
    let url = discovery.urls.get(form).map(|url| &**url).unwrap_or_default();
    Registration { http: request("GET", url, None, None), asked: Asked::Metadata { form, body, token }, server }
}

fn registration(server: Arc<Server>, endpoint: &EndpointUrl, body: Secret, token: Option<Secret>) -> Registration {
    let http = request("POST", endpoint.as_str(), token.as_ref(), Some(body));
    Registration { server, asked: Asked::Register { token }, http }
}

fn request(method: &'static str, url: &str, token: Option<&Secret>, body: Option<Secret>) -> HttpRequest {
    let mut headers: Vec<(&'static str, Cow<'static, str>)> = [("accept", "application/json".into())].into();
    if let Some(token) = token {
        headers.push(("authorization", format!("Bearer {}", token.expose()).into()));
    }
    if body.is_some() {
        headers.push(("content-type", "application/json".into()));
    }
    HttpRequest { method, url: url.to_owned(), headers, body: body.map(|body| body.expose().to_owned()) }
}

/// What an error is about here, where the words of a token endpoint would mislead.
fn explained(error: Error, status: u16) -> Error {
    let (code, message) = match (error.oauth_error(), status) {
        (Some("invalid_redirect_uri"), _) => (
            ErrorCode::InvalidRedirectUri,
            "the server does not accept a redirect URI of the metadata: see what it permits in `redirect_uris`",
        ),
        (Some("invalid_client_metadata"), _) => (
            ErrorCode::InvalidClientMetadata,
            "the server does not accept a value of the metadata: see what it supports",
        ),
        (Some("invalid_software_statement"), _) => {
            (ErrorCode::InvalidSoftwareStatement, "the server finds the software statement invalid: get a new one")
        }
        (Some("unapproved_software_statement"), _) => (
            ErrorCode::UnapprovedSoftwareStatement,
            "the server does not approve the software statement: see whose it trusts",
        ),
        (_, 401) => (
            ErrorCode::InvalidClient,
            "the server does not accept the token for the registration, or wants one: see `initial_access_token` and `registration_access_token`",
        ),
        (_, 403) => (
            ErrorCode::UnauthorizedClient,
            "the server does not permit this to the one whose token it is: ask its operator",
        ),
        _ => return error,
    };
    let explained = Error::new(code, message).with_status(status);
    match error.oauth_error() {
        Some(code) => explained.with_oauth_error(code),
        None => explained,
    }
}

/// The names of the metadata's members.
fn member_names(metadata: &Secret) -> Result<Vec<String>, Error> {
    let members = document::parse(metadata.expose(), Kind::Options).and_then(document::Field::entries);
    let members = members.map_err(|_| {
        invalid("`metadata` is not one JSON object, or has a member twice: write it as in RFC 7591 section 2")
    })?;
    Ok(members.into_iter().map(|(name, _)| name).collect())
}

fn check_absent(names: &[String], refused: &[&str]) -> Result<(), Error> {
    match names.iter().find(|name| refused.contains(&&***name)) {
        Some(name) => {
            Err(invalid(format!("`metadata` has `{name}`, which the server gives and no client sends: leave it out")))
        }
        None => Ok(()),
    }
}

/// The metadata as it was written, with further members at its end.
fn joined(metadata: &Secret, names: &[String], more: &[(&str, Option<&str>)]) -> Result<Secret, Error> {
    let text = metadata.expose();
    let mut members = String::new();
    for (name, value) in more {
        let Some(value) = value else { continue };
        if names.iter().any(|known| known == name) {
            return Err(invalid(format!(
                "`metadata` has `{name}`, which is also given beside it: keep one of the two"
            )));
        }
        if !names.is_empty() || !members.is_empty() {
            members.push(',');
        }
        let value = serde_json::to_string(value).unwrap_or_default();
        members.push_str(&format!("\"{name}\":{value}"));
    }
    match text.rfind('}').filter(|_| !members.is_empty()) {
        Some(end) => {
            let (before, after) = text.split_at(end);
            Ok(Secret::new(format!("{}{members}{after}", before.trim_end())))
        }
        None => Ok(Secret::new(text)),
    }
}

fn check_token(name: &str, token: &Secret) -> Result<(), Error> {
    grammar::check(token.expose(), grammar::B64TOKEN).map_err(|why| Place::option(name).error(why))
}

fn invalid(message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorCode::InvalidOption, message)
}

/// What only a server gives (RFC 7591 section 3.2.1, RFC 7592 section 3).
const INFORMATION: &[&str] = &[
    "client_id",
    "client_secret",
    "client_id_issued_at",
    "client_secret_expires_at",
    "registration_access_token",
    "registration_client_uri",
];
/// What the client of an update must not send (RFC 7592 section 2.2).
const NOT_SENT_BACK: &[&str] =
    &["client_id_issued_at", "client_secret_expires_at", "registration_access_token", "registration_client_uri"];
