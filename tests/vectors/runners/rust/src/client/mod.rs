//! Runs a vector about callers through the clients: each `ask` is a caller, and the runner waits for quiet in between.

mod tasks;
mod threads;
mod world;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use remint::client::{Builder, Headers, SendError, Token, TokenOptions};
use remint::event::Want;
use remint::step::Verdict;
use remint::{Error, Now};
use serde_json::{Map, Value, json};

use crate::compare::{difference, subset};
use crate::fields::Fields;
use crate::machine::{Given, answer, clocks, given, lines, word_of};
use crate::outcome::notice;
pub(crate) use tasks::Tasks;
pub(crate) use threads::Threads;
use world::{Wire, World};

/// A client under test, and a way to run its callers.
pub(crate) trait Shell: Sized {
    /// Its name, for failures.
    const TITLE: &'static str;
    /// How often it may be given time before what is expected must have happened.
    const PATIENCE: u32;

    fn new(builder: Builder, world: World) -> Result<Self, Error>;
    fn view(&self, want: &Want) -> Result<Self, Error>;
    fn adopt(&self, subject: &str, refresh_token: &str) -> Result<(), Error>;
    fn token(&self, options: TokenOptions) -> Caller<Token>;
    fn headers(&self, method: &str, url: &str) -> Caller<Headers>;
    fn reject(&self, token: &Token, url: &str, status: u16, headers: &[(String, String)]) -> Result<Verdict, Error>;
    fn invalidate(&self);
    fn close(&self);
    /// Lets everything go on that can.
    fn rest(&self);
}

/// Somebody who has called a verb of the client.
pub(crate) struct Caller<T>(Arc<Mutex<State<T>>>);

enum State<T> {
    Waits,
    Over(Result<T, Error>),
    Cancelled,
}

impl<T> Clone for Caller<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Caller<T> {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(State::Waits)))
    }

    fn end(&self, result: Result<T, Error>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Waits) {
            *state = State::Over(result);
        }
    }

    fn cancel(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::Cancelled;
    }

    fn is_cancelled(&self) -> bool {
        matches!(*self.0.lock().unwrap_or_else(PoisonError::into_inner), State::Cancelled)
    }

    /// What became of the caller; nothing while they wait.
    fn show(&self, show: impl FnOnce(&T) -> Value) -> Option<Value> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Over(Ok(value)) => Some(show(value)),
            State::Over(Err(error)) => Some(json!(error)),
            State::Waits | State::Cancelled => None,
        }
    }
}

impl Caller<Token> {
    fn token(&self) -> Option<Token> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Over(Ok(token)) => Some(token.clone()),
            _ => None,
        }
    }
}

/// Whether a vector is about callers.
pub(crate) fn is_about_callers(vector: &Value) -> bool {
    let drops =
        || vector.get("steps").and_then(Value::as_array).into_iter().flatten().any(|step| step.get("drop").is_some());
    vector.get("client").map_or_else(drops, |client| *client == json!(true))
}

/// Runs one vector through a client.
pub(crate) fn run<S: Shell>(vector: &Value) -> Result<(), String> {
    let given = given(vector.get("given").unwrap_or(&Value::Null))?;
    let options: Map<String, Value> = serde_json::from_str(&given.options).map_err(|error| format!("  {error}"))?;
    let world = World::new(given.start);
    let entropy = given.entropy;
    let heard = world.clone();
    let mut builder = Builder::new(options.get("profile").cloned().unwrap_or_default())
        .clock(world.clone())
        .random(move || entropy)
        .on_notice(move |told| heard.hear(notice(&json!(told))));
    for (name, value) in options {
        builder = builder.option(&name, value);
    }
    let shell =
        S::new(builder, world.clone()).map_err(|error| format!("  the configuration is refused: {}", json!(error)))?;
    let canaries = vector.get("canaries").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let mut play = Play {
        shell,
        world: world.clone(),
        canaries: canaries.map(str::to_owned).collect(),
        callers: BTreeMap::new(),
        sent: BTreeMap::new(),
    };
    let steps = vector.get("steps").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let result = play.all(&given, steps);
    world.end();
    result
}

/// One vector on its way through one client.
struct Play<S> {
    shell: S,
    world: World,
    canaries: Vec<String>,
    callers: BTreeMap<String, Vec<Caller<Token>>>,
    /// The requests on the wire, by the names that the vector gives them.
    sent: BTreeMap<String, Wire>,
}

