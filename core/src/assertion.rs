//! Client assertions: a signed statement of who the client is (RFC 7521 section 4.2, RFC 7523 sections 2.2 and 3).

use alloc::borrow::ToOwned;
use alloc::string::String;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use serde::Serialize;
use sha2::Sha256;

use crate::clock::{Entropy, Now};
use crate::config::{Algorithm, Config, Credential};
use crate::entropy::Stream;
use crate::error::{Error, ErrorCode};
use crate::secret::Secret;

/// `client_assertion_type` of every assertion (RFC 7523 section 2.2, STD-86).
pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A client assertion that waits for its signature. Good for one attempt: a server may refuse a `jti` that it has
/// seen before (STD-87).
#[derive(Clone, Debug)]
#[must_use = "it proves nothing until it is signed"]
pub struct Assertion {
    /// The host's name for the key.
    pub key: String,
    /// What to sign with.
    pub algorithm: Algorithm,
    /// What to sign: header and claims, which are ASCII.
    pub input: String,
}

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
}

impl Config {
    /// A fresh assertion, for a client that signs with a key of the host's (`private_key_jwt`); none for any other.
    #[must_use]
    pub fn assertion(&self, now: Now, entropy: &Entropy) -> Option<Assertion> {
        let Credential::Key(key) = &self.credential else { return None };
        let input = self.signing_input(key.algorithm.as_str(), key.id.as_deref(), now, entropy);
        Some(Assertion { key: key.name.clone(), algorithm: key.algorithm, input })
    }

    /// An assertion signed with the client secret (`client_secret_jwt`).
    pub(crate) fn secret_assertion(&self, secret: &Secret, now: Now, entropy: &Entropy) -> Result<Secret, Error> {
        let input = self.signing_input("HS256", None, now, entropy);
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
            .map_err(|_| Error::new(ErrorCode::InvalidOption, "`client_secret` is not accepted as a key: check it"))?;
        mac.update(input.as_bytes());
        Ok(joined(input, &URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())))
    }

    fn signing_input(&self, alg: &'static str, kid: Option<&str>, now: Now, entropy: &Entropy) -> String {
        let client_id = self.client_id.as_deref().unwrap_or_default();
        let iat = now.wall.div_euclid(1000);
        let rules = &self.assertion;
        let header = Header { alg, typ: rules.typed.then_some("client-authentication+jwt"), kid };
        let claims = Claims {
            iss: client_id,
            sub: client_id,
            aud: rules.audience.as_deref().unwrap_or_default(),
            jti: Stream::new(entropy).text(),
            iat,
            exp: iat.saturating_add(LIFETIME),
        };
        let mut input = encoded(&header);
        input.push('.');
        input.push_str(&encoded(&claims));
        input
    }
}

impl Assertion {
    /// The assertion with its signature: base64url without padding, for ECDSA the raw r and s (RFC 7518 section 3.4).
    ///
    /// # Errors
    /// `host_error` if the signature is none of this algorithm, with the likely cause.
    pub fn signed(self, signature: &str) -> Result<Secret, Error> {
        let bytes = URL_SAFE_NO_PAD.decode(signature).map_err(|_| {
            refused("is not base64url without padding (RFC 7515 section 2)").with_hint("encode the raw bytes that way")
        })?;
        match (self.algorithm, bytes.len(), bytes.first()) {
            (Algorithm::Es256 | Algorithm::EdDsa, 64, _) | (Algorithm::Es384, 96, _) => {}
            (Algorithm::Rs256 | Algorithm::Ps256, 256..=2048, _) => {}
            (Algorithm::Rs256 | Algorithm::Ps256, ..) => {
                return Err(
                    refused("is shorter than 256 bytes").with_hint("the RSA key is weak: use one of 2048 bits or more")
                );
            }
            (Algorithm::Es256 | Algorithm::Es384, _, Some(0x30)) => {
                return Err(refused("is in DER")
                    .with_hint("ask the signer for r and s as they are (IEEE P1363, RFC 7518 section 3.4)"));
            }
            _ => {
                return Err(
                    refused("has another length than the algorithm's").with_hint("see whether key and `alg` fit")
                );
            }
        }
        Ok(joined(self.input, signature))
    }
}

/// In one exact allocation: a grown string would leave a copy of what proves who we are.
fn joined(input: String, signature: &str) -> Secret {
    let mut jwt = String::with_capacity(input.len().saturating_add(1).saturating_add(signature.len()));
    jwt.push_str(&input);
    jwt.push('.');
    jwt.push_str(signature);
    Secret::new(jwt)
}

fn encoded(part: &impl Serialize) -> String {
    // Serializing plain structs into a vector has no way to fail.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(part).unwrap_or_default())
}

fn refused(why: &str) -> Error {
    Error::new(ErrorCode::HostError, "the signature that the host gave ".to_owned() + why)
}

/// How long an assertion is good, in seconds: enough for one request on a slow day (STD-87).
const LIFETIME: i64 = 60;
/// A key for HS256 has at least the hash's size (RFC 7518 section 3.2, STD-94).
pub(crate) const SECRET_LEAST: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn assertion(algorithm: Algorithm) -> Assertion {
        Assertion { key: "k".into(), algorithm, input: "a.b".into() }
    }

    #[test]
    fn a_signature_of_another_kind_is_refused_with_its_cause_std_93() {
        let der = URL_SAFE_NO_PAD.encode([&[0x30, 0x45][..], &[1; 69]].concat());
        let error = assertion(Algorithm::Es256).signed(&der).unwrap_err();
        assert!(error.hint().unwrap().contains("r and s"), "{error}");
        let error = assertion(Algorithm::Rs256).signed(&URL_SAFE_NO_PAD.encode([1; 128])).unwrap_err();
        assert!(error.hint().unwrap().contains("2048"), "{error}");
        assert!(assertion(Algorithm::EdDsa).signed(&URL_SAFE_NO_PAD.encode([1; 63])).is_err());
        assert!(assertion(Algorithm::EdDsa).signed("not base64!").is_err());
    }

    #[test]
    fn a_signature_goes_behind_the_second_dot() {
        let signature = URL_SAFE_NO_PAD.encode([7; 64]);
        let jwt = assertion(Algorithm::Es256).signed(&signature).unwrap();
        assert!(jwt.expose().split('.').eq(["a", "b", &*signature]));
    }
}
