//! The client for threads and the one for tasks, behind the same verbs.

use std::collections::BTreeMap;
use std::error::Error;
use std::future::ready;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use examples_rust::reqwest::{self, Reqwest};
use examples_rust::ureq::Ureq;
use remint::client::{
    Authorization, Headers, Incoming, Introspection, Outgoing, Reply, SendError, Task, Token, TokenOptions,
};
use remint::event::{AuthorizationUrl, BackchannelRequest, DeviceRequest};
use remint::step::Pending;
use remint::{AsyncClient, AsyncTransport, Builder, Client, Secret, Transport};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::spawn_blocking;
use ureq::http::Request;

use crate::keys::{Connection, verified, with_dpop};
use crate::stores::with_store;

/// A client, and what happened to it and its views.
#[derive(Clone)]
pub struct Tested {
    client: Either,
    pub state: Arc<State>,
}

#[derive(Clone)]
enum Either {
    Threads(Client<Losing<Ureq>>),
    Tasks(AsyncClient<Losing<Wire>>, Arc<Runtime>),
}

/// What sends a task's requests. reqwest is built without TLS here; where it is needed, a thread waits for ureq.
enum Wire {
    Plain(Reqwest),
    Tls(Ureq),
}

#[derive(Default)]
pub struct State {
    /// For API requests, which are the user's own.
    connection: Connection,
    pub notices: Mutex<Vec<Value>>,
    pub rotated: Mutex<Vec<String>>,
    pub losses: AtomicUsize,
}

/// A transport that can lose an answer that has arrived.
struct Losing<T>(T, Arc<State>);

impl Tested {
    pub fn new(
        profile: Value,
        mut options: BTreeMap<String, Value>,
        runtime: Option<&Arc<Runtime>>,
    ) -> Result<Self, Box<dyn Error>> {
        let (pair, authority) = (options.remove("client_certificate"), options.remove("ca"));
        let is_issued = options.get("client_auth").is_some_and(|method| method == "tls_client_auth");
        let connection = Connection::new(pair.as_ref(), authority.as_ref(), is_issued)?;
        if let Some(tls_id) = connection.tls_id()? {
            options.insert("tls_id".into(), tls_id.into());
        }
        let state = Arc::new(State { connection, ..State::default() });
        let (noticed, rotated) = (state.clone(), state.clone());
        let mut builder = Builder::new(profile).verifier(verified);
        for (name, value) in options {
            builder = match &*name {
                "signing_key" => with_held_key(builder, &value, runtime.is_some()),
                "dpop" if value.get("url").is_some() => with_held_proofs(builder, &value, runtime.is_some()),
                "dpop" => with_dpop(builder, &value)?,
                "store" => with_store(builder, &value, runtime.is_some())?,
                _ => builder.option(&name, value),
            };
        }
        let options = builder;
        let options = options.on_notice(move |notice| lock(&noticed.notices).push(json!(notice))).on_rotated(
            move |_, refresh_token| {
                lock(&rotated.rotated).push(refresh_token.expose().into());
                Ok::<(), SendError>(())
            },
        );
        let client = match runtime {
            None => Either::Threads(options.build(Losing(state.connection.transport()?, state.clone()))?),
            Some(runtime) => {
                let wire = match state.connection.is_plain() {
                    true => Wire::Plain(Reqwest(reqwest::client()?)),
                    false => Wire::Tls(state.connection.transport()?),
                };
                Either::Tasks(options.build_async(Losing(wire, state.clone()))?, runtime.clone())
            }
        };
        Ok(Self { client, state })
    }

    pub fn token(&self, force: bool, timeout: Option<Duration>) -> Result<Token, Box<dyn Error>> {
        let options = TokenOptions { force, timeout, ..TokenOptions::default() };
        Ok(match &self.client {
            Either::Threads(client) => client.token_with(options)?,
            Either::Tasks(client, runtime) => runtime.block_on(client.token_with(options))?,
        })
    }

