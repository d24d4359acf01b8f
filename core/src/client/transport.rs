//! What a host brings along: one HTTP exchange, and for tasks a runtime's three verbs.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::time::Duration;
use std::boxed::Box;
use std::string::String;
use std::vec::Vec;

use crate::event::FailureKind;
use crate::request::HttpRequest;

/// One token request, to be sent exactly once.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outgoing {
    /// The request.
    pub request: HttpRequest,
    /// How long the whole exchange may take, the last byte of the answer included.
    pub timeout: Duration,
    /// The longest body to read, in bytes, content codings undone.
    pub cap: usize,
    /// Which client certificate the connection needs: the option `tls_id`.
    pub tls_id: Option<String>,
}

/// The answer to a token request, whatever its status.
#[derive(Clone)]
pub struct Incoming {
    /// The HTTP status.
    pub status: u16,
    /// The header lines as they came, repeated ones kept apart. A value that is not text is best left out.
    pub headers: Vec<(String, String)>,
    /// The body, content codings undone.
    pub body: Vec<u8>,
}

/// Why a token request has no answer.
///
/// It carries no text on purpose: errors of HTTP clients quote addresses and headers. Log your client's own error where it
/// happens, if you want to see it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SendError {
    /// Surely no byte of the request left: no connection came about. When in doubt, it is [`SendError::MaybeSent`].
    NotSent,
    /// The server may have seen the request.
    MaybeSent,
    /// It took longer than `timeout`.
    Timeout,
    /// The answer was longer than `cap`.
    TooLarge,
}

/// Sends token requests from threads.
///
/// One `send` is one attempt on the wire: the HTTP client's own retries and redirects must be off (RFC 9700 section 4.12: a
/// redirect would carry the credentials along), and so must its way of turning statuses into errors.
pub trait Transport: Send + Sync + 'static {
    /// Sends the request and reads the answer.
    ///
    /// # Errors
    /// How it ended without one.
    fn send(&self, request: Outgoing) -> Result<Incoming, SendError>;
}

/// A piece of work for a runtime.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Sends token requests from tasks, on a runtime of the user's.
pub trait AsyncTransport: Send + Sync + 'static {
    /// Sends the request and reads the answer, as [`Transport::send`] does.
    fn send(&self, request: Outgoing) -> impl Future<Output = Result<Incoming, SendError>> + Send;

    /// Runs a task to its end, whatever becomes of the caller: a token request belongs to all who wait for it.
    fn spawn(&self, task: Task);

    /// Is over after that time.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send;
}

impl From<SendError> for FailureKind {
    fn from(error: SendError) -> Self {
        match error {
            SendError::NotSent => Self::NotSent,
            SendError::MaybeSent => Self::MaybeSent,
            SendError::Timeout => Self::Timeout,
            SendError::TooLarge => Self::TooLarge,
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSent => "the request could not be sent",
            Self::MaybeSent => "the connection broke after the request may have been seen",
            Self::Timeout => "the answer did not come in time",
            Self::TooLarge => "the answer is longer than its cap",
        })
    }
}

impl core::error::Error for SendError {}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incoming {{ {}, <redacted> }}", self.status)
    }
}
