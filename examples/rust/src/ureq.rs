//! ureq: a transport for threads, and one API request.

use remint::Transport;
use remint::client::{Headers, Incoming, Outgoing, Reply, SendError};
use ureq::http::{HeaderMap, Request, Response, request};
use ureq::{Agent, AsSendBody, Body, Error, Timeout};

/// Sends token requests through an agent of the user's. See [`agent`] for what it must not do.
#[derive(Clone, Debug)]
pub struct Ureq(pub Agent);

impl Transport for Ureq {
    fn send(&self, outgoing: Outgoing) -> Result<Incoming, SendError> {
        let request = Request::builder().method(outgoing.request.method).uri(outgoing.request.url.as_str());
        let headers = outgoing.request.headers.iter().map(|(name, value)| (&**name, &**value));
        let request = with_headers(request, headers);
        let response = match outgoing.request.body {
            Some(body) => self.run(request.body(body), outgoing.timeout),
            None => self.run(request.body(()), outgoing.timeout),
        };
        let mut response = response.map_err(|error| kind(&error))?;
        let limit = u64::try_from(outgoing.cap).unwrap_or(u64::MAX);
        let body = response.body_mut().with_config().limit(limit).read_to_vec().map_err(|error| kind(&error))?;
        Ok(Incoming { status: response.status().as_u16(), headers: lines(response.headers()), body })
    }
}

impl Ureq {
    fn run(
        &self,
        request: Result<Request<impl AsSendBody>, ureq::http::Error>,
        timeout: std::time::Duration,
    ) -> Result<Response<Body>, Error> {
        self.0.run(self.0.configure_request(request?).timeout_global(Some(timeout)).build())
    }
}

/// An agent that sends each request once: no redirects (they would carry the credentials along, and API headers other than
/// `Authorization` to any host), no kept connections (they may be dead), and statuses are no errors.
#[must_use]
pub fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections(0)
        .build()
        .new_agent()
}

/// One GET request to an API, for [`Client::call`](remint::Client::call).
///
/// # Errors
/// ureq's.
pub fn get(agent: &Agent, url: &str, headers: &Headers) -> Result<Reply<Response<Body>>, Box<dyn std::error::Error>> {
    let response = agent.run(with_headers(Request::get(url), headers.iter()).body(())?)?;
    Ok(Reply::new(response.status().as_u16(), lines(response.headers()), response))
}

fn with_headers<'a>(request: request::Builder, headers: impl Iterator<Item = (&'a str, &'a str)>) -> request::Builder {
    headers.fold(request, |request, (name, value)| request.header(name, value))
}

fn lines(headers: &HeaderMap) -> Vec<(String, String)> {
    let line = |(name, value): (&ureq::http::HeaderName, &ureq::http::HeaderValue)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    };
    headers.iter().filter_map(line).collect()
}

/// What an error says about the request. When in doubt, the server may have seen it.
fn kind(error: &Error) -> SendError {
    match error {
        Error::Timeout(Timeout::Resolve | Timeout::Connect) | Error::HostNotFound | Error::ConnectionFailed => {
            SendError::NotSent
        }
        Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused || is_untrusted(error) => {
            SendError::NotSent
        }
        Error::Timeout(_) => SendError::Timeout,
        Error::BodyExceedsLimit(_) => SendError::TooLarge,
        _ => SendError::MaybeSent,
    }
}

/// Whether the handshake ended at the server's certificate: nothing else has been said by then.
fn is_untrusted(error: &std::io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    matches!(cause, Some(rustls::Error::InvalidCertificate(_)))
}