    /// What so many callers get at once.
    pub fn tokens(&self, callers: usize) -> Result<Vec<Token>, Box<dyn Error>> {
        match &self.client {
            Either::Threads(client) => thread::scope(|scope| {
                let callers: Vec<_> = (0..callers).map(|_| scope.spawn(|| client.token())).collect();
                callers.into_iter().map(|caller| Ok(caller.join().map_err(|_| "a caller panicked")??)).collect()
            }),
            Either::Tasks(client, runtime) => runtime.block_on(async {
                let caller = |_| {
                    tokio::spawn({
                        let client = client.clone();
                        async move { client.token().await }
                    })
                };
                let mut tokens = Vec::new();
                for caller in (0..callers).map(caller).collect::<Vec<_>>() {
                    tokens.push(caller.await??);
                }
                Ok(tokens)
            }),
        }
    }

    /// The status of one API request.
    pub fn call(&self, method: &str, url: &str) -> Result<u16, Box<dyn Error>> {
        match &self.client {
            Either::Threads(client) => {
                let Ureq(agent) = self.state.connection.transport()?;
                client.call(method, url, |headers| sent(&agent, method, url, headers))
            }
            Either::Tasks(client, runtime) if method == "GET" && self.state.connection.is_plain() => {
                let http = reqwest::client()?;
                let response = runtime.block_on(client.call("GET", url, |headers| reqwest::get(&http, url, headers)));
                Ok(response.map_err(|error| -> Box<dyn Error> { error })?.status().as_u16())
            }
            Either::Tasks(client, runtime) => {
                let Ureq(agent) = self.state.connection.transport()?;
                runtime.block_on(client.call(method, url, |headers| ready(sent(&agent, method, url, &headers))))
            }
        }
    }

    pub fn device_authorization(&self, request: DeviceRequest) -> Result<Pending, remint::Error> {
        match &self.client {
            Either::Threads(client) => client.device_authorization(request),
            Either::Tasks(client, runtime) => runtime.block_on(client.device_authorization(request)),
        }
    }

    pub fn backchannel(&self, request: BackchannelRequest) -> Result<Pending, remint::Error> {
        match &self.client {
            Either::Threads(client) => client.backchannel_authentication(request),
            Either::Tasks(client, runtime) => runtime.block_on(client.backchannel_authentication(request)),
        }
    }

    pub fn poll(&self, session: Secret, subject: &str) -> Result<Token, remint::Error> {
        match &self.client {
            Either::Threads(client) => client.poll(session, Some(subject), None),
            Either::Tasks(client, runtime) => runtime.block_on(client.poll(session, Some(subject), None)),
        }
    }

    pub fn introspect(&self, token: Secret, hint: Option<&str>) -> Result<Introspection, remint::Error> {
        match &self.client {
            Either::Threads(client) => client.introspect(token, hint),
            Either::Tasks(client, runtime) => runtime.block_on(client.introspect(token, hint)),
        }
    }

    pub fn revoke(&self, token: Option<Secret>, hint: Option<&str>) -> Result<(), remint::Error> {
        match &self.client {
            Either::Threads(client) => client.revoke(token, hint),
            Either::Tasks(client, runtime) => runtime.block_on(client.revoke(token, hint)),
        }
    }

    pub fn with_resource(&self, resource: Vec<String>) -> Result<Self, remint::Error> {
        let client = match &self.client {
            Either::Threads(client) => Either::Threads(client.with_resource(resource)?),
            Either::Tasks(client, runtime) => Either::Tasks(client.with_resource(resource)?, runtime.clone()),
        };
        Ok(Self { client, state: self.state.clone() })
    }

    pub fn with_subject_token(
        &self,
        subject: String,
        subject_token: Secret,
        actor_token: Option<Secret>,
    ) -> Result<Self, remint::Error> {
        let client = match &self.client {
            Either::Threads(client) => {
                Either::Threads(client.with_subject_token(subject, subject_token, actor_token)?)
            }
            Either::Tasks(client, runtime) => {
                Either::Tasks(client.with_subject_token(subject, subject_token, actor_token)?, runtime.clone())
            }
        };
        Ok(Self { client, state: self.state.clone() })
    }

    pub fn authorization_url(&self, request: AuthorizationUrl) -> Result<Authorization, remint::Error> {
        match &self.client {
            Either::Threads(client) => client.authorization_url(request),
            Either::Tasks(client, runtime) => runtime.block_on(client.authorization_url(request)),
        }
    }

