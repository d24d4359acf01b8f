//! Errands: what is done for one asker alone and ends in a value, not in a token that others share.
//!
//! An errand has no cache key. Its value waits for the asker, who asks the same once more with `after`.

use alloc::borrow::{Cow, ToOwned};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::authorization::Authorizing;
use crate::body::Body;
use crate::cache::Key;
use crate::config::{Config, Credential};
use crate::error::{Error, ErrorCode};
use crate::event::{BackchannelRequest, DeviceRequest, Introspect, Poll, Revoke, Want};
use crate::exchange::TokenRequest;
use crate::flight::gather::Ingredients;
use crate::flight::poll::{Polling, expired};
use crate::flight::{What, Work, passing};
use crate::form::Form;
use crate::grammar;
use crate::jwt::UnsignedJwt;
use crate::machine::{Core, Turn};
use crate::proof::Proven;
use crate::request::HttpRequest;
use crate::response::{HttpResponse, Reading, Refusal};
use crate::secret::Secret;
use crate::step::{Answer, Call, Done, FlightId, Pending, Withdraw};
use crate::url::{EndpointUrl, Origin};

/// Something under way for one asker.
pub(crate) struct Errand {
    kind: Kind,
    pub(crate) ingredients: Ingredients,
}

pub(crate) enum Kind {
    /// A URL for the browser, whose making takes a request or a signature.
    Authorize(Authorizing),
    Device(DeviceRequest),
    Backchannel(BackchannelRequest),
    Introspect(Introspect),
    /// The cache key whose tokens are forgotten, what is revoked, and whether that is all that the client has.
    Revoke(Key, Revoke, bool),
    /// The proof of possession for one API request.
    Prove {
        key: Key,
        call: Call,
        method: String,
        url: String,
    },
}

/// A request that an errand has sent.
pub(crate) struct Question {
    /// Unix time in milliseconds at its start.
    wall: i64,
    endpoint: EndpointUrl,
    /// For messages.
    server: &'static str,
}

/// What came of an errand.
pub(crate) enum Outcome {
    Done(Done),
    Proof(Secret),
}

/// What came of errands that nobody has asked after yet.
#[derive(Default)]
pub(crate) struct Results(BTreeMap<FlightId, Result<Outcome, Error>>);

/// What the host keeps while a person is asked.
#[derive(Deserialize, Serialize)]
struct Session {
    version: u32,
    client_id: String,
    /// The cache key's server: nobody else gets the code.
    server: String,
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "crate::secret::expose_some")]
    device_code: Option<Secret>,
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "crate::secret::expose_some")]
    auth_req_id: Option<Secret>,
    interval: i64,
    /// Unix time in milliseconds: the session may be taken up by another process.
    expires: i64,
}

impl Question {
    pub(crate) fn server(&self) -> &'static str {
        self.server
    }
}

impl Results {
    fn add(&mut self, id: FlightId, result: Result<Outcome, Error>, most: usize) {
        // Whoever does not come back for it has gone away.
        if self.0.len() >= most {
            self.0.pop_first();
        }
        self.0.insert(id, result);
    }

    pub(crate) fn take(&mut self, id: FlightId) -> Option<Result<Outcome, Error>> {
        self.0.remove(&id)
    }
}

impl Errand {
    pub(crate) fn is_proof(&self) -> bool {
        matches!(self.kind, Kind::Prove { .. })
    }

    /// Whether it has a request that the client authenticates.
    pub(crate) fn names_client(&self, config: &Config) -> bool {
        match self.kind {
            Kind::Authorize(_) => config.pushed_authorization == Some(true),
            Kind::Prove { .. } => false,
            _ => true,
        }
    }

    pub(crate) fn signs_request(&self, config: &Config) -> bool {
        matches!(self.kind, Kind::Authorize(_)) && config.request_object
    }

    pub(crate) fn request_object(&self, config: &Config, wall: i64, jti: String) -> Option<UnsignedJwt> {
        match &self.kind {
            Kind::Authorize(authorizing) => config.request_object(authorizing, wall, jti),
            _ => None,
        }
    }
}

