//! The authorization code flow: out through the browser, and back (RFC 6749 section 4.1, RFC 7636, RFC 9207).

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::cache::{Key, Rare, Refresh, RefreshState};
use crate::config::{self, Config, Grant, options};
use crate::errand::{Kind, check_token};
use crate::error::{Error, ErrorCode};
use crate::event::{Adopt, AuthorizationUrl, CodeExchange, Flow, Start, Want};
use crate::exchange::TokenRequest;
use crate::flight::{Work, is_refusal};
use crate::form::Form;
use crate::grammar;
use crate::jarm::{Kept, SignedAnswer};
use crate::jwt::UnsignedJwt;
use crate::machine::{Core, Turn, closed};
use crate::secret::Secret;
use crate::step::{Answer, Done};
use crate::url::EndpointUrl;

/// What the web session keeps between the two halves: all that the callback is checked against (STD-19, STD-76).
#[derive(Deserialize, Serialize)]
struct Session {
    version: u32,
    client_id: String,
    /// The issuer, or the token endpoint where no issuer is known: nobody else gets the code (STD-76).
    server: String,
    redirect_uri: String,
    state: String,
    verifier: String,
    #[serde(default)]
    issuer: Option<String>,
    /// The server always names itself in its answer, says its metadata.
    #[serde(default)]
    iss_required: bool,
    /// A signed answer was asked for: no other is taken.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    signed: bool,
}

/// An authorization request in the making.
pub(crate) struct Authorizing {
    pub(crate) ask: AuthorizationUrl,
    state: Secret,
    verifier: Secret,
}

/// The states that were used already: a callback is good once, and so is its code (STD-15, STD-19).
#[derive(Debug, Default)]
pub(crate) struct UsedStates(VecDeque<[u8; 32]>);

const SESSION_VERSION: u32 = 1;
/// How many used states are remembered.
const USED_STATES: usize = 256;

/// What the browser brought back (RFC 6749 sections 4.1.2 and 4.1.2.1).
#[derive(Default)]
pub(crate) struct Callback {
    pub(crate) code: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) iss: Option<String>,
    pub(crate) error: Option<String>,
    /// All of it in a signed JWT (JARM section 2.3).
    pub(crate) response: Option<String>,
}

/// Makes the S256 challenge of a verifier (RFC 7636 section 4.2).
#[must_use]
pub fn code_challenge(verifier: &Secret) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose().as_bytes()))
}

impl Config {
    /// Builds the URL that the browser is sent to (RFC 6749 section 4.1.1), with `state` and an S256 challenge always.
    ///
    /// [`Core`] draws `state` and verifier itself; this is for those who keep them elsewhere.
    ///
    /// # Errors
    /// `invalid_option` if the profile has no authorization endpoint, the redirect URI is not absolute, the verifier is not 43 to 128
    /// unreserved characters (RFC 7636 section 4.1), or a parameter is reserved.
    pub fn authorization_url(
        &self,
        ask: &AuthorizationUrl,
        state: &Secret,
        verifier: &Secret,
    ) -> Result<String, Error> {
        let endpoint = self.authorization_endpoint()?;
        let mut query = Form::new();
        for (name, value) in self.authorization_parameters(ask, state, verifier)? {
            query.push(&name, &value);
        }
        Ok(endpoint.with_query(&query.finish()))
    }

    fn authorization_endpoint(&self) -> Result<&EndpointUrl, Error> {
        match self.authorization.as_ref().map(|authorization| &authorization.endpoint) {
            Some(Some(endpoint)) => Ok(endpoint),
            Some(None) => {
                Err(invalid("the authorization endpoint is not known yet: `Core` reads the server's metadata first"))
            }
            None => Err(invalid(format!(
                "the profile `{}` sends no browser anywhere: its grant is `{}`",
                self.profile,
                self.grant.as_str()
            ))),
        }
    }

