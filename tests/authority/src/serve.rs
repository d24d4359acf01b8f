//! The sockets, and the way of a request from its bytes to its answer.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use crate::answer::{Answer, Spoiling, Spoilt};
use crate::control;
use crate::faults::{Cut, Fault, Subject};
use crate::grants::Client;
use crate::lane::{Lane, Lanes, SharedLane};
use crate::provider::{Contract, Exchange};
use crate::received::{Received, TokenRequest, raw_basic};
use crate::record::{Entry, Kind, fingerprint};
use crate::settings::Settings;

/// What all connections share.
pub struct Authority {
    pub lanes: Lanes,
    /// Where the lines of the log go.
    pub log: Option<SyncSender<String>>,
}

impl Authority {
    pub fn new(default_client: Client, log: Option<SyncSender<String>>) -> Arc<Self> {
        Arc::new(Self { lanes: Lanes::new(default_client), log })
    }
}

/// One of the listeners.
#[derive(Clone)]
pub struct Origin {
    pub name: &'static str,
    pub tls: Option<TlsAcceptor>,
}

/// Accepts connections for ever.
pub async fn listen(authority: Arc<Authority>, listener: TcpListener, origin: Origin) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: some will be closed soon.
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        // Fails only for a connection that is gone already.
        let _ = stream.set_nodelay(true);
        let (authority, origin) = (Arc::clone(&authority), origin.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| respond(&authority, &origin, request));
            let mut http = http1::Builder::new();
            // `Date` is ours to set, and idle connections are the caller's to close.
            http.auto_date_header(false).header_read_timeout(None);
            // An error means that the connection is over, for whatever reason; there is nobody to tell.
            if let Some(tls) = &origin.tls {
                if let Ok(stream) = tls.accept(stream).await {
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                }
            } else {
                let _ = http.serve_connection(TokioIo::new(stream), service).await;
            }
        });
    }
}

/// Tells hyper to drop the connection without an answer.
#[derive(Debug)]
struct Dropped;

impl fmt::Display for Dropped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("dropped by a fault")
    }
}

impl std::error::Error for Dropped {}

async fn respond(
    authority: &Authority,
    origin: &Origin,
    request: Request<Incoming>,
) -> Result<Response<Spoilt>, Dropped> {
    let started = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let outcome = route(authority, origin, request).await;
    if let Some(log) = &authority.log {
        let at = started.duration_since(authority.lanes.started()).as_secs_f64();
        let took = started.elapsed().as_millis();
        let status = match &outcome {
            Ok(response) => response.status().as_u16().to_string(),
            Err(Dropped) => "cut".to_owned(),
        };
        // A log that nobody reads must not stop the server.
        let _ = log.try_send(format!("{at:9.3} {:5} {method} {path} {status} {took} ms", origin.name));
    }
    outcome
}

