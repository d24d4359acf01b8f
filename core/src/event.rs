//! What a host tells the core.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;

use crate::cache::Key;
use crate::secret::Secret;
use crate::step::{Call, FlightId, OpId};

/// One thing that happened. Every event goes to [`Core::handle`](crate::Core::handle) with both clocks and fresh entropy.
///
/// In JSON an event is an object with one member, its name: `{"ask": {"min_ttl": 60000}}`. Times are
/// milliseconds; points in time are on the boot clock.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A caller wants a token.
    Ask(Ask),
    /// A flow with a person or a browser in it begins.
    Start(Start),
    /// A flow is given up: its flight ends with `canceled`.
    Cancel {
        /// The flight that [`Answer::Wait`](crate::step::Answer::Wait) named.
        flight: FlightId,
    },
    /// The answer to a `send`.
    #[serde(skip)]
    Received(Received),
    /// The end of an operation without an answer.
    Failed {
        /// The operation.
        op: OpId,
        /// How it ended.
        kind: FailureKind,
    },
    /// A secret, assertion or file was read, or a function of the host's returned.
    Provided {
        /// The operation.
        op: OpId,
        /// What was read; empty for a function without a result.
        #[serde(default)]
        value: Option<Secret>,
    },
    /// A key that the host holds has signed.
    Signed {
        /// The operation.
        op: OpId,
        /// The raw signature (for ECDSA: r and s, RFC 7518 section 3.4), base64url without padding.
        signature: String,
    },
    /// A signature of the server's was checked.
    Verified {
        /// The operation.
        op: OpId,
        /// Whether it is one of this key over these bytes.
        valid: bool,
    },
    /// The shared store answered.
    Stored {
        /// The operation.
        op: OpId,
        /// What it said.
        result: StoreResult,
    },
    /// A `sleep` is over. Too early is legal.
    Tick {
        /// The flight that sleeps.
        flight: FlightId,
    },
    /// What must be put on one API request?
    Attach(Attach),
    /// An API request was answered.
    Answered(Answered),
    /// The shared store changed: one key, or all of them.
    Changed {
        /// The key; all if absent.
        #[serde(default)]
        key: Option<Key>,
    },
    /// Forget a key's access token.
    Invalidate {
        /// Whose.
        #[serde(default)]
        want: Want,
    },
    /// A certificate or key of the host's was replaced while the client runs.
    Renewed(Renewed),
    /// This process is a fork's child.
    Forked {},
    /// No new work; what must end well runs on.
    Close {},
}

/// Which of a client's tokens is meant. The default is the client's own.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Want {
    /// The user on whose behalf the client acts, by the host's own name for them.
    #[serde(default)]
    pub subject: Option<String>,
    /// The scope set, if not the client's own.
    #[serde(default)]
    pub scope: Option<Vec<String>>,
    /// The resources that the token is for, if not the client's own (RFC 8707 section 2): absolute URIs without a fragment.
    #[serde(default)]
    pub resource: Option<Vec<String>>,
}

/// A caller's wish for a token.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Which token.
    #[serde(default)]
    pub want: Want,
    /// How much life it must have left, in milliseconds.
    #[serde(default)]
    pub min_ttl: i64,
    /// Whether the cached token won't do.
    #[serde(default)]
    pub force: bool,
    /// When the caller gives up, on the boot clock. Thirty seconds from now unless told.
    #[serde(default)]
    pub deadline: Option<i64>,
    /// The flight that the caller has just waited for: its outcome decides.
    #[serde(default)]
    pub after: Option<FlightId>,
    /// The API call that is about to be repeated.
    #[serde(default)]
    pub call: Option<Call>,
}

/// The beginning of a flow.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// Which flow, and what it needs.
    pub flow: Flow,
    /// When the caller gives up, on the boot clock. Thirty seconds from now unless told.
    #[serde(default)]
    pub deadline: Option<i64>,
    /// The flight that the same question was told to wait for.
    #[serde(default)]
    pub after: Option<FlightId>,
}

