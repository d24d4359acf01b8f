//! One request to the token endpoint and the reading of its answer, usable without the cache.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::Deserialize;

use crate::client_auth;
use crate::clock::Now;
use crate::config::{ClientAuth, Config, Credential, Method};
use crate::error::{Error, ErrorCode};
use crate::form::{self, Form};
use crate::request::HttpRequest;
use crate::response::{HttpResponse, Reading, Refusal};
use crate::secret::Secret;
use crate::token::TokenSet;
use crate::url::EndpointUrl;

/// What to ask the token endpoint for. In JSON: `{"refresh": {"refresh_token": "…"}}`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenRequest {
    /// A token for the client itself (RFC 6749 section 4.4.2).
    ClientCredentials {
        /// The scope set, if not the client's own.
        #[serde(default)]
        scope: Option<Vec<String>>,
    },
    /// A token for a code (RFC 6749 section 4.1.3, RFC 7636 section 4.5).
    Code {
        /// The code.
        code: Secret,
        /// The redirect URI of the authorization request, to the byte (STD-13).
        redirect_uri: String,
        /// The verifier whose challenge was sent.
        verifier: Secret,
    },
    /// A token for a refresh token (RFC 6749 section 6).
    Refresh {
        /// The refresh token.
        refresh_token: Secret,
        /// Part of the granted scope, if not all of it.
        #[serde(default)]
        scope: Option<Vec<String>>,
    },
    /// A token for a code that a person typed in on another device (RFC 8628 section 3.4).
    DeviceCode {
        /// The code that the person never sees.
        device_code: Secret,
    },
    /// A token for a request that a person was asked about (CIBA section 10.1).
    Ciba {
        /// The request's name.
        auth_req_id: Secret,
    },
    /// A token for another one (RFC 8693 section 2.1). The types are the configuration's.
    TokenExchange {
        /// The token of whom it is about.
        subject_token: Secret,
        /// The token of who acts for them.
        #[serde(default)]
        actor_token: Option<Secret>,
        /// The scope set, if not the client's own.
        #[serde(default)]
        scope: Option<Vec<String>>,
    },
    /// A token for an assertion (RFC 7523 section 2.1).
    JwtBearer {
        /// The assertion.
        assertion: Secret,
        /// The scope set, if not the client's own.
        #[serde(default)]
        scope: Option<Vec<String>>,
    },
    /// A token for a GET request with HTTP Basic. Not OAuth.
    BasicGet {},
}

/// What goes on a request beside what it asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beside {
    /// The client secret, if it is not the configured one; or the assertion.
    pub(crate) secret: Option<Secret>,
    /// The proof of possession (RFC 9449 section 5).
    pub(crate) proof: Option<Secret>,
    /// The resources, if they are not the configured ones.
    pub(crate) resource: Option<Vec<String>>,
}

/// The one thing that can read the answer to a request: made with it, and used up by reading.
#[derive(Clone, Debug)]
#[must_use = "the answer to the request can only be read with it"]
pub struct Exchange {
    config: Arc<Config>,
    request: TokenRequest,
    beside: Beside,
}

impl Config {
    /// Builds a request to the token endpoint, and what reads its answer.
    ///
    /// The secret is the configured one. Where the host provides it at each request, see [`Config::build_with`].
    ///
    /// # Errors
    /// `invalid_option` if the configuration lacks what the request needs.
    pub fn build(self: &Arc<Self>, request: TokenRequest) -> Result<(HttpRequest, Exchange), Error> {
        let what = match (&self.credential, self.client_auth) {
            (Credential::Key, _) | (_, ClientAuth::SecretJwt) => "the client authenticates with an assertion: sign one",
            (Credential::Provided { .. }, _) => "the client's credential is a function of the host's: read it",
            _ => return self.build_with(request, None),
        };
        Err(Error::new(ErrorCode::InvalidOption, format!("{what}, and use `build_with`")))
    }

