//! A provider without a network: a transport that answers from a function, and keeps what it was sent.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use remint::client::{Incoming, Outgoing, SendError, Task};
use remint::{AsyncTransport, Builder, Transport};
use serde_json::{Value, json};

/// Where its endpoints are.
pub const AUTH: &str = "https://auth.example";
/// Where its API is.
pub const API: &str = "https://api.example";

/// The provider. Clones are the same one.
#[derive(Clone)]
pub struct Scripted(Arc<Inner>);

struct Inner {
    answer: Box<Answer>,
    seen: Mutex<Vec<Seen>>,
}

type Answer = dyn Fn(&Seen) -> Incoming + Send + Sync;

/// One request that arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its method.
    pub method: &'static str,
    /// Its URL.
    pub url: String,
    /// Its headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its form.
    pub form: BTreeMap<String, String>,
    /// Its body as it came.
    pub body: String,
    /// Which certificate its connection has.
    pub tls_id: Option<String>,
}

impl Scripted {
    /// A provider whose every answer comes from a function.
    pub fn new(answer: impl Fn(&Seen) -> Incoming + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner { answer: Box::new(answer), seen: Mutex::default() }))
    }

    /// What arrived at a path, in order.
    pub fn at(&self, path: &str) -> Vec<Seen> {
        self.seen().iter().filter(|seen| seen.path() == path).cloned().collect()
    }

    fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, outgoing: Outgoing) -> Incoming {
        let request = outgoing.request;
        let body = request.body.unwrap_or_default();
        let seen = Seen {
            method: request.method,
            url: request.url,
            headers: request.headers.into_iter().map(|(name, value)| (name.into(), value.into_owned())).collect(),
            form: body.split('&').filter_map(pair).collect(),
            body,
            tls_id: outgoing.tls_id,
        };
        self.seen().push(seen.clone());
        (self.0.answer)(&seen)
    }
}

impl Seen {
    /// The URL without its origin.
    pub fn path(&self) -> &str {
        self.url.strip_prefix(AUTH).unwrap_or(&self.url)
    }

    /// A member of the form; empty if it was not sent.
    pub fn field(&self, name: &str) -> &str {
        self.form.get(name).map_or("", |value| value)
    }
}

impl Transport for Scripted {
    fn send(&self, outgoing: Outgoing) -> Result<Incoming, SendError> {
        Ok(self.answer(outgoing))
    }
}

impl AsyncTransport for Scripted {
    async fn send(&self, outgoing: Outgoing) -> Result<Incoming, SendError> {
        Ok(self.answer(outgoing))
    }

    fn spawn(&self, task: Task) {
        tokio::spawn(task);
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(duration)
    }
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.seen().iter().map(Seen::path)).finish()
    }
}

/// An answer in JSON.
pub fn answer(status: u16, body: &Value) -> Incoming {
    Incoming {
        status,
        headers: vec![("content-type".into(), "application/json".into())],
        body: body.to_string().into(),
    }
}

/// A token for an hour.
pub fn token(text: &str) -> Incoming {
    answer(200, &json!({"access_token": text, "token_type": "Bearer", "expires_in": 3600}))
}

/// The client's options for a provider with every endpoint.
pub fn options() -> Builder {
    options_for(&json!({
        "name": "scripted",
        "title": "Scripted",
        "grants": GRANTS,
        "authorization": {"endpoint": format!("{AUTH}/authorize")},
        "token": {"endpoint": format!("{AUTH}/token"), "client_auth": ["client_secret_basic"]},
        "endpoints": {
            "device_authorization": format!("{AUTH}/device"),
            "backchannel_authentication": format!("{AUTH}/backchannel"),
            "introspection": format!("{AUTH}/introspect"),
            "revocation": format!("{AUTH}/revoke"),
            "pushed_authorization_request": format!("{AUTH}/par"),
        },
        "api_origins": [API],
    }))
}

/// The client's options for a profile of the test's own.
pub fn options_for(profile: &Value) -> Builder {
    Builder::new(profile.clone()).client_id("someone").client_secret("hush-hush")
}

/// What the provider grants.
pub const GRANTS: [&str; 6] =
    ["client_credentials", "device_code", "ciba", "token_exchange", "jwt_bearer", "authorization_code"];

fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    Some((decoded(name), decoded(value)))
}

/// Undoes the encoding of forms and queries.
fn decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits: String = bytes.by_ref().take(2).map(char::from).collect();
                u8::from_str_radix(&digits, 16).expect("two digits")
            }
            other => other,
        });
    }
    String::from_utf8(plain).expect("UTF-8")
}
