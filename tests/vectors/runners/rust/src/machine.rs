//! Runs a vector on the step machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use remint::client::Incoming;
use remint::clock::{Entropy, Now};
use remint::event::{Event, Received};
use remint::exchange::{Exchange, TokenRequest};
use remint::registration::{Registered, Registrar, Registration, RegistrationRequest};
use remint::response::HttpResponse;
use remint::token::TokenSet;
use remint::{Config, Core, Step};
use serde_json::{Map, Value, json};

use crate::compare::subset;
use crate::fields::Fields;
use crate::keep::Kept;
use crate::outcome::{compare, expected, leaks, notice};
use crate::simulate::simulate;

/// The words of a step. Each step has exactly one.
const WORDS: [&str; 23] = [
    "ask",
    "start",
    "renewed",
    "cancel",
    "received",
    "failed",
    "provided",
    "signed",
    "verified",
    "stored",
    "tick",
    "attach",
    "answered",
    "changed",
    "invalidate",
    "forked",
    "close",
    "drop",
    "build",
    "registration",
    "finish",
    "simulate",
    "event",
];

/// A vector's setting: what `given` says.
pub(crate) struct Given {
    pub(crate) options: String,
    /// The options of those processes that have others.
    processes: BTreeMap<String, String>,
    pub(crate) start: Now,
    pub(crate) entropy: Entropy,
}

/// One process under test: a core of its own, and what its callers hold.
struct Process {
    core: Core,
    calls: BTreeMap<String, String>,
    built: Option<Built>,
}

/// What waits for an answer outside of the loop.
enum Built {
    Exchange(Exchange, Now),
    Registration(Registration),
}

impl Process {
    fn register(&mut self, registration: Registration) -> Value {
        let request = json!({ "request": registration.request() });
        self.built = Some(Built::Registration(registration));
        request
    }
}

impl Given {
    /// The options of what registers clients: there is no client yet.
    fn registrar(&self) -> Result<String, String> {
        let mut options: Map<String, Value> =
            serde_json::from_str(&self.options).map_err(|error| format!("  the options are no JSON: {error}"))?;
        options.retain(|name, _| name != "client_id" && name != "client_secret");
        Ok(Value::Object(options).to_string())
    }
}

/// Runs one vector and tells what differs.
pub(crate) fn run(vector: &Value) -> Result<(), String> {
    let mut fields = Fields::of("a vector", vector)?;
    for name in ["id", "title"] {
        fields.text(name)?;
    }
    fields.some(&["covers", "client"]);
    let canaries = texts(fields.take("canaries"), "canaries")?;
    let given = given(&fields.need("given")?)?;
    let refused = fields.take("refused");
    let steps = fields.take("steps").unwrap_or_else(|| json!([]));
    fields.end()?;
    let steps = steps.as_array().ok_or("  `steps` must be a list")?;

    let config = match (Config::new(&given.options), refused) {
        (Ok(config), None) => config,
        (Ok(_), Some(_)) => return Err("  the configuration is accepted, and should not be".to_owned()),
        (Err(error), None) => return Err(format!("  the configuration is refused: {}", json!(error))),
        (Err(error), Some(refused)) => {
            let error = json!(error);
            let mut differences = Vec::new();
            subset("refused", &refused, Some(&error), &mut differences);
            differences.extend(leaks(&json!({ "fail": error }), &canaries));
            return if differences.is_empty() { Ok(()) } else { Err(differences.join("\n")) };
        }
    };
    let mut processes: BTreeMap<String, Process> = BTreeMap::new();
    let mut kept = Kept::default();
    for (number, step) in steps.iter().enumerate() {
        let at = |problem: String| format!("  step {} {step}\n{problem}", number + 1);
        let mut fields = Fields::of("a step", &kept.fill(step)).map_err(at)?;
        let name = fields.text("process").map_err(at)?.unwrap_or_default();
        if !processes.contains_key(&name) {
            let own = given.processes.get(&name).map(|options| Config::new(options)).transpose();
            let own = own.map_err(|error| at(format!("  the configuration is refused: {}", json!(error))))?;
            let core = Core::new(own.unwrap_or_else(|| config.clone()));
            processes.insert(name.clone(), Process { core, calls: BTreeMap::new(), built: None });
        }
        let Some(process) = processes.get_mut(&name) else { continue };
        one(process, &given, fields, step, &mut kept, &canaries).map_err(at)?;
    }
    Ok(())
}

