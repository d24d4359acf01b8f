//! reqwest on tokio: a transport for tasks, and one API request.

use std::time::Duration;

use remint::AsyncTransport;
use remint::client::{Headers, Incoming, Outgoing, Reply, SendError, Task};
use reqwest::header::HeaderMap;
use reqwest::{Client, Error, Method, Response};

/// Sends token requests through a client of the user's. See [`client`] for what it must not do.
#[derive(Clone, Debug)]
pub struct Reqwest(pub Client);

impl AsyncTransport for Reqwest {
    async fn send(&self, outgoing: Outgoing) -> Result<Incoming, SendError> {
        let method = Method::from_bytes(outgoing.request.method.as_bytes()).map_err(|_| SendError::NotSent)?;
        let mut request = self.0.request(method, outgoing.request.url).timeout(outgoing.timeout);
        for (name, value) in outgoing.request.headers {
            request = request.header(name, &*value);
        }
        let sent = request.body(outgoing.request.body.unwrap_or_default()).send().await;
        let mut response = sent.map_err(|error| kind(&error))?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| kind(&error))? {
            if body.len() + chunk.len() > outgoing.cap {
                return Err(SendError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Incoming { status: response.status().as_u16(), headers: lines(response.headers()), body })
    }

    fn spawn(&self, task: Task) {
        tokio::spawn(task);
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(duration)
    }
}

/// A client that sends each request once: no redirects (they would carry the credentials along, and API headers other than
/// `Authorization` to any host), no retries of its own, and no kept connections (they may be dead).
///
/// # Errors
/// reqwest's, if the system's TLS can't be set up.
pub fn client() -> Result<Client, Error> {
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .pool_max_idle_per_host(0)
        .build()
}

/// One GET request to an API, for [`AsyncClient::call`](remint::AsyncClient::call).
///
/// # Errors
/// reqwest's.
pub async fn get(
    client: &Client,
    url: &str,
    headers: Headers,
) -> Result<Reply<Response>, Box<dyn std::error::Error + Send + Sync>> {
    let request = headers.iter().fold(client.get(url), |request, (name, value)| request.header(name, value));
    let response = request.send().await?;
    Ok(Reply::new(response.status().as_u16(), lines(response.headers()), response))
}

fn lines(headers: &HeaderMap) -> Vec<(String, String)> {
    let line = |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    };
    headers.iter().filter_map(line).collect()
}

/// What an error says about the request. When in doubt, the server may have seen it.
fn kind(error: &Error) -> SendError {
    if error.is_connect() {
        SendError::NotSent
    } else if error.is_timeout() {
        SendError::Timeout
    } else {
        SendError::MaybeSent
    }
}
