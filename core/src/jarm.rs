//! Signed answers to authorization requests (JWT Secured Authorization Response Mode for OAuth 2.0, JARM).
//!
//! What the browser brings is one JWT. Its claims are compared with the session first, which only the right browser has; nothing
//! in it is used before the host has checked its signature.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::authorization::{Callback, UsedStates, authorization_error};
use crate::config::{Algorithm, Config, Credential, ResponseAlgorithm};
use crate::error::{Error, ErrorCode};
use crate::exchange::TokenRequest;
use crate::flight::{What, passing};
use crate::json::{Object, Value};
use crate::jwks::Wanted;
use crate::machine::{Core, Turn};
use crate::secret::Secret;
use crate::step::{FlightId, Operation};
use crate::url::EndpointUrl;

/// An answer whose signature was not checked yet, and what its code is good for.
pub(crate) struct SignedAnswer {
    algorithm: ResponseAlgorithm,
    key_id: Option<String>,
    /// Header and claims as they were signed. There is a code in them.
    input: Secret,
    signature: String,
    issuer: String,
    /// In seconds.
    expires: i64,
    not_before: Option<i64>,
    callback: Callback,
    session: Kept,
}

/// What the session says about the code.
pub(crate) struct Kept {
    pub(crate) state: String,
    pub(crate) redirect_uri: String,
    pub(crate) verifier: String,
}

impl SignedAnswer {
    /// Reads a response (JARM sections 2.1 and 2.4) as far as that goes without a key.
    pub(crate) fn read(response: &str, config: &Config, session: Kept) -> Result<Self, Error> {
        let mut parts = response.split('.');
        let (header, claims, signature) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(header), Some(claims), Some(signature), None) => (header, claims, signature),
            (Some(_), Some(_), Some(_), Some(_)) if parts.count() == 1 => {
                return Err(unusable(
                    "is encrypted, which is not supported: register the client without `authorization_encrypted_response_alg`",
                ));
            }
            _ => return Err(unusable("is no JWT of three parts: drop it")),
        };
        let input = Secret::new(format!("{header}.{claims}"));
        let (header, claims) = (decoded(header)?, decoded(claims)?);
        let header = object(&header)?;
        // An extension that must be understood (RFC 7515 section 4.1.11): there is none that is.
        if !matches!(header.find(&["crit"]), Ok(None)) {
            return Err(unusable("has an extension in its header that is not known: drop it"));
        }
        let algorithm = accepted(text(&header, "alg")?.as_deref(), config.authorization_signed_response_alg)?;
        if URL_SAFE_NO_PAD.decode(signature).map_or(true, |bytes| bytes.is_empty()) {
            return Err(unusable("has no signature in base64url: drop it"));
        }
        let claims = object(&claims)?;
        let is_for_us = match claims.find(&["aud"]) {
            Ok(Some(Value::Text(audience))) => Some(&*audience) == config.client_id.as_deref(),
            Ok(Some(Value::Texts(Some(audiences)))) => {
                audiences.iter().any(|audience| Some(&**audience) == config.client_id.as_deref())
            }
            _ => false,
        };
        if !is_for_us {
            return Err(unusable("is not for this client, says its `aud`: drop it"));
        }
        let expires = seconds(&claims, "exp")?.ok_or_else(|| unusable("has no `exp`: drop it"))?;
        Ok(Self {
            algorithm,
            key_id: text(&header, "kid")?,
            input,
            signature: signature.into(),
            issuer: text(&claims, "iss")?.unwrap_or_default(),
            expires,
            not_before: seconds(&claims, "nbf")?,
            callback: Callback {
                code: text(&claims, "code")?,
                state: text(&claims, "state")?,
                error: text(&claims, "error")?,
                ..Callback::default()
            },
            session,
        })
    }

    /// Compares what it says with what the browser was sent out with, before anything else is done.
    pub(crate) fn check(&self, used: &UsedStates, expected: Option<&str>, beside: Option<&str>) -> Result<(), Error> {
        self.callback.check_state(&self.session.state)?;
        if expected != Some(&*self.issuer) {
            return Err(Error::new(
                ErrorCode::IssuerMismatch,
                "the signed answer is of another issuer than the one that the browser was sent to: drop it",
            ));
        }
        // RFC 9207 section 4 (STD-75).
        if beside.is_some_and(|iss| iss != self.issuer) {
            return Err(Error::new(
                ErrorCode::IssuerMismatch,
                "the callback names another issuer beside the signed answer than in it: drop it",
            ));
        }
        used.check(&self.session.state)?;
        match (&self.callback.code, &self.callback.error) {
            (Some(_), Some(_)) => Err(unusable("has both `code` and `error`: drop it")),
            (None, None) => Err(unusable("has neither `code` nor `error`: drop it")),
            _ => Ok(()),
        }
    }

    /// `wall` is what the server's clock shows, in milliseconds.
    fn check_time(&self, wall: i64) -> Result<(), Error> {
        if self.expires.saturating_mul(1000) <= wall {
            return Err(unusable(
                "has run out: let the person try again; if it happens each time, see whether this machine's clock is right",
            ));
        }
        if self.not_before.is_some_and(|begin| begin.saturating_mul(1000) > wall.saturating_add(LEEWAY)) {
            return Err(unusable("is not good yet: see whether this machine's clock is right"));
        }
        Ok(())
    }

    /// Whether the client secret signed it (HS256).
    fn is_signed_with(&self, secret: &Secret) -> bool {
        let signature = URL_SAFE_NO_PAD.decode(&self.signature).unwrap_or_default();
        match Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) {
            Ok(mut mac) => {
                mac.update(self.input.expose().as_bytes());
                mac.verify_slice(&signature).is_ok()
            }
            Err(_) => false,
        }
    }
}