/// Reads `given`: the options of the client, both clocks' starting points, and the entropy.
pub(crate) fn given(value: &Value) -> Result<Given, String> {
    let mut fields = Fields::of("`given`", value)?;
    let object = |value: Option<Value>| match value {
        None => Ok(Map::new()),
        Some(Value::Object(options)) => Ok(options),
        Some(_) => Err("  options must be an object".to_owned()),
    };
    let mut options = object(fields.take("options"))?;
    if let Some(profile) = fields.take("profile") {
        options.insert("profile".to_owned(), profile);
    }
    let mut processes = BTreeMap::new();
    for (name, own) in object(fields.take("processes"))? {
        let mut all = options.clone();
        all.extend(object(Some(own))?);
        processes.insert(name, complete(all));
    }
    let options = complete(options);
    let start = Now {
        wall: fields.integer("wall0")?.unwrap_or(1_700_000_000_000),
        boot: fields.integer("boot0")?.unwrap_or(0),
    };
    let entropy = entropy(&fields.text("entropy")?.unwrap_or_else(|| "zeros".to_owned()))?;
    fields.end()?;
    Ok(Given { options, processes, start, entropy })
}

/// What nearly every client needs is not written in every vector; `null` takes it away.
fn complete(mut options: Map<String, Value>) -> String {
    let has_no_secret = options.get("client_auth").is_some_and(|method| method == "none")
        || ["client_secret_provided", "api_token"].iter().any(|name| options.contains_key(*name));
    options.entry("client_id").or_insert_with(|| "id".into());
    if !has_no_secret {
        options.entry("client_secret").or_insert_with(|| "secret".into());
    }
    options.retain(|_, value| !value.is_null());
    Value::Object(options).to_string()
}

/// `zeros`, or up to 64 hexadecimal digits with zeros behind them.
fn entropy(text: &str) -> Result<Entropy, String> {
    let mut bytes = [0; 32];
    if text == "zeros" {
        return Ok(bytes);
    }
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() <= 64 && digits.len() % 2 == 0);
    let digits = digits.ok_or_else(|| format!("  the entropy `{text}` is not understood"))?;
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = pair.iter().fold(0, |value, digit| value * 16 + u8::try_from(*digit).unwrap_or_default());
    }
    Ok(bytes)
}

/// The word of a step: what happens in it.
pub(crate) fn word_of(step: &Value) -> Result<&'static str, String> {
    let words: Vec<&str> = WORDS.into_iter().filter(|word| step.get(word).is_some()).collect();
    match words.as_slice() {
        [word] => Ok(word),
        _ => Err(format!("  a step has exactly one of these: {}", WORDS.join(", "))),
    }
}

/// Both clocks of a step: `at` moves them together from where they began, `wall` and `boot` set one.
pub(crate) fn clocks(fields: &mut Fields, given: &Given) -> Result<Now, String> {
    let at = fields.integer("at")?.unwrap_or(0);
    let mut now = given.start.plus(at);
    if let Some(wall) = fields.integer("wall")? {
        now.wall = wall;
    }
    if let Some(boot) = fields.integer("boot")? {
        now.boot = boot;
    }
    Ok(now)
}

fn one(
    process: &mut Process,
    given: &Given,
    mut fields: Fields,
    step: &Value,
    kept: &mut Kept,
    canaries: &[String],
) -> Result<(), String> {
    let now = clocks(&mut fields, given)?;
    let entropy = fields.text("entropy")?.map_or(Ok(given.entropy), |text| entropy(&text))?;
    let word = word_of(step)?;
    let value = fields.need(word)?;
    if word == "simulate" {
        let value = simulate(&mut process.core, now, &entropy, &value);
        return value.and_then(|()| fields.end());
    }
    let times = fields.integer("times")?.unwrap_or(1);
    let keep = fields.take("keep");
    let check = fields.take("check");
    let act = act(process, word, value, &mut fields)?;
    let mut expected = expected(&mut fields);
    fields.end()?;
    for _ in 0..times {
        let outcome = carry_out(process, act.clone(), given, now, &entropy)?;
        if let Some(keep) = &keep {
            kept.keep(keep.clone(), &outcome)?;
            expected = expected.iter().map(|(name, value)| (name.clone(), kept.fill(value))).collect();
        }
        let mut differences = compare(&expected, &outcome);
        differences.extend(leaks(&outcome, canaries));
        if !differences.is_empty() {
            return Err(differences.join("\n"));
        }
    }
    check.map_or(Ok(()), |check| kept.check(&check))
}

