//! What the core tells a host: one answer, operations to start, and what everybody should know.
//!
//! The enums are exhaustive on purpose: a driver that does not know an operation must not compile. They are
//! outside of semantic versioning, as the whole step machine is.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::cache::Key;
use crate::error::Error;
use crate::notice::Notice;
use crate::request::HttpRequest;
use crate::secret::{Secret, expose, expose_some};
use crate::token::Lease;

/// All that follows from one event.
///
/// A host first starts the operations, then tells the waiters of every settled flight to ask again,
/// drops the leases that are withdrawn, and shows the notices. `to_json` gives the same to hosts in other languages.
#[derive(Clone, Debug, Default, Serialize)]
#[must_use = "a step that is not carried out leaves callers waiting"]
pub struct Step {
    /// For the asker, if the event was a question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// What to start. Each is answered by one event, or times out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<Operation>,
    /// Flights that are over: their waiters ask again with `after`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub settled: Vec<FlightId>,
    /// Leases that must not be answered from any more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub withdraw: Vec<Withdraw>,
    /// What happened.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<Notice>,
}

/// The answer to the asker. In JSON: an object whose first member is the kind, as in `{"wait": "f1", "until": 30000}`.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// Here is a token.
    Use(Lease),
    /// Wait until the flight settles or `until` (boot clock, milliseconds) is reached, then ask again with `after`.
    Wait {
        /// The flight.
        #[serde(rename = "wait")]
        flight: FlightId,
        /// The latest moment to ask again.
        until: i64,
    },
    /// Put these on the request.
    Headers {
        /// Names and values.
        headers: Vec<(String, String)>,
    },
    /// A word to an API call: see [`Verdict`].
    Verdict(Verdict),
    /// The token is good and its proof was not (RFC 9449 section 9): attach with this call, and send the request once more.
    Again {
        /// The call from here on.
        #[serde(rename = "again")]
        call: Call,
    },
    /// A flow's value.
    Done {
        /// The value.
        done: Done,
    },
    /// It cannot be had.
    Fail(Error),
}

/// What to do about an API's answer. In JSON a bare string.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is not about the token.
    Pass,
    /// Ask again with this `call`, and send the request once more.
    Retry,
    /// It is about the token, and another would not help: the answer is the caller's.
    GiveUp,
}

/// What a flow ends with.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Done {
    /// Where to send the browser, and what the web session keeps until it is back.
    Authorization {
        /// The URL.
        url: String,
        /// The session: opaque, serializable and secret.
        #[serde(serialize_with = "expose")]
        session: Secret,
    },
    /// A URL with the token in its query, and headers that keep it out of caches.
    InsecureUrl {
        /// The URL.
        #[serde(serialize_with = "expose")]
        url: Secret,
        /// Headers for the answer that carries it.
        headers: Vec<(String, String)>,
    },
    /// A person has to answer first. What to show them, and the session to go on with.
    Pending(Pending),
    /// What the server knows about a token (RFC 7662 section 2.2).
    Introspection {
        /// Whether it is good, says the server.
        active: bool,
        /// The whole answer, as JSON text. It is about a person, perhaps.
        #[serde(serialize_with = "expose")]
        introspection: Secret,
    },
    /// Nothing more to say.
    Nothing {},
}

/// What a person has to be shown, and what a host keeps until they have answered. Durations are milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Pending {
    /// What they type in (RFC 8628 section 3.3); none where they are asked on a device of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_code: Option<String>,
    /// Where they type it in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification_uri: Option<String>,
    /// The same with the code in it. The code is shown all the same (STD-102).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification_uri_complete: Option<String>,
    /// The text for a QR code: the address with the code in it if there is one (RFC 8628 section 3.3.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qr_text: Option<String>,
    /// For how long they may take.
    pub expires_in: i64,
    /// The time between two polls.
    pub interval: i64,
    /// What `poll` goes on with: opaque, serializable and secret.
    #[serde(serialize_with = "expose")]
    pub session: Secret,
}

/// Something the host has to do. `until` is on the boot clock, in milliseconds.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Operation {
    /// Send one HTTP request, exactly once: no retries, no redirects. Answer with `received` or `failed`.
    Send {
        /// Answer with this.
        #[serde(rename = "send")]
        op: OpId,
        /// Whose it is.
        flight: FlightId,
        /// The request.
        request: HttpRequest,
        /// Which client certificate the connection needs; connections are not shared between two of them.
        #[serde(skip_serializing_if = "Option::is_none")]
        tls_id: Option<String>,
        /// When it has timed out.
        until: i64,
        /// The longest body to read, in bytes, content codings undone.
        cap: usize,
    },
    /// Sign with a key that the host holds. Answer with `signed` or `failed`.
    Sign {
        /// Answer with this.
        #[serde(rename = "sign")]
        op: OpId,
        /// Whose it is.
        flight: FlightId,
        /// The host's name for the key.
        key: String,
        /// The JOSE algorithm (RFC 7518 section 3.1).
        alg: String,
        /// The bytes to sign, which are ASCII.
        input: String,
        /// When it has timed out.
        until: i64,
    },
    /// Check a signature with a public key of the server's. Answer with `verified` or `failed`.
    Verify {
        /// Answer with this.
        #[serde(rename = "verify")]
        op: OpId,
        /// Whose it is.
        flight: FlightId,
        /// The public key: a JWK as JSON text, with the members of RFC 7638 alone.
        key: String,
        /// The JOSE algorithm (RFC 7518 section 3.1).
        alg: String,
        /// The bytes that were signed, which are ASCII. There is a code in them.
        #[serde(serialize_with = "expose")]
        input: Secret,
        /// The signature: base64url without padding, for ECDSA the raw r and s (RFC 7518 section 3.4).
        signature: String,
        /// When it has timed out.
        until: i64,
    },
    /// Call a function of the host's, or read a file. Answer with `provided` or `failed`.
    Provide {
        /// Answer with this.
        #[serde(rename = "provide")]
        op: OpId,
        /// Whose it is.
        flight: FlightId,
        /// What is wanted.
        #[serde(flatten)]
        what: Provision,
        /// When it has timed out.
        until: i64,
    },
    /// Send `tick` at `until`. It has no other end.
    Sleep {
        /// Whose it is.
        #[serde(rename = "sleep")]
        flight: FlightId,
        /// When.
        until: i64,
    },
    /// Ask the shared store. Answer with `stored` or `failed`.
    Store {
        /// Answer with this.
        #[serde(rename = "store")]
        op: OpId,
        /// Whose it is.
        flight: FlightId,
        /// The record's name.
        key: Key,
        /// When it has timed out.
        until: i64,
        /// What to do.
        #[serde(flatten)]
        command: StoreCommand,
    },
}

