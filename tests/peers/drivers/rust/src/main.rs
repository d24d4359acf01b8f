//! Does to `remint::Client` (or, told `tokio`, to `remint::AsyncClient`) what it reads, one JSON object per line. See ../../README.md.

mod client;

use std::collections::{BTreeMap, HashMap};
use std::env;
use std::error::Error;
use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use remint::Secret;
use remint::client::Token;
use remint::event::{AuthorizationUrl, BackchannelRequest, DeviceRequest};
use remint::step::Pending;
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
        scope: String,
    },
    Backchannel {
        client: String,
        scope: String,
        login_hint: String,
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
    },
    Revoke {
        client: String,
        token: Option<Secret>,
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
        subject_token: Secret,
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
            Order::Token { client, force } => shown(&self.client(&client)?.token(force)?),
            Order::Tokens { client, callers } => self.client(&client)?.tokens(callers)?.iter().map(shown).collect(),
            Order::Call { client, url, method } => self.client(&client)?.call(&method, &url)?.into(),
            Order::AuthorizationUrl { client, redirect_uri, scope, authorization_details } => {
                let authorization_details = authorization_details.map(|details| details.to_string());
                let scope = scopes(&scope);
                let request =
                    AuthorizationUrl { redirect_uri, scope, authorization_details, ..AuthorizationUrl::default() };
                let authorization = self.client(&client)?.authorization_url(request)?;
                json!({ "url": authorization.url, "session": authorization.session.expose() })
            }
            Order::DeviceAuthorization { client, scope } => {
                let request = DeviceRequest { scope: scopes(&scope), ..DeviceRequest::default() };
                begun(&self.client(&client)?.device_authorization(request)?)
            }
            Order::Backchannel { client, scope, login_hint, binding_message } => {
                let (scope, login_hint) = (scopes(&scope), Some(login_hint));
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
            Order::Introspect { client, token } => {
                let known = self.client(&client)?.introspect(token)?;
                let claims: Value = serde_json::from_str(known.claims.expose())?;
                json!({ "active": known.active, "claims": claims, "shown": format!("{known:?}") })
            }
            Order::Revoke { client, token } => {
                self.client(&client)?.revoke(token)?;
                Value::Null
            }
            Order::WithResource { client, view, resource } => {
                let derived = self.client(&client)?.with_resource(resource)?;
                self.clients.insert(view, derived);
                Value::Null
            }
            Order::WithSubject { client, view, subject, subject_token, actor_token } => {
                let derived = self.client(&client)?.with_subject_token(subject, subject_token, actor_token)?;
                self.clients.insert(view, derived);
                Value::Null
            }
            Order::Exchange { client, view, callback, session, subject } => {
                let client = self.client(&client)?;
                let token = client.exchange(callback, session, &subject)?;
                let derived = client.with_subject(subject, None)?;
                self.clients.insert(view, derived);
                shown(&token)
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

fn scopes(text: &str) -> Option<Vec<String>> {
    Some(text.split(' ').map(Into::into).collect())
}

/// What waits for a person.
fn begun(pending: &Pending) -> Value {
    let mut told = json!(pending);
    told["shown"] = format!("{pending:?}").into();
    told
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
