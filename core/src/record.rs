//! What a shared store keeps for one cache key: a record that the core alone writes and reads.

use alloc::string::String;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::cache::{Held, Refresh};
use crate::secret::{Secret, expose};

/// The version of the record's format. A record of a later one is not read.
const VERSION: u32 = 1;

/// One key's record, as JSON text. Instants are Unix milliseconds: no other machine shares our boot clock.
#[derive(Deserialize, Serialize)]
pub(crate) struct Record {
    version: u32,
    pub(crate) generation: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<StoredToken>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refresh: Option<StoredRefresh>,
    /// The fingerprint of the refresh token that somebody is about to send: if it is still here later, its fate is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) intent: Option<String>,
    /// The fingerprint of the refresh token that this record's one succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) predecessor: Option<String>,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct StoredToken {
    #[serde(serialize_with = "expose")]
    pub(crate) access_token: Secret,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scope: Option<String>,
    /// Its type, if that is not the profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token_type: Option<String>,
    pub(crate) expires: i64,
    pub(crate) life: i64,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct StoredRefresh {
    #[serde(serialize_with = "expose")]
    pub(crate) token: Secret,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scope: Option<String>,
}

impl Record {
    pub(crate) fn new(generation: u64, held: Option<&Held>, refresh: Option<&Refresh>) -> Self {
        Self {
            version: VERSION,
            generation,
            token: held.map(|held| StoredToken {
                access_token: held.token.access_token.clone(),
                scope: held.token.scope.as_deref().map(String::from),
                token_type: (held.token.is_bound() || !held.token.is_for_requests())
                    .then(|| held.token.token_type().into()),
                expires: held.token.expires.wall,
                life: held.life,
            }),
            refresh: refresh
                .map(|refresh| StoredRefresh { token: refresh.token.clone(), scope: refresh.scope.clone() }),
            intent: None,
            predecessor: None,
        }
    }

    /// Reads a record; none if it is damaged or of a version that we don't know.
    pub(crate) fn read(text: &Secret) -> Option<Self> {
        serde_json::from_str(text.expose()).ok().filter(|record: &Self| record.version == VERSION)
    }

    pub(crate) fn to_text(&self) -> Secret {
        // Serializing plain structs into a string has no way to fail.
        Secret::new(serde_json::to_string(self).unwrap_or_default())
    }
}

/// A name for a refresh token that does not give it away. Refresh tokens are long and random: no dictionary helps.
pub(crate) fn fingerprint(token: &Secret) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(token.expose().as_bytes()))
}
