//! Tokens as they arrive and as hosts see them.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Serialize, Serializer};

use crate::cache::Key;
use crate::client_auth;
use crate::clock::Now;
use crate::config::{Config, Grant};
use crate::notice::NoticeKind;
use crate::response::NOT_APPLICABLE;
use crate::secret::Secret;
use crate::step::Call;

/// A token as it arrived, before anything is cached. [`Exchange::finish`](crate::Exchange::finish) gives one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TokenSet {
    /// The token, never looked into (RFC 9068 section 6).
    pub access_token: Secret,
    /// Its type with the registered spelling, as in `Bearer`.
    pub token_type: Cow<'static, str>,
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
    pub oddities: Vec<NoticeKind>,
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
    /// The API call of everybody who is answered from this lease later.
    pub lease_call: Call,
}

/// A token that can be put on requests.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Token {
    /// The cache key it belongs to.
    pub key: Key,
    /// Counts the tokens of this key, from 1.
    pub generation: u64,
    /// The token itself.
    pub access_token: Secret,
    /// The scope that was granted, space-separated.
    pub scope: Option<Arc<str>>,
    /// When it has run out: either clock decides.
    pub expires: Now,
    pub(crate) kind: Arc<TokenKind>,
}

/// What all tokens of a client that are of one type have in common.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct TokenKind {
    token_type: String,
    header: String,
    scheme: Option<String>,
    /// The user name of HTTP Basic, for API tokens that go there as the password.
    user: Option<String>,
}

impl TokenKind {
    pub(crate) fn new(config: &Config) -> Self {
        let scheme = config.attach.scheme.clone();
        let basic = config.grant == Grant::ApiToken && scheme.as_deref() == Some("Basic");
        Self {
            token_type: scheme.clone().unwrap_or_else(|| "Bearer".into()),
            header: config.attach.header.clone(),
            scheme,
            user: if basic { config.client_id.clone() } else { None },
        }
    }
}

impl TokenKind {
    /// The same for tokens of a type that the answer told, where that is another one.
    pub(crate) fn of_type(&self, token_type: &str) -> Option<Self> {
        match token_type {
            // It has a scheme of its own (RFC 9449 section 7.1).
            "DPoP" => Some(Self {
                token_type: token_type.into(),
                header: "Authorization".into(),
                scheme: Some(token_type.into()),
                user: None,
            }),
            NOT_APPLICABLE => Some(Self { token_type: token_type.into(), scheme: None, ..self.clone() }),
            _ => None,
        }
    }
}

impl Token {
    /// Whether it is bound to a key (RFC 9449), so that each request needs a proof.
    pub(crate) fn is_bound(&self) -> bool {
        self.kind.token_type == "DPoP"
    }

    /// Whether it may be put on requests at all (RFC 8693 section 2.2.1).
    pub(crate) fn is_for_requests(&self) -> bool {
        self.kind.token_type != NOT_APPLICABLE
    }

    /// Its type, as in `Bearer`.
    #[must_use]
    pub fn token_type(&self) -> &str {
        &self.kind.token_type
    }

    /// The name of the header it goes into.
    #[must_use]
    pub fn header(&self) -> &str {
        &self.kind.header
    }

    /// The value of that header.
    #[must_use]
    pub fn authorization(&self) -> Secret {
        let token = self.access_token.expose();
        match (&self.kind.user, &self.kind.scheme) {
            // The id was checked when the options were read.
            (Some(user), _) => Secret::new(client_auth::basic_raw(user, token).unwrap_or_default()),
            (None, Some(scheme)) => {
                // One exact allocation: a grown string would leave a copy of the token behind.
                let mut value = String::with_capacity(scheme.len().saturating_add(1).saturating_add(token.len()));
                value.push_str(scheme);
                value.push(' ');
                value.push_str(token);
                Secret::new(value)
            }
            (None, None) => Secret::from(token),
        }
    }
}

impl Serialize for Lease {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;

        let token = &*self.token;
        let mut lease = serializer.serialize_struct("Lease", 13)?;
        lease.serialize_field("use", token.access_token.expose())?;
        lease.serialize_field("token_type", token.token_type())?;
        lease.serialize_field("header", token.header())?;
        lease.serialize_field("authorization", token.authorization().expose())?;
        lease.serialize_field("scope", &token.scope.as_deref())?;
        lease.serialize_field("key", &token.key)?;
        lease.serialize_field("generation", &token.generation)?;
        lease.serialize_field("expires", &token.expires.boot)?;
        lease.serialize_field("expires_wall", &token.expires.wall)?;
        lease.serialize_field("recheck", &self.recheck.boot)?;
        lease.serialize_field("recheck_wall", &self.recheck.wall)?;
        lease.serialize_field("call", &self.call)?;
        lease.serialize_field("lease_call", &self.lease_call)?;
        lease.end()
    }
}