impl Core {
    /// Begins an errand. One that needs nothing from outside is over at once.
    pub(crate) fn set_out(&mut self, kind: Kind, deadline: i64, turn: &mut Turn<'_>) -> Result<Answer, Error> {
        let id = self.next_flight();
        self.errands.insert(id, Errand { kind, ingredients: Ingredients::default() });
        self.gather(id, turn);
        match self.results.take(id) {
            Some(result) => {
                turn.step.settled.retain(|settled| *settled != id);
                result.map(done)
            }
            None => Ok(Answer::Wait { flight: id, until: deadline }),
        }
    }

    /// The asker has waited for it.
    pub(crate) fn come_back(
        &mut self,
        after: FlightId,
        deadline: i64,
        turn: &Turn<'_>,
    ) -> Option<Result<Answer, Error>> {
        if let Some(result) = self.results.take(after) {
            return Some(result.map(done));
        }
        if !self.errands.contains_key(&after) {
            return None;
        }
        if turn.now.boot >= deadline {
            return Some(Err(Error::new(
                ErrorCode::Timeout,
                "it was not done before the caller's deadline: allow more time, or see why the server is slow",
            )));
        }
        Some(Ok(Answer::Wait { flight: after, until: deadline }))
    }

    pub(crate) fn finish_errand(&mut self, id: FlightId, result: Result<Outcome, Error>, turn: &mut Turn<'_>) {
        if self.errands.remove(&id).is_some() {
            self.results.add(id, result, self.config.policy.max_keys);
            turn.step.settled.push(id);
        }
    }

    /// All that the request needs is there.
    pub(crate) fn run_errand(&mut self, id: FlightId, turn: &mut Turn<'_>) {
        match self.question(id, turn) {
            Ok(Some((request, question))) => self.dispatch(id, request, What::Ask(question), turn),
            Ok(None) => {}
            Err(error) => self.finish_errand(id, Err(error), turn),
        }
    }

    /// The request of an errand; none if it is over without one.
    fn question(&mut self, id: FlightId, turn: &mut Turn<'_>) -> Result<Option<(HttpRequest, Question)>, Error> {
        let config = self.config.clone();
        let Some(errand) = self.errands.get_mut(&id) else { return Ok(None) };
        let read = errand.ingredients.client.take();
        let endpoints = &config.endpoints;
        let mut form = Form::new();
        let (endpoint, name, server) = match &errand.kind {
            Kind::Prove { .. } => {
                let proof = errand.ingredients.proof.take().unwrap_or_else(|| Secret::new(""));
                self.finish_errand(id, Ok(Outcome::Proof(proof)), turn);
                return Ok(None);
            }
            Kind::Authorize(authorizing) => {
                let signed = errand.ingredients.request_object.take();
                if config.pushed_authorization != Some(true) {
                    let done = authorizing.done(&config, signed.as_ref(), None)?;
                    self.finish_errand(id, Ok(Outcome::Done(done)), turn);
                    return Ok(None);
                }
                authorizing.push(&config, signed.as_ref(), &mut form)?;
                (
                    &endpoints.pushed_authorization_request,
                    "pushed_authorization_request",
                    "the endpoint for pushed requests",
                )
            }
            Kind::Device(ask) => {
                config.push_scope(&mut form, ask.scope.as_deref().unwrap_or(&config.scope));
                push_parameters(&mut form, &ask.parameters)?;
                (&endpoints.device_authorization, "device_authorization", "the device authorization endpoint")
            }
            Kind::Backchannel(ask) => {
                ask.fill(&config, &mut form)?;
                (&endpoints.backchannel_authentication, "backchannel_authentication", "the backchannel endpoint")
            }
            Kind::Introspect(Introspect { token, hint }) => {
                push_token(&mut form, token, hint.as_deref());
                (&endpoints.introspection, "introspection", "the introspection endpoint")
            }
            Kind::Revoke(_, Revoke { token, hint, .. }, _) => {
                let Some(token) = token else { return Ok(None) };
                push_token(&mut form, token, hint.as_deref());
                (&endpoints.revocation, "revocation", "the revocation endpoint")
            }
        };
        if matches!(errand.kind, Kind::Device(_) | Kind::Backchannel(_)) {
            config.push_targets(&mut form, &config.resource);
            if let Some(details) = &config.authorization_details {
                form.push("authorization_details", details);
            }
        }
        let Some(endpoint) = endpoint.clone() else {
            return Err(Error::new(
                ErrorCode::InvalidOption,
                format!(
                    "the profile `{}` has no such endpoint: name it in `endpoints.{name}`, or use `discovery`",
                    config.profile
                ),
            ));
        };
        let secret = self.client_secret(read, turn)?;
        let secret = config.shown_secret(secret.as_ref())?;
        let request = config.request(&endpoint, form, secret)?;
        Ok(Some((request, Question { wall: turn.now.wall, endpoint, server })))
    }

