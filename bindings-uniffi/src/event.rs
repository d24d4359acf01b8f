//! What a host tells the core: the mirror of `remint::event`, where everything is explained.

use std::{collections::HashMap, str::FromStr};

use remint::{
    Error, Now, Secret, TokenRequest,
    event::{
        self, Adopt, Answered, Ask, Attach, AuthorizationUrl, BackchannelRequest, CodeExchange, DeviceRequest,
        FailureKind, Introspect, Poll, Received, Renewed, Revoke, Start, Want,
    },
};

use crate::{SecretBytes, failure::invalid_event};

/// One thing that happened. Times are milliseconds; points in time are on the boot clock.
#[derive(Debug, uniffi::Enum)]
pub enum Event {
    /// A caller wants a token. Answered by `Use`, `Wait` or `Fail`.
    Ask { want: Want, min_ttl: i64, force: bool, deadline: Option<i64>, after: Option<String>, call: Option<String> },
    /// A flow begins, or is asked after once the flight that it was told to wait for is over.
    Start { flow: Flow, deadline: Option<i64>, after: Option<String> },
    /// A flow is given up: its flight ends with `canceled`.
    Cancel { flight: String },
    /// The answer to a `Send`: header lines as they came, content codings undone.
    Received { op: String, status: i32, headers: Vec<Header>, body: SecretBytes },
    /// The end of an operation without an answer.
    Failed { op: String, kind: FailureKind },
    /// A secret, assertion or file was read, or a function of the host's returned.
    Provided { op: String, value: Option<Secret> },
    /// A key that the host holds has signed: base64url without padding, for ECDSA r and s (RFC 7518 section 3.4).
    Signed { op: String, signature: String },
    /// A signature of the server's was checked: whether it is one of this key over these bytes.
    Verified { op: String, valid: bool },
    /// The shared store answered.
    Stored { op: String, result: StoreResult },
    /// A `Sleep` is over. Too early is legal.
    Tick { flight: String },
    /// What must be put on one API request? Answered by `Headers`, `InsecureUrl`, `Retry`, `Fail`, or `Wait` while a proof is signed.
    Attach { want: Want, call: String, method: String, url: String, insecure_query: bool, after: Option<String> },
    /// An API request was answered. Answered by `Pass`, `Retry`, `Again`, `GiveUp` or `Fail`.
    Answered { want: Want, call: String, url: Option<String>, status: i32, headers: Vec<Header> },
    /// The shared store changed: one key, or all of them.
    Changed { key: Option<String> },
    /// Forget a key's access token.
    Invalidate { want: Want },
    /// A certificate or key of the host's was replaced while the client runs.
    Renewed { renewed: Renewed },
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
    /// The resources that the token is for, if not the client's own (RFC 8707 section 2).
    #[uniffi(default = None)]
    pub resource: Option<Vec<String>>,
}

/// One header line. Its value may be a credential.
#[derive(Clone, Debug, uniffi::Record)]
pub struct Header {
    pub name: String,
    pub value: Secret,
}

/// What is more than one question for a token. After `Wait` the same is asked once more with `after`; only `CodeExchange` and
/// `Poll`, which end in a token, are followed by `Ask`.
#[derive(Debug, uniffi::Enum)]
pub enum Flow {
    /// Where to send the browser (RFC 6749 section 4.1.1). Answered by `Authorization`.
    AuthorizationUrl {
        redirect_uri: String,
        scope: Option<Vec<String>>,
        parameters: HashMap<String, String>,
        authorization_details: Option<String>,
    },
    /// The browser came back with this URL or query (RFC 6749 section 4.1.2). Answered by `Wait`.
    CodeExchange { callback: Secret, session: Secret, subject: Option<String>, on_rotated: bool },
    /// The host's database holds this user's refresh token, or a token to be exchanged. Answered by `Done`.
    Adopt { adopt: Adopt },
    /// A person is to authorize this client on another device (RFC 8628 section 3.1). Answered by `Pending`.
    Device { scope: Option<Vec<String>>, parameters: HashMap<String, String> },
    /// A person is asked on a device of their own (CIBA section 7.1). Answered by `Pending`.
    Backchannel { request: Backchannel },
    /// Wait until the person has answered.
    Poll { poll: Poll },
    /// What the server knows about a token (RFC 7662). Answered by `Introspection`.
    Introspect { introspect: Introspect },
    /// The server is to forget a token (RFC 7009). Answered by `Done`.
    Revoke { revoke: Revoke },
}

/// Tokens from the host's own database.
#[uniffi::remote(Record)]
pub struct Adopt {
    pub want: Want,
    #[uniffi(default = None)]
    pub refresh_token: Option<Secret>,
    #[uniffi(default = None)]
    pub subject_token: Option<Secret>,
    #[uniffi(default = None)]
    pub actor_token: Option<Secret>,
    #[uniffi(default = false)]
    pub on_rotated: bool,
}

/// A request to ask a person on a device of their own. Exactly one of the three hints names the person.
#[derive(Debug, uniffi::Record)]
pub struct Backchannel {
    #[uniffi(default = None)]
    pub scope: Option<Vec<String>>,
    #[uniffi(default = None)]
    pub login_hint: Option<String>,
    #[uniffi(default = None)]
    pub login_hint_token: Option<Secret>,
    #[uniffi(default = None)]
    pub id_token_hint: Option<Secret>,
    #[uniffi(default = None)]
    pub binding_message: Option<String>,
    #[uniffi(default = None)]
    pub user_code: Option<Secret>,
    #[uniffi(default = None)]
    pub requested_expiry: Option<i64>,
    #[uniffi(default = None)]
    pub acr_values: Option<String>,
    pub parameters: HashMap<String, String>,
}