/// What is more than one question for a token.
///
/// Each is answered by `done`, by `fail`, or by `wait`: then the host asks the same once more with `after`. Only the two that
/// end in a token, [`Flow::Exchange`] and [`Flow::Poll`], are followed by an [`Ask`] with `after`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Flow {
    /// Where to send the browser (RFC 6749 section 4.1.1). Ends with `url` and `session`.
    AuthorizationUrl(AuthorizationUrl),
    /// The browser came back (RFC 6749 section 4.1.2). Ends with a token.
    Exchange(CodeExchange),
    /// The host's database holds this user's refresh token, or a token to be exchanged.
    Adopt(Adopt),
    /// A person is to authorize this client on another device (RFC 8628 section 3.1). Ends with what to show, and `session`.
    Device(DeviceRequest),
    /// A person is asked on a device of their own (CIBA section 7.1). Ends with `session`.
    Backchannel(BackchannelRequest),
    /// Wait until the person has answered (RFC 8628 section 3.4, CIBA section 10.1). Ends with a token.
    Poll(Poll),
    /// What the server knows about a token (RFC 7662).
    Introspect(Introspect),
    /// The server is to forget a token (RFC 7009).
    Revoke(Revoke),
}

/// What an authorization request may say.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorizationUrl {
    /// Where the server sends the browser back to: absolute, no fragment (RFC 6749 section 3.1.2).
    pub redirect_uri: String,
    /// The scope set, if not the client's own.
    #[serde(default)]
    pub scope: Option<Vec<String>>,
    /// Further parameters; a reserved name is refused.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
    /// What is asked for in detail, if not the client's own: a JSON array as text (RFC 9396 section 2).
    #[serde(default)]
    pub authorization_details: Option<String>,
}

/// A request for a device code.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceRequest {
    /// The scope set, if not the client's own.
    #[serde(default)]
    pub scope: Option<Vec<String>>,
    /// Further parameters; a reserved name is refused.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
}

/// A request to ask a person on a device of their own. Exactly one of the three hints names the person.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackchannelRequest {
    /// The scope set, if not the client's own.
    #[serde(default)]
    pub scope: Option<Vec<String>>,
    /// The person by name, number or address.
    #[serde(default)]
    pub login_hint: Option<String>,
    /// The person by a token that says who it is.
    #[serde(default)]
    pub login_hint_token: Option<Secret>,
    /// The person by an ID token that they were given.
    #[serde(default)]
    pub id_token_hint: Option<Secret>,
    /// What both devices show, so that the person can compare.
    #[serde(default)]
    pub binding_message: Option<String>,
    /// What only the person knows, where the server asks for that.
    #[serde(default)]
    pub user_code: Option<Secret>,
    /// For how long the request is to live, in milliseconds.
    #[serde(default)]
    pub requested_expiry: Option<i64>,
    /// The authentication that is asked for, space-separated.
    #[serde(default)]
    pub acr_values: Option<String>,
    /// Further parameters; a reserved name is refused.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
}

/// The wait for a person's answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Poll {
    /// What `device` or `backchannel` gave.
    pub session: Secret,
    /// The user that answers, by the host's own name for them.
    #[serde(default)]
    pub subject: Option<String>,
    /// Whether the host wants to be told of every new refresh token before an access token is handed out.
    #[serde(default)]
    pub on_rotated: bool,
}

/// A question about a token.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Introspect {
    /// The token.
    pub token: Secret,
    /// Which kind it is: `access_token`, `refresh_token`, or what the server calls it.
    #[serde(default)]
    pub hint: Option<String>,
}

/// The end of a token.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// Whose tokens are forgotten here.
    #[serde(default)]
    pub want: Want,
    /// The token; what the client holds for `want` if absent: its refresh token if there is one, else its access token.
    #[serde(default)]
    pub token: Option<Secret>,
    /// Which kind it is: `access_token`, `refresh_token`, or what the server calls it.
    #[serde(default)]
    pub hint: Option<String>,
}

