//! The server's public keys (RFC 7517): asked for once, shared by all that wait for them, and read anew when one is unknown.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::{mem, str};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::config::Algorithm;
use crate::error::{Error, ErrorCode};
use crate::flight::What;
use crate::header;
use crate::json::{Object, Value};
use crate::machine::{Core, Turn};
use crate::request::HttpRequest;
use crate::response::{HttpResponse, Refusal, Verdict};
use crate::step::FlightId;

/// What is known of the server's keys.
#[derive(Default)]
pub(crate) struct ServerKeys {
    keys: Vec<Jwk>,
    /// When they were read, on the boot clock.
    since: Option<i64>,
    /// A request is in the air.
    asked: bool,
    /// Who goes on when it is answered.
    waiting: Vec<FlightId>,
}

/// A key that may check signatures.
struct Jwk {
    id: Option<String>,
    /// The only algorithm that it is for, if it says so.
    algorithm: Option<String>,
    /// The members that any kind of key has (RFC 7638 section 3.2).
    members: BTreeMap<&'static str, String>,
}

/// What a signature says about its key.
pub(crate) struct Wanted<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) id: Option<&'a str>,
}

impl ServerKeys {
    /// The parent's request is not ours.
    pub(crate) fn forget_requests(&mut self) {
        self.asked = false;
        self.waiting.clear();
    }

    /// The public key that fits, as a JWK with the members of RFC 7638 alone.
    ///
    /// Among several, its name decides (RFC 7515 section 4.1.4); without a name there must be one that fits, and no other.
    fn find(&self, wanted: &Wanted<'_>) -> Option<String> {
        let is_meant = |key: &&Jwk| wanted.id.is_none_or(|id| key.id.as_deref() == Some(id));
        let mut fitting = self.keys.iter().filter(is_meant).filter_map(|key| key.public(wanted.algorithm));
        let first = fitting.next()?;
        if wanted.id.is_none() && fitting.next().is_some() {
            return None;
        }
        Some(first)
    }

    fn is_younger_than(&self, age: i64, now: i64) -> bool {
        self.since.is_some_and(|since| now < since.saturating_add(age))
    }
}

impl Jwk {
    /// A key, unless it is one that no signature can be checked with (RFC 7517 sections 4.2, 4.3 and 5).
    fn read(object: &Object<'_>) -> Option<Self> {
        let text = |name: &str| match object.find(&[name]) {
            Ok(Some(Value::Text(text))) => Ok(Some(text.into_owned())),
            Ok(None) => Ok(None),
            _ => Err(()),
        };
        let is_for_signatures = match text("use").ok()? {
            Some(used) => used == "sig",
            None => true,
        };
        let may_verify = match object.find(&["key_ops"]) {
            Ok(None) => true,
            Ok(Some(Value::Texts(Some(operations)))) => operations.iter().any(|operation| operation == "verify"),
            _ => false,
        };
        if !is_for_signatures || !may_verify {
            return None;
        }
        let mut members = BTreeMap::new();
        for name in ["crv", "e", "kty", "n", "x", "y"] {
            if let Some(value) = text(name).ok()? {
                members.insert(name, value);
            }
        }
        Some(Self { id: text("kid").ok()?, algorithm: text("alg").ok()?, members })
    }

    /// The key as a host gets it, if it is one for this algorithm and not a weak one.
    fn public(&self, algorithm: Algorithm) -> Option<String> {
        if self.algorithm.as_deref().is_some_and(|only| only != algorithm.as_str()) {
            return None;
        }
        let shape = algorithm.key_shape();
        let mut jwk = Vec::with_capacity(shape.members.len());
        for name in shape.members {
            let text = self.members.get(name)?;
            let is_right = match *name {
                "kty" => text == shape.kind,
                "crv" => Some(&**text) == shape.curve,
                name => {
                    let length = URL_SAFE_NO_PAD.decode(text).ok()?.len();
                    match name {
                        "n" => length >= shape.size,
                        "e" => length > 0,
                        _ => length == shape.size,
                    }
                }
            };
            if !is_right {
                return None;
            }
            jwk.push(format!("\"{name}\":\"{text}\""));
        }
        Some(format!("{{{}}}", jwk.join(",")))
    }
}

