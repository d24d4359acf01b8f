//! What a host tells the core: the mirror of `remint::event`, where everything is explained.

use std::{collections::HashMap, str::FromStr};

use remint::{
    Error, Now, Secret, TokenRequest,
    event::{self, Adopt, Answered, Ask, Attach, AuthorizationUrl, CodeExchange, FailureKind, Received, Start, Want},
};

use crate::{SecretBytes, failure::invalid_event};

/// One thing that happened. Times are milliseconds; points in time are on the boot clock.
#[derive(Debug, uniffi::Enum)]
pub enum Event {
    /// A caller wants a token. Answered by `Use`, `Wait` or `Fail`.
    Ask { want: Want, min_ttl: i64, force: bool, deadline: Option<i64>, after: Option<String>, call: Option<String> },
    /// A flow with a person or a browser in it begins.
    Start { flow: Flow, deadline: Option<i64> },
    /// A flow is given up.
    Cancel { flight: String },
    /// The answer to a `Send`: header lines as they came, content codings undone.
    Received { op: String, status: i32, headers: Vec<Header>, body: SecretBytes },
    /// The end of an operation without an answer.
    Failed { op: String, kind: FailureKind },
    /// A secret, assertion or file was read, or a function of the host's returned.
    Provided { op: String, value: Option<Secret> },
    /// A key that the host holds has signed: base64url without padding, for ECDSA r and s (RFC 7518 section 3.4).
    Signed { op: String, signature: String },
    /// The shared store answered.
    Stored { op: String, result: StoreResult },
    /// A `Sleep` is over. Too early is legal.
    Tick { flight: String },
    /// What must be put on one API request? Answered by `Headers`, `InsecureUrl`, `Retry` or `Fail`.
    Attach { want: Want, call: String, method: String, url: String, insecure_query: bool },
    /// An API request was answered. Answered by `Pass`, `Retry` or `GiveUp`.
    Answered { want: Want, call: String, url: Option<String>, status: i32, headers: Vec<Header> },
    /// The shared store changed: one key, or all of them.
    Changed { key: Option<String> },
    /// Forget a key's access token.
    Invalidate { want: Want },
    /// This process is a fork's child.
    Forked,
    /// No new work; what must end well runs on.
    Close,
}

/// Both clocks, in milliseconds: Unix time, and one that never goes back.
#[uniffi::remote(Record)]
pub struct Now {
    pub wall: i64,
    pub boot: i64,
}

/// Which of a client's tokens is meant. Empty: the client's own.
#[uniffi::remote(Record)]
pub struct Want {
    /// The user on whose behalf the client acts, by the host's own name for them.
    #[uniffi(default = None)]
    pub subject: Option<String>,
    /// The scope set, if not the client's own.
    #[uniffi(default = None)]
    pub scope: Option<Vec<String>>,
}

/// One header line. Its value may be a credential.
#[derive(Clone, Debug, uniffi::Record)]
pub struct Header {
    pub name: String,
    pub value: Secret,
}

/// The flows with a person or a browser in them.
#[derive(Debug, uniffi::Enum)]
pub enum Flow {
    /// Where to send the browser (RFC 6749 section 4.1.1). Answered by `Authorization`.
    AuthorizationUrl { redirect_uri: String, scope: Option<Vec<String>>, parameters: HashMap<String, String> },
    /// The browser came back with this URL or query (RFC 6749 section 4.1.2). Answered by `Wait`.
    CodeExchange { callback: Secret, session: Secret, subject: Option<String>, on_rotated: bool },
    /// The host's database holds this user's refresh token. Answered by `Done`.
    Adopt { want: Want, refresh_token: Secret, on_rotated: bool },
}

/// How an operation ended without an answer.
#[uniffi::remote(Enum)]
pub enum FailureKind {
    /// No byte of the request left: it may be repeated, whatever it was.
    NotSent,
    /// The server may have seen the request.
    MaybeSent,
    /// No answer before `until`.
    Timeout,
    /// The answer was longer than `cap`.
    TooLarge,
    /// The driver was ended.
    Abandoned,
    /// A function of the host's own failed.
    HostError,
}

/// What a shared store says.
#[derive(Debug, uniffi::Enum)]
pub enum StoreResult {
    /// Done.
    Ok,
    /// Nothing is stored there.
    Missing,
    /// This is stored there.
    Found { record: Secret },
    /// The lock is ours; `fence` grows with every lock of this key.
    Locked { record: Option<Secret>, fence: i64 },
    /// Somebody else has the lock until about then.
    Held { retry_at: i64 },
    /// Something else is stored there than was expected.
    Conflict { record: Option<Secret> },
    /// The store does not answer.
    Down,
    /// Whether the command was carried out is not known.
    Unknown,
}