    /// What an authorization request says, however it reaches the server.
    fn authorization_parameters(
        &self,
        ask: &AuthorizationUrl,
        state: &Secret,
        verifier: &Secret,
    ) -> Result<Vec<(String, String)>, Error> {
        config::check_absolute_uri(&ask.redirect_uri).map_err(|why| invalid(format!("`redirect_uri` {why}")))?;
        if !(43..=128).contains(&verifier.expose().len()) || !verifier.expose().chars().all(grammar::is_unreserved) {
            return Err(invalid("a verifier has 43 to 128 characters out of letters, digits and `-._~`"));
        }
        if state.expose().is_empty() || !state.expose().chars().all(grammar::is_vschar) {
            return Err(invalid("a `state` has at least one character, all of them printable ASCII"));
        }
        let details = match &ask.authorization_details {
            Some(text) => Some(options::read_later("authorization_details", text, options::authorization_details)?),
            None => self.authorization_details.clone(),
        };
        let scope = ask.scope.as_ref().unwrap_or(&self.scope);
        let mut parameters: Vec<(String, String)> = Vec::with_capacity(12);
        let mut push = |name: &str, value: &str| parameters.push((name.into(), value.into()));
        push("response_type", "code");
        if let Some(mode) = self.authorization.as_ref().and_then(|authorization| authorization.response_mode) {
            push("response_mode", mode.as_str());
        }
        push("client_id", self.client_id.as_deref().unwrap_or_default());
        push("redirect_uri", &ask.redirect_uri);
        if !scope.is_empty() {
            push("scope", &scope.join(self.answer.scope_separator.encode_utf8(&mut [0; 4])));
        }
        push("state", state.expose());
        push("code_challenge", &code_challenge(verifier));
        push("code_challenge_method", "S256");
        for resource in &self.resource {
            push("resource", resource);
        }
        for audience in &self.audience {
            // No RFC has it there, and the providers that want one do (Auth0, Atlassian).
            push("audience", audience);
        }
        if let Some(dpop) = &self.dpop {
            // The code is bound to the key too (RFC 9449 section 10, STD-131).
            push("dpop_jkt", &dpop.thumbprint);
        }
        if let Some(details) = details {
            push("authorization_details", &details);
        }
        for (name, value) in self.authorization.iter().flat_map(|authorization| &authorization.parameters) {
            push(name, value);
        }
        for (name, value) in &ask.parameters {
            grammar::check_parameter(name).map_err(|why| invalid(format!("the parameter `{name}` {why}")))?;
            push(name, value);
        }
        Ok(parameters)
    }

    /// The authorization request as a JWT (RFC 9101 section 4), if the client signs it.
    pub(crate) fn request_object(&self, of: &Authorizing, wall: i64, jti: String) -> Option<UnsignedJwt> {
        let key = self.signing_key.as_ref()?;
        let iat = wall.div_euclid(1000);
        let issuer = self.authorization.as_ref().and_then(|authorization| authorization.issuer.clone());
        let mut claims: BTreeMap<String, Claim> = BTreeMap::new();
        for (name, value) in self.authorization_parameters(&of.ask, &of.state, &of.verifier).ok()? {
            if name == "authorization_details" {
                claims.insert(name, Claim::Json(RawValue::from_string(value).ok()?));
                continue;
            }
            // Only `resource` and `audience` repeat (STD-3).
            let claim = match claims.remove(&name) {
                None => Claim::Text(value),
                Some(Claim::Text(first)) => Claim::Texts([first, value].into()),
                Some(Claim::Texts(mut texts)) => {
                    texts.push(value);
                    Claim::Texts(texts)
                }
                Some(other) => other,
            };
            claims.insert(name, claim);
        }
        claims.insert("iss".into(), Claim::Text(self.client_id.clone().unwrap_or_default()));
        claims.insert("aud".into(), Claim::Text(issuer.or(self.assertion.audience.clone()).unwrap_or_default()));
        claims.insert("jti".into(), Claim::Text(jti));
        for (name, second) in [("iat", iat), ("nbf", iat), ("exp", iat.saturating_add(REQUEST_LIFETIME))] {
            claims.insert(name.into(), Claim::Number(second));
        }
        let algorithm = key.algorithm();
        let header = Header { alg: algorithm.as_str(), typ: "oauth-authz-req+jwt", kid: key.id.as_deref() };
        Some(UnsignedJwt::new(&key.name, algorithm, &header, &claims))
    }
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    typ: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Claim {
    Text(String),
    Texts(Vec<String>),
    Number(i64),
    Json(Box<RawValue>),
}

/// How long a signed request is good, in seconds: a person may look for their password meanwhile.
const REQUEST_LIFETIME: i64 = 300;

impl Authorizing {
    /// Writes the request for the back channel (RFC 9126 section 2.1, STD-113).
    pub(crate) fn push(&self, config: &Config, signed: Option<&Secret>, form: &mut Form) -> Result<(), Error> {
        if let Some(signed) = signed {
            form.push("request", signed.expose());
            return Ok(());
        }
        for (name, value) in config.authorization_parameters(&self.ask, &self.state, &self.verifier)? {
            // The client's proof of who it is brings that along where it has to be in the body.
            if name != "client_id" || config.client_auth.is_in_header() {
                form.push(&name, &value);
            }
        }
        Ok(())
    }