/// What the host has replaced. Members are as in the options of the same names; what is absent stays.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renewed {
    /// The thumbprint of the client certificate (RFC 8705 section 3.1).
    #[serde(default)]
    pub tls_id: Option<String>,
    /// The key that signs assertions: a JSON object as text.
    #[serde(default)]
    pub signing_key: Option<String>,
    /// The key that signs proofs of possession: a JSON object as text.
    #[serde(default)]
    pub dpop: Option<String>,
}

/// The browser's return.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeExchange {
    /// The callback's URL, or its query alone.
    pub callback: Secret,
    /// What `authorization_url` gave for the web session to keep.
    pub session: Secret,
    /// The user that signed in, by the host's own name for them.
    #[serde(default)]
    pub subject: Option<String>,
    /// Whether the host wants to be told of every new refresh token before an access token is handed out.
    #[serde(default)]
    pub on_rotated: bool,
}

/// Tokens from the host's own database.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adopt {
    /// Whose they are.
    #[serde(default)]
    pub want: Want,
    /// The refresh token.
    #[serde(default)]
    pub refresh_token: Option<Secret>,
    /// The token to be exchanged (RFC 8693 section 2.1). It takes the place of one that was adopted before.
    #[serde(default)]
    pub subject_token: Option<Secret>,
    /// The token of who acts for the subject.
    #[serde(default)]
    pub actor_token: Option<Secret>,
    /// Whether the host wants to be told of every new refresh token before an access token is handed out.
    #[serde(default)]
    pub on_rotated: bool,
}

/// An HTTP answer to a `send`.
#[derive(Clone, Debug)]
pub struct Received {
    /// The operation.
    pub op: OpId,
    /// The HTTP status.
    pub status: u16,
    /// The header lines as they came, names in any case, repeated lines kept apart.
    pub headers: Vec<(String, String)>,
    /// The body, content codings undone.
    pub body: Vec<u8>,
}

/// How an operation ended without an answer.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
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
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StoreResult {
    /// Done.
    Ok,
    /// Nothing is stored there.
    None,
    /// This is stored there.
    Record(Secret),
    /// The lock is ours.
    Locked {
        /// What is stored there.
        #[serde(default)]
        record: Option<Secret>,
    },
    /// Somebody else has the lock.
    Held {
        /// When their lock ends if nothing else ends it, on the boot clock.
        retry_at: i64,
        /// What is stored there: a token in it may be good enough.
        #[serde(default)]
        record: Option<Secret>,
    },
    /// Something else is stored there than was expected.
    Conflict {
        /// What is stored there.
        #[serde(default)]
        record: Option<Secret>,
    },
    /// The store does not answer, and surely carried nothing out.
    Down,
    /// Whether the command was carried out is not known.
    Unknown,
}

/// One API request that wants its token.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attach {
    /// Whose token.
    #[serde(default)]
    pub want: Want,
    /// The call, as `use` gave it.
    pub call: Call,
    /// The HTTP method.
    pub method: String,
    /// The absolute URL.
    pub url: String,
    /// Whether the token goes into the URL's query instead, which logs and histories keep
    /// (RFC 9700 section 4.3.2 forbids it; two providers need it).
    #[serde(default)]
    pub insecure_query: bool,
    /// The flight that the same question was told to wait for: the proof of possession was being signed.
    #[serde(default)]
    pub after: Option<FlightId>,
}

/// One API request's answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answered {
    /// Whose token was on it.
    #[serde(default)]
    pub want: Want,
    /// The call, as `use` gave it.
    pub call: Call,
    /// The URL that answered.
    #[serde(default)]
    pub url: Option<String>,
    /// The HTTP status.
    pub status: u16,
    /// The header lines as they came.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
}