/// Something to look at besides the callers of `token`.
type Look = Box<dyn Fn(&mut Vec<String>)>;

impl<S: Shell> Play<S> {
    fn all(&mut self, given: &Given, steps: &[Value]) -> Result<(), String> {
        let time = |step: &Value| clocks(&mut Fields::of("a step", step)?, given);
        let mut rest = steps;
        while let Some((first, later)) = rest.split_first() {
            let now = time(first)?;
            // The waiters who ask again belong to the moment that woke them.
            let mut length = 0;
            while later.get(length).is_some_and(|step| step.get("after").is_some() && time(step) == Ok(now)) {
                length += 1;
            }
            let (again, next) = later.split_at(length);
            let number = steps.len() - rest.len() + 1;
            self.moment(first, again, now).map_err(|problem| format!("  step {number} {first}\n{problem}"))?;
            rest = next;
        }
        Ok(())
    }

    fn moment(&mut self, first: &Value, again: &[Value], now: Now) -> Result<(), String> {
        self.world.forget_notices();
        let before = self.world.requests();
        self.world.set(now);
        self.shell.rest();
        let look = self.event(first, now)?;
        let steps: Vec<&Value> = std::iter::once(first).chain(again).collect();
        // Threads get the time that they need; then one breath more, for what should not happen.
        for _ in 0..S::PATIENCE {
            if self.differences(&steps, before, look.as_ref()).is_empty() {
                break;
            }
            self.shell.rest();
        }
        self.shell.rest();
        let differences = self.differences(&steps, before, look.as_ref());
        if differences.is_empty() { Ok(()) } else { Err(differences.join("\n")) }
    }

    fn differences(&mut self, steps: &[&Value], before: usize, look: Option<&Look>) -> Vec<String> {
        let mut differences = Vec::new();
        let list = |step: &Value, name: &str| step.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        let expected: Vec<Value> = steps
            .iter()
            .flat_map(|step| list(step, "operations"))
            .filter(|operation| operation.get("send").is_some())
            .collect();
        let came = self.world.requests_since(before);
        if expected.len() != came.len() {
            differences.push(difference("requests", &json!(expected.len()), &json!(came.len())));
        }
        for (operation, wire) in expected.iter().zip(came) {
            if let Some(request) = operation.get("request") {
                subset("request", request, Some(&json!(wire.request())), &mut differences);
            }
            if let Some(name) = operation.get("send").and_then(Value::as_str) {
                self.sent.insert(name.to_owned(), wire);
            }
        }
        for step in steps {
            if let (Some(label), Some(answer)) = (step.get("ask").and_then(Value::as_str), step.get("answer")) {
                for caller in self.callers.get(label).into_iter().flatten() {
                    self.compare(answer, caller, &mut differences);
                }
            }
        }
        let telling = |text: &String| !matches!(text.as_str(), "joined" | "served_while_failing");
        let listed = steps.iter().flat_map(|step| list(step, "notices"));
        let mut listed: Vec<String> =
            listed.filter_map(|text| text.as_str().map(str::to_owned)).filter(telling).collect();
        let mut heard: Vec<String> = self.world.notices().into_iter().filter(telling).collect();
        listed.sort();
        heard.sort();
        if listed != heard {
            differences.push(difference("notices", &json!(listed), &json!(heard)));
        }
        if let Some(look) = look {
            look(&mut differences);
        }
        differences
    }

    fn compare(&self, expected: &Value, caller: &Caller<Token>, differences: &mut Vec<String>) {
        let boot = self.world.now().boot;
        let came = caller.show(|token| {
            json!({
                "use": token.access_token.expose(),
                "generation": token.generation,
                "token_type": token.token_type(),
                "scope": token.scope.as_deref(),
                "authorization": token.authorization().expose(),
                "expires_wall": token.expires.wall,
                "expires": boot.saturating_add(i64::try_from(token.expires_in().as_millis()).unwrap_or(i64::MAX)),
            })
        });
        if expected.get("wait").is_some() {
            if let Some(came) = came {
                differences.push(difference("caller", &"waits".into(), &came));
            }
            return;
        }
        let mut expected = expected.clone();
        if let Some(fields) = expected.as_object_mut().filter(|fields| fields.contains_key("use")) {
            fields.retain(|name, _| !matches!(name.as_str(), "recheck" | "recheck_wall"));
        }
        let shown = came.as_ref().filter(|came| came.get("fail").is_some()).map(Value::to_string).unwrap_or_default();
        for canary in self.canaries.iter().filter(|canary| shown.contains(canary.as_str())) {
            differences.push(format!("    an error shows `{canary}`"));
        }
        subset("caller", &expected, Some(&came.unwrap_or_else(|| "waits".into())), differences);
    }