    /// The browser's URL and the session: the request itself, or where the server has it (RFC 9126 section 4, STD-115).
    pub(crate) fn done(&self, config: &Config, signed: Option<&Secret>, pushed: Option<&str>) -> Result<Done, Error> {
        let client_id = config.client_id.as_deref().unwrap_or_default();
        let url = match (pushed, signed) {
            (None, None) => config.authorization_url(&self.ask, &self.state, &self.verifier)?,
            (pushed, signed) => {
                let mut query = Form::new();
                query.push("client_id", client_id);
                match (pushed, signed) {
                    (Some(uri), _) => query.push("request_uri", uri),
                    (None, Some(signed)) => query.push("request", signed.expose()),
                    (None, None) => {}
                }
                config.authorization_endpoint()?.with_query(&query.finish())
            }
        };
        let authorization = config.authorization.as_ref();
        let session = Session {
            version: SESSION_VERSION,
            client_id: client_id.into(),
            server: config.server().into(),
            redirect_uri: self.ask.redirect_uri.clone(),
            state: self.state.expose().into(),
            verifier: self.verifier.expose().into(),
            issuer: authorization.and_then(|authorization| authorization.issuer.clone()),
            iss_required: authorization.is_some_and(|authorization| authorization.iss_required),
            signed: config.wants_signed_answers(),
        };
        // Serializing plain structs into a vector has no way to fail.
        let session = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&session).unwrap_or_default());
        Ok(Done::Authorization { url, session: Secret::new(session) })
    }
}

impl Core {
    /// Begins a flow with a person or a browser in it.
    pub(crate) fn start(&mut self, start: Start, turn: &mut Turn<'_>) -> Answer {
        let deadline =
            start.deadline.unwrap_or_else(|| turn.now.boot.saturating_add(self.config.policy.caller_timeout));
        if let Some(answer) = start.after.and_then(|after| self.come_back(after, deadline, turn)) {
            return answer.unwrap_or_else(Answer::Fail);
        }
        let answer = match start.flow {
            _ if self.is_closed() => Err(closed()),
            Flow::AuthorizationUrl(ask) => self.authorize(ask, deadline, turn),
            Flow::Exchange(exchange) => self.exchange_code(&exchange, deadline, turn),
            Flow::Adopt(adopt) => self.adopt(adopt),
            Flow::Device(mut ask) => {
                self.checked_scope(&mut ask.scope).and_then(|()| self.set_out(Kind::Device(ask), deadline, turn))
            }
            Flow::Backchannel(mut ask) => {
                self.checked_scope(&mut ask.scope).and_then(|()| self.set_out(Kind::Backchannel(ask), deadline, turn))
            }
            Flow::Poll(poll) => self.poll(&poll, start.deadline, turn),
            Flow::Introspect(ask) => {
                check_token(Some(&ask.token)).and_then(|()| self.set_out(Kind::Introspect(ask), deadline, turn))
            }
            Flow::Revoke(revoke) => self.revoke(revoke, deadline, turn),
        };
        answer.unwrap_or_else(Answer::Fail)
    }