    pub(crate) fn question_answered(
        &mut self,
        id: FlightId,
        question: Question,
        response: HttpResponse<'_>,
        turn: &mut Turn<'_>,
    ) {
        self.learn(Some(&question.endpoint), response.headers, turn.now);
        let config = self.config.clone();
        let Some(errand) = self.errands.get(&id) else { return };
        let reading = Reading {
            shape: &config.answer,
            missing_lifetime: config.missing_lifetime,
            errors: &config.errors,
            requested_scope: &[],
            secrets: [
                match &config.credential {
                    Credential::Secret(secret) => Some(secret),
                    _ => None,
                },
                None,
                None,
            ],
            started: turn.now,
            dpop: None,
            is_exchange: false,
            server: question.server,
            cap: config.policy.answer_cap,
        };
        let expected = match errand.kind {
            // RFC 9126 section 2.2 (STD-114).
            Kind::Authorize(_) => 201,
            _ => 200,
        };
        let outcome = match &errand.kind {
            // A server may answer anything beside the status (STD-79).
            Kind::Revoke(..) if response.status == 200 => Ok(Done::Nothing {}),
            kind => reading.body(expected, &response).and_then(|body| match kind {
                Kind::Authorize(authorizing) => {
                    let uri = body.text("request_uri")?;
                    body.seconds("expires_in")?;
                    authorizing.done(&config, None, Some(&uri)).map_err(passing)
                }
                Kind::Device(_) => self.device_answered(&body, &question, turn),
                Kind::Backchannel(_) => self.backchannel_answered(&body, &question, turn),
                Kind::Introspect(_) => Ok(Done::Introspection {
                    active: body.boolean("active")?,
                    introspection: Secret::new(body.whole()),
                }),
                Kind::Revoke(..) | Kind::Prove { .. } => Ok(Done::Nothing {}),
            }),
        };
        match outcome {
            Ok(done) => {
                if let Kind::Revoke(key, revoke, own) = &errand.kind {
                    self.forget(*key, revoke.token.clone(), *own, turn);
                }
                self.finish_errand(id, Ok(Outcome::Done(done)), turn);
            }
            Err(refusal) => self.fail(id, refusal, turn),
        }
    }

    fn device_answered(&self, body: &Body<'_>, question: &Question, turn: &Turn<'_>) -> Result<Done, Refusal> {
        let device_code = Secret::new(body.text("device_code")?);
        let user_code = body.text("user_code")?;
        // An early name of it lives on (Google).
        let verification_uri =
            body.text("verification_uri").or_else(|missing| body.text("verification_url").map_err(|_| missing))?;
        let complete = body.text("verification_uri_complete").ok();
        let pending = self.asked(body, Some(device_code), None, question, turn)?;
        Ok(Done::Pending(Pending {
            user_code: Some(user_code),
            qr_text: complete.clone().or_else(|| Some(verification_uri.clone())),
            verification_uri: Some(verification_uri),
            verification_uri_complete: complete,
            ..pending
        }))
    }

    fn backchannel_answered(&self, body: &Body<'_>, question: &Question, turn: &Turn<'_>) -> Result<Done, Refusal> {
        let auth_req_id = Secret::new(body.text("auth_req_id")?);
        self.asked(body, None, Some(auth_req_id), question, turn).map(Done::Pending)
    }