/// Who a path speaks to.
enum Target {
    Control,
    Echo,
    Provider(&'static Contract),
}

async fn route(
    authority: &Authority,
    origin: &Origin,
    request: Request<Incoming>,
) -> Result<Response<Spoilt>, Dropped> {
    let plain = |answer: Answer| Ok(answer.into_response(Spoiling::default()));
    let (parts, body) = request.into_parts();
    let Some((name, target, prefix, path)) = address(parts.uri.path()) else {
        let hint =
            "paths begin with a provider, `control` or `echo`, after a lane or none: see the authority's README.md";
        return plain(Answer::hint(404, "no_such_path", hint));
    };
    let Some(lane) = authority.lanes.get(name) else {
        return plain(Answer::hint(503, "too_many_lanes", "DELETE the control of lanes that are no longer used"));
    };
    let Ok(body) = Limited::new(body, LARGEST_BODY).collect().await else {
        return plain(Answer::hint(413, "body_too_large", "send at most 16 MiB, and send it whole"));
    };
    let host = parts.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or("127.0.0.1");
    let scheme = if origin.tls.is_some() { "https" } else { "http" };
    let received = Received {
        base: format!("{scheme}://{host}{prefix}"),
        method: parts.method,
        path: path.to_owned(),
        raw_query: parts.uri.query().map(str::to_owned),
        headers: parts.headers,
        body: body.to_bytes(),
    };
    match target {
        Target::Control => plain(control::answer(&authority.lanes, name, &lane, &received)),
        Target::Echo => {
            let entry = entry(authority, origin, "-", Kind::Echo, &received);
            let body = serde_json::json!({
                "method": entry.method, "header_names": entry.header_names, "query_names": entry.query_names,
                "body_bytes": received.body.len(),
            });
            let record = &mut lane.lock().record;
            let number = record.arrived(entry);
            record.answered(Kind::Echo, None, number, "200");
            plain(Answer::json(200, &body))
        }
        Target::Provider(contract) => provide(authority, origin, &lane, contract, &received).await,
    }
}

/// The lane's name, whom the path speaks to, the path's beginning up to there, and the rest.
fn address(path: &str) -> Option<(&str, Target, &str, &str)> {
    let target = |segment: &str| match segment {
        "control" => Some(Target::Control),
        "echo" => Some(Target::Echo),
        _ => Contract::named(segment).map(Target::Provider),
    };
    let first = path.strip_prefix('/')?.split('/').next()?;
    let (lane, segment) = match target(first) {
        Some(_) => ("", first),
        None => (first, path.strip_prefix('/')?.split('/').nth(1)?),
    };
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if lane.len() > 100 || !lane.bytes().all(valid) {
        return None;
    }
    let length = 1 + segment.len() + if lane.is_empty() { 0 } else { 1 + lane.len() };
    Some((lane, target(segment)?, path.get(..length)?, path.get(length..)?))
}

async fn provide(
    authority: &Authority,
    origin: &Origin,
    lane: &Arc<SharedLane>,
    contract: &'static Contract,
    received: &Received,
) -> Result<Response<Spoilt>, Dropped> {
    let Some(arrival) = arrive(authority, origin, &mut lane.lock(), contract, received) else {
        let hint = "this provider has no such path: see the table in the authority's README.md";
        return Ok(Answer::hint(404, "no_such_path", hint).into_response(Spoiling::default()));
    };
    let Arrival { kind, number, client_id, settings, request, fault } = arrival;
    // From here on the caller may go away at any await: the guard then takes note of it.
    let mut running = Running { lane, kind, number, client_id, status: "gone".to_owned() };
    let latency = match kind {
        Kind::Token => settings.token_latency_ms,
        _ => settings.api_latency_ms,
    };
    wait(latency).await;
    if let Some(fault) = &fault {
        wait(fault.delay_ms.unwrap_or(0)).await;
        if fault.hold {
            hold(lane).await;
        }
    }
    let cut = fault.as_ref().and_then(|fault| fault.cut);
    if cut == Some(Cut::Before) {
        return running.dropped();
    }
    let real = fault.as_ref().is_none_or(Fault::processes).then(|| {
        let lane = &mut *lane.lock();
        Exchange { contract, received, settings: &settings, lane, number }.run(kind, &request)
    });
    let replacement = fault.as_ref().and_then(Fault::replacement);
    let mut answer = replacement.or(real).unwrap_or_else(|| Answer::empty(500));
    answer.date_skew_s = Some(settings.date_skew_s);
    if let Some(fault) = &fault {
        wait(fault.delay_after_ms.unwrap_or(0)).await;
        fault.adorn(&mut answer);
    }
    if cut == Some(Cut::AfterProcessing) {
        return running.dropped();
    }
    running.status = if cut.is_some() { "cut".to_owned() } else { answer.status.to_string() };
    Ok(answer.into_response(fault.as_ref().map(Fault::spoiling).unwrap_or_default()))
}

/// A request once it is counted and in the log.
struct Arrival {
    kind: Kind,
    number: u64,
    client_id: Option<String>,
    settings: Settings,
    request: TokenRequest,
    fault: Option<Fault>,
}

fn arrive(
    authority: &Authority,
    origin: &Origin,
    lane: &mut Lane,
    contract: &'static Contract,
    received: &Received,
) -> Option<Arrival> {
    let kind = contract.kind(received, &lane.settings.resolve(contract, None))?;
    let mut entry = entry(authority, origin, contract.name, kind, received);
    let mut request = TokenRequest::default();
    match kind {
        Kind::Token => {
            request = TokenRequest::read(received, &contract.token_method, contract.parameters);
            describe(&mut entry, contract, &mut request, lane);
        }
        Kind::Authorize => {
            let query = received.query().unwrap_or_default();
            entry.client_id = query.get("client_id").map(str::to_owned);
            entry.scope = query.get("scope").map(str::to_owned);
        }
        Kind::Api | Kind::Echo => entry.client_id = caller(received, contract, lane),
    }
    let client_id = entry.client_id.clone();
    let subject =
        Subject { kind, provider: contract.name, client_id: client_id.as_deref(), grant: entry.grant.as_deref() };
    let fault = lane.rules.take(&subject);
    entry.fault = fault.as_ref().map(Fault::describe);
    let settings = lane.settings.resolve(contract, client_id.as_deref());
    let number = lane.record.arrived(entry);
    Some(Arrival { kind, number, client_id, settings, request, fault })
}

fn entry(authority: &Authority, origin: &Origin, provider: &str, kind: Kind, received: &Received) -> Entry {
    let query = received.query().unwrap_or_default();
    Entry {
        number: 0,
        at_ms: authority.lanes.started().elapsed().as_millis(),
        kind,
        origin: origin.name,
        provider: provider.to_owned(),
        method: received.method.to_string(),
        path: received.path.clone(),
        header_names: received.headers.keys().map(|name| name.as_str().to_owned()).collect(),
        query_names: query.names().map(str::to_owned).collect(),
        parameter_names: Vec::new(),
        authentication: "none",
        client_id: None,
        grant: None,
        scope: None,
        subject: None,
        token_sha256: None,
        issued_sha256: None,
        refresh_token_sha256: None,
        status: "open".to_owned(),
        fault: None,
        problems: Vec::new(),
    }
}

/// Puts what a token request says into its entry.
fn describe(entry: &mut Entry, contract: &Contract, request: &mut TokenRequest, lane: &Lane) {
    let parameters = &request.parameters;
    entry.parameter_names = parameters.names().map(str::to_owned).collect();
    entry.authentication = request.method().as_str();
    let known = |(id, _): &&(String, String)| lane.grants.client(contract.name, id).is_some();
    let basic = request.basic.as_ref().filter(known).or(request.raw_basic.as_ref());
    let client_id = basic.map(|(id, _)| id.as_str()).or(parameters.get("client_id"));
    entry.client_id = client_id.map(str::to_owned);
    let grant = parameters.get("grant_type").map(str::to_owned);
    // The provider without a grant type does what client credentials are for.
    entry.grant = grant.or_else(|| (contract.token_method == "GET").then(|| "client_credentials".to_owned()));
    entry.scope = parameters.get("scope").map(str::to_owned);
    if let Some(token) = parameters.get("refresh_token") {
        entry.refresh_token_sha256 = Some(fingerprint(token));
        entry.subject = lane.grants.refresh.get(token).and_then(|token| token.owner.subject.clone());
    } else if let Some(code) = parameters.get("code") {
        entry.subject = lane.grants.codes.get(code).and_then(|code| code.owner.subject.clone());
    }
    entry.problems = std::mem::take(&mut request.problems);
}

/// Whose API call this is, as far as it can be told before the contract looks at it.
fn caller(received: &Received, contract: &Contract, lane: &Lane) -> Option<String> {
    let grants = &lane.grants;
    let in_header = ["x-rpz-auth", "authorization"].into_iter().find_map(|name| received.header(name).ok()?);
    let Some(value) = in_header else {
        let query = received.query().ok()?;
        let access = query.get("access_token").and_then(|token| grants.access.get(token));
        let api = || grants.with_api_token(contract.name, query.get("token")?)?.client_id.clone();
        return access.map(|access| access.owner.client_id.clone()).or_else(api);
    };
    let credentials = value.rsplit(' ').next()?;
    if let Some(access) = grants.access.get(credentials) {
        return Some(access.owner.client_id.clone());
    }
    let (id, _) = raw_basic(credentials)?;
    grants.client(contract.name, &id)?.client_id.clone()
}

/// Counts a request as running until it is dropped.
struct Running<'a> {
    lane: &'a SharedLane,
    kind: Kind,
    number: u64,
    client_id: Option<String>,
    status: String,
}

impl Running<'_> {
    fn dropped(mut self) -> Result<Response<Spoilt>, Dropped> {
        "cut".clone_into(&mut self.status);
        Err(Dropped)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let record = &mut self.lane.lock().record;
        record.answered(self.kind, self.client_id.as_deref(), self.number, &self.status);
    }
}

/// Counts a request as held until it is dropped.
struct Held<'a>(&'a SharedLane);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let held = &mut self.0.lock().held;
        *held = held.saturating_sub(1);
    }
}

async fn hold(lane: &SharedLane) {
    let mut release = lane.release.subscribe();
    lane.lock().held += 1;
    let _held = Held(lane);
    // The sender lives in the lane, which outlives this borrow: the wait can't fail.
    let _ = release.changed().await;
}

async fn wait(ms: u64) {
    if ms > 0 {
        sleep(Duration::from_millis(ms)).await;
    }
}

const LARGEST_BODY: usize = 16 << 20;
