//! What happened, as data. Shells turn it into logs and traces.

use alloc::string::String;

use serde::Serialize;

use crate::cache::Key;
use crate::step::FlightId;

/// Something that happened which an operator may want to see. It never holds a secret.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Notice {
    /// What happened.
    #[serde(flatten)]
    pub kind: NoticeKind,
    /// The cache key it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// The flight it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flight: Option<FlightId>,
}

/// The kinds of notice. In JSON: `{"notice": "fetched", "detail": "cold"}`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "notice", content = "detail", rename_all = "snake_case")]
#[non_exhaustive]
pub enum NoticeKind {
    /// A pause before the next attempt: its end on the boot clock, in milliseconds.
    BackingOff(i64),
    /// The two clocks moved apart by this many milliseconds (wall minus boot).
    ClockJumped(i64),
    /// This machine's clock is ahead of the server's by this many milliseconds (behind it, if negative): see to the time
    /// service. Tokens that other machines left in the shared store are judged by the server's clock from here on.
    ClockSkewed(i64),
    /// A token had no life left when it arrived, or cannot be kept: those who waited get it once.
    DeadOnArrival,
    /// A token was fetched, and why.
    Fetched(Reason),
    /// A caller waits for a request that is already in flight.
    Joined,
    /// Another process's token was taken out of the shared store.
    Adopted,
    /// The answer came out of an HTTP cache, this many milliseconds old (RFC 9111 section 5.1).
    Aged(i64),
    /// The lifetime was longer than ten years and was cut to that.
    LifetimeClamped,
    /// The lifetime is missing from the answer: this many milliseconds are assumed.
    LifetimeAssumed(i64),
    /// The lifetime is missing from the answer and the policy says not to keep such a token.
    NotCached,
    /// A number of the answer was not a plain JSON integer, and was understood all the same.
    LenientNumber,
    /// A new refresh token could not be saved. The reason is one of the error codes.
    PersistFailed,
    /// What the shared store holds was not believed.
    RecordRefused(Distrust),
    /// The API refused a token of this generation.
    Rejected(u64),
    /// The refresh gave nothing newer: backoff applies.
    RenewedNothing,
    /// The refresh token was replaced.
    Rotated,
    /// A token that is still good was served although the last refresh failed.
    ServedWhileFailing,
    /// Fewer scopes were granted than asked for (RFC 6749 section 5.1).
    ScopeNarrowed,
    /// The shared store holds another successor of the refresh token.
    StoreConflict,
    /// The shared store did not answer.
    StoreDown,
    /// The shared store has lost writes: what it holds is older than what it held. What is still known is written anew.
    StoreRolledBack,
    /// The token type is missing from the answer; the profile says which it is.
    TokenTypeAssumed(String),
}

/// Why what the shared store holds was not believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Distrust {
    /// It is the record of another key.
    AnotherKey,
    /// It is not a record, or a part of one.
    Damaged,
    /// A later version of Remint wrote it.
    LaterVersion,
    /// It was changed by somebody without the key, or is in the wrong place.
    NotAuthentic,
    /// It is not encrypted, and ours are.
    NotEncrypted,
    /// It was encrypted with a key that is not among `store_keys`.
    UnknownKeyId,
}

/// Why a token was fetched.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// There was none, or none with life left.
    Cold,
    /// A person authorized the client.
    Exchanged,
    /// A caller insisted.
    Forced,
    /// It was inside the hard margin.
    Hard,
    /// A caller needs more life than it had.
    MinTtl,
    /// The API refused the one there was.
    Rejected,
    /// It was inside the soft margin.
    Soft,
}