/// What a step does.
#[derive(Clone)]
enum Act {
    Handle(Box<Event>, Option<String>),
    Raw(String),
    Build(Box<TokenRequest>),
    Register(Box<RegistrationRequest>),
    Finish { status: u16, headers: Vec<(String, String)>, body: Vec<u8> },
    Nothing,
}

/// What a step asks for.
fn act(process: &Process, word: &str, value: Value, fields: &mut Fields) -> Result<Act, String> {
    let plain = |event: Value| {
        let event = serde_json::from_value(event).map_err(|error| format!("  no event of the machine: {error}"))?;
        Ok(Act::Handle(Box::new(event), None))
    };
    let call = |label: &str| process.calls.get(label).cloned().unwrap_or_else(|| label.to_owned());
    match word {
        "ask" => {
            let mut ask = fields.some(&["want", "min_ttl", "force", "deadline", "after"]);
            if let Some(label) = fields.text("call")? {
                ask.insert("call".to_owned(), call(&label).into());
            }
            match plain(json!({ "ask": ask }))? {
                Act::Handle(event, _) => Ok(Act::Handle(event, Some(text(word, &value)?))),
                other => Ok(other),
            }
        }
        "start" => {
            let mut start = fields.some(&["deadline", "after"]);
            start.insert("flow".to_owned(), value);
            plain(json!({ "start": start }))
        }
        "renewed" => plain(json!({ "renewed": value })),
        "cancel" => plain(json!({ "cancel": { "flight": value } })),
        "tick" => plain(json!({ "tick": { "flight": value } })),
        "failed" | "provided" | "signed" | "verified" | "stored" => {
            let mut event = fields.some(match word {
                "failed" => &["kind"],
                "provided" => &["value"],
                "signed" => &["signature"],
                "verified" => &["valid"],
                _ => &["result"],
            });
            event.insert("op".to_owned(), value);
            plain(json!({ word: event }))
        }
        "received" => {
            let op = text(word, &value)?.parse().map_err(|()| format!("  `{value}` is no operation"))?;
            let Incoming { status, headers, body } = answer(fields)?;
            Ok(Act::Handle(Box::new(Event::Received(Received { op, status, headers, body })), None))
        }
        "attach" | "answered" => {
            let mut event = fields.some(match word {
                "attach" => &["want", "method", "url", "insecure_query", "after"],
                _ => &["want", "url", "status"],
            });
            if word == "answered" {
                event.insert("headers".to_owned(), json!(lines(fields.take("headers"))?));
            }
            let label = text(word, &value)?;
            event.insert("call".to_owned(), call(&label).into());
            match plain(json!({ word: event }))? {
                // The core may give this caller another call to go on with.
                Act::Handle(event, _) => Ok(Act::Handle(event, Some(label))),
                other => Ok(other),
            }
        }
        // `true` stands for what is meant most often: everything changed, the client's own token.
        "changed" if value == json!(true) => plain(json!({ "changed": {} })),
        "changed" => plain(json!({ "changed": { "key": value } })),
        "invalidate" if value == json!(true) => plain(json!({ "invalidate": {} })),
        "invalidate" => plain(json!({ "invalidate": { "want": value } })),
        "forked" | "close" if value == json!({}) || value == json!(true) => plain(json!({ word: {} })),
        "event" => Ok(Act::Raw(value.to_string())),
        "drop" => Ok(Act::Nothing),
        "build" => {
            let request = serde_json::from_value(value).map_err(|error| format!("  no token request: {error}"))?;
            Ok(Act::Build(Box::new(request)))
        }
        "registration" => {
            let request =
                serde_json::from_value(value).map_err(|error| format!("  no registration request: {error}"))?;
            Ok(Act::Register(Box::new(request)))
        }
        "finish" if process.built.is_none() => Err("  there is nothing to finish: `build` it first".to_owned()),
        "finish" => {
            let Incoming { status, headers, body } = answer(fields)?;
            Ok(Act::Finish { status, headers, body })
        }
        _ => Err(format!("  `{word}: {value}` is not understood")),
    }
}

