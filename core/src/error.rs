//! One closed list of errors, the same codes in every language.

use alloc::borrow::{Cow, ToOwned};
use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;
use core::time::Duration;

use serde::{Serialize, Serializer};

/// What went wrong, what it came from, and what to do about it.
///
/// An error never holds a token, a credential, a URL with a query or a body. `Display` is the message.
#[derive(Clone, Eq, PartialEq)]
pub struct Error(Box<Details>);

#[derive(Clone, Eq, PartialEq, Serialize)]
struct Details {
    #[serde(rename = "fail")]
    code: ErrorCode,
    family: Family,
    message: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oauth_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lifetime: Option<i64>,
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    ambiguous: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr_values: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age: Option<i64>,
}

/// Whose doing an error is. The three are never mixed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// The library was misused: change the program or its configuration.
    Usage,
    /// The authorization server (or what answered in its place) said no.
    Server,
    /// No usable answer arrived, or something of the host's own failed.
    Transport,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $text:literal, $family:ident, $retryable:literal;)+) => {
        /// The stable code of an error: the same string in every language.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum ErrorCode { $($(#[doc = $doc])+ $variant,)+ }

        impl ErrorCode {
            /// Every code there is, in alphabetical order of its family's list.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The code as the string that every language shows.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// Whose doing it is.
            #[must_use]
            pub const fn family(self) -> Family {
                match self { $(Self::$variant => Family::$family,)+ }
            }

            /// Whether the same call may succeed later without a change of program or configuration.
            #[must_use]
            pub const fn is_retryable(self) -> bool {
                match self { $(Self::$variant => $retryable,)+ }
            }
        }
    };
}

codes! {
    /// The cache holds as many live entries as the policy allows. Raise `max_keys`, or close clients.
    CacheFull = "cache_full", Usage, false;
    /// The flow was given up by the host.
    Canceled = "canceled", Usage, false;
    /// The client was closed. Make a new one.
    Closed = "closed", Usage, false;
    /// The step machine was given an event it cannot take. Fix the driver.
    InvalidEvent = "invalid_event", Usage, false;
    /// An option is missing, unknown or has a value that is not allowed. The message names it.
    InvalidOption = "invalid_option", Usage, false;
    /// The profile document is wrong. The pointer names the field.
    InvalidProfile = "invalid_profile", Usage, false;
    /// A token was about to be sent where neither profile nor user declared that it may go.
    OriginNotAllowed = "origin_not_allowed", Usage, false;
    /// What the shared store holds was not believed: see its keys and who writes to it, or delete the record.
    RecordRefused = "record_refused", Usage, false;
    /// The request's body can be sent only once, so the call could not be repeated after a 401.
    BodyNotReplayable = "body_not_replayable", Usage, false;

    /// The person refused (RFC 6749 section 4.1.2.1).
    AccessDenied = "access_denied", Server, false;
    /// Nobody answered before the code or request ran out (RFC 8628 section 3.5). Begin again, if the person wants to.
    AuthorizationExpired = "authorization_expired", Server, false;
    /// The API wants more scope than the token has (RFC 6750 section 3.1). A refresh would not help.
    InsufficientScope = "insufficient_scope", Server, false;
    /// The API wants a person who signed in more strongly or more recently (RFC 9470 section 3): see `acr_values` and `max_age`.
    InsufficientUserAuthentication = "insufficient_user_authentication", Server, false;
    /// The client is unknown or its credentials are wrong (RFC 6749 section 5.2).
    InvalidClient = "invalid_client", Server, false;
    /// The proof of possession is not accepted (RFC 9449 section 5). The likely causes are the clock and the key.
    InvalidDpopProof = "invalid_dpop_proof", Server, false;
    /// A value of a client's metadata is not accepted (RFC 7591 section 3.2.2).
    InvalidClientMetadata = "invalid_client_metadata", Server, false;
    /// The code or refresh token is not accepted (RFC 6749 section 5.2).
    InvalidGrant = "invalid_grant", Server, false;
    /// A redirect URI of a client's metadata is not accepted (RFC 7591 section 3.2.2).
    InvalidRedirectUri = "invalid_redirect_uri", Server, false;
    /// The server did not like the shape of the request (RFC 6749 section 5.2).
    InvalidRequest = "invalid_request", Server, false;
    /// A scope is unknown or not allowed (RFC 6749 section 5.2).
    InvalidScope = "invalid_scope", Server, false;
    /// The software statement is not valid (RFC 7591 section 3.2.2).
    InvalidSoftwareStatement = "invalid_software_statement", Server, false;
    /// The resource or audience is unknown or not allowed (RFC 8707 section 2, RFC 8693 section 2.2.2).
    InvalidTarget = "invalid_target", Server, false;
    /// The answer names another issuer than the configured one (RFC 9207 section 2.4).
    IssuerMismatch = "issuer_mismatch", Server, false;
    /// The server's metadata cannot be used, or contradicts the configuration (RFC 8414 section 3).
    MetadataUnusable = "metadata_unusable", Server, false;
    /// The server gives tokens shorter than the `min_ttl` asked for.
    MinTtlUnavailable = "min_ttl_unavailable", Server, false;
    /// There is no usable refresh token: a person has to authorize again.
    ReauthorizationRequired = "reauthorization_required", Server, false;
    /// The token endpoint is overloaded or out of order (408, 429, 5xx). Try again after `retry_after`.
    ServerUnavailable = "server_unavailable", Server, true;
    /// The callback's `state` is not the session's (RFC 6749 section 10.12). Drop the callback.
    StateMismatch = "state_mismatch", Server, false;
    /// The software statement is not approved by the server (RFC 7591 section 3.2.2).
    UnapprovedSoftwareStatement = "unapproved_software_statement", Server, false;
    /// The client may not use this grant (RFC 6749 section 5.2).
    UnauthorizedClient = "unauthorized_client", Server, false;
    /// The answer is not one that a token endpoint gives.
    UnexpectedAnswer = "unexpected_answer", Server, false;
    /// The server does not know this grant (RFC 6749 section 5.2).
    UnsupportedGrantType = "unsupported_grant_type", Server, false;
    /// The token is of a type that cannot be used here (RFC 6749 section 7.1).
    UnsupportedTokenType = "unsupported_token_type", Server, false;

    /// The answer was longer than the cap.
    AnswerTooLarge = "answer_too_large", Transport, false;
    /// A function that the host supplied (a secret, a signer) failed.
    HostError = "host_error", Transport, true;
    /// The new refresh token could not be saved.
    PersistFailed = "persist_failed", Transport, true;
    /// The shared store did not answer.
    StoreUnavailable = "store_unavailable", Transport, true;
    /// No answer came in time.
    Timeout = "timeout", Transport, true;
    /// The request could not be sent or the answer did not arrive.
    TransportFailed = "transport_failed", Transport, true;
}

