//! Clients, tokens, codes, and the families that a code founds.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::record::fingerprint;

/// A registered client; also the body of `POST clients`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Client {
    pub provider: Option<String>,
    pub client_id: Option<String>,
    pub client_secret: Option<String>,
    pub public: bool,
    pub scopes: Option<Vec<String>>,
    pub redirect_uris: Option<Vec<String>>,
    pub api_token: Option<String>,
    pub tenants: Option<Vec<String>>,
}

#[derive(Clone, Debug)]
pub struct AccessToken {
    pub owner: Owner,
    /// From a user's login: no good for an API that wants a client's own token.
    pub user_login: bool,
    /// Its place in all tokens of the client.
    pub number: u64,
    pub expires: Instant,
    pub revoked: bool,
}

#[derive(Clone, Debug)]
pub struct RefreshToken {
    pub owner: Owner,
    pub expires: Option<Instant>,
    pub rotated: Option<Instant>,
    pub revoked: bool,
    /// The access token that came with it.
    pub access_token: String,
}

#[derive(Clone, Debug)]
pub struct Code {
    pub owner: Owner,
    pub redirect_uri: Option<String>,
    pub challenge: Option<String>,
    pub expires: Instant,
    pub used: bool,
}

/// Whose token it is, and what for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Owner {
    pub provider: &'static str,
    pub client_id: String,
    pub subject: Option<String>,
    pub scope: String,
    /// All tokens that come from one code or one minted refresh token.
    pub family: Option<u64>,
}

/// Which tokens to revoke; also the body of `POST revoke`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Revocation {
    provider: Option<String>,
    client_id: Option<String>,
    subject: Option<String>,
    token_sha256: Option<String>,
    access_tokens: Option<bool>,
    refresh_tokens: bool,
    #[serde(skip)]
    family: Option<u64>,
}

impl Revocation {
    pub fn family(family: Option<u64>) -> Self {
        Self { family, refresh_tokens: true, ..Self::default() }
    }

    fn concerns(&self, token: &str, owner: &Owner) -> bool {
        self.provider.as_deref().is_none_or(|name| name == owner.provider)
            && self.client_id.as_deref().is_none_or(|id| id == owner.client_id)
            && (self.subject.is_none() || self.subject == owner.subject)
            && (self.family.is_none() || self.family == owner.family)
            && self.token_sha256.as_deref().is_none_or(|hash| hash.eq_ignore_ascii_case(&fingerprint(token)))
    }
}

/// All that a lane has given out.
#[derive(Debug, Default)]
pub struct Grants {
    /// Keeps the tokens of two lanes, and of two runs, apart.
    seed: String,
    made: u64,
    families: u64,
    issued: HashMap<String, u64>,
    clients: HashMap<(Option<String>, String), Client>,
    pub access: HashMap<String, AccessToken>,
    pub refresh: HashMap<String, RefreshToken>,
    pub codes: HashMap<String, Code>,
}

impl Grants {
    pub fn new(seed: String) -> Self {
        Self { seed, ..Self::default() }
    }

    /// Registers a client, with what is left out made up.
    pub fn register(&mut self, mut client: Client) -> Client {
        let client_id = client.client_id.get_or_insert_with(|| {
            self.made += 1;
            format!("client-{}", self.made)
        });
        let key = (client.provider.clone(), client_id.clone());
        if client.client_secret.is_none() && !client.public {
            client.client_secret = Some(self.random("cs"));
        }
        self.clients.insert(key, client.clone());
        client
    }

    pub fn client(&self, provider: &str, client_id: &str) -> Option<&Client> {
        let own = (Some(provider.to_owned()), client_id.to_owned());
        let shared = || (None, client_id.to_owned());
        self.clients.get(&own).or_else(|| self.clients.get(&shared()))
    }

    pub fn with_api_token(&self, provider: &str, token: &str) -> Option<&Client> {
        let here = |client: &&Client| client.provider.as_deref().is_none_or(|name| name == provider);
        self.clients.values().filter(here).find(|client| client.api_token.as_deref() == Some(token))
    }

    /// The number of a new family.
    pub fn founded(&mut self) -> Option<u64> {
        self.families += 1;
        Some(self.families)
    }

    pub fn issue(&mut self, owner: Owner, lifetime: Duration, shape: Shape) -> String {
        let number = self.issued.entry(owner.client_id.clone()).or_default();
        *number += 1;
        let number = *number;
        let mut token = self.random("at");
        if shape.jwt {
            token = self.jwt(&owner, &token);
        }
        if let Some(bytes) = shape.bytes {
            let pad = "A".repeat(bytes.saturating_sub(token.len()));
            token.push_str(&pad);
        }
        let access =
            AccessToken { owner, user_login: shape.user_login, number, expires: later(lifetime), revoked: false };
        self.access.insert(token.clone(), access);
        token
    }

    pub fn issue_refresh(&mut self, owner: Owner, lifetime: Option<Duration>, access_token: &str) -> String {
        let token = self.random("rt");
        let refresh = RefreshToken {
            owner,
            expires: lifetime.map(later),
            rotated: None,
            revoked: false,
            access_token: access_token.to_owned(),
        };
        self.refresh.insert(token.clone(), refresh);
        token
    }

    pub fn issue_code(&mut self, code: Code) -> String {
        let value = self.random("code");
        self.codes.insert(value.clone(), code);
        value
    }

    /// Revokes, and says how many access and refresh tokens that were good until now.
    pub fn revoke(&mut self, which: &Revocation) -> (usize, usize) {
        let mut count = (0, 0);
        let now = Instant::now();
        for (token, access) in &mut self.access {
            if which.access_tokens != Some(false) && !access.revoked && which.concerns(token, &access.owner) {
                access.revoked = true;
                count.0 += usize::from(access.expires > now);
            }
        }
        for (token, refresh) in &mut self.refresh {
            if which.refresh_tokens && !refresh.revoked && which.concerns(token, &refresh.owner) {
                refresh.revoked = true;
                count.1 += 1;
            }
        }
        count
    }

    /// Never the same twice; unpredictable enough for a test.
    fn random(&mut self, prefix: &str) -> String {
        self.made += 1;
        let digest = Sha256::digest(format!("{} {} {prefix}", self.seed, self.made));
        format!("{prefix}_{}", URL_SAFE_NO_PAD.encode(digest))
    }

    fn jwt(&self, owner: &Owner, id: &str) -> String {
        let header = r#"{"alg":"RS256","typ":"at+jwt","kid":"local"}"#;
        let claims = serde_json::json!({
            "client_id": owner.client_id, "scope": owner.scope, "jti": fingerprint(id), "iat": 0, "exp": 1,
        });
        let signature = Sha256::digest(id);
        [header.as_bytes(), claims.to_string().as_bytes(), &signature]
            .map(|part| URL_SAFE_NO_PAD.encode(part))
            .join(".")
    }
}

/// What a new access token looks like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shape {
    pub jwt: bool,
    pub bytes: Option<usize>,
    pub user_login: bool,
}

/// S256 of RFC 7636.
pub fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

/// A lifetime in seconds as a duration, at most a hundred years.
pub fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST).min(LONGEST)
}

fn later(by: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(by).unwrap_or(now)
}

const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_rfc_7636_appendix_b() {
        assert_eq!(
            challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }
}
