//! The authorization code flow: out through the browser, and back (RFC 6749 section 4.1, RFC 7636, RFC 9207).

use alloc::borrow::Cow;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::cache::{Refresh, RefreshState};
use crate::config::{self, Authorization, Config, Grant};
use crate::error::{Error, ErrorCode};
use crate::event::{Adopt, AuthorizationUrl, CodeExchange, Flow, Start, Want};
use crate::flight::{Code, Work};
use crate::form::Form;
use crate::grammar;
use crate::machine::{Core, Turn, closed};
use crate::secret::Secret;
use crate::step::{Answer, Done};

/// What the web session keeps between the two halves: all that the callback is checked against (STD-19, STD-76).
#[derive(Deserialize, Serialize)]
struct Session {
    version: u32,
    client_id: String,
    token_endpoint: String,
    redirect_uri: String,
    state: String,
    verifier: String,
    #[serde(default)]
    issuer: Option<String>,
}

/// The states that were used already: a callback is good once, and so is its code (STD-15, STD-19).
#[derive(Debug, Default)]
pub(crate) struct UsedStates(VecDeque<[u8; 32]>);

const SESSION_VERSION: u32 = 1;
/// How many used states are remembered.
const USED_STATES: usize = 256;

/// What the browser brought back (RFC 6749 sections 4.1.2 and 4.1.2.1).
#[derive(Default)]
struct Callback {
    code: Option<String>,
    state: Option<String>,
    iss: Option<String>,
    error: Option<String>,
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
        let (Some(authorization), Some(client_id)) = (&self.authorization, &self.client_id) else {
            return Err(invalid(format!(
                "the profile `{}` sends no browser anywhere: its grant is `{}`",
                self.profile,
                self.grant.as_str()
            )));
        };
        config::check_absolute_uri(&ask.redirect_uri).map_err(|why| invalid(format!("`redirect_uri` {why}")))?;
        if !(43..=128).contains(&verifier.expose().len()) || !verifier.expose().chars().all(grammar::is_unreserved) {
            return Err(invalid("a verifier has 43 to 128 characters out of letters, digits and `-._~`"));
        }
        if state.expose().is_empty() || !state.expose().chars().all(grammar::is_vschar) {
            return Err(invalid("a `state` has at least one character, all of them printable ASCII"));
        }
        let challenge = code_challenge(verifier);
        let scope = ask.scope.as_ref().unwrap_or(&self.scope);
        let mut query = Form::new();
        query.push("response_type", "code");
        query.push("client_id", client_id);
        query.push("redirect_uri", &ask.redirect_uri);
        if !scope.is_empty() {
            query.push_texts("scope", scope.iter().map(String::as_str));
        }
        query.push("state", state.expose());
        query.push("code_challenge", &challenge);
        query.push("code_challenge_method", "S256");
        for resource in &self.resource {
            query.push("resource", resource);
        }
        for (name, value) in &authorization.parameters {
            query.push(name, value);
        }
        for (name, value) in &ask.parameters {
            grammar::check_parameter(name).map_err(|why| invalid(format!("the parameter `{name}` {why}")))?;
            query.push(name, value);
        }
        Ok(authorization.endpoint.with_query(&query.finish()))
    }
}

impl Core {
    /// Begins a flow with a person or a browser in it.
    pub(crate) fn start(&mut self, start: Start, turn: &mut Turn<'_>) -> Answer {
        let deadline =
            start.deadline.unwrap_or_else(|| turn.now.boot.saturating_add(self.config.policy.caller_timeout));
        let answer = match start.flow {
            _ if self.is_closed() => Err(closed()),
            Flow::AuthorizationUrl(ask) => self.authorize(ask, turn),
            Flow::Exchange(exchange) => self.exchange_code(&exchange, deadline, turn),
            Flow::Adopt(adopt) => self.adopt(adopt),
        };
        answer.unwrap_or_else(Answer::Fail)
    }