    pub fn exchange(&self, callback: Secret, session: Secret, subject: &str) -> Result<Token, remint::Error> {
        match &self.client {
            Either::Threads(client) => client.exchange(callback, session, Some(subject)),
            Either::Tasks(client, runtime) => runtime.block_on(client.exchange(callback, session, Some(subject))),
        }
    }

    pub fn with_subject(&self, subject: String, refresh_token: Option<Secret>) -> Result<Self, remint::Error> {
        let client = match &self.client {
            Either::Threads(client) => Either::Threads(client.with_subject(subject, refresh_token)?),
            Either::Tasks(client, runtime) => {
                Either::Tasks(client.with_subject(subject, refresh_token)?, runtime.clone())
            }
        };
        Ok(Self { client, state: self.state.clone() })
    }

    pub fn invalidate(&self) {
        match &self.client {
            Either::Threads(client) => client.invalidate(),
            // What it leads to is spawned.
            Either::Tasks(client, runtime) => runtime.block_on(async { client.invalidate() }),
        }
    }

    pub fn close(&self) {
        match &self.client {
            Either::Threads(client) => client.close(),
            Either::Tasks(client, runtime) => runtime.block_on(client.close()),
        }
    }
}

/// One API request without a body.
fn sent(agent: &ureq::Agent, method: &str, url: &str, headers: &Headers) -> Result<Reply<u16>, Box<dyn Error>> {
    let request = Request::builder().method(method).uri(url);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
    let response = agent.run(request.body(())?)?;
    let line = |(name, value): (&ureq::http::HeaderName, &ureq::http::HeaderValue)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    };
    let status = response.status().as_u16();
    Ok(Reply::new(status, response.headers().iter().filter_map(line).collect(), status))
}

/// A key that a service holds, which is asked by a thread that waits or by a task.
fn with_held_key(builder: Builder, key: &Value, is_async: bool) -> Builder {
    let url = key["url"].as_str().unwrap_or_default().to_owned();
    let told = json!({ "name": key["kid"], "alg": key["alg"], "kid": key["kid"] });
    if !is_async {
        return builder.signing_key(told, move |_, input| signed(&url, input));
    }
    builder.signing_key_async(told, move |_, input| {
        let url = url.clone();
        async move { spawn_blocking(move || signed(&url, &input)).await.map_err(|_| SendError::MaybeSent)? }
    })
}

/// The same for the key that tokens are bound to.
fn with_held_proofs(builder: Builder, key: &Value, is_async: bool) -> Builder {
    let url = key["url"].as_str().unwrap_or_default().to_owned();
    let told = json!({ "alg": key["alg"], "jwk": key["jwk"] });
    if !is_async {
        return builder.dpop(told, move |_, input| signed(&url, input));
    }
    builder.dpop_async(told, move |_, input| {
        let url = url.clone();
        async move { spawn_blocking(move || signed(&url, &input)).await.map_err(|_| SendError::MaybeSent)? }
    })
}

fn signed(url: &str, input: &[u8]) -> Result<Vec<u8>, SendError> {
    let answer = ureq::post(url).send(input).and_then(|mut answer| answer.body_mut().read_to_vec());
    answer.map_err(|_| SendError::MaybeSent)
}

impl<T> Losing<T> {
    fn lose(&self, answer: Incoming) -> Result<Incoming, SendError> {
        match self.1.losses.fetch_update(Ordering::AcqRel, Ordering::Acquire, |losses| losses.checked_sub(1)) {
            Ok(_) => Err(SendError::MaybeSent),
            Err(_) => Ok(answer),
        }
    }
}

impl Transport for Losing<Ureq> {
    fn send(&self, request: Outgoing) -> Result<Incoming, SendError> {
        self.0.send(request).and_then(|answer| self.lose(answer))
    }
}

impl AsyncTransport for Losing<Wire> {
    async fn send(&self, request: Outgoing) -> Result<Incoming, SendError> {
        let answer = match &self.0 {
            Wire::Plain(reqwest) => reqwest.send(request).await,
            Wire::Tls(ureq) => {
                let ureq = ureq.clone();
                spawn_blocking(move || ureq.send(request)).await.map_err(|_| SendError::MaybeSent)?
            }
        };
        answer.and_then(|answer| self.lose(answer))
    }

    fn spawn(&self, task: Task) {
        tokio::spawn(task);
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(duration)
    }
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
