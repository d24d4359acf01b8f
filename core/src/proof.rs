//! Proof of possession (RFC 9449): the key, the proof of each request, and what servers taught us about making them.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::config::{Algorithm, Dpop, KeyShape};
use crate::document::Field;
use crate::error::Error;
use crate::grammar;
use crate::header;
use crate::jwt::UnsignedJwt;
use crate::secret::Secret;
use crate::url::Origin;

#[derive(Serialize)]
struct Header<'a> {
    typ: &'static str,
    alg: &'static str,
    jwk: &'a RawValue,
}

#[derive(Serialize)]
struct Claims<'a> {
    jti: String,
    htm: &'a str,
    htu: String,
    iat: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ath: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
}

/// One request that a proof is for.
pub(crate) struct Proven<'a> {
    pub(crate) method: &'a str,
    pub(crate) url: &'a str,
    /// The token that the request carries; none at the server that gives tokens (STD-122).
    pub(crate) access_token: Option<&'a Secret>,
    pub(crate) nonce: Option<&'a str>,
    pub(crate) wall: i64,
    pub(crate) jti: String,
}

impl Dpop {
    /// A fresh proof for one request (RFC 9449 section 4.2, STD-119 to STD-123).
    pub(crate) fn proof(&self, of: Proven<'_>) -> Option<UnsignedJwt> {
        // The key was read as JSON when the options were.
        let jwk: &RawValue = serde_json::from_str(&self.jwk).ok()?;
        let header = Header { typ: "dpop+jwt", alg: self.algorithm.as_str(), jwk };
        let digest = |token: &Secret| URL_SAFE_NO_PAD.encode(Sha256::digest(token.expose().as_bytes()));
        let claims = Claims {
            jti: of.jti,
            htm: of.method,
            htu: target(of.url),
            iat: of.wall.div_euclid(1000),
            ath: of.access_token.map(digest),
            nonce: of.nonce,
        };
        Some(UnsignedJwt::new(&self.name, self.algorithm, &header, &claims))
    }
}

/// `htu`: the target without query and fragment, scheme and host in lower case, the default port left out, an empty path written
/// as `/` (RFC 9449 section 4.2, RFC 3986 sections 6.2.2 and 6.2.3). Servers compare it after doing the same.
fn target(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let url = url.get(..end).unwrap_or(url);
    let path = url.split_once("://").and_then(|(_, rest)| rest.find('/').and_then(|at| rest.get(at..))).unwrap_or("/");
    match Origin::of_request(url, true) {
        Ok(origin) => {
            let mut target = origin.as_str().to_owned();
            target.push_str(path);
            target
        }
        Err(_) => url.to_owned(),
    }
}

/// Reads a public key (RFC 7517) and gives it back with the members of RFC 7638 alone, in that order.
///
/// A private member, a key of another kind than the algorithm's and a weak RSA key are refused.
pub(crate) fn public_key(field: Field<'_>, algorithm: Algorithm) -> Result<String, Error> {
    let place = field.place.clone();
    let members = field.entries()?;
    if let Some((_, field)) = members.iter().find(|(name, _)| PRIVATE.contains(&&**name)) {
        return Err(field
            .place
            .error("is part of a private key, which belongs nowhere but in the signer: leave it out"));
    }
    let mut texts = BTreeMap::new();
    for (name, field) in members {
        if ["kty", "crv", "x", "y", "n", "e"].contains(&&*name) {
            texts.insert(name, field.filled()?);
        }
    }
    let KeyShape { kind, curve, members: names, size } = algorithm.key_shape();
    let is = |name: &str, wanted: &str| texts.get(name).is_some_and(|text| text == wanted);
    if !is("kty", kind) || curve.is_some_and(|curve| !is("crv", curve)) {
        let wanted =
            curve.map_or_else(|| format!("`kty` `{kind}`"), |curve| format!("`kty` `{kind}` with `crv` `{curve}`"));
        return Err(place.error(format!("does not fit the algorithm `{}`, which needs {wanted}", algorithm.as_str())));
    }
    let mut jwk = Vec::with_capacity(names.len());
    for name in names {
        let Some(text) = texts.get(*name) else {
            return Err(place.member(name).error("is missing: it is part of the public key"));
        };
        let bytes = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
        if !matches!(*name, "crv" | "kty") && bytes.is_empty() {
            return Err(place.member(name).error("is not base64url without padding (RFC 7515 section 2)"));
        }
        if *name == "n" && bytes.len() < size {
            return Err(place.member(name).error("is shorter than 2048 bits, which is weak: use a longer key"));
        }
        jwk.push(format!("\"{name}\":\"{text}\""));
    }
    Ok(format!("{{{}}}", jwk.join(",")))
}

