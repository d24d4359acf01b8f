//! What the core tells a host: the mirror of `remint::step`, where everything is explained.

use remint::{
    Secret, notice,
    step::{self, Done, Pending, Provision, StoreCommand, Verdict},
};

use crate::{event::Header, failure::Failure};

/// All that follows from one event.
///
/// A host first starts the operations, then tells the waiters of every settled flight to ask again, drops the leases
/// that are withdrawn, and shows the notices.
#[derive(Debug, Default, uniffi::Record)]
pub struct Step {
    /// For the asker, if the event was a question.
    pub answer: Option<Answer>,
    /// What to start. Each is answered by one event, or times out.
    pub operations: Vec<Operation>,
    /// Flights that are over: their waiters ask again with `after`.
    pub settled: Vec<String>,
    /// Leases that must not be answered from any more.
    pub withdraw: Vec<Withdraw>,
    /// What happened.
    pub notices: Vec<Notice>,
}

/// The answer to the asker.
#[derive(Debug, uniffi::Enum)]
pub enum Answer {
    /// Here is a token.
    Use { lease: Lease },
    /// Wait until the flight settles or `until` (boot clock) is reached, then ask again with `after`.
    Wait { flight: String, until: i64 },
    /// Put these on the request.
    Headers { headers: Vec<Header> },
    /// The API's answer is not about the token.
    Pass,
    /// Ask again with this `call`, and send the request once more.
    Retry,
    /// The token is good and its proof was not: attach with this call, and send the request once more.
    Again { call: String },
    /// The API's answer is about the token, and another would not help: the answer is the caller's.
    GiveUp,
    /// Where to send the browser, and what the web session keeps until it is back: opaque and secret.
    Authorization { url: String, session: Secret },
    /// A URL with the token in its query, and headers for the answer that carries it.
    InsecureUrl { url: Secret, headers: Vec<Header> },
    /// A person has to answer first.
    Pending { pending: Pending },
    /// What the server knows about a token, as JSON text.
    Introspection { active: bool, introspection: Secret },
    /// Nothing more to say.
    Done,
    /// It cannot be had.
    Fail { failure: Failure },
}

/// Something the host has to do. `until` is on the boot clock, in milliseconds.
#[derive(Debug, uniffi::Enum)]
pub enum Operation {
    /// Send one HTTP request exactly once: no retries, no redirects, at most `cap` bytes of body. Answer with
    /// `Received` or `Failed`. Connections are not shared between two values of `tls_id`.
    Send { op: String, flight: String, request: HttpRequest, tls_id: Option<String>, until: i64, cap: i64 },
    /// Sign with a key that the host holds, by a JOSE algorithm (RFC 7518 section 3.1). Answer with `Signed` or `Failed`.
    Sign { op: String, flight: String, key: String, alg: String, input: String, until: i64 },
    /// Check a signature with a public key of the server's, a JWK as JSON text. The signature is base64url without padding, for
    /// ECDSA r and s (RFC 7518 section 3.4). Answer with `Verified` or `Failed`.
    Verify { op: String, flight: String, key: String, alg: String, input: Secret, signature: String, until: i64 },
    /// Call a function of the host's, or read a file. Answer with `Provided` or `Failed`.
    Provide { op: String, flight: String, what: Provision, until: i64 },
    /// Send `Tick` at `until`. It has no other end.
    Sleep { flight: String, until: i64 },
    /// Ask the shared store. Answer with `Stored` or `Failed`.
    Store { op: String, flight: String, key: String, command: StoreCommand, until: i64 },
}

/// What a person has to be shown, and what is kept until they have answered. Durations are milliseconds.
#[uniffi::remote(Record)]
pub struct Pending {
    /// What they type in; none where they are asked on a device of their own.
    pub user_code: Option<String>,
    /// Where they type it in.
    pub verification_uri: Option<String>,
    /// The same with the code in it.
    pub verification_uri_complete: Option<String>,
    /// The text for a QR code.
    pub qr_text: Option<String>,
    /// For how long they may take.
    pub expires_in: i64,
    /// The time between two polls.
    pub interval: i64,
    /// What `Poll` goes on with: opaque, serializable and secret.
    pub session: Secret,
}