/// Does what a step says and gives what came of it.
fn carry_out(process: &mut Process, act: Act, given: &Given, now: Now, entropy: &Entropy) -> Result<Value, String> {
    match act {
        Act::Nothing => Ok(json!({})),
        Act::Handle(event, label) => {
            let outcome = outcome(&process.core.handle(*event, now, entropy))?;
            let call = outcome.pointer("/answer/call").or_else(|| outcome.pointer("/answer/again"));
            if let (Some(label), Some(call)) = (label, call.and_then(Value::as_str)) {
                process.calls.insert(label, call.to_owned());
            }
            Ok(outcome)
        }
        Act::Raw(event) => outcome(&process.core.handle_json(&event, now, entropy)),
        Act::Build(request) => match Arc::clone(process.core.config()).build(*request) {
            Ok((request, exchange)) => {
                process.built = Some(Built::Exchange(exchange, now));
                Ok(json!({ "request": request }))
            }
            Err(error) => Ok(json!({ "fail": error })),
        },
        Act::Register(request) => {
            let built = Registrar::new(&given.registrar()?).and_then(|registrar| registrar.build(*request));
            Ok(built.map_or_else(|error| json!({ "fail": error }), |registration| process.register(registration)))
        }
        Act::Finish { status, headers, body } => {
            let response = HttpResponse { status, headers: &headers, body: &body };
            let finished = match process.built.take().ok_or("  there is nothing to finish: `build` it first")? {
                Built::Exchange(exchange, started) => {
                    exchange.finish(response, started).map(|token| json!({ "token": token_json(&token) }))
                }
                Built::Registration(registration) => {
                    registration.finish(response, now).map(|registered| match registered {
                        Registered::Next(registration) => process.register(registration),
                        Registered::Client(client) => json!({ "client": client }),
                        Registered::Deleted => json!({ "deleted": {} }),
                    })
                }
            };
            Ok(finished.unwrap_or_else(|error| json!({ "fail": error })))
        }
    }
}

/// What a host in another language sees of a step.
pub(crate) fn outcome(step: &Step) -> Result<Value, String> {
    serde_json::from_str(&step.to_json()).map_err(|error| format!("  a step is no JSON: {error}"))
}

fn token_json(token: &TokenSet) -> Value {
    let oddities: Vec<String> = token.oddities.iter().map(|oddity| notice(&json!(oddity))).collect();
    json!({
        "access_token": token.access_token.expose(),
        "token_type": token.token_type,
        "lifetime": token.lifetime,
        "scope": token.scope,
        "refresh_token": token.refresh_token.as_ref().map(|token| token.expose()),
        "oddities": oddities,
    })
}

/// An HTTP answer: `json`, `text` or `base64` is its body. With `json` comes its media type, unless `headers` has one.
pub(crate) fn answer(fields: &mut Fields) -> Result<Incoming, String> {
    let status = fields.integer("status")?.ok_or("  an answer needs a `status`")?;
    let status = u16::try_from(status).map_err(|_| format!("  {status} is no HTTP status"))?;
    let mut headers = lines(fields.take("headers"))?;
    let mut bodies = fields.some(&["json", "text", "base64"]);
    if bodies.len() > 1 {
        return Err("  an answer has one of `json`, `text` and `base64`".to_owned());
    }
    let body = if let Some(value) = bodies.remove("json") {
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        value.to_string().into_bytes()
    } else if let Some(value) = bodies.remove("text") {
        text("text", &value)?.into_bytes()
    } else if let Some(value) = bodies.remove("base64") {
        STANDARD.decode(text("base64", &value)?).map_err(|error| format!("  `base64`: {error}"))?
    } else {
        Vec::new()
    };
    Ok(Incoming { status, headers, body })
}

/// Header lines: an object, or a list of pairs where a name repeats.
pub(crate) fn lines(value: Option<Value>) -> Result<Vec<(String, String)>, String> {
    match value {
        None => Ok(Vec::new()),
        Some(Value::Object(lines)) => {
            lines.iter().map(|(name, value)| Ok((name.clone(), text(name, value)?))).collect()
        }
        Some(lines) => serde_json::from_value(lines).map_err(|error| format!("  `headers`: {error}")),
    }
}

fn text(name: &str, value: &Value) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| format!("  `{name}` must be a text"))
}

fn texts(value: Option<Value>, name: &str) -> Result<Vec<String>, String> {
    value.map_or(Ok(Vec::new()), |value| {
        serde_json::from_value(value).map_err(|_| format!("  `{name}` must be a list of texts"))
    })
}
