//! What a shared store keeps: one record for each key that can be renewed by itself. The core alone writes and reads it.
//!
//! A record is one line of JSON. In the clear it is
//! `{"remint":1,"key":…,"generation":…,"tokens":{…},"refresh":{…},"intent":{…},"spent":[…],"rejected":[…]}`; what is empty is
//! left out. Encrypted, it is `{"remint":1,"generation":…,"key_id":…,"sealed":…}`: `sealed` is base64url of a nonce of 24 bytes and
//! the same JSON under XChaCha20-Poly1305, bound to `remint record 1`, the key's 32 bytes and the generation in eight, big-endian.
//!
//! Instants are Unix milliseconds of the authorization server's clock as far as its `Date` is known: no other machine has
//! our boot clock, and another one's wall clock may be off.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::AeadInPlace as _;
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::cache::Key;
use crate::config::StoreKey;
use crate::error::ErrorCode;
use crate::notice::Distrust;
use crate::secret::{Secret, expose};

/// The version of the record's format. A record of a later one is not read.
const VERSION: u32 = 1;
/// How many rejected tokens, and how many replaced refresh tokens, are remembered.
const REMEMBERED: usize = 16;
const NONCE: usize = 24;
const TAG: usize = 16;

/// One record.
#[derive(Clone, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Record {
    #[serde(rename = "remint")]
    version: u32,
    key: String,
    /// Grows with everything that is written but an intent.
    pub(crate) generation: u64,
    /// What is known of each token, by its cache key. A person's tokens for several resources or scopes share one record.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) tokens: BTreeMap<Key, Kept>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refresh: Option<StoredRefresh>,
    /// Somebody is about to send the refresh token: if this is still here later, its fate is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) intent: Option<Intent>,
    /// The fingerprints of the refresh tokens that were replaced: whoever brings one along comes too late.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) spent: Vec<String>,
    /// The fingerprints of tokens that are no good although they have not run out: refused by the API, invalidated, revoked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) rejected: Vec<String>,
}

/// What is kept of one cache key.
#[derive(Clone, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Kept {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<StoredToken>,
    /// How the last attempt failed, until one succeeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<Failure>,
}

#[derive(Clone, Deserialize, PartialEq, Serialize)]
pub(crate) struct StoredToken {
    #[serde(serialize_with = "expose")]
    pub(crate) access_token: Secret,
    pub(crate) generation: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scope: Option<String>,
    /// Its type, if that is not the profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token_type: Option<String>,
    /// When its life began: the margins are made of the whole of it.
    pub(crate) issued: i64,
    pub(crate) expires: i64,
}

#[derive(Clone, Deserialize, PartialEq, Serialize)]
pub(crate) struct StoredRefresh {
    #[serde(serialize_with = "expose")]
    pub(crate) token: Secret,
    /// The record's generation when it was put there.
    pub(crate) generation: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scope: Option<String>,
}

#[derive(Clone, Deserialize, PartialEq, Serialize)]
pub(crate) struct Intent {
    /// The fingerprint of the refresh token.
    pub(crate) token: String,
    /// Who is about to send it.
    pub(crate) owner: String,
    /// How often it has gone out, this time included, without an end that is known.
    pub(crate) sent: u32,
}

/// A failure that the whole fleet heeds.
#[derive(Clone, Deserialize, PartialEq, Serialize)]
pub(crate) struct Failure {
    pub(crate) code: String,
    pub(crate) passing: bool,
    /// How many attempts failed in a row.
    pub(crate) count: u32,
    /// The next attempt.
    pub(crate) next: i64,
    /// How long that was from when it was written, in milliseconds.
    pub(crate) pause: i64,
    /// It is of those that a person must know of as such.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub(crate) ambiguous: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) oauth_error: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct Sealed {
    #[serde(rename = "remint")]
    version: u32,
    generation: u64,
    key_id: String,
    sealed: String,
}

/// What a text has to have before it is looked at more closely.
#[derive(Deserialize)]
struct Outline {
    #[serde(rename = "remint")]
    version: u32,
    #[serde(default)]
    sealed: Option<serde::de::IgnoredAny>,
}

impl Record {
    pub(crate) fn new(key: Key) -> Self {
        Self { version: VERSION, key: key.to_string(), ..Self::default() }
    }

    /// Reads the record of a key. With keys at hand, one that is not encrypted is not believed.
    pub(crate) fn read(text: &Secret, key: Key, keys: &[StoreKey]) -> Result<Self, Distrust> {
        let text = text.expose();
        let outline: Outline = serde_json::from_str(text).map_err(|_| Distrust::Damaged)?;
        if outline.version > VERSION {
            return Err(Distrust::LaterVersion);
        }
        let record: Self = match (outline.sealed, keys.is_empty()) {
            (Some(_), _) => unseal(text, key, keys)?,
            (None, true) => serde_json::from_str(text).map_err(|_| Distrust::Damaged)?,
            (None, false) => return Err(Distrust::NotEncrypted),
        };
        if record.key != key.to_string() {
            return Err(Distrust::AnotherKey);
        }
        Ok(record)
    }