    /// Builds a request to the token endpoint with a client secret or assertion that was read or made just now, or with
    /// the configured secret.
    ///
    /// # Errors
    /// `invalid_option` if the configuration lacks what the request needs, or the secret cannot be sent.
    pub fn build_with(
        self: &Arc<Self>,
        request: TokenRequest,
        provided: Option<Secret>,
    ) -> Result<(HttpRequest, Exchange), Error> {
        self.compose(request, Beside { secret: provided, ..Beside::default() })
    }

    pub(crate) fn compose(
        self: &Arc<Self>,
        request: TokenRequest,
        beside: Beside,
    ) -> Result<(HttpRequest, Exchange), Error> {
        let endpoint = match &request {
            TokenRequest::Refresh { .. } => self.refresh_endpoint.as_ref().or(self.token_endpoint.as_ref()),
            _ => self.token_endpoint.as_ref(),
        };
        let Some(endpoint) = endpoint else {
            return Err(Error::new(
                ErrorCode::InvalidOption,
                format!("the profile `{}` has no token endpoint: its grant is `{}`", self.profile, self.grant.as_str()),
            ));
        };
        self.shown_secret(beside.secret.as_ref())?;
        let exchange = Exchange { config: self.clone(), request, beside };
        let mut form = Form::new();
        exchange.fill(&mut form);
        let mut http = self.request(endpoint, form, exchange.secret())?;
        if self.json_requests {
            http.body = http.body.map(|form| form::to_json(&Secret::new(form)));
            for (_, value) in http.headers.iter_mut().filter(|(name, _)| *name == "content-type") {
                *value = "application/json".into();
            }
        }
        if let Some(proof) = &exchange.beside.proof {
            http.headers.push(("dpop", String::from(proof.expose()).into()));
        }
        Ok((http, exchange))
    }

    /// The scopes, with what stands between them at this provider.
    pub(crate) fn push_scope(&self, form: &mut Form, scope: &[String]) {
        match self.answer.scope_separator {
            _ if scope.is_empty() => {}
            ' ' => form.push_texts("scope", scope.iter().map(String::as_str)),
            separator => form.push("scope", &scope.join(separator.encode_utf8(&mut [0; 4]))),
        }
    }

    /// What the client shows of its credential: what was read or made for this request, or what is configured.
    pub(crate) fn shown_secret<'a>(&'a self, read: Option<&'a Secret>) -> Result<Option<&'a Secret>, Error> {
        match (read, &self.credential) {
            // It came from outside, and goes into a header or form as it is.
            (Some(secret), Credential::Provided { .. }) if self.client_auth != ClientAuth::SecretJwt => {
                self.check_secret(secret).map(|()| read)
            }
            (None, Credential::Secret(secret)) => Ok(Some(secret)),
            _ => Ok(read),
        }
    }

    /// Whom the token is for (RFC 8707 section 2, RFC 8693 section 2.1).
    pub(crate) fn push_targets(&self, form: &mut Form, resource: &[String]) {
        for resource in resource {
            form.push("resource", resource);
        }
        for audience in &self.audience {
            form.push("audience", audience);
        }
    }

    /// One request to the server, with the client's proof of who it is.
    pub(crate) fn request(
        &self,
        endpoint: &EndpointUrl,
        mut form: Form,
        secret: Option<&Secret>,
    ) -> Result<HttpRequest, Error> {
        let mut headers = Vec::with_capacity(4);
        headers.push(("accept", "application/json".into()));
        let client_id = self.client_id.as_deref().unwrap_or_default();
        client_auth::apply(self.client_auth, client_id, secret.map(Secret::expose), &mut headers, &mut form)?;
        let form = form.finish();
        Ok(match self.method {
            Method::Post => {
                headers.push(("content-type", "application/x-www-form-urlencoded".into()));
                HttpRequest { method: "POST", url: endpoint.as_str().into(), headers, body: Some(form) }
            }
            Method::Get => HttpRequest { method: "GET", url: endpoint.with_query(&form), headers, body: None },
        })
    }
}

