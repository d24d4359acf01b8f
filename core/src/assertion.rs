//! Assertions: signed statements of who the client is, or of whom it may act for (RFC 7521, RFC 7523).

use alloc::collections::BTreeMap;
use alloc::string::String;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use serde::Serialize;
use sha2::Sha256;

use crate::config::{Config, Credential};
use crate::error::{Error, ErrorCode};
use crate::jwt::{UnsignedJwt, input, joined};
use crate::secret::Secret;

/// `client_assertion_type` of every assertion (RFC 7523 section 2.2, STD-86).
pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    typ: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: String,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(flatten)]
    more: BTreeMap<&'a str, &'a str>,
}

impl Config {
    /// A fresh assertion for a client that signs with a key of the host's (`private_key_jwt`); none for any other.
    ///
    /// `wall` is Unix time in milliseconds, `jti` a text that nobody has seen before.
    #[must_use]
    pub fn client_assertion(&self, wall: i64, jti: String) -> Option<UnsignedJwt> {
        let key = self.signing_key.as_ref().filter(|_| self.credential == Credential::Key)?;
        let algorithm = key.algorithm();
        let header = Header { alg: algorithm.as_str(), typ: self.client_assertion_type(), kid: key.id.as_deref() };
        Some(UnsignedJwt::new(&key.name, algorithm, &header, &self.client_claims(wall, jti)))
    }

    /// An assertion signed with the client secret (`client_secret_jwt`).
    pub(crate) fn secret_assertion(&self, secret: &Secret, wall: i64, jti: String) -> Result<Secret, Error> {
        let header = Header { alg: "HS256", typ: self.client_assertion_type(), kid: None };
        let input = input(&header, &self.client_claims(wall, jti));
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
            .map_err(|_| Error::new(ErrorCode::InvalidOption, "`client_secret` is not accepted as a key: check it"))?;
        mac.update(input.as_bytes());
        Ok(joined(input, &URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())))
    }

    /// A fresh assertion that is the grant (RFC 7523 section 2.1, STD-91), if the client signs it itself.
    #[must_use]
    pub fn grant_assertion(
        &self,
        subject: Option<&str>,
        scope: &[String],
        wall: i64,
        jti: String,
    ) -> Option<UnsignedJwt> {
        let rules = self.grant_assertion.as_ref().filter(|rules| !rules.provided)?;
        let key = self.signing_key.as_ref()?;
        let algorithm = key.algorithm();
        let issuer = rules.issuer.as_deref().or(self.client_id.as_deref()).unwrap_or_default();
        let iat = wall.div_euclid(1000);
        let claims = Claims {
            iss: issuer,
            sub: rules.subject.as_deref().or(subject).unwrap_or(issuer),
            aud: rules.audience.as_deref().or(self.assertion.audience.as_deref()).unwrap_or_default(),
            jti,
            iat,
            exp: iat.saturating_add(LIFETIME),
            scope: (rules.scope && !scope.is_empty()).then(|| scope.join(" ")),
            more: rules.claims.iter().map(|(name, value)| (&**name, &**value)).collect(),
        };
        let header = Header { alg: algorithm.as_str(), typ: Some("JWT"), kid: key.id.as_deref() };
        Some(UnsignedJwt::new(&key.name, algorithm, &header, &claims))
    }

    fn client_assertion_type(&self) -> Option<&'static str> {
        self.assertion.typed.then_some("client-authentication+jwt")
    }

    fn client_claims(&self, wall: i64, jti: String) -> Claims<'_> {
        let client_id = self.client_id.as_deref().unwrap_or_default();
        let iat = wall.div_euclid(1000);
        Claims {
            iss: client_id,
            sub: client_id,
            aud: self.assertion.audience.as_deref().unwrap_or_default(),
            jti,
            iat,
            exp: iat.saturating_add(LIFETIME),
            scope: None,
            more: BTreeMap::new(),
        }
    }
}

/// How long an assertion is good, in seconds: enough for one request on a slow day (STD-87).
const LIFETIME: i64 = 60;
/// A key for HS256 has at least the hash's size (RFC 7518 section 3.2, STD-94).
pub(crate) const SECRET_LEAST: usize = 32;