    /// The record as a text, encrypted with the first of the keys if there is one. The nonce must never come again.
    pub(crate) fn write(&self, key: Key, keys: &[StoreKey], nonce: &[u8; 32]) -> Secret {
        // Serializing plain structs into a string has no way to fail.
        let plain = Zeroizing::new(serde_json::to_string(self).unwrap_or_default());
        match keys.first() {
            Some(with) => seal(&plain, key, self.generation, with, nonce),
            None => Secret::new(plain.as_str()),
        }
    }

    pub(crate) fn token(&self, key: &Key) -> Option<&StoredToken> {
        self.tokens.get(key)?.token.as_ref()
    }

    /// What was said of the refresh token itself, whichever token it was to bring.
    pub(crate) fn refusal(&self) -> Option<&Failure> {
        let refused = [ErrorCode::InvalidGrant, ErrorCode::ReauthorizationRequired].map(ErrorCode::as_str);
        self.tokens.values().filter_map(|kept| kept.failure.as_ref()).find(|failure| refused.contains(&&*failure.code))
    }

    /// Takes out the tokens that are no good, and remembers which they were.
    pub(crate) fn take_out(&mut self, is_rejected: impl Fn(&String) -> bool) {
        let refresh = self.refresh.as_ref().map(|refresh| fingerprint(&refresh.token));
        if let Some(name) = refresh.filter(&is_rejected) {
            self.refresh = None;
            self.intent = None;
            remember(&mut self.rejected, name);
        }
        for kept in self.tokens.values_mut() {
            let token = kept.token.as_ref().map(|token| fingerprint(&token.access_token));
            if let Some(name) = token.filter(&is_rejected) {
                kept.token = None;
                remember(&mut self.rejected, name);
            }
        }
    }
}

/// Adds a fingerprint to others. The oldest go when there are too many.
pub(crate) fn remember(names: &mut Vec<String>, name: String) {
    if !names.contains(&name) {
        names.push(name);
    }
    let surplus = names.len().saturating_sub(REMEMBERED);
    names.drain(..surplus);
}

fn seal(plain: &str, key: Key, generation: u64, with: &StoreKey, nonce: &[u8; 32]) -> Secret {
    let nonce = nonce.first_chunk::<NONCE>().copied().unwrap_or_default();
    let mut buffer = Zeroizing::new(Vec::with_capacity(plain.len().saturating_add(NONCE).saturating_add(TAG)));
    buffer.extend_from_slice(plain.as_bytes());
    let cipher = XChaCha20Poly1305::new((&*with.key).into());
    // It fails for texts of hundreds of gigabytes alone.
    let tag = cipher.encrypt_in_place_detached((&nonce).into(), &bound_to(key, generation), &mut buffer);
    buffer.extend_from_slice(&tag.unwrap_or_default());
    let mut sealed = nonce.to_vec();
    sealed.extend_from_slice(&buffer);
    let sealed =
        Sealed { version: VERSION, generation, key_id: with.id.clone(), sealed: URL_SAFE_NO_PAD.encode(&sealed) };
    Secret::new(serde_json::to_string(&sealed).unwrap_or_default())
}

fn unseal(text: &str, key: Key, keys: &[StoreKey]) -> Result<Record, Distrust> {
    let Sealed { generation, key_id, sealed, .. } = serde_json::from_str(text).map_err(|_| Distrust::Damaged)?;
    let with = keys.iter().find(|known| known.id == key_id).ok_or(Distrust::UnknownKeyId)?;
    let mut bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(sealed).map_err(|_| Distrust::Damaged)?);
    let (nonce, sealed) = bytes.split_first_chunk_mut::<NONCE>().ok_or(Distrust::Damaged)?;
    let (sealed, tag) = sealed.split_last_chunk_mut::<TAG>().ok_or(Distrust::Damaged)?;
    XChaCha20Poly1305::new((&*with.key).into())
        .decrypt_in_place_detached((&*nonce).into(), &bound_to(key, generation), sealed, (&*tag).into())
        .map_err(|_| Distrust::NotAuthentic)?;
    serde_json::from_slice(sealed).map_err(|_| Distrust::Damaged)
}

/// What a sealed record is good for: this key, this generation.
fn bound_to(key: Key, generation: u64) -> Vec<u8> {
    let mut bytes = b"remint record 1".to_vec();
    bytes.extend_from_slice(&key.0);
    bytes.extend_from_slice(&generation.to_be_bytes());
    bytes
}

/// A name for a token that does not give it away. Tokens are long and random: no dictionary helps.
pub(crate) fn fingerprint(token: &Secret) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(token.expose().as_bytes()))
}