/// What to ask the token endpoint for, outside of the cache.
#[uniffi::remote(Enum)]
pub enum TokenRequest {
    /// A token for the client itself (RFC 6749 section 4.4.2).
    ClientCredentials { scope: Option<Vec<String>> },
    /// A token for a code (RFC 6749 section 4.1.3, RFC 7636 section 4.5).
    Code { code: Secret, redirect_uri: String, verifier: Secret },
    /// A token for a refresh token (RFC 6749 section 6).
    Refresh { refresh_token: Secret, scope: Option<Vec<String>> },
    /// A token for a GET request with HTTP Basic. Not OAuth.
    BasicGet {},
}

impl TryFrom<Event> for event::Event {
    type Error = Error;

    fn try_from(event: Event) -> Result<Self, Error> {
        Ok(match event {
            Event::Ask { want, min_ttl, force, deadline, after, call } => Self::Ask(Ask {
                want,
                min_ttl,
                force,
                deadline,
                after: after.map(id).transpose()?,
                call: call.map(id).transpose()?,
            }),
            Event::Start { flow, deadline } => Self::Start(Start { flow: flow.into(), deadline }),
            Event::Cancel { flight } => Self::Cancel { flight: id(flight)? },
            Event::Received { op, status: code, headers, body } => {
                Self::Received(Received { op: id(op)?, status: status(code)?, headers: pairs(headers), body: body.0 })
            }
            Event::Failed { op, kind } => Self::Failed { op: id(op)?, kind },
            Event::Provided { op, value } => Self::Provided { op: id(op)?, value },
            Event::Signed { op, signature } => Self::Signed { op: id(op)?, signature },
            Event::Stored { op, result } => Self::Stored { op: id(op)?, result: result.try_into()? },
            Event::Tick { flight } => Self::Tick { flight: id(flight)? },
            Event::Attach { want, call, method, url, insecure_query } => {
                Self::Attach(Attach { want, call: id(call)?, method, url, insecure_query })
            }
            Event::Answered { want, call, url, status: code, headers } => {
                Self::Answered(Answered { want, call: id(call)?, url, status: status(code)?, headers: pairs(headers) })
            }
            Event::Changed { key } => Self::Changed { key: key.map(id).transpose()? },
            Event::Invalidate { want } => Self::Invalidate { want },
            Event::Forked => Self::Forked {},
            Event::Close => Self::Close {},
        })
    }
}

impl From<Flow> for event::Flow {
    fn from(flow: Flow) -> Self {
        match flow {
            Flow::AuthorizationUrl { redirect_uri, scope, parameters } => Self::AuthorizationUrl(AuthorizationUrl {
                redirect_uri,
                scope,
                parameters: parameters.into_iter().collect(),
            }),
            Flow::CodeExchange { callback, session, subject, on_rotated } => {
                Self::Exchange(CodeExchange { callback, session, subject, on_rotated })
            }
            Flow::Adopt { want, refresh_token, on_rotated } => Self::Adopt(Adopt { want, refresh_token, on_rotated }),
        }
    }
}

impl TryFrom<StoreResult> for event::StoreResult {
    type Error = Error;

    fn try_from(result: StoreResult) -> Result<Self, Error> {
        Ok(match result {
            StoreResult::Ok => Self::Ok,
            StoreResult::Missing => Self::None,
            StoreResult::Found { record } => Self::Record(record),
            StoreResult::Locked { record, fence } => Self::Locked {
                record,
                fence: u64::try_from(fence).map_err(|_| invalid_event("`fence` must not be negative"))?,
            },
            StoreResult::Held { retry_at } => Self::Held { retry_at },
            StoreResult::Conflict { record } => Self::Conflict { record },
            StoreResult::Down => Self::Down,
            StoreResult::Unknown => Self::Unknown,
        })
    }
}

pub fn status(status: i32) -> Result<u16, Error> {
    u16::try_from(status).map_err(|_| invalid_event("`status` must be an HTTP status"))
}

pub fn pairs(headers: Vec<Header>) -> Vec<(String, String)> {
    headers.into_iter().map(|Header { name, value }| (name, value.expose().to_owned())).collect()
}

fn id<T: FromStr>(text: impl AsRef<str>) -> Result<T, Error> {
    text.as_ref().parse().map_err(|_| invalid_event("an id must be one that the core gave"))
}