impl Exchange {
    /// Writes the request's own parameters.
    fn fill(&self, form: &mut Form) {
        match &self.request {
            TokenRequest::ClientCredentials { .. } => {
                form.push("grant_type", self.config.grant_type.as_deref().unwrap_or("client_credentials"));
            }
            TokenRequest::Code { code, redirect_uri, verifier } => {
                form.push("grant_type", "authorization_code");
                form.push("code", code.expose());
                form.push("redirect_uri", redirect_uri);
                form.push("code_verifier", verifier.expose());
            }
            TokenRequest::Refresh { refresh_token, .. } => {
                form.push("grant_type", "refresh_token");
                form.push("refresh_token", refresh_token.expose());
            }
            TokenRequest::DeviceCode { device_code } => {
                form.push("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
                form.push("device_code", device_code.expose());
            }
            TokenRequest::Ciba { auth_req_id } => {
                form.push("grant_type", "urn:openid:params:grant-type:ciba");
                form.push("auth_req_id", auth_req_id.expose());
            }
            TokenRequest::TokenExchange { subject_token, actor_token, .. } => {
                let exchanged = &self.config.exchanged;
                form.push("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange");
                form.push("subject_token", subject_token.expose());
                form.push("subject_token_type", &exchanged.subject_type);
                // The type is there if the token is (STD-105).
                if let Some(actor_token) = actor_token {
                    form.push("actor_token", actor_token.expose());
                    form.push("actor_token_type", &exchanged.actor_type);
                }
                if let Some(requested) = &exchanged.requested_type {
                    form.push("requested_token_type", requested);
                }
            }
            TokenRequest::JwtBearer { assertion, .. } => {
                form.push("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
                form.push("assertion", assertion.expose());
            }
            TokenRequest::BasicGet {} => {}
        }
        let scope = self.requested_scope();
        let is_elsewhere = matches!(self.request, TokenRequest::JwtBearer { .. })
            && self.config.grant_assertion.as_ref().is_some_and(|rules| rules.scope && !rules.provided);
        if !is_elsewhere {
            self.config.push_scope(form, scope);
        }
        self.config.push_targets(form, self.beside.resource.as_ref().unwrap_or(&self.config.resource));
        // A poll repeats nothing: the request that it is about has said it (RFC 8628 section 3.4, CIBA section 10.1).
        if let (Some(details), false) = (&self.config.authorization_details, self.is_poll()) {
            form.push("authorization_details", details);
        }
        for (name, value) in &self.config.parameters {
            form.push(name, value);
        }
    }

    fn requested_scope(&self) -> &[String] {
        match &self.request {
            TokenRequest::ClientCredentials { scope }
            | TokenRequest::TokenExchange { scope, .. }
            | TokenRequest::JwtBearer { scope, .. } => scope.as_ref().unwrap_or(&self.config.scope),
            TokenRequest::Refresh { scope, .. } => scope.as_deref().unwrap_or_default(),
            TokenRequest::Code { .. }
            | TokenRequest::DeviceCode { .. }
            | TokenRequest::Ciba { .. }
            | TokenRequest::BasicGet {} => &[],
        }
    }

    fn secret(&self) -> Option<&Secret> {
        match (&self.beside.secret, &self.config.credential) {
            (Some(secret), _) | (None, Credential::Secret(secret)) => Some(secret),
            (None, _) => None,
        }
    }

    /// Reads the answer (RFC 6749 sections 5.1 and 5.2).
    ///
    /// `started` is what both clocks showed when the request was started: the lifetime counts from there (STD-143).
    ///
    /// # Errors
    /// What the server said, as one of the stable codes, with `retry_after` where it asked for a pause.
    pub fn finish(self, response: HttpResponse<'_>, started: Now) -> Result<TokenSet, Error> {
        let cap = self.config.policy.retry_after_max;
        self.read(response, started).map_err(|refusal| match refusal.retry_after {
            Some(pause) => refusal.error.with_retry_after(pause.min(cap)),
            None => refusal.error,
        })
    }

    /// Reads the answer, and on a refusal tells how to treat it.
    pub(crate) fn read(&self, response: HttpResponse<'_>, started: Now) -> Result<TokenSet, Refusal> {
        let (first, second) = match &self.request {
            TokenRequest::Code { code, verifier, .. } => (Some(code), Some(verifier)),
            TokenRequest::Refresh { refresh_token, .. } => (Some(refresh_token), None),
            TokenRequest::DeviceCode { device_code: secret }
            | TokenRequest::Ciba { auth_req_id: secret }
            | TokenRequest::JwtBearer { assertion: secret, .. } => (Some(secret), None),
            TokenRequest::TokenExchange { subject_token, actor_token, .. } => {
                (Some(subject_token), actor_token.as_ref())
            }
            TokenRequest::ClientCredentials { .. } | TokenRequest::BasicGet {} => (None, None),
        };
        let reading = Reading {
            shape: &self.config.answer,
            missing_lifetime: self.config.missing_lifetime,
            errors: &self.config.errors,
            requested_scope: self.requested_scope(),
            secrets: [self.secret(), first, second],
            dpop: self.config.dpop.as_ref().map(|dpop| dpop.required),
            is_exchange: matches!(self.request, TokenRequest::TokenExchange { .. }),
            started,
            server: "the token endpoint",
            cap: self.config.policy.answer_cap,
        };
        reading.read(response).map_err(|refusal| self.explain(refusal))
    }

    /// The request may be sent again if its answer is lost: nothing is used up by it.
    pub(crate) fn is_repeatable(&self) -> bool {
        matches!(
            self.request,
            TokenRequest::ClientCredentials { .. }
                | TokenRequest::TokenExchange { .. }
                | TokenRequest::JwtBearer { .. }
                | TokenRequest::BasicGet {}
        )
    }

    /// What was asked for, to be asked for again with another proof.
    pub(crate) fn into_request(self) -> TokenRequest {
        self.request
    }

    fn is_poll(&self) -> bool {
        matches!(self.request, TokenRequest::DeviceCode { .. } | TokenRequest::Ciba { .. })
    }

    /// The refresh token that is being spent.
    pub(crate) fn refresh_token(&self) -> Option<&Secret> {
        match &self.request {
            TokenRequest::Refresh { refresh_token, .. } => Some(refresh_token),
            _ => None,
        }
    }

    /// It is what a person has agreed to.
    pub(crate) fn is_consent(&self) -> bool {
        self.is_poll() || matches!(self.request, TokenRequest::Code { .. })
    }

    /// Names the likeliest cause of a refused client: the two encodings of Basic (P-12).
    fn explain(&self, mut refusal: Refusal) -> Refusal {
        let basic = matches!(self.config.client_auth, ClientAuth::BasicForm | ClientAuth::BasicRaw);
        let client_id = self.config.client_id.as_deref().unwrap_or_default();
        let secret = self.secret().map(Secret::expose).unwrap_or_default();
        // A server that decodes what was not encoded may find the whole request malformed.
        let unsure = match refusal.error.code() {
            ErrorCode::InvalidClient => basic,
            ErrorCode::InvalidRequest => self.config.client_auth == ClientAuth::BasicRaw,
            _ => false,
        };
        if unsure && client_auth::encodings_differ(client_id, secret) {
            let (now, other) = match self.config.client_auth {
                ClientAuth::BasicRaw => ("client_secret_basic_raw", "client_secret_basic"),
                _ => ("client_secret_basic", "client_secret_basic_raw"),
            };
            let hint = format!(
                "the id or secret holds characters that servers read differently: `client_auth` is `{now}`, and this server may want `{other}` or `client_secret_post`"
            );
            refusal.error = refusal.error.with_hint(hint);
        }
        refusal
    }
}