    fn checked_scope(&self, scope: &mut Option<Vec<String>>) -> Result<(), Error> {
        if let Some(tokens) = scope {
            *scope = Some(self.config.check_scope(tokens)?);
        }
        Ok(())
    }

    fn authorize(&mut self, mut ask: AuthorizationUrl, deadline: i64, turn: &mut Turn<'_>) -> Result<Answer, Error> {
        if ask.redirect_uri.is_empty() {
            ask.redirect_uri = self.config.redirect_uri.clone().unwrap_or_default();
        }
        let (state, verifier) = (Secret::new(turn.text()), Secret::new(turn.text()));
        let is_asked_for = self.config.pushed_authorization == Some(true) || self.config.request_object;
        if is_asked_for || self.config.discovery.is_some() {
            // A slip in the request is told before anything is sent.
            self.config.authorization_parameters(&ask, &state, &verifier)?;
            return self.set_out(Kind::Authorize(Authorizing { ask, state, verifier }), deadline, turn);
        }
        self.config.authorization_endpoint()?;
        let done = Authorizing { ask, state, verifier }.done(&self.config, None, None)?;
        Ok(Answer::Done { done })
    }

    fn exchange_code(&mut self, exchange: &CodeExchange, deadline: i64, turn: &mut Turn<'_>) -> Result<Answer, Error> {
        let Some(authorization) = &self.config.authorization else {
            return Err(invalid(format!("the profile `{}` has no codes to exchange", self.config.profile)));
        };
        let session = read_session(&exchange.session, &self.config)?;
        let callback = Callback::read(exchange.callback.expose())?;
        let want = Want { subject: exchange.subject.clone(), ..Want::default() };
        if session.signed {
            let answer = self.signed_answer(callback, session)?;
            let key = self.key_for_consent(&want, exchange.on_rotated)?;
            self.give_way(key, turn);
            let flight = self.take_off(key, Work::check(&want, answer), None, turn);
            return Ok(Answer::Wait { flight, until: deadline });
        }
        if callback.response.is_some() {
            return Err(rejected_callback("is a signed answer, and the session asked for none: set `response_mode`"));
        }
        callback.check_state(&session.state)?;
        let iss_required = authorization.iss_required || session.iss_required;
        callback.check_issuer(iss_required, session.issuer.as_deref())?;
        self.used_states.insert(&session.state)?;
        if let Some(error) = callback.error {
            return Err(authorization_error(&error));
        }
        let Some(code) = callback.code else {
            return Err(Error::new(ErrorCode::UnexpectedAnswer, "the callback has neither `code` nor `error`"));
        };
        let key = self.key_for_consent(&want, exchange.on_rotated)?;
        let code = TokenRequest::Code {
            code: Secret::new(code),
            redirect_uri: session.redirect_uri,
            verifier: Secret::new(session.verifier),
        };
        self.give_way(key, turn);
        let flight = self.take_off(key, Work::exchange(&want, code), None, turn);
        Ok(Answer::Wait { flight, until: deadline })
    }

    /// The answer that was asked for as a signed one. It never is anything else (JARM section 2.4, FAPI 1.0 section 5.2.3.1).
    fn signed_answer(&self, callback: Callback, session: Session) -> Result<SignedAnswer, Error> {
        let Callback { code, state, iss, error, response } = callback;
        let Some(response) = response else {
            return Err(rejected_callback("has no `response`, and a signed one was asked for"));
        };
        if code.is_some() || state.is_some() || error.is_some() {
            return Err(rejected_callback("has `code`, `state` or `error` beside a signed `response`"));
        }
        let Session { state, redirect_uri, verifier, issuer, .. } = session;
        let answer = SignedAnswer::read(&response, &self.config, Kept { state, redirect_uri, verifier })?;
        answer.check(&self.used_states, issuer.as_deref(), iss.as_deref())?;
        Ok(answer)
    }