/// The thumbprint of a key whose members are those of RFC 7638 section 3.2, in that order (STD-131).
pub(crate) fn thumbprint(jwk: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(jwk.as_bytes()))
}

/// What servers told us on the way, by origin: the nonce to use next (RFC 9449 section 8.2), and how far their clock is from ours.
#[derive(Default)]
pub(crate) struct Servers(BTreeMap<Origin, Server>);

#[derive(Default)]
struct Server {
    nonce: Option<String>,
    /// Milliseconds that its clock is ahead of ours.
    ahead: i64,
}

impl Servers {
    /// Takes note of any answer's `DPoP-Nonce` and `Date` (STD-125, STD-139). Says whether another proof is worth a try: a nonce counts
    /// even if it is known by now, since another request may have learned it after the refused proof was made.
    pub(crate) fn learn(&mut self, origin: &Origin, headers: &[(String, String)], wall: i64) -> bool {
        let mut nonces = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("dpop-nonce"));
        // More than one, or one outside of the grammar, is none (STD-127).
        let nonce = match (nonces.next(), nonces.next()) {
            (Some((_, nonce)), None) if is_nonce(nonce) => Some(nonce),
            _ => None,
        };
        let date = header::first(headers, "date").and_then(|text| header::date(text, wall));
        // A date has no fractions of a second, and an answer takes its time.
        let ahead = date
            .map(|date| date.saturating_sub(wall))
            .map(|ahead| if ahead.saturating_abs() < SKEW { 0 } else { ahead });
        if !self.0.contains_key(origin) {
            if nonce.is_none() && ahead.is_none_or(|ahead| ahead == 0) {
                return false;
            }
            if self.0.len() >= SERVERS {
                self.0.pop_first();
            }
        }
        let server = self.0.entry(origin.clone()).or_default();
        let mut changed = nonce.is_some();
        if let Some(nonce) = nonce {
            server.nonce = Some(nonce.clone());
        }
        if let Some(ahead) = ahead.filter(|ahead| ahead.abs_diff(server.ahead) >= SKEW.unsigned_abs()) {
            server.ahead = ahead;
            changed = true;
        }
        changed
    }

    pub(crate) fn nonce(&self, origin: &Origin) -> Option<&str> {
        self.0.get(origin)?.nonce.as_deref()
    }

    /// What the server's clock shows when ours shows `wall`.
    pub(crate) fn wall(&self, origin: Option<&Origin>, wall: i64) -> i64 {
        wall.saturating_add(origin.and_then(|origin| self.0.get(origin)).map_or(0, |server| server.ahead))
    }
}

/// `NQCHAR` (RFC 6749 appendix A, RFC 9449 section 8.1), and not too long to carry along.
fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.len() <= 1024 && text.chars().all(grammar::is_scope)
}

/// How many servers are remembered.
const SERVERS: usize = 256;
/// A clock that is off by less than this is taken to be right: assertions and proofs are good for as long.
const SKEW: i64 = 10_000;
/// Members that only a private or shared key has (RFC 7518 section 6).
const PRIVATE: &[&str] = &["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_neither_query_nor_fragment_std_121() {
        assert_eq!(target("https://API.example.com:443/a/b?c=d#e"), "https://api.example.com/a/b");
        assert_eq!(target("https://api.example.com"), "https://api.example.com/");
        assert_eq!(target("https://api.example.com?c=d"), "https://api.example.com/");
        assert_eq!(target("https://api.example.com:8443/%7Ea"), "https://api.example.com:8443/%7Ea");
    }

    #[test]
    fn the_thumbprint_of_rfc_7638_section_3_1() {
        let jwk = r#"{"e":"AQAB","kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}"#;
        assert_eq!(thumbprint(jwk), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn nonces_are_kept_per_server_and_refused_if_there_are_two_std_126_std_127() {
        let origin = |text| Origin::parse(text, false).unwrap();
        let (a, b) = (origin("https://a.example"), origin("https://b.example"));
        let nonce = |text: &str| ("DPoP-Nonce".to_owned(), text.to_owned());
        let mut servers = Servers::default();
        assert!(servers.learn(&a, &[nonce("n1")], 0));
        assert!(servers.learn(&a, &[nonce("n1")], 0));
        assert!(!servers.learn(&a, &[nonce("n2"), nonce("n3")], 0));
        assert!(!servers.learn(&b, &[nonce("with space")], 0));
        assert_eq!((servers.nonce(&a), servers.nonce(&b)), (Some("n1"), None));
    }
}
