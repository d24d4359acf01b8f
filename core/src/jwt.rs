//! JSON Web Tokens of our own (RFC 7519) that a key of the host's signs: assertions, proofs and request objects.

use alloc::borrow::ToOwned;
use alloc::string::String;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::config::Algorithm;
use crate::error::{Error, ErrorCode};
use crate::secret::Secret;

/// A JWT that waits for its signature. Good for one attempt: a server may refuse a `jti` that it has seen before (STD-87, STD-119).
#[derive(Clone, Debug)]
#[must_use = "it proves nothing until it is signed"]
pub struct UnsignedJwt {
    /// The host's name for the key.
    pub key: String,
    /// What to sign with.
    pub algorithm: Algorithm,
    /// What to sign: header and claims, which are ASCII.
    pub input: String,
}

impl UnsignedJwt {
    pub(crate) fn new(key: &str, algorithm: Algorithm, header: &impl Serialize, claims: &impl Serialize) -> Self {
        Self { key: key.to_owned(), algorithm, input: input(header, claims) }
    }

    /// The JWT with its signature: base64url without padding, for ECDSA the raw r and s (RFC 7518 section 3.4).
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

/// Header and claims, each encoded, with the dot between them.
pub(crate) fn input(header: &impl Serialize, claims: &impl Serialize) -> String {
    let mut input = encoded(header);
    input.push('.');
    input.push_str(&encoded(claims));
    input
}

/// In one exact allocation: a grown string would leave a copy of what proves who we are.
pub(crate) fn joined(input: String, signature: &str) -> Secret {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn unsigned(algorithm: Algorithm) -> UnsignedJwt {
        UnsignedJwt { key: "k".into(), algorithm, input: "a.b".into() }
    }

    #[test]
    fn a_signature_of_another_kind_is_refused_with_its_cause_std_93() {
        let der = URL_SAFE_NO_PAD.encode([&[0x30, 0x45][..], &[1; 69]].concat());
        let error = unsigned(Algorithm::Es256).signed(&der).unwrap_err();
        assert!(error.hint().unwrap().contains("r and s"), "{error}");
        let error = unsigned(Algorithm::Rs256).signed(&URL_SAFE_NO_PAD.encode([1; 128])).unwrap_err();
        assert!(error.hint().unwrap().contains("2048"), "{error}");
        assert!(unsigned(Algorithm::EdDsa).signed(&URL_SAFE_NO_PAD.encode([1; 63])).is_err());
        assert!(unsigned(Algorithm::EdDsa).signed("not base64!").is_err());
    }

    #[test]
    fn a_signature_goes_behind_the_second_dot() {
        let signature = URL_SAFE_NO_PAD.encode([7; 64]);
        let jwt = unsigned(Algorithm::Es256).signed(&signature).unwrap();
        assert!(jwt.expose().split('.').eq(["a", "b", &*signature]));
    }
}