    /// The key of somebody who has just spoken, or is about to: what was refused before no longer counts.
    pub(crate) fn key_for_consent(&mut self, want: &Want, on_rotated: bool) -> Result<Key, Error> {
        let key = self.key(want);
        self.entry_for(key)?.on_rotated = on_rotated;
        self.share_refusal(key, None);
        Ok(key)
    }

    pub(crate) fn entry_for(&mut self, key: Key) -> Result<&mut Rare, Error> {
        let shared_store = self.config.store.is_some();
        match self.cache.entry(key, shared_store) {
            Some(entry) => Ok(entry.rare()),
            None => Err(Error::new(ErrorCode::CacheFull, "the cache is full: raise `max_keys` in `policy`")),
        }
    }

    /// Takes over what the host's database holds. A refresh token that we have already is left alone: it may be newer.
    fn adopt(&mut self, adopt: Adopt) -> Result<Answer, Error> {
        let grant = self.config.grant;
        let (name, fits, what) = match (&adopt.refresh_token, &adopt.subject_token) {
            (Some(_), None) => ("refresh_token", grant.needs_a_person(), "refresh tokens"),
            (None, Some(_)) => ("subject_token", grant == Grant::TokenExchange, "tokens to be exchanged"),
            _ => {
                return Err(invalid("either a refresh token or a subject's token can be taken over: give one of them"));
            }
        };
        if !fits {
            return Err(invalid(format!(
                "the profile `{}` has no {what}: its grant is `{}`",
                self.config.profile,
                grant.as_str()
            )));
        }
        for token in [&adopt.refresh_token, &adopt.subject_token, &adopt.actor_token].into_iter().flatten() {
            if token.expose().is_empty() || !token.expose().chars().all(grammar::is_vschar) {
                return Err(invalid(format!(
                    "`{name}` is empty or holds a character that is not printable ASCII: trim a trailing line break"
                )));
            }
        }
        let key = self.owner_key(&adopt.want);
        let rare = self.entry_for(key)?;
        if let Some(token) = adopt.subject_token {
            // Another one is another person's word: what was refused before no longer counts.
            if rare.subject_token.as_ref() != Some(&token) {
                rare.trouble = None;
            }
            rare.subject_token = Some(token);
            rare.actor_token = adopt.actor_token;
            return Ok(Answer::Done { done: Done::Nothing {} });
        }
        rare.on_rotated = adopt.on_rotated;
        let is_refused = rare.trouble.as_ref().is_some_and(|trouble| is_refusal(&trouble.error));
        let same = rare.refresh.as_ref().is_some_and(|refresh| Some(&refresh.token) == adopt.refresh_token.as_ref());
        let good = |refresh: &Refresh| refresh.state != RefreshState::Exhausted && !is_refused;
        let known = same || rare.refresh.as_ref().is_some_and(good);
        if let (Some(token), false) = (adopt.refresh_token, known) {
            rare.trouble = None;
            rare.refresh = Some(Refresh { token, state: RefreshState::Unspent, scope: None, generation: 0 });
        }
        Ok(Answer::Done { done: Done::Nothing {} })
    }
}

