//! Does to `remint::Client` what it reads, one JSON object per line. See ../../README.md.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::io::{self, BufRead, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use examples_rust::ureq::{Ureq, agent, get};
use remint::client::{Incoming, Outgoing, SendError, Token, TokenOptions};
use remint::event::AuthorizationUrl;
use remint::{Builder, Client, Secret, Transport};
use serde::Deserialize;
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let mut driver = Driver::default();
    for line in io::stdin().lock().lines() {
        let answer = match serde_json::from_str(&line?) {
            Ok(order) => driver.obey(order).unwrap_or_else(|error| shown_error(&*error)),
            Err(error) => json!({ "broken": error.to_string() }),
        };
        writeln!(io::stdout(), "{answer}")?;
    }
    driver.clients.values().for_each(|(client, _)| client.close());
    Ok(())
}

/// What a line may say.
#[derive(Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
enum Order {
    Client {
        name: String,
        profile: Value,
        options: BTreeMap<String, Value>,
    },
    Token {
        client: String,
        #[serde(default)]
        force: bool,
    },
    Tokens {
        client: String,
        callers: usize,
    },
    Call {
        client: String,
        url: String,
    },
    AuthorizationUrl {
        client: String,
        redirect_uri: String,
        scope: String,
    },
    Exchange {
        client: String,
        view: String,
        callback: Secret,
        session: Secret,
        subject: String,
    },
    Adopt {
        client: String,
        view: String,
        subject: String,
        refresh_token: Secret,
    },
    Rotated {
        client: String,
    },
    Notices {
        client: String,
    },
    LoseAnswers {
        client: String,
        count: usize,
    },
}

#[derive(Default)]
struct Driver {
    clients: HashMap<String, (Client<Losing>, Arc<State>)>,
}

/// What happened to one client and its views.
#[derive(Default)]
struct State {
    notices: Mutex<Vec<Value>>,
    rotated: Mutex<Vec<String>>,
    losses: AtomicUsize,
}

/// A transport that can lose an answer that has arrived.
struct Losing(Ureq, Arc<State>);

impl Driver {
    fn obey(&mut self, order: Order) -> Result<Value, Box<dyn Error>> {
        let answer = match order {
            Order::Client { name, profile, options } => {
                self.clients.insert(name, client(profile, options)?);
                Value::Null
            }
            Order::Token { client, force } => {
                shown(&self.client(&client)?.token_with(TokenOptions { force, ..TokenOptions::default() })?)
            }
            Order::Tokens { client, callers } => {
                let client = self.client(&client)?;
                let tokens: Vec<_> = thread::scope(|scope| {
                    let callers: Vec<_> = (0..callers).map(|_| scope.spawn(|| client.token())).collect();
                    callers.into_iter().map(|caller| caller.join().map_err(|_| "a caller panicked")).collect()
                });
                let tokens = tokens.into_iter().map(|token| Ok(shown(&token??)));
                tokens.collect::<Result<_, Box<dyn Error>>>()?
            }
            Order::Call { client, url } => {
                let agent = agent();
                let response = self.client(&client)?.call("GET", &url, |headers| get(&agent, &url, headers))?;
                response.status().as_u16().into()
            }
            Order::AuthorizationUrl { client, redirect_uri, scope } => {
                let scope = Some(scope.split(' ').map(Into::into).collect());
                let request = AuthorizationUrl { redirect_uri, scope, ..AuthorizationUrl::default() };
                let authorization = self.client(&client)?.authorization_url(request)?;
                json!({ "url": authorization.url, "session": authorization.session.expose() })
            }
            Order::Exchange { client, view, callback, session, subject } => {
                let token = self.client(&client)?.exchange(callback, session, Some(&subject))?;
                self.derive(&client, view, subject, None)?;
                shown(&token)
            }
            Order::Adopt { client, view, subject, refresh_token } => {
                self.derive(&client, view, subject, Some(refresh_token))?;
                Value::Null
            }
            Order::Rotated { client } => json!(*lock(&self.state(&client)?.rotated)),
            Order::Notices { client } => lock(&self.state(&client)?.notices).drain(..).collect(),
            Order::LoseAnswers { client, count } => {
                self.state(&client)?.losses.store(count, Ordering::Release);
                Value::Null
            }
        };
        Ok(json!({ "ok": answer }))
    }

    fn derive(
        &mut self,
        client: &str,
        view: String,
        subject: String,
        refresh_token: Option<Secret>,
    ) -> Result<(), Box<dyn Error>> {
        let derived = self.client(client)?.with_subject(subject, refresh_token)?;
        let state = self.state(client)?.clone();
        self.clients.insert(view, (derived, state));
        Ok(())
    }

    fn client(&self, name: &str) -> Result<&Client<Losing>, String> {
        self.clients.get(name).map(|(client, _)| client).ok_or_else(|| format!("there is no {name}"))
    }

    fn state(&self, name: &str) -> Result<&Arc<State>, String> {
        self.clients.get(name).map(|(_, state)| state).ok_or_else(|| format!("there is no {name}"))
    }
}

impl Transport for Losing {
    fn send(&self, request: Outgoing) -> Result<Incoming, SendError> {
        let answer = self.0.send(request)?;
        match self.1.losses.fetch_update(Ordering::AcqRel, Ordering::Acquire, |losses| losses.checked_sub(1)) {
            Ok(_) => Err(SendError::MaybeSent),
            Err(_) => Ok(answer),
        }
    }
}

fn client(profile: Value, options: BTreeMap<String, Value>) -> Result<(Client<Losing>, Arc<State>), remint::Error> {
    let state = Arc::new(State::default());
    let (noticed, rotated) = (state.clone(), state.clone());
    let options =
        options.into_iter().fold(Builder::new(profile), |builder, (name, value)| builder.option(&name, value));
    let options = options.on_notice(move |notice| lock(&noticed.notices).push(json!(notice))).on_rotated(
        move |_, refresh_token| {
            lock(&rotated.rotated).push(refresh_token.expose().into());
            Ok::<(), SendError>(())
        },
    );
    Ok((options.build(Losing(Ureq(agent()), state.clone()))?, state))
}

fn shown(token: &Token) -> Value {
    json!({
        "access_token": token.access_token.expose(),
        "token_type": token.token_type(),
        "expires_in": token.expires_in().as_secs_f64(),
        "scope": token.scope.as_deref(),
        "shown": format!("{token:?} {:?}", **token),
    })
}

fn shown_error(error: &(dyn Error + 'static)) -> Value {
    let Some(error) = error.downcast_ref::<remint::Error>() else {
        return json!({ "broken": format!("{error:?}") });
    };
    json!({ "error": {
        "code": error.code().as_str(),
        "family": error.code().family(),
        "message": error.message(),
        "status": error.status(),
        "retryable": error.is_retryable(),
        "oauth_error": error.oauth_error(),
        "hint": error.hint(),
        "ambiguous": error.is_ambiguous(),
        "shown": format!("{error} {error:?}"),
    } })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