/// The wait for a person's answer.
#[uniffi::remote(Record)]
pub struct Poll {
    pub session: Secret,
    #[uniffi(default = None)]
    pub subject: Option<String>,
    #[uniffi(default = false)]
    pub on_rotated: bool,
}

/// A question about a token.
#[uniffi::remote(Record)]
pub struct Introspect {
    pub token: Secret,
    #[uniffi(default = None)]
    pub hint: Option<String>,
}

/// The end of a token: of what the client holds for `want`, if none is named.
#[uniffi::remote(Record)]
pub struct Revoke {
    pub want: Want,
    #[uniffi(default = None)]
    pub token: Option<Secret>,
    #[uniffi(default = None)]
    pub hint: Option<String>,
}

/// What the host has replaced: members as in the options of the same names, the keys as JSON text. What is absent stays.
#[uniffi::remote(Record)]
pub struct Renewed {
    #[uniffi(default = None)]
    pub tls_id: Option<String>,
    #[uniffi(default = None)]
    pub signing_key: Option<String>,
    #[uniffi(default = None)]
    pub dpop: Option<String>,
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
    /// The lock is ours.
    Locked { record: Option<Secret> },
    /// Somebody else has the lock, until then at the latest.
    Held { retry_at: i64, record: Option<Secret> },
    /// Something else is stored there than was expected.
    Conflict { record: Option<Secret> },
    /// The store does not answer, and surely carried nothing out.
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
    /// A token for a code that a person typed in on another device (RFC 8628 section 3.4).
    DeviceCode { device_code: Secret },
    /// A token for a request that a person was asked about (CIBA section 10.1).
    Ciba { auth_req_id: Secret },
    /// A token for another one (RFC 8693 section 2.1).
    TokenExchange { subject_token: Secret, actor_token: Option<Secret>, scope: Option<Vec<String>> },
    /// A token for an assertion (RFC 7523 section 2.1).
    JwtBearer { assertion: Secret, scope: Option<Vec<String>> },
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
            Event::Start { flow, deadline, after } => {
                Self::Start(Start { flow: flow.into(), deadline, after: after.map(id).transpose()? })
            }
            Event::Renewed { renewed } => Self::Renewed(renewed),
            Event::Cancel { flight } => Self::Cancel { flight: id(flight)? },
            Event::Received { op, status: code, headers, body } => {
                Self::Received(Received { op: id(op)?, status: status(code)?, headers: pairs(headers), body: body.0 })
            }
            Event::Failed { op, kind } => Self::Failed { op: id(op)?, kind },
            Event::Provided { op, value } => Self::Provided { op: id(op)?, value },
            Event::Signed { op, signature } => Self::Signed { op: id(op)?, signature },
            Event::Verified { op, valid } => Self::Verified { op: id(op)?, valid },
            Event::Stored { op, result } => Self::Stored { op: id(op)?, result: result.into() },
            Event::Tick { flight } => Self::Tick { flight: id(flight)? },
            Event::Attach { want, call, method, url, insecure_query, after } => Self::Attach(Attach {
                want,
                call: id(call)?,
                method,
                url,
                insecure_query,
                after: after.map(id).transpose()?,
            }),
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
            Flow::AuthorizationUrl { redirect_uri, scope, parameters, authorization_details } => {
                let parameters = parameters.into_iter().collect();
                Self::AuthorizationUrl(AuthorizationUrl { redirect_uri, scope, parameters, authorization_details })
            }
            Flow::CodeExchange { callback, session, subject, on_rotated } => {
                Self::Exchange(CodeExchange { callback, session, subject, on_rotated })
            }
            Flow::Adopt { adopt } => Self::Adopt(adopt),
            Flow::Device { scope, parameters } => {
                Self::Device(DeviceRequest { scope, parameters: parameters.into_iter().collect() })
            }
            Flow::Backchannel { request } => Self::Backchannel(BackchannelRequest {
                scope: request.scope,
                login_hint: request.login_hint,
                login_hint_token: request.login_hint_token,
                id_token_hint: request.id_token_hint,
                binding_message: request.binding_message,
                user_code: request.user_code,
                requested_expiry: request.requested_expiry,
                acr_values: request.acr_values,
                parameters: request.parameters.into_iter().collect(),
            }),
            Flow::Poll { poll } => Self::Poll(poll),
            Flow::Introspect { introspect } => Self::Introspect(introspect),
            Flow::Revoke { revoke } => Self::Revoke(revoke),
        }
    }
}

impl From<StoreResult> for event::StoreResult {
    fn from(result: StoreResult) -> Self {
        match result {
            StoreResult::Ok => Self::Ok,
            StoreResult::Missing => Self::None,
            StoreResult::Found { record } => Self::Record(record),
            StoreResult::Locked { record } => Self::Locked { record },
            StoreResult::Held { retry_at, record } => Self::Held { retry_at, record },
            StoreResult::Conflict { record } => Self::Conflict { record },
            StoreResult::Down => Self::Down,
            StoreResult::Unknown => Self::Unknown,
        }
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