/// What a host's function is to provide.
#[uniffi::remote(Enum)]
pub enum Provision {
    /// The client secret, as it is now.
    ClientSecret,
    /// A client assertion that was made elsewhere, as it is now (RFC 7523 section 2.2).
    ClientAssertion,
    /// The token to be exchanged, as it is now (RFC 8693 section 2.1).
    SubjectToken { subject: Option<String> },
    /// The token of who acts for the subject, as it is now.
    ActorToken { subject: Option<String> },
    /// The assertion that is the grant, as it is now (RFC 7523 section 2.1).
    Assertion { subject: Option<String> },
    /// Save this refresh token before the access token is handed out; the result is ignored.
    Rotated { subject: Option<String>, refresh_token: Secret },
}

/// What a shared store is to do with a record. Times are milliseconds.
#[uniffi::remote(Enum)]
pub enum StoreCommand {
    /// Read it.
    Load,
    /// Take the lock for `ttl`, and read it. Repeated by its owner, it extends; with 0, it releases.
    Lock { owner: String, ttl: i64 },
    /// Write `record` if what is there still is `expect`; the lock of `unlock` ends with it.
    Save { expect: Option<Secret>, record: Secret, ttl: i64, unlock: Option<String> },
}

/// Leases that must not be answered from any more: everybody's without a key, all without a generation.
#[derive(Debug, uniffi::Record)]
pub struct Withdraw {
    pub key: Option<String>,
    pub generation: Option<i64>,
}

/// What the hot path needs: good while both clocks are before `recheck`. Points in time are milliseconds.
#[derive(Debug, uniffi::Record)]
pub struct Lease {
    pub access_token: Secret,
    pub token_type: String,
    /// The header that it goes into, and that header's value.
    pub header: String,
    pub authorization: Secret,
    /// The scope that was granted, space-separated.
    pub scope: Option<String>,
    /// The cache key, and a number that counts its tokens from 1.
    pub key: String,
    pub generation: i64,
    /// When it has run out, on either clock.
    pub expires_wall: i64,
    pub expires: i64,
    /// When to ask the core again, on either clock.
    pub recheck_wall: i64,
    pub recheck: i64,
    /// The API call that this lease was handed out for, and that of everybody who is answered from it later.
    pub call: String,
    pub lease_call: String,
}

/// One HTTP request, for the host to send exactly once, redirects off.
#[derive(Clone, Debug, uniffi::Record)]
pub struct HttpRequest {
    pub method: String,
    pub url: Secret,
    pub headers: Vec<Header>,
    /// The body, which is ASCII; none for a GET.
    pub body: Option<Secret>,
}

/// Something that happened which an operator may want to see. It never holds a secret.
#[derive(Debug, uniffi::Record)]
pub struct Notice {
    /// What happened: one of the names that the README lists.
    pub name: String,
    /// More about it: a word, or a number in decimal digits.
    pub detail: Option<String>,
    /// The cache key it is about.
    pub key: Option<String>,
    /// The flight it is about.
    pub flight: Option<String>,
}

/// A token as it arrived, outside of the cache.
#[derive(Debug, uniffi::Record)]
pub struct TokenSet {
    pub access_token: Secret,
    pub token_type: String,
    /// How long it lives from the start of the request, in milliseconds.
    pub lifetime: i64,
    /// The scope that was granted, space-separated.
    pub scope: Option<String>,
    pub refresh_token: Option<Secret>,
    /// What was odd about the answer.
    pub oddities: Vec<Notice>,
}

