//! Does to `remint::Client` (or, told `tokio`, to `remint::AsyncClient`) what it reads, one JSON object per line. See ../../README.md.

mod client;
mod keys;
mod registration;
mod stores;

use std::collections::{BTreeMap, HashMap};
use std::env;
use std::error::Error;
use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use remint::client::Token;
use remint::event::{AuthorizationUrl, BackchannelRequest, DeviceRequest};
use remint::step::Pending;
use remint::{RegistrationRequest, Secret};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::client::{Tested, lock};

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = if env::args().nth(1).as_deref() == Some("tokio") { Some(Arc::new(Runtime::new()?)) } else { None };
    let mut driver = Driver { clients: HashMap::new(), runtime };
    for line in io::stdin().lock().lines() {
        let answer = match serde_json::from_str(&line?) {
            Ok(order) => driver.obey(order).unwrap_or_else(|error| shown_error(&*error)),
            Err(error) => json!({ "broken": error.to_string() }),
        };
        writeln!(io::stdout(), "{answer}")?;
    }
    driver.clients.values().for_each(Tested::close);
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
        /// In seconds.
        timeout: Option<f64>,
    },
    Invalidate {
        client: String,
    },
    Tokens {
        client: String,
        callers: usize,
    },
    Call {
        client: String,
        url: String,
        #[serde(default = "get")]
        method: String,
    },
    AuthorizationUrl {
        client: String,
        redirect_uri: String,
        scope: String,
        authorization_details: Option<Value>,
    },
    DeviceAuthorization {
        client: String,
        scope: Option<String>,
    },
    Backchannel {
        client: String,
        scope: Option<String>,
        login_hint: Option<String>,
        binding_message: Option<String>,
    },
    Poll {
        client: String,
        view: String,
        session: Secret,
        subject: String,
    },
    Introspect {
        client: String,
        token: Secret,
        hint: Option<String>,
    },
    Revoke {
        client: String,
        token: Option<Secret>,
        hint: Option<String>,
    },
    WithResource {
        client: String,
        view: String,
        resource: Vec<String>,
    },
    WithSubject {
        client: String,
        view: String,
        subject: String,
        subject_token: Option<Secret>,
        actor_token: Option<Secret>,
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
    Register {
        profile: Value,
        options: BTreeMap<String, Value>,
        request: RegistrationRequest,
    },
}

struct Driver {
    clients: HashMap<String, Tested>,
    /// For the client for tasks.
    runtime: Option<Arc<Runtime>>,
}

impl Driver {
    fn obey(&mut self, order: Order) -> Result<Value, Box<dyn Error>> {
        let answer = match order {
            Order::Client { name, profile, options } => {
                self.clients.insert(name, Tested::new(profile, options, self.runtime.as_ref())?);
                Value::Null
            }
            Order::Token { client, force, timeout } => {
                shown(&self.client(&client)?.token(force, timeout.map(Duration::from_secs_f64))?)
            }
            Order::Invalidate { client } => {
                self.client(&client)?.invalidate();
                Value::Null
            }
            Order::Tokens { client, callers } => self.client(&client)?.tokens(callers)?.iter().map(shown).collect(),
            Order::Call { client, url, method } => self.client(&client)?.call(&method, &url)?.into(),
            Order::AuthorizationUrl { client, redirect_uri, scope, authorization_details } => {
                let (scope, authorization_details) =
                    (Some(words(&scope)), authorization_details.map(|it| it.to_string()));
                let request =
                    AuthorizationUrl { redirect_uri, scope, authorization_details, ..AuthorizationUrl::default() };
                let authorization = self.client(&client)?.authorization_url(request)?;
                json!({ "url": authorization.url, "session": authorization.session.expose() })
            }
            Order::Exchange { client, view, callback, session, subject } => {
                let client = self.client(&client)?;
                let token = client.exchange(callback, session, &subject)?;
                let derived = client.with_subject(subject, None)?;
                self.clients.insert(view, derived);
                shown(&token)
            }
            Order::DeviceAuthorization { client, scope } => {
                let scope = scope.as_deref().map(words);
                let request = DeviceRequest { scope, ..DeviceRequest::default() };
                begun(&self.client(&client)?.device_authorization(request)?)
            }
            Order::Backchannel { client, scope, login_hint, binding_message } => {
                let scope = scope.as_deref().map(words);
                let request =
                    BackchannelRequest { scope, login_hint, binding_message, ..BackchannelRequest::default() };
                begun(&self.client(&client)?.backchannel(request)?)
            }
            Order::Poll { client, view, session, subject } => {
                let client = self.client(&client)?;
                let token = client.poll(session, &subject)?;
                let derived = client.with_subject(subject, None)?;
                self.clients.insert(view, derived);
                shown(&token)
            }
            Order::Introspect { client, token, hint } => {
                let known = self.client(&client)?.introspect(token, hint.as_deref())?;
                json!({ "active": known.active, "claims": serde_json::from_str::<Value>(known.claims.expose())? })
            }
            Order::Revoke { client, token, hint } => {
                self.client(&client)?.revoke(token, hint.as_deref())?;
                Value::Null
            }
            Order::WithResource { client, view, resource } => {
                let derived = self.client(&client)?.with_resource(resource)?;
                self.clients.insert(view, derived);
                Value::Null
            }
            Order::WithSubject { client, view, subject, subject_token, actor_token } => {
                let client = self.client(&client)?;
                let derived = match subject_token {
                    Some(subject_token) => client.with_subject_token(subject, subject_token, actor_token)?,
                    None => client.with_subject(subject, None)?,
                };
                self.clients.insert(view, derived);
                Value::Null
            }
            Order::Adopt { client, view, subject, refresh_token } => {
                let derived = self.client(&client)?.with_subject(subject, Some(refresh_token))?;
                self.clients.insert(view, derived);
                Value::Null
            }
            Order::Rotated { client } => json!(*lock(&self.client(&client)?.state.rotated)),
            Order::Notices { client } => lock(&self.client(&client)?.state.notices).drain(..).collect(),
            Order::LoseAnswers { client, count } => {
                self.client(&client)?.state.losses.store(count, Ordering::Release);
                Value::Null
            }
            Order::Register { profile, options, request } => {
                registration::register(profile, options, request, self.runtime.as_deref())?
            }
        };
        Ok(json!({ "ok": answer }))
    }

    fn client(&self, name: &str) -> Result<&Tested, String> {
        self.clients.get(name).ok_or_else(|| format!("there is no {name}"))
    }
}

fn get() -> String {
    "GET".into()
}

fn words(scope: &str) -> Vec<String> {
    scope.split(' ').map(Into::into).collect()
}

/// Durations are seconds for whoever reads this.
fn begun(pending: &Pending) -> Value {
    json!({
        "user_code": pending.user_code,
        "verification_uri": pending.verification_uri,
        "verification_uri_complete": pending.verification_uri_complete,
        "qr_text": pending.qr_text,
        "expires_in": pending.expires_in / 1000,
        "interval": pending.interval / 1000,
        "session": pending.session.expose(),
        "shown": format!("{pending:?}"),
    })
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
        "acr_values": error.acr_values(),
        "max_age": error.max_age().map(|age| age.as_secs()),
        "shown": format!("{error} {error:?}"),
    } })
}