impl Callback {
    /// Reads a callback's URL, or its query alone (STD-40).
    fn read(text: &str) -> Result<Self, Error> {
        let query = text.split_once('?').map_or(text, |(_, query)| query);
        let query = query.split_once('#').map_or(query, |(query, _)| query);
        let mut callback = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let slot = match &*name {
                "code" => &mut callback.code,
                "state" => &mut callback.state,
                "iss" => &mut callback.iss,
                "error" => &mut callback.error,
                "response" => &mut callback.response,
                _ => continue,
            };
            if value.contains('\u{fffd}') {
                return Err(rejected_callback("holds bytes that are not UTF-8"));
            }
            if slot.replace(value.into_owned()).is_some() {
                return Err(rejected_callback("names `code`, `state`, `iss`, `error` or `response` twice"));
            }
        }
        if callback.code.is_some() && callback.error.is_some() {
            return Err(rejected_callback("has both `code` and `error`"));
        }
        Ok(callback)
    }

    /// Compares `state` with the session's (RFC 6749 section 10.12, STD-19).
    pub(crate) fn check_state(&self, expected: &str) -> Result<(), Error> {
        match &self.state {
            Some(state) if Secret::from(&**state) == Secret::from(expected) => Ok(()),
            _ => Err(Error::new(
                ErrorCode::StateMismatch,
                "the callback's `state` is not the session's: drop the callback, somebody else may have made it",
            )),
        }
    }

    /// Compares `iss` with the issuer that the browser was sent to, on errors too (RFC 9207 section 2.4, STD-70 to STD-73).
    fn check_issuer(&self, iss_required: bool, expected: Option<&str>) -> Result<(), Error> {
        let why = match (&self.iss, expected) {
            (Some(iss), Some(expected)) if iss != expected => {
                "names another issuer than the one that the browser was sent to"
            }
            (None, Some(_)) if iss_required => "names no issuer, and this server always does",
            _ => return Ok(()),
        };
        Err(Error::new(
            ErrorCode::IssuerMismatch,
            format!("the callback {why}: drop it, its code may belong to another server"),
        ))
    }
}

impl UsedStates {
    /// Refuses a state that was used already.
    pub(crate) fn check(&self, state: &str) -> Result<(), Error> {
        if self.0.contains(&digest(state)) {
            return Err(Error::new(
                ErrorCode::StateMismatch,
                "this callback was used already: start again with `authorization_url`",
            ));
        }
        Ok(())
    }

    /// Notes a state as used, unless it was already.
    pub(crate) fn insert(&mut self, state: &str) -> Result<(), Error> {
        self.check(state)?;
        if self.0.len() >= USED_STATES {
            self.0.pop_front();
        }
        self.0.push_back(digest(state));
        Ok(())
    }
}

fn digest(state: &str) -> [u8; 32] {
    Sha256::digest(state.as_bytes()).into()
}

fn read_session(session: &Secret, config: &Config) -> Result<Session, Error> {
    let bytes = URL_SAFE_NO_PAD.decode(session.expose()).unwrap_or_default();
    let session: Option<Session> = serde_json::from_slice(&bytes).ok();
    let Some(session) = session.filter(|session| session.version == SESSION_VERSION) else {
        return Err(invalid("`session` is not one that `authorization_url` gave: keep it in the web session as it is"));
    };
    if Some(&session.client_id) != config.client_id.as_ref() || session.server != config.server() {
        return Err(invalid("`session` was made by another client or for another server (RFC 9700 section 4.4)"));
    }
    Ok(session)
}

/// An error that came through the browser (RFC 6749 section 4.1.2.1, STD-41).
pub(crate) fn authorization_error(code: &str) -> Error {
    let (kind, message): (_, Cow<'static, str>) = match code {
        "access_denied" => {
            (ErrorCode::AccessDenied, "the person or the server refused: ask again only if the person wants to".into())
        }
        "invalid_request" => (
            ErrorCode::InvalidRequest,
            "the server did not understand the authorization request: check its parameters".into(),
        ),
        "unauthorized_client" => (
            ErrorCode::UnauthorizedClient,
            "this client may not use the authorization code flow: see its registration".into(),
        ),
        "invalid_scope" => (
            ErrorCode::InvalidScope,
            "a requested scope is unknown or not allowed: see the client's registration".into(),
        ),
        "server_error" | "temporarily_unavailable" => (
            ErrorCode::ServerUnavailable,
            "the authorization server could not serve the request: let the person try again".into(),
        ),
        _ => (ErrorCode::UnexpectedAnswer, "the authorization server answered with an error: see `oauth_error`".into()),
    };
    let error = Error::new(kind, message);
    let printable = !code.is_empty()
        && code.len() <= 64
        && code.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-' | '.'));
    if printable { error.with_oauth_error(code) } else { error }
}

fn rejected_callback(why: &str) -> Error {
    Error::new(ErrorCode::UnexpectedAnswer, format!("the callback {why}: drop it"))
}

fn invalid(message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorCode::InvalidOption, message)
}