impl Core {
    /// Goes on with an answer whose signature is to be checked. Called again when the server's keys are there.
    pub(crate) fn check_answer(&mut self, id: FlightId, turn: &mut Turn<'_>) {
        if let Err(error) = self.try_to_check(id, turn) {
            self.fail(id, passing(error), turn);
        }
    }

    fn try_to_check(&mut self, id: FlightId, turn: &mut Turn<'_>) -> Result<(), Error> {
        let Some((algorithm, key_id)) =
            self.unchecked_answer(id).map(|answer| (answer.algorithm, answer.key_id.clone()))
        else {
            return Ok(());
        };
        let (key, teller) = match algorithm {
            ResponseAlgorithm::Hs256 => (None, &self.config.token_endpoint),
            ResponseAlgorithm::Key(algorithm) => {
                let wanted = Wanted { algorithm, id: key_id.as_deref() };
                match self.server_key(id, &wanted, turn)? {
                    Some(key) => (Some((key, algorithm)), &self.config.endpoints.jwks),
                    None => return Ok(()),
                }
            }
        };
        let teller = teller.as_ref().map(EndpointUrl::origin);
        let wall = self.servers.wall(teller.as_ref(), turn.now.wall);
        let Some(answer) = self.unchecked_answer(id) else { return Ok(()) };
        answer.check_time(wall)?;
        let Some((key, algorithm)) = key else {
            // The options were checked: there is one.
            let valid = match &self.config.credential {
                Credential::Secret(secret) => answer.is_signed_with(secret),
                _ => false,
            };
            self.answer_checked(id, valid, turn);
            return Ok(());
        };
        let (input, signature) = (answer.input.clone(), answer.signature.clone());
        let until = turn.now.boot.saturating_add(self.config.request_timeout);
        let op = self.operations.add(id, until, What::Verification);
        let alg = algorithm.as_str().into();
        turn.step.operations.push(Operation::Verify { op, flight: id, key, alg, input, signature, until });
        Ok(())
    }

    /// What the browser brought is the server's word, or it is not.
    pub(crate) fn answer_checked(&mut self, id: FlightId, valid: bool, turn: &mut Turn<'_>) {
        let Some(answer) = self.take_unchecked_answer(id) else { return };
        let request = if valid {
            self.believe(answer)
        } else {
            Err(unusable("is not signed by the server: drop it, somebody else may have made it"))
        };
        match request {
            Ok(request) => self.go_on_with(id, request, turn),
            Err(error) => self.fail(id, passing(error), turn),
        }
    }

    fn believe(&mut self, answer: SignedAnswer) -> Result<TokenRequest, Error> {
        let Kept { state, redirect_uri, verifier } = answer.session;
        self.used_states.insert(&state)?;
        match (answer.callback.error, answer.callback.code) {
            (None, Some(code)) => {
                Ok(TokenRequest::Code { code: Secret::new(code), redirect_uri, verifier: Secret::new(verifier) })
            }
            (error, _) => Err(authorization_error(&error.unwrap_or_default())),
        }
    }
}

/// What the header says it is signed with, if that is accepted: never nothing, and a MAC only if the user says so (JARM section 2.4).
fn accepted(name: Option<&str>, told: Option<ResponseAlgorithm>) -> Result<ResponseAlgorithm, Error> {
    let known = match name {
        Some("HS256") => Some(ResponseAlgorithm::Hs256),
        Some(name) => Algorithm::ALL
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, algorithm)| ResponseAlgorithm::Key(*algorithm)),
        None => None,
    };
    match (known, told) {
        (Some(known), Some(told)) if known == told => Ok(known),
        (Some(ResponseAlgorithm::Key(algorithm)), None) => Ok(ResponseAlgorithm::Key(algorithm)),
        _ if name.is_some_and(|name| name.eq_ignore_ascii_case("none")) => {
            Err(unusable("is not signed at all: drop it, somebody else may have made it"))
        }
        _ => Err(unusable(
            "is signed with another algorithm than is accepted: see `authorization_signed_response_alg` here and in the client's registration",
        )),
    }
}

fn decoded(part: &str) -> Result<String, Error> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| unusable("has a part that is not base64url: drop it"))?;
    String::from_utf8(bytes).map_err(|_| unusable("has a part that is not UTF-8: drop it"))
}

fn object(text: &str) -> Result<Object<'_>, Error> {
    Object::parse(text).map_err(|_| unusable("has a part that is not one JSON object: drop it"))
}

fn text(object: &Object<'_>, name: &str) -> Result<Option<String>, Error> {
    match object.find(&[name]) {
        Ok(None) => Ok(None),
        Ok(Some(Value::Text(text))) => Ok(Some(text.into_owned())),
        _ => Err(unusable(format!("has a `{name}` that is no text, or has it twice: drop it"))),
    }
}

fn seconds(object: &Object<'_>, name: &str) -> Result<Option<i64>, Error> {
    match object.find(&[name]) {
        Ok(None) => Ok(None),
        Ok(Some(Value::Number(digits))) => {
            let whole = digits.split_once('.').map_or(digits, |(whole, _)| whole);
            whole.parse().map(Some).map_err(|_| unusable(format!("has a `{name}` that is no point in time: drop it")))
        }
        _ => Err(unusable(format!("has a `{name}` that is no number, or has it twice: drop it"))),
    }
}

fn unusable(why: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorCode::UnexpectedAnswer, format!("the signed answer {}", why.into()))
}

/// By how much a server's clock may be ahead of what is known of it, in milliseconds.
const LEEWAY: i64 = 10_000;