    /// Does what the first step of a moment says.
    fn event(&mut self, step: &Value, now: Now) -> Result<Option<Look>, String> {
        let mut fields = Fields::of("a step", step)?;
        let word = word_of(step)?;
        let value = fields.need(word)?;
        let text = |value: &Value| value.as_str().map(str::to_owned).unwrap_or_default();
        let want: Want = fields
            .take("want")
            .map_or(Ok(Want::default()), serde_json::from_value)
            .map_err(|error| format!("  `want`: {error}"))?;
        let refused = |error: Error| format!("  {}", json!(error));
        let view = self.shell.view(&want).map_err(refused)?;
        match word {
            "ask" if step.get("after").is_some() => {}
            "ask" => {
                let millis = |number: i64| Duration::from_millis(u64::try_from(number).unwrap_or_default());
                let options = TokenOptions {
                    min_ttl: millis(fields.integer("min_ttl")?.unwrap_or(0)),
                    force: fields.take("force") == Some(json!(true)),
                    timeout: fields.integer("deadline")?.map(|deadline| millis(deadline.saturating_sub(now.boot))),
                };
                let times = fields.integer("times")?.unwrap_or(1);
                self.callers.insert(text(&value), (0..times).map(|_| view.token(options)).collect());
            }
            "received" => {
                let answer = answer(&mut fields)?;
                self.wire(&text(&value))?.answer(Ok(answer));
            }
            "failed" => {
                let kind = match fields.text("kind")?.as_deref() {
                    Some("not_sent") => SendError::NotSent,
                    Some("maybe_sent") => SendError::MaybeSent,
                    Some("timeout") => SendError::Timeout,
                    other => return Err(format!("  `{other:?}` is not understood in a run through a client")),
                };
                self.wire(&text(&value))?.answer(Err(kind));
            }
            "attach" => {
                let (method, url) =
                    (fields.text("method")?.unwrap_or_default(), fields.text("url")?.unwrap_or_default());
                let caller = view.headers(&method, &url);
                let expected = fields.need("answer")?;
                return Ok(Some(Box::new(move |differences| {
                    let came = caller.show(|headers| json!({ "headers": headers.iter().collect::<Vec<_>>() }));
                    subset("answer", &expected, came.as_ref(), differences);
                })));
            }
            "answered" => {
                let token = self.callers.get(&text(&value)).and_then(|callers| callers.first()).and_then(Caller::token);
                let token = token.ok_or("  this caller has no token")?;
                let status =
                    fields.integer("status")?.and_then(|status| u16::try_from(status).ok()).unwrap_or_default();
                let url = fields.text("url")?.unwrap_or_default();
                let verdict =
                    json!(view.reject(&token, &url, status, &lines(fields.take("headers"))?).map_err(refused)?);
                let expected = fields.need("answer")?;
                if verdict != expected {
                    return Err(difference("answer", &expected, &verdict));
                }
            }
            "start" => {
                let adopt = value.get("adopt").filter(|adopt| adopt.get("on_rotated").is_none());
                let adopt =
                    adopt.ok_or("  of the flows only a plain `adopt` is understood in a run through a client")?;
                let field = |pointer| adopt.pointer(pointer).map(text).unwrap_or_default();
                self.shell.adopt(&field("/want/subject"), &field("/refresh_token")).map_err(refused)?;
            }
            "drop" => self.callers.remove(&text(&value)).into_iter().flatten().for_each(|caller| caller.cancel()),
            "invalidate" => {
                let want = if value == json!(true) { json!({}) } else { value };
                let want: Want = serde_json::from_value(want).map_err(|error| format!("  `invalidate`: {error}"))?;
                self.shell.view(&want).map_err(refused)?.invalidate();
            }
            "close" => self.shell.close(),
            "tick" => {}
            _ => return Err(format!("  `{word}` is not understood in a run through a client")),
        }
        Ok(None)
    }

    fn wire(&self, name: &str) -> Result<&Wire, String> {
        self.sent.get(name).ok_or_else(|| format!("  no request is called `{name}`"))
    }
}
