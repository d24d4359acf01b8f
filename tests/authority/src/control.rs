//! The control endpoint of a lane: JSON in, JSON out.

use std::sync::Arc;

use hyper::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::answer::Answer;
use crate::faults::Fault;
use crate::grants::{Client, Owner, Revocation, Shape};
use crate::lane::{Lanes, SharedLane};
use crate::provider::{Contract, lifetime, unknown_name};
use crate::received::{Parameters, Received};
use crate::record::{Entry, Kind};
use crate::settings::Layer;

pub fn answer(lanes: &Lanes, name: &str, lane: &Arc<SharedLane>, received: &Received) -> Answer {
    let what = received.path.trim_matches('/');
    let outcome = match (received.method.as_str(), what) {
        ("POST", "clients") => register(lane, received),
        ("POST", "faults") => add_faults(lane, received),
        ("GET", "faults") => Ok(Answer::json(200, &lane.lock().rules.describe())),
        ("DELETE", "faults") => {
            lane.lock().rules.clear();
            Ok(done())
        }
        ("PUT", "settings") => change_settings(lane, received),
        ("DELETE", "settings") => {
            lane.lock().settings.clear();
            Ok(done())
        }
        ("POST", "revoke") => revoke(lane, received),
        ("POST", "mint") => mint(lane, received),
        ("GET" | "DELETE", "counters") => counters(lane, received),
        ("GET", "log") => log(lane, received),
        ("DELETE", "log") => {
            lane.lock().record.clear_log();
            Ok(done())
        }
        ("POST", "release") => Ok(release(lane)),
        ("POST", "reset") | ("DELETE", "") => {
            lanes.forget(name);
            Ok(done())
        }
        _ => Err(Answer::hint(404, "no_such_control", "see the table under `Control` in the authority's README.md")),
    };
    let (Ok(answer) | Err(answer)) = outcome;
    answer
}

fn register(lane: &SharedLane, received: &Received) -> Result<Answer, Answer> {
    let client: Client = body(received)?;
    refuse_if(unknown_name(client.provider.as_deref()))?;
    Ok(Answer::json(200, &lane.lock().grants.register(client)))
}

fn add_faults(lane: &SharedLane, received: &Received) -> Result<Answer, Answer> {
    let faults = if received.body.trim_ascii_start().starts_with(b"[") {
        body::<Vec<Fault>>(received)?
    } else {
        vec![body::<Fault>(received)?]
    };
    refuse_if(faults.iter().find_map(Fault::problem))?;
    let mut lane = lane.lock();
    lane.rules.add(faults);
    Ok(Answer::json(200, &lane.rules.describe()))
}

fn change_settings(lane: &SharedLane, received: &Received) -> Result<Answer, Answer> {
    let layer: Layer = body(received)?;
    refuse_if(layer.problem())?;
    lane.lock().settings.add(layer);
    Ok(done())
}

fn revoke(lane: &SharedLane, received: &Received) -> Result<Answer, Answer> {
    let (access, refresh) = lane.lock().grants.revoke(&body::<Revocation>(received)?);
    Ok(Answer::json(200, &json!({"access_tokens": access, "refresh_tokens": refresh})))
}

/// The body of `POST mint`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mint {
    provider: String,
    #[serde(default = "default_client_id")]
    client_id: String,
    subject: Option<String>,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    kind: MintKind,
}

#[derive(Default, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum MintKind {
    #[default]
    Refresh,
    UserLogin,
}

fn mint(lane: &SharedLane, received: &Received) -> Result<Answer, Answer> {
    let mint: Mint = body(received)?;
    refuse_if(unknown_name(Some(&mint.provider)))?;
    let contract = Contract::named(&mint.provider).ok_or_else(|| refused("no such provider"))?;
    let lane = &mut *lane.lock();
    if lane.grants.client(contract.name, &mint.client_id).is_none() {
        return Err(refused("the client is not registered in this lane: POST it to `clients` first"));
    }
    let settings = lane.settings.resolve(contract, Some(&mint.client_id));
    let owner = Owner {
        provider: contract.name,
        client_id: mint.client_id,
        subject: mint.subject,
        scope: mint.scope,
        family: lane.grants.founded(),
    };
    let user_login = mint.kind == MintKind::UserLogin;
    let shape = Shape { jwt: contract.jwt, bytes: settings.token_bytes, user_login };
    let access = lane.grants.issue(owner.clone(), lifetime(&settings), shape);
    let refresh = (!user_login).then(|| lane.grants.issue_refresh(owner, None, &access));
    let expires_in = settings.lifetime_s.floor();
    Ok(Answer::json(200, &json!({"access_token": access, "refresh_token": refresh, "expires_in": expires_in})))
}

fn counters(lane: &SharedLane, received: &Received) -> Result<Answer, Answer> {
    let query = query(received)?;
    let client_id = query.get("client_id");
    let record = &mut lane.lock().record;
    let answer = Answer::json(200, record.counters(client_id));
    if received.method == Method::DELETE {
        record.restart_counters(client_id);
    }
    Ok(answer)
}

fn log(lane: &SharedLane, received: &Received) -> Result<Answer, Answer> {
    let query = query(received)?;
    let kind = query.get("kind").map(|kind| serde_json::from_value::<Kind>(json!(kind)));
    let kind = kind.transpose().map_err(|_| refused("`kind` is `token`, `api`, `authorize` or `echo`"))?;
    let since = query.get("since").map_or(Ok(0), str::parse::<u64>);
    let since = since.map_err(|_| refused("`since` is the number of an entry; later ones are given"))?;
    let client_id = query.get("client_id");
    let wanted = |entry: &Entry| {
        entry.number > since
            && kind.is_none_or(|kind| kind == entry.kind)
            && (client_id.is_none() || client_id == entry.client_id.as_deref())
    };
    Ok(Answer::json(200, &lane.lock().record.log(wanted)))
}

fn release(lane: &SharedLane) -> Answer {
    let held = lane.lock().held;
    lane.release.send_modify(|released| *released += 1);
    Answer::json(200, &json!({"released": held}))
}

fn body<T: DeserializeOwned>(received: &Received) -> Result<T, Answer> {
    let body = received.body.trim_ascii();
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|problem| refused(&problem.to_string()))
}

fn query(received: &Received) -> Result<Parameters, Answer> {
    received.query().map_err(|problem| refused(&problem))
}

fn refuse_if(problem: Option<String>) -> Result<(), Answer> {
    problem.map_or(Ok(()), |problem| Err(refused(&problem)))
}

fn refused(hint: &str) -> Answer {
    Answer::hint(400, "bad_control_request", hint)
}

fn done() -> Answer {
    Answer::json(200, &json!({"ok": true}))
}

fn default_client_id() -> String {
    DEFAULT_CLIENT_ID.to_owned()
}

pub const DEFAULT_CLIENT_ID: &str = "demo-client";