impl Core {
    /// The key that `wanted` means. None while the server is asked for its keys: `id` goes on then.
    ///
    /// A key that is not among those in hand is looked for once more, since it may be new; not more than once a minute, since
    /// anybody can make up a name (RFC 7517 section 4.5).
    pub(crate) fn server_key(
        &mut self,
        id: FlightId,
        wanted: &Wanted<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<Option<String>, Error> {
        let now = turn.now.boot;
        let keys = &mut self.server_keys;
        if keys.is_younger_than(self.config.policy.jwks_lifetime, now) {
            if let Some(key) = keys.find(wanted) {
                return Ok(Some(key));
            }
            if keys.is_younger_than(AGAIN, now) {
                return Err(unusable(
                    "hold none that the answer can be signed with: drop the callback; if it happens again, see `kid`, `alg` and `use` of the server's keys",
                ));
            }
        }
        if !keys.waiting.contains(&id) {
            keys.waiting.push(id);
        }
        if mem::replace(&mut keys.asked, true) {
            return Ok(None);
        }
        let Some(endpoint) = &self.config.endpoints.jwks else {
            keys.forget_requests();
            return Err(Error::new(
                ErrorCode::InvalidOption,
                "the server's keys are nowhere to be had: name them in `endpoints.jwks`, or use `discovery`",
            ));
        };
        let headers = [("accept", "application/jwk-set+json, application/json".into())].into();
        let request = HttpRequest { method: "GET", url: endpoint.as_str().into(), headers, body: None };
        self.dispatch(id, request, What::Keys, turn);
        Ok(None)
    }

    pub(crate) fn keys_answered(&mut self, response: &HttpResponse<'_>, turn: &mut Turn<'_>) {
        let endpoint = self.config.endpoints.jwks.clone();
        self.learn(endpoint.as_ref(), response.headers, turn.now);
        match read_keys(response, self.config.policy.answer_cap) {
            Ok(keys) => {
                self.server_keys.keys = keys;
                self.server_keys.since = Some(turn.now.boot);
                self.keys_are_here(None, turn);
            }
            Err(error) => {
                let verdict = match error.code() {
                    ErrorCode::ServerUnavailable => Verdict::Transient,
                    _ => Verdict::Unexpected,
                };
                let retry_after = header::retry_after(response.headers, turn.now.wall);
                self.keys_are_here(Some(Refusal { verdict, error, retry_after, refresh_token: None }), turn);
            }
        }
    }

    /// Everybody who waits for the keys goes on, or fails like the request.
    pub(crate) fn keys_are_here(&mut self, refusal: Option<Refusal>, turn: &mut Turn<'_>) {
        self.server_keys.asked = false;
        for id in mem::take(&mut self.server_keys.waiting) {
            match &refusal {
                Some(refusal) => self.fail(id, refusal.clone(), turn),
                None if self.unchecked_answer(id).is_some() => self.gather(id, turn),
                None => {}
            }
        }
    }
}

/// Reads a key set (RFC 7517 section 5). Keys of a kind that is not known are left out.
fn read_keys(response: &HttpResponse<'_>, cap: usize) -> Result<Vec<Jwk>, Error> {
    if matches!(response.status, 408 | 429 | 500..=599) {
        let message = "the server that tells its keys has no time for it: try again later";
        return Err(Error::new(ErrorCode::ServerUnavailable, message).with_status(response.status));
    }
    if response.status != 200 {
        return Err(
            unusable("are not there: see `jwks_uri` of its metadata, or `endpoints.jwks`").with_status(response.status)
        );
    }
    if response.body.len() > cap {
        return Err(Error::new(
            ErrorCode::AnswerTooLarge,
            "the server's keys are longer than `answer_cap`: see whether the address is right",
        ));
    }
    let broken = || unusable("are not a JSON object with a list of `keys` (RFC 7517 section 5): see the address");
    let text = str::from_utf8(response.body).map_err(|_| broken())?;
    let set = Object::parse(text.strip_prefix('\u{feff}').unwrap_or(text)).map_err(|_| broken())?;
    let keys = set.objects("keys").map_err(|_| broken())?.ok_or_else(broken)?;
    Ok(keys.iter().filter_map(Jwk::read).collect())
}

fn unusable(why: &str) -> Error {
    Error::new(ErrorCode::MetadataUnusable, format!("the server's keys {why}"))
}

/// How long keys are good before an unknown one is a reason to read them anew, in milliseconds.
const AGAIN: i64 = 60_000;
