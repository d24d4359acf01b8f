//! Tokens as hosts see them.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

use serde::{Serialize, Serializer};

use crate::cache::Key;
use crate::clock::Now;
use crate::secret::Secret;
use crate::step::Call;

/// A token as it arrived, before anything is cached. [`Exchange::finish`](crate::Exchange::finish) gives one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TokenSet {
    /// The token, never looked into (RFC 9068 section 6).
    pub access_token: Secret,
    /// Its type with the registered spelling, as in `Bearer`.
    pub token_type: String,
    /// How long it lives from the start of the request, in milliseconds, less the answer's `Age`. Zero or
    /// less: it is good for one use at most.
    pub lifetime: i64,
    /// The scope that was granted, space-separated: the one asked for if the answer has none
    /// (RFC 6749 section 5.1).
    pub scope: Option<String>,
    /// A new refresh token, if the answer has one.
    pub refresh_token: Option<Secret>,
    /// Both clocks at the start of the request, where the lifetime is anchored.
    pub started: Now,
    /// What was odd about the answer.
    pub oddities: alloc::vec::Vec<crate::notice::NoticeKind>,
}

/// What the hot path needs: good without crossing a language boundary while both clocks are before `recheck`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Lease {
    /// The token and what goes with it.
    pub token: Arc<Token>,
    /// Ask the core again when either clock has reached this. A point that has passed means: answer nobody else from it.
    pub recheck: Now,
    /// The API call that this lease was handed out for.
    pub call: Call,
}

/// A token that can be put on requests.
#[derive(Clone)]
#[non_exhaustive]
pub struct Token {
    /// The cache key it belongs to.
    pub key: Key,
    /// Counts the tokens of this key, from 1.
    pub generation: u64,
    /// The token itself.
    pub access_token: Secret,
    /// Its type, as in `Bearer`.
    pub token_type: String,
    /// The name of the header it goes into.
    pub header: String,
    /// The value of that header.
    pub authorization: Secret,
    /// The scope that was granted, space-separated.
    pub scope: Option<String>,
    /// When it has run out: either clock decides.
    pub expires: Now,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("key", &self.key)
            .field("generation", &self.generation)
            .field("token_type", &self.token_type)
            .field("scope", &self.scope)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl Serialize for Lease {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        let token = &*self.token;
        let mut lease = serializer.serialize_struct("Lease", 12)?;
        lease.serialize_field("use", token.access_token.expose())?;
        lease.serialize_field("token_type", &token.token_type)?;
        lease.serialize_field("header", &token.header)?;
        lease.serialize_field("authorization", token.authorization.expose())?;
        lease.serialize_field("scope", &token.scope)?;
        lease.serialize_field("key", &token.key)?;
        lease.serialize_field("generation", &token.generation)?;
        lease.serialize_field("expires", &token.expires.boot)?;
        lease.serialize_field("expires_wall", &token.expires.wall)?;
        lease.serialize_field("recheck", &self.recheck.boot)?;
        lease.serialize_field("recheck_wall", &self.recheck.wall)?;
        lease.serialize_field("call", &self.call)?;
        lease.end()
    }
}