    fn authorize(&self, mut ask: AuthorizationUrl, turn: &mut Turn<'_>) -> Result<Answer, Error> {
        if ask.redirect_uri.is_empty() {
            ask.redirect_uri = self.config.redirect_uri.clone().unwrap_or_default();
        }
        let mut stream = turn.stream();
        let (state, verifier) = (Secret::new(stream.text()), Secret::new(stream.text()));
        let url = self.config.authorization_url(&ask, &state, &verifier)?;
        let session = Session {
            version: SESSION_VERSION,
            client_id: self.config.client_id.clone().unwrap_or_default(),
            token_endpoint: token_endpoint(&self.config).into(),
            redirect_uri: ask.redirect_uri,
            state: state.expose().into(),
            verifier: verifier.expose().into(),
            issuer: self.config.authorization.as_ref().and_then(|authorization| authorization.issuer.clone()),
        };
        // Serializing plain structs into a vector has no way to fail.
        let session = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&session).unwrap_or_default());
        Ok(Answer::Done { done: Done::Authorization { url, session: Secret::new(session) } })
    }

    fn exchange_code(&mut self, exchange: &CodeExchange, deadline: i64, turn: &mut Turn<'_>) -> Result<Answer, Error> {
        let Some(authorization) = &self.config.authorization else {
            return Err(invalid(format!("the profile `{}` has no codes to exchange", self.config.profile)));
        };
        let session = read_session(&exchange.session, &self.config)?;
        let callback = Callback::read(exchange.callback.expose())?;
        let matches =
            callback.state.as_deref().is_some_and(|state| Secret::from(state) == Secret::from(&*session.state));
        if !matches {
            return Err(Error::new(
                ErrorCode::StateMismatch,
                "the callback's `state` is not the session's: drop the callback, somebody else may have made it",
            ));
        }
        callback.check_issuer(authorization, session.issuer.as_deref())?;
        if !self.used_states.insert(&session.state) {
            return Err(Error::new(
                ErrorCode::StateMismatch,
                "this callback was used already: start again with `authorization_url`",
            ));
        }
        if let Some(error) = callback.error {
            return Err(authorization_error(&error));
        }
        let Some(code) = callback.code else {
            return Err(Error::new(ErrorCode::UnexpectedAnswer, "the callback has neither `code` nor `error`"));
        };
        let want = Want { subject: exchange.subject.clone(), scope: None };
        let key = self.key(&want);
        let shared_store = self.config.store.is_some();
        let Some(entry) = self.cache.entry(key, shared_store) else {
            return Err(Error::new(ErrorCode::CacheFull, "the cache is full: raise `max_keys` in `policy`"));
        };
        let rare = entry.rare();
        rare.on_rotated = exchange.on_rotated;
        // A person has just spoken: what was refused before no longer counts.
        rare.trouble = None;
        let code = Code {
            code: Secret::new(code),
            redirect_uri: session.redirect_uri,
            verifier: Secret::new(session.verifier),
        };
        self.give_way(key, turn);
        let flight = self.take_off(key, Work::exchange(&want, code), None, turn);
        Ok(Answer::Wait { flight, until: deadline })
    }

    /// Takes over a refresh token that the host's database holds. One that we have already is left alone: it may be newer.
    fn adopt(&mut self, adopt: Adopt) -> Result<Answer, Error> {
        if self.config.grant != Grant::AuthorizationCode {
            return Err(invalid(format!(
                "the profile `{}` has no refresh tokens: its grant is `{}`",
                self.config.profile,
                self.config.grant.as_str()
            )));
        }
        let token = adopt.refresh_token;
        if token.expose().is_empty() || !token.expose().chars().all(grammar::is_vschar) {
            return Err(invalid(
                "`refresh_token` is empty or holds a character that is not printable ASCII: trim a trailing line break",
            ));
        }
        let key = self.key(&adopt.want);
        let shared_store = self.config.store.is_some();
        let Some(entry) = self.cache.entry(key, shared_store) else {
            return Err(Error::new(ErrorCode::CacheFull, "the cache is full: raise `max_keys` in `policy`"));
        };
        let rare = entry.rare();
        rare.on_rotated = adopt.on_rotated;
        let known = rare.refresh.as_ref().is_some_and(|refresh| refresh.state != RefreshState::Exhausted);
        if !known {
            rare.trouble = None;
            rare.refresh = Some(Refresh { token, state: RefreshState::Unspent, scope: None });
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
                _ => continue,
            };
            if value.contains('\u{fffd}') {
                return Err(rejected_callback("holds bytes that are not UTF-8"));
            }
            if slot.replace(value.into_owned()).is_some() {
                return Err(rejected_callback("names `code`, `state`, `iss` or `error` twice"));
            }
        }
        if callback.code.is_some() && callback.error.is_some() {
            return Err(rejected_callback("has both `code` and `error`"));
        }
        Ok(callback)
    }

    /// Compares `iss` with the issuer that the browser was sent to, on errors too (RFC 9207 section 2.4, STD-70 to STD-73).
    fn check_issuer(&self, authorization: &Authorization, expected: Option<&str>) -> Result<(), Error> {
        let why = match (&self.iss, expected) {
            (Some(iss), Some(expected)) if iss != expected => {
                "names another issuer than the one that the browser was sent to"
            }
            (None, Some(_)) if authorization.iss_required => "names no issuer, and this server always does",
            _ => return Ok(()),
        };
        Err(Error::new(
            ErrorCode::IssuerMismatch,
            format!("the callback {why}: drop it, its code may belong to another server"),
        ))
    }
}

impl UsedStates {
    /// Notes a state as used; false if it was already.
    fn insert(&mut self, state: &str) -> bool {
        let digest = Sha256::digest(state.as_bytes()).into();
        if self.0.contains(&digest) {
            return false;
        }
        if self.0.len() >= USED_STATES {
            self.0.pop_front();
        }
        self.0.push_back(digest);
        true
    }
}

fn read_session(session: &Secret, config: &Config) -> Result<Session, Error> {
    let bytes = URL_SAFE_NO_PAD.decode(session.expose()).unwrap_or_default();
    let session: Option<Session> = serde_json::from_slice(&bytes).ok();
    let Some(session) = session.filter(|session| session.version == SESSION_VERSION) else {
        return Err(invalid("`session` is not one that `authorization_url` gave: keep it in the web session as it is"));
    };
    if Some(&session.client_id) != config.client_id.as_ref() || session.token_endpoint != token_endpoint(config) {
        return Err(invalid("`session` was made by another client or for another server (RFC 9700 section 4.4)"));
    }
    Ok(session)
}

fn token_endpoint(config: &Config) -> &str {
    config.token_endpoint.as_ref().map_or("", |endpoint| endpoint.as_str())
}

/// An error that came through the browser (RFC 6749 section 4.1.2.1, STD-41).
fn authorization_error(code: &str) -> Error {
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