    /// What both ways to ask a person have in common: for how long, how often, and the session to go on with.
    fn asked(
        &self,
        body: &Body<'_>,
        device_code: Option<Secret>,
        auth_req_id: Option<Secret>,
        question: &Question,
        turn: &Turn<'_>,
    ) -> Result<Pending, Refusal> {
        let expires_in = body.seconds("expires_in")?;
        // RFC 8628 section 3.2 (STD-96).
        let interval = body.seconds("interval").unwrap_or(INTERVAL);
        // Counted from the request, so that the time on the way is ours to lose (STD-143).
        let expires = question.wall.saturating_add(expires_in);
        let session = Session {
            version: SESSION_VERSION,
            client_id: self.config.client_id.clone().unwrap_or_default(),
            server: self.config.server().to_owned(),
            device_code,
            auth_req_id,
            interval,
            expires,
        };
        // Serializing plain structs into a vector has no way to fail.
        let session = Secret::new(URL_SAFE_NO_PAD.encode(serde_json::to_vec(&session).unwrap_or_default()));
        Ok(Pending {
            user_code: None,
            verification_uri: None,
            verification_uri_complete: None,
            qr_text: None,
            expires_in: expires.saturating_sub(turn.now.wall),
            interval,
            session,
        })
    }

    /// Waits for the person's answer: a flight of the subject's key that sleeps and asks.
    pub(crate) fn poll(&mut self, poll: &Poll, deadline: Option<i64>, turn: &mut Turn<'_>) -> Result<Answer, Error> {
        let bytes = URL_SAFE_NO_PAD.decode(poll.session.expose()).unwrap_or_default();
        let session: Option<Session> = serde_json::from_slice(&bytes).ok();
        let Some(session) = session.filter(|session| session.version == SESSION_VERSION) else {
            return Err(invalid("`session` is not one that a device or backchannel request gave: keep it as it is"));
        };
        if session.server != self.config.server() || Some(&session.client_id) != self.config.client_id.as_ref() {
            return Err(invalid("`session` was made by another client or for another server"));
        }
        let request = match (session.device_code, session.auth_req_id) {
            (Some(device_code), None) => TokenRequest::DeviceCode { device_code },
            (None, Some(auth_req_id)) => TokenRequest::Ciba { auth_req_id },
            _ => return Err(invalid("`session` holds no code to wait for: keep it as it is")),
        };
        let left = session.expires.saturating_sub(turn.now.wall);
        let expires = turn.now.boot.saturating_add(left);
        let first = turn.now.boot.saturating_add(session.interval);
        if first >= expires {
            return Err(expired());
        }
        let want = Want { subject: poll.subject.clone(), ..Want::default() };
        let key = self.key_for_consent(&want, poll.on_rotated)?;
        self.give_way(key, turn);
        let polling = Polling::new(request, session.interval, expires);
        let flight = self.take_off(key, Work::poll(&want, polling), Some(first), turn);
        Ok(Answer::Wait { flight, until: deadline.unwrap_or(expires) })
    }

    /// What to revoke, if there is anything.
    pub(crate) fn revoke(&mut self, mut revoke: Revoke, deadline: i64, turn: &mut Turn<'_>) -> Result<Answer, Error> {
        let key = self.key(&revoke.want);
        let own = revoke.token.is_none();
        check_token(revoke.token.as_ref())?;
        if own {
            let entry = self.cache.find(&key);
            let refresh = self.refresh(&key).map(|refresh| refresh.token.clone());
            let access = entry.and_then(|entry| entry.held.as_ref()).map(|held| held.token.access_token.clone());
            let (token, hint) = match (refresh, access) {
                // With it go the access tokens that came of it (STD-82).
                (Some(refresh), _) => (refresh, "refresh_token"),
                (None, Some(access)) => (access, "access_token"),
                (None, None) => return Ok(Answer::Done { done: Done::Nothing {} }),
            };
            revoke.token = Some(token);
            revoke.hint = Some(hint.into());
        }
        self.set_out(Kind::Revoke(key, revoke, own), deadline, turn)
    }