impl From<step::Step> for Step {
    fn from(step: step::Step) -> Self {
        Self {
            answer: step.answer.map(Into::into),
            operations: step.operations.into_iter().map(Into::into).collect(),
            settled: step.settled.iter().map(ToString::to_string).collect(),
            withdraw: step.withdraw.into_iter().map(Into::into).collect(),
            notices: step.notices.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<step::Answer> for Answer {
    fn from(answer: step::Answer) -> Self {
        match answer {
            step::Answer::Use(lease) => Self::Use { lease: lease.into() },
            step::Answer::Wait { flight, until } => Self::Wait { flight: flight.to_string(), until },
            step::Answer::Headers { headers } => Self::Headers { headers: lines(headers) },
            step::Answer::Verdict(Verdict::Pass) => Self::Pass,
            step::Answer::Verdict(Verdict::Retry) => Self::Retry,
            step::Answer::Verdict(Verdict::GiveUp) => Self::GiveUp,
            step::Answer::Done { done: Done::Authorization { url, session } } => Self::Authorization { url, session },
            step::Answer::Done { done: Done::InsecureUrl { url, headers } } => {
                Self::InsecureUrl { url, headers: lines(headers) }
            }
            step::Answer::Again { call } => Self::Again { call: call.to_string() },
            step::Answer::Done { done: Done::Pending(pending) } => Self::Pending { pending },
            step::Answer::Done { done: Done::Introspection { active, introspection } } => {
                Self::Introspection { active, introspection }
            }
            step::Answer::Done { done: Done::Nothing {} } => Self::Done,
            step::Answer::Fail(error) => Self::Fail { failure: error.into() },
        }
    }
}

impl From<step::Operation> for Operation {
    fn from(operation: step::Operation) -> Self {
        match operation {
            step::Operation::Send { op, flight, request, tls_id, until, cap } => Self::Send {
                op: op.to_string(),
                flight: flight.to_string(),
                request: request.into(),
                tls_id,
                until,
                cap: i64::try_from(cap).unwrap_or(i64::MAX),
            },
            step::Operation::Sign { op, flight, key, alg, input, until } => {
                Self::Sign { op: op.to_string(), flight: flight.to_string(), key, alg, input, until }
            }
            step::Operation::Verify { op, flight, key, alg, input, signature, until } => {
                Self::Verify { op: op.to_string(), flight: flight.to_string(), key, alg, input, signature, until }
            }
            step::Operation::Provide { op, flight, what, until } => {
                Self::Provide { op: op.to_string(), flight: flight.to_string(), what, until }
            }
            step::Operation::Sleep { flight, until } => Self::Sleep { flight: flight.to_string(), until },
            step::Operation::Store { op, flight, key, command, until } => {
                Self::Store { op: op.to_string(), flight: flight.to_string(), key: key.to_string(), command, until }
            }
        }
    }
}

impl From<step::Withdraw> for Withdraw {
    fn from(step::Withdraw { key, generation }: step::Withdraw) -> Self {
        Self { key: key.map(|key| key.to_string()), generation: generation.map(signed) }
    }
}

impl From<remint::Lease> for Lease {
    fn from(lease: remint::Lease) -> Self {
        let token = &*lease.token;
        Self {
            access_token: token.access_token.clone(),
            token_type: token.token_type().to_owned(),
            header: token.header().to_owned(),
            authorization: token.authorization(),
            scope: token.scope.as_deref().map(str::to_owned),
            key: token.key.to_string(),
            generation: signed(token.generation),
            expires_wall: token.expires.wall,
            expires: token.expires.boot,
            recheck_wall: lease.recheck.wall,
            recheck: lease.recheck.boot,
            call: lease.call.to_string(),
            lease_call: lease.lease_call.to_string(),
        }
    }
}

impl From<remint::HttpRequest> for HttpRequest {
    fn from(request: remint::HttpRequest) -> Self {
        Self {
            method: request.method.to_owned(),
            url: Secret::new(request.url),
            headers: lines(request.headers),
            body: request.body.map(Secret::new),
        }
    }
}

impl From<remint::TokenSet> for TokenSet {
    fn from(token: remint::TokenSet) -> Self {
        Self {
            access_token: token.access_token,
            token_type: token.token_type.into_owned(),
            lifetime: token.lifetime,
            scope: token.scope,
            refresh_token: token.refresh_token,
            oddities: token
                .oddities
                .into_iter()
                .map(|kind| notice::Notice { kind, key: None, flight: None }.into())
                .collect(),
        }
    }
}

impl From<notice::Notice> for Notice {
    fn from(notice: notice::Notice) -> Self {
        // The names are those of the notice's own JSON, so that there is one list of them.
        let json = serde_json::to_value(&notice.kind).unwrap_or_default();
        let text = |name: &str| match json.get(name)? {
            serde_json::Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        Self {
            name: text("notice").unwrap_or_default(),
            detail: text("detail"),
            key: notice.key.map(|key| key.to_string()),
            flight: notice.flight.map(|flight| flight.to_string()),
        }
    }
}

fn lines(headers: Vec<(impl Into<String>, impl Into<String>)>) -> Vec<Header> {
    headers.into_iter().map(|(name, value)| Header { name: name.into(), value: Secret::new(value) }).collect()
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
