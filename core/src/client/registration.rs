//! Registrations carried out: what [`Registrar::build`] and [`Registration::finish`] begin and end, over a transport.

use core::time::Duration;

use super::clock::Time;
use super::transport::{AsyncTransport, Incoming, Outgoing, SendError, Transport};
use crate::error::{Error, ErrorCode};
use crate::registration::{ClientInformation, Registered, Registrar, Registration, RegistrationRequest};
use crate::response::HttpResponse;

impl Registrar {
    /// Registers a client (RFC 7591), or looks after a registration (RFC 7592): gives the client as it is registered now, and
    /// nothing once it is deleted.
    ///
    /// Nothing is sent twice, because a server that saw a request may have acted on it. Where the server's metadata has to be
    /// read first there are up to three requests, and `request_timeout` is for each of them: 10 s unless given.
    ///
    /// # Errors
    /// Those of [`Registrar::build`] before anything is sent, and those of [`Registration::finish`]. `transport_failed`,
    /// `timeout` or `answer_too_large` if there is no answer to read: unless the error is retryable, the server may have done
    /// what was asked.
    pub fn register(
        &self,
        request: RegistrationRequest,
        transport: &impl Transport,
        request_timeout: Option<Duration>,
    ) -> Result<Option<ClientInformation>, Error> {
        let timeout = checked(request_timeout)?;
        let mut next = self.build(request)?;
        loop {
            let sent = transport.send(self.outgoing(&next, timeout));
            match self.answered(next, sent)? {
                Registered::Next(registration) => next = registration,
                Registered::Client(client) => return Ok(Some(client)),
                Registered::Deleted => return Ok(None),
            }
        }
    }

    /// Like [`Registrar::register`], for tasks. A task that is dropped takes the request along, which the server may have seen.
    ///
    /// # Errors
    /// See there.
    pub async fn register_async(
        &self,
        request: RegistrationRequest,
        transport: &impl AsyncTransport,
        request_timeout: Option<Duration>,
    ) -> Result<Option<ClientInformation>, Error> {
        let timeout = checked(request_timeout)?;
        let mut next = self.build(request)?;
        loop {
            let sent = transport.send(self.outgoing(&next, timeout)).await;
            match self.answered(next, sent)? {
                Registered::Next(registration) => next = registration,
                Registered::Client(client) => return Ok(Some(client)),
                Registered::Deleted => return Ok(None),
            }
        }
    }

    fn outgoing(&self, registration: &Registration, timeout: Duration) -> Outgoing {
        Outgoing { request: registration.request().clone(), timeout, cap: self.answer_cap(), tls_id: None }
    }

    fn answered(&self, registration: Registration, sent: Result<Incoming, SendError>) -> Result<Registered, Error> {
        let Incoming { status, headers, body } = sent.map_err(lost)?;
        if body.len() > self.answer_cap() {
            return Err(lost(SendError::TooLarge));
        }
        registration.finish(HttpResponse { status, headers: &headers, body: &body }, Time::System.now())
    }
}

fn checked(timeout: Option<Duration>) -> Result<Duration, Error> {
    match timeout {
        Some(Duration::ZERO) => {
            Err(Error::new(ErrorCode::InvalidOption, "`request_timeout` is zero: give a duration above that"))
        }
        Some(timeout) => Ok(timeout),
        None => Ok(TIMEOUT),
    }
}

/// There is no answer. Only what surely did not leave may be sent again.
fn lost(error: SendError) -> Error {
    let (code, message) = match error {
        SendError::NotSent => (ErrorCode::TransportFailed, "the server can't be reached"),
        SendError::MaybeSent => (
            ErrorCode::TransportFailed,
            "the connection ended before the answer: the server may have done what was asked",
        ),
        SendError::Timeout => {
            (ErrorCode::Timeout, "there was no answer in time: the server may have done what was asked")
        }
        SendError::TooLarge => (ErrorCode::AnswerTooLarge, "the answer is too long to be one of a registration"),
    };
    Error::new(code, message).with_retryable(error == SendError::NotSent)
}

/// How long one request may take unless the user says so.
const TIMEOUT: Duration = Duration::from_secs(10);