    /// The server has forgotten a token: so do we, and what came with it.
    fn forget(&mut self, key: Key, token: Option<Secret>, own: bool, turn: &mut Turn<'_>) {
        let held = self.cache.find(&key).and_then(|entry| entry.held.as_ref());
        let is_refresh = own || self.refresh(&key).is_some_and(|refresh| Some(&refresh.token) == token.as_ref());
        let is_access = held.is_some_and(|held| Some(&held.token.access_token) == token.as_ref());
        let owner = self.cache.owner(&key);
        if is_refresh && self.config.grant.needs_a_person() {
            self.forget_refresh_token(owner, turn);
            self.drop_revoked(owner, turn);
        } else if is_refresh || is_access {
            self.discard(key);
            turn.step.withdraw.push(Withdraw { key: Some(key), generation: None });
        }
        if is_refresh || is_access {
            self.note(owner, turn);
        }
    }

    /// The proof for one API request (STD-121 to STD-123).
    pub(crate) fn api_proof(&self, id: FlightId, turn: &mut Turn<'_>) -> Option<UnsignedJwt> {
        let Kind::Prove { key, call, method, url } = &self.errands.get(&id)?.kind else { return None };
        let token = self.cache.find(key)?.token(call.generation())?;
        let origin = Origin::of_request(url, self.config.allow_loopback_http).ok()?;
        self.config.dpop.as_ref()?.proof(Proven {
            method,
            url,
            access_token: Some(&token.access_token),
            nonce: self.servers.nonce(&origin),
            wall: self.servers.wall(Some(&origin), turn.now.wall),
            jti: turn.text(),
        })
    }
}

impl BackchannelRequest {
    fn fill(&self, config: &Config, form: &mut Form) -> Result<(), Error> {
        let hints = [
            ("login_hint", self.login_hint.as_deref()),
            ("login_hint_token", self.login_hint_token.as_ref().map(Secret::expose)),
            ("id_token_hint", self.id_token_hint.as_ref().map(Secret::expose)),
        ];
        if hints.iter().filter(|(_, hint)| hint.is_some()).count() != 1 {
            return Err(invalid(
                "exactly one of `login_hint`, `login_hint_token` and `id_token_hint` says who is asked (CIBA section 7.1)",
            ));
        }
        config.push_scope(form, self.scope.as_deref().unwrap_or(&config.scope));
        let expiry = self.requested_expiry.map(|millis| (millis / 1000).max(1).to_string());
        let others = [
            ("binding_message", self.binding_message.as_deref()),
            ("user_code", self.user_code.as_ref().map(Secret::expose)),
            ("requested_expiry", expiry.as_deref()),
            ("acr_values", self.acr_values.as_deref()),
        ];
        for (name, value) in hints.into_iter().chain(others) {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                form.push(name, value);
            }
        }
        push_parameters(form, &self.parameters)
    }
}

fn done(outcome: Outcome) -> Answer {
    match outcome {
        Outcome::Done(done) => Answer::Done { done },
        // Only `attach` waits for one, and asks for it by itself.
        Outcome::Proof(_) => Answer::Done { done: Done::Nothing {} },
    }
}

/// What may stand in a request for a token: something (STD-4).
pub(crate) fn check_token(token: Option<&Secret>) -> Result<(), Error> {
    match token {
        Some(token) if token.expose().is_empty() => {
            Err(invalid("`token` is empty: see whether the place that it is read from is filled"))
        }
        _ => Ok(()),
    }
}

fn push_token(form: &mut Form, token: &Secret, hint: Option<&str>) {
    form.push("token", token.expose());
    if let Some(hint) = hint {
        form.push("token_type_hint", hint);
    }
}

pub(crate) fn push_parameters<'a>(
    form: &mut Form,
    parameters: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Result<(), Error> {
    for (name, value) in parameters {
        grammar::check_parameter(name).map_err(|why| invalid(format!("the parameter `{name}` {why}")))?;
        form.push(name, value);
    }
    Ok(())
}

fn invalid(message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorCode::InvalidOption, message)
}

const SESSION_VERSION: u32 = 1;
/// The pause between polls where the server names none, in milliseconds (RFC 8628 section 3.2).
const INTERVAL: i64 = 5_000;