/// What a host's function is to provide.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Provision {
    /// The client secret, as it is now.
    ClientSecret,
    /// A client assertion that was made elsewhere, as it is now: read a file again, ask a platform (RFC 7523 section 2.2).
    ClientAssertion,
    /// The token to be exchanged, as it is now (RFC 8693 section 2.1).
    SubjectToken {
        /// The user.
        #[serde(skip_serializing_if = "Option::is_none")]
        subject: Option<String>,
    },
    /// The token of who acts for the subject, as it is now.
    ActorToken {
        /// The user.
        #[serde(skip_serializing_if = "Option::is_none")]
        subject: Option<String>,
    },
    /// The assertion that is the grant, as it is now (RFC 7523 section 2.1).
    Assertion {
        /// The user.
        #[serde(skip_serializing_if = "Option::is_none")]
        subject: Option<String>,
    },
    /// Save this refresh token before the access token is handed out; the result is ignored.
    Rotated {
        /// The user.
        #[serde(skip_serializing_if = "Option::is_none")]
        subject: Option<String>,
        /// The new refresh token.
        #[serde(serialize_with = "expose")]
        refresh_token: Secret,
    },
}

/// What a shared store is to do with a record.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum StoreCommand {
    /// Read it.
    Load,
    /// Take the lock for `ttl` milliseconds, and read it. Repeated by its owner, it extends; with 0, it releases.
    Lock {
        /// Who we are.
        owner: String,
        /// For how long, in milliseconds.
        ttl: i64,
    },
    /// Write `record` if what is there still is `expect`.
    Save {
        /// The version that must be there; none if nothing may be.
        #[serde(serialize_with = "expose_some", skip_serializing_if = "Option::is_none")]
        expect: Option<Secret>,
        /// What to write.
        #[serde(serialize_with = "expose")]
        record: Secret,
        /// For how long the store should keep it, in milliseconds.
        ttl: i64,
        /// Whose lock ends with it, if they still hold it.
        #[serde(skip_serializing_if = "Option::is_none")]
        unlock: Option<String>,
    },
}

/// Leases that must not be answered from any more.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Withdraw {
    /// Whose; everybody's if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// Up to this generation; all if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

impl Step {
    /// The step as JSON, the same bytes in every host.
    ///
    /// It holds tokens, requests with credentials and refresh tokens in the clear: for the host that
    /// carries it out, and for nothing else.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Serializing plain structs into a string has no way to fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

macro_rules! id {
    ($(#[doc = $doc:literal])+ $name:ident, $prefix:literal) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(pub(crate) u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl core::str::FromStr for $name {
            type Err = ();

            fn from_str(text: &str) -> Result<Self, ()> {
                text.strip_prefix($prefix).and_then(|digits| digits.parse().ok()).map(Self).ok_or(())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(|()| de::Error::custom(format!(concat!("an id such as `", $prefix, "1` is expected"))))
            }
        }
    };
}

id! {
    /// The name of a flight: one attempt to get a token, shared by all who wait for it. In JSON: `"f1"`.
    FlightId, "f"
}
id! {
    /// The name of an operation. In JSON: `"o1"`.
    OpId, "o"
}
id! {
    /// One caller's API request: the token generation it used, whether that was minted in this very call,
    /// and whether the request was already repeated. Opaque to hosts. In JSON: `"c4"`.
    Call, "c"
}

impl Call {
    pub(crate) fn new(generation: u64, minted: bool, retried: bool) -> Self {
        Self(generation << 2 | u64::from(minted) << 1 | u64::from(retried))
    }

    /// The generation of the token that the request carried.
    pub(crate) fn generation(self) -> u64 {
        (self.0 & !PROVEN_AGAIN) >> 2
    }

    /// The token was fetched for this very call.
    pub(crate) fn is_minted(self) -> bool {
        self.0 & 2 != 0
    }

    /// The request was already sent a second time.
    pub(crate) fn is_retried(self) -> bool {
        self.0 & 1 != 0
    }

    /// The same call, once its proof was refused and made anew.
    pub(crate) fn with_another_proof(self) -> Self {
        Self(self.0 | PROVEN_AGAIN)
    }

    /// The request was already sent a second time because of its proof.
    pub(crate) fn is_proven_again(self) -> bool {
        self.0 & PROVEN_AGAIN != 0
    }
}

/// At the far end, so that the usual calls have short names.
const PROVEN_AGAIN: u64 = 1 << 63;