impl Error {
    /// An error of this code, with a message that says what happened and what to do.
    ///
    /// The message starts in lower case and has no full stop. It must hold nothing that a server sent
    /// and nothing secret; what the user typed stands in backticks.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Details {
            code,
            family: code.family(),
            message: message.into(),
            hint: None,
            status: None,
            retryable: code.is_retryable(),
            retry_after: None,
            oauth_error: None,
            pointer: None,
            lifetime: None,
            ambiguous: false,
            acr_values: None,
            max_age: None,
        }))
    }

    /// With a hint at the likely cause.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// With the HTTP status that was answered.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self
    }

    /// With whether the same call may succeed later, where that depends on more than the code.
    #[must_use]
    pub fn with_retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// With the time after which a further attempt is made, in milliseconds from now.
    #[must_use]
    pub fn with_retry_after(mut self, millis: i64) -> Self {
        self.0.retry_after = Some(millis.max(0));
        self
    }

    /// With the OAuth error code that the server gave, already checked against its grammar.
    #[must_use]
    pub fn with_oauth_error(mut self, code: &str) -> Self {
        self.0.oauth_error = Some(code.to_owned());
        self
    }

    /// With a JSON pointer (RFC 6901) to the wrong field of a document.
    #[must_use]
    pub fn with_pointer(mut self, pointer: impl Into<String>) -> Self {
        self.0.pointer = Some(pointer.into());
        self
    }

    /// With the lifetime that the server gives, in milliseconds.
    #[must_use]
    pub fn with_lifetime(mut self, millis: i64) -> Self {
        self.0.lifetime = Some(millis);
        self
    }

    /// Marks a refusal that may be the echo of a request of our own whose answer was lost.
    #[must_use]
    pub fn with_ambiguity(mut self) -> Self {
        self.0.ambiguous = true;
        self
    }

    /// With the authentication that an API asks for (RFC 9470 section 3): `acr_values` space-separated, `max_age` in seconds.
    #[must_use]
    pub fn with_authentication(mut self, acr_values: Option<&str>, max_age: Option<i64>) -> Self {
        self.0.acr_values = acr_values.map(ToOwned::to_owned);
        self.0.max_age = max_age;
        self
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.0.code
    }

    /// What happened and what to do.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The likely cause, where one can be told.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The HTTP status of the answer, if there was one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// How long it is until a further attempt is made, where known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after.map(duration)
    }

    /// The OAuth `error` code of the answer (RFC 6749 section 5.2).
    #[must_use]
    pub fn oauth_error(&self) -> Option<&str> {
        self.0.oauth_error.as_deref()
    }

    /// A JSON pointer to the wrong field of a document.
    #[must_use]
    pub fn pointer(&self) -> Option<&str> {
        self.0.pointer.as_deref()
    }

    /// The lifetime that the server gives, for [`ErrorCode::MinTtlUnavailable`].
    #[must_use]
    pub fn lifetime(&self) -> Option<Duration> {
        self.0.lifetime.map(duration)
    }

    /// The authentication context classes that an API asks for, space-separated (RFC 9470 section 3).
    #[must_use]
    pub fn acr_values(&self) -> Option<&str> {
        self.0.acr_values.as_deref()
    }

    /// How long ago the person may have signed in at most, says an API (RFC 9470 section 3).
    #[must_use]
    pub fn max_age(&self) -> Option<Duration> {
        self.0.max_age.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs)
    }

    /// Whether a refused refresh token may have been spent by an earlier request whose answer was lost.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        self.0.ambiguous
    }
}

impl fmt::Debug for Error {
    /// The code and the message, for a `main` that returns the error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.0.code)?;
        self.0.status.map_or(Ok(()), |status| write!(f, " (status {status})"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match &self.0.hint {
            Some(hint) => write!(f, ": {hint}"),
            None => Ok(()),
        }
    }
}

impl core::error::Error for Error {}

impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

fn duration(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or_default())
}
