//! Errors as both languages see them.

use remint::{Error, ErrorCode, Family};

/// What went wrong, what it came from, and what to do about it. It holds nothing secret.
#[derive(Clone, Debug, uniffi::Record)]
pub struct Failure {
    /// The stable code, the same string in every language.
    pub code: String,
    /// Whose doing it is.
    pub family: Family,
    /// What happened and what to do.
    pub text: String,
    /// The likely cause, where one can be told.
    pub hint: Option<String>,
    /// The HTTP status of the answer, if there was one.
    pub status: Option<i32>,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// How long it is until a further attempt is made, in milliseconds, where known.
    pub retry_after: Option<i64>,
    /// The OAuth `error` code of the answer (RFC 6749 section 5.2).
    pub oauth_error: Option<String>,
    /// A JSON pointer (RFC 6901) to the wrong field of a document.
    pub pointer: Option<String>,
    /// The lifetime in milliseconds that the server gives, for `min_ttl_unavailable`.
    pub lifetime: Option<i64>,
    /// Whether a refused refresh token may have been spent by an earlier request whose answer was lost.
    pub ambiguous: bool,
    /// The authentication context classes that an API asks for, space-separated (RFC 9470 section 3).
    pub acr_values: Option<String>,
    /// How many seconds ago the person may have signed in at most, says an API.
    pub max_age: Option<i64>,
}

/// Whose doing a failure is. The three are never mixed.
#[uniffi::remote(Enum)]
pub enum Family {
    /// The library was misused: change the program or its configuration.
    Usage,
    /// The authorization server (or what answered in its place) said no.
    Server,
    /// No usable answer arrived, or something of the host's own failed.
    Transport,
}

/// What a verb of the step machine throws.
#[derive(Debug, thiserror::Error, uniffi::Error)]
pub enum CoreError {
    /// It cannot be done.
    #[error("{}: {}", failure.code, failure.text)]
    Refused {
        /// Why.
        failure: Failure,
    },
}

pub fn invalid_event(message: &'static str) -> Error {
    Error::new(ErrorCode::InvalidEvent, message)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            code: error.code().to_string(),
            family: error.code().family(),
            text: error.message().to_owned(),
            hint: error.hint().map(str::to_owned),
            status: error.status().map(i32::from),
            retryable: error.is_retryable(),
            retry_after: error.retry_after().map(millis),
            oauth_error: error.oauth_error().map(str::to_owned),
            pointer: error.pointer().map(str::to_owned),
            lifetime: error.lifetime().map(millis),
            ambiguous: error.is_ambiguous(),
            acr_values: error.acr_values().map(str::to_owned),
            max_age: error.max_age().and_then(|age| i64::try_from(age.as_secs()).ok()),
        }
    }
}

impl From<Error> for CoreError {
    fn from(error: Error) -> Self {
        Self::Refused { failure: error.into() }
    }
}

fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
