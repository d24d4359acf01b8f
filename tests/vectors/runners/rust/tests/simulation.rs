//! Hundreds of random stories instead of written ones: whatever happens, in whatever order, some things must hold.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use remint::clock::{Entropy, Now};
use remint::event::{Event, FailureKind, Received};
use remint::{Config, Core};
use serde_json::{Value, json};

/// Splitmix64: small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()].clone()
    }
}

/// A caller who waits.
#[derive(Clone)]
struct Caller {
    key: u64,
    ask: Value,
    deadline: i64,
    flight: String,
    until: i64,
}

/// An operation that is to be answered.
#[derive(Clone)]
struct Pending {
    op: String,
    flight: String,
    what: Value,
}

struct Story {
    core: Core,
    dice: Dice,
    now: Now,
    rotating: bool,
    callers: Vec<Caller>,
    pending: Vec<Pending>,
    sleeping: BTreeMap<String, i64>,
    /// The key of each flight, as far as somebody waits for it or it is known from what was sent.
    flights: BTreeMap<String, u64>,
    calls: Vec<(u64, String)>,
    tokens: u64,
    /// The refresh token that the server takes from each user, and those whose successor was delivered.
    current: BTreeMap<u64, String>,
    superseded: BTreeSet<String>,
    log: Vec<String>,
}

fn want(rotating: bool, key: u64) -> Value {
    if rotating { json!({ "subject": format!("u{key}") }) } else { json!({ "scope": [format!("s{key}")] }) }
}

impl Story {
    fn new(seed: u64, rotating: bool) -> Self {
        let grant = if rotating { "authorization_code" } else { "client_credentials" };
        let profile = json!({
            "name": "plain", "title": "Plain", "grants": [grant],
            "token": { "endpoint": "https://auth.example.com/token", "client_auth": ["client_secret_post"] },
            "authorization": { "endpoint": "https://auth.example.com/authorize" },
        });
        let options = json!({ "profile": profile, "client_id": "id", "client_secret": "secret" });
        let mut story = Self {
            core: Core::new(Config::new(&options.to_string()).unwrap()),
            dice: Dice(seed),
            now: Now { wall: 1_700_000_000_000, boot: 0 },
            rotating,
            callers: Vec::new(),
            pending: Vec::new(),
            sleeping: BTreeMap::new(),
            flights: BTreeMap::new(),
            calls: Vec::new(),
            tokens: 0,
            current: BTreeMap::new(),
            superseded: BTreeSet::new(),
            log: Vec::new(),
        };
        for key in 0..3 {
            if rotating {
                let first = format!("R{key}-0");
                story.current.insert(key, first.clone());
                let adopt = json!({ "want": want(true, key), "refresh_token": first });
                story.tell(json!({ "start": { "flow": { "adopt": adopt } } }));
            }
        }
        story
    }

    fn entropy(&mut self) -> Entropy {
        let mut entropy = [0; 32];
        entropy[..8].copy_from_slice(&self.dice.roll().to_be_bytes());
        entropy
    }

    fn tell(&mut self, event: Value) -> Value {
        self.log.push(format!("{:?} {event}", self.now));
        let event = serde_json::from_value(event).unwrap();
        self.handle(event)
    }

    fn handle(&mut self, event: Event) -> Value {
        let entropy = self.entropy();
        let step = self.core.handle(event, self.now, &entropy);
        let step: Value = serde_json::from_str(&step.to_json()).unwrap();
        self.log.push(format!("    {step}"));
        for operation in step["operations"].as_array().into_iter().flatten() {
            if let Some(flight) = operation["sleep"].as_str() {
                self.sleeping.insert(flight.to_owned(), operation["until"].as_i64().unwrap());
                continue;
            }
            let op = ["send", "provide", "store"].iter().find_map(|word| operation[*word].as_str()).unwrap().to_owned();
            let flight = operation["flight"].as_str().unwrap().to_owned();
            let others = self.pending.iter().filter(|pending| pending.flight == flight).count();
            assert_eq!(others, 0, "two operations of one flight at once");
            if let Some(body) = operation["request"]["body"].as_str() {
                if let Some((_, spent)) =
                    form_urlencoded::parse(body.as_bytes()).find(|(name, _)| name == "refresh_token")
                {
                    assert!(
                        !self.superseded.contains(&*spent),
                        "a refresh token was sent after its successor had arrived"
                    );
                }
            }
            self.pending.push(Pending { op, flight, what: operation.clone() });
        }
        for flight in step["settled"].as_array().into_iter().flatten() {
            let flight = flight.as_str().unwrap();
            self.pending.retain(|pending| pending.flight != flight);
            self.sleeping.remove(flight);
            for caller in &mut self.callers {
                if caller.flight == flight {
                    caller.until = i64::MIN;
                }
            }
        }
        step
    }

    /// A caller asks, or asks again.
    fn ask(&mut self, key: u64, mut ask: Value, deadline: i64, after: Option<&str>) {
        ask["want"] = want(self.rotating, key);
        ask["deadline"] = json!(deadline);
        if let Some(after) = after {
            ask["after"] = json!(after);
        }
        let step = self.tell(json!({ "ask": ask }));
        let answer = &step["answer"];
        if let Some(flight) = answer["wait"].as_str() {
            let until = answer["until"].as_i64().unwrap();
            assert!(until <= deadline.max(self.now.boot), "a caller is told to wait beyond their deadline");
            let known = *self.flights.entry(flight.to_owned()).or_insert(key);
            assert_eq!(known, key, "one flight for two keys");
            ask.as_object_mut().unwrap().remove("after");
            self.callers.push(Caller { key, ask, deadline, flight: flight.to_owned(), until });
        } else if let Some(token) = answer["use"].as_str() {
            assert!(token.starts_with(&format!("T{key}-")), "a token of another key");
            let (expires, recheck) = (answer["expires"].as_i64().unwrap(), answer["recheck"].as_i64().unwrap());
            assert!(recheck <= expires, "a lease that outlives its token");
            let alive = expires > self.now.boot && answer["expires_wall"].as_i64().unwrap() > self.now.wall;
            assert!(alive || after.is_some(), "an expired token");
            assert!(alive || recheck <= self.now.boot, "a lease of a token that has run out");
            self.calls.push((key, answer["call"].as_str().unwrap().to_owned()));
        } else {
            assert!(answer["fail"].is_string(), "neither token, nor wait, nor failure: {answer}");
        }
    }

    /// Those whose flight is over, or whose time is, ask again.
    fn ask_again(&mut self) {
        let now = self.now.boot;
        let (due, waiting) = self.callers.drain(..).partition(|caller| caller.until <= now);
        self.callers = waiting;
        let due: Vec<Caller> = due;
        for caller in due {
            self.ask(caller.key, caller.ask, caller.deadline, Some(&caller.flight));
        }
    }

    fn answer(&mut self, well: bool) {
        if self.pending.is_empty() {
            return;
        }
        let at = usize::try_from(self.dice.below(self.pending.len() as u64)).unwrap();
        let pending = self.pending.remove(at);
        let op = pending.op.parse().unwrap();
        let key = self.key_of(&pending.what);
        let kind = if well { 0 } else { self.dice.below(12) };
        let received = |status: u16, body: Value| {
            let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
            Event::Received(Received { op, status, headers, body: body.to_string().into_bytes() })
        };
        let event = match kind {
            0..=4 => {
                self.tokens += 1;
                let lives = if well { 3600 } else { self.dice.pick(&[0, 1, 5, 30, 60, 300, 3600, 7200, 2_592_000]) };
                let mut body = json!({ "access_token": format!("T{key}-{}", self.tokens), "token_type": "Bearer", "expires_in": lives });
                if self.rotating && self.dice.below(2) == 0 {
                    let next = format!("R{key}-{}", self.tokens);
                    body["refresh_token"] = json!(next);
                    let old = self.current.insert(key, next).unwrap();
                    self.superseded.insert(old);
                }
                received(200, body)
            }
            5 => received(503, json!({})),
            6 => received(500, json!({})),
            7 => received(400, json!({ "error": "invalid_scope" })),
            8 => received(200, json!({ "nothing": true })),
            9 => Event::Failed { op, kind: FailureKind::NotSent },
            10 => Event::Failed { op, kind: FailureKind::MaybeSent },
            _ => Event::Failed { op, kind: FailureKind::Timeout },
        };
        self.log.push(format!("{:?} answer {kind} to {}", self.now, pending.op));
        self.handle(event);
    }

    fn key_of(&self, operation: &Value) -> u64 {
        let body = operation["request"]["body"].as_str().unwrap();
        let field = |name: &str| {
            form_urlencoded::parse(body.as_bytes())
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.into_owned())
        };
        let text = field("refresh_token").or_else(|| field("scope")).unwrap();
        u64::from(text.as_bytes()[1] - b'0')
    }

    fn tick(&mut self, flight: &str) {
        self.sleeping.remove(flight);
        self.tell(json!({ "tick": { "flight": flight } }));
    }

    fn play(&mut self) {
        let key = self.dice.below(3);
        match self.dice.below(14) {
            0..=3 => {
                let mut ask = json!({});
                match self.dice.below(8) {
                    0 => ask["force"] = json!(true),
                    1 => ask["min_ttl"] = json!(self.dice.pick(&[1_000, 60_000, 3_000_000, 100_000_000])),
                    _ => {}
                }
                let patience = self.dice.pick(&[0, 50, 500, 30_000, 30_000]);
                self.ask(key, ask, self.now.boot + patience, None);
            }
            4..=6 => self.answer(false),
            7..=8 => {
                let step = self.dice.pick(&[1, 20, 100, 500, 1_000, 10_000, 60_000, 900_000, 3_300_000, 3_600_000]);
                self.now = self.now.plus(step);
            }
            9 => {
                let jump = self.dice.pick(&[-3_600_000, -40_000, -5, 5, 40_000, 3_600_000]);
                if self.dice.below(4) == 0 {
                    self.now.wall += jump;
                }
            }
            10 => {
                if let Some(flight) = self.sleeping.keys().next().cloned() {
                    self.tick(&flight);
                }
            }
            11 if !self.calls.is_empty() => {
                let (key, call) = self.dice.pick(&self.calls);
                let status = self.dice.pick(&[401, 401, 200]);
                self.tell(json!({ "answered": { "want": want(self.rotating, key), "call": call, "status": status } }));
            }
            12 if self.dice.below(6) == 0 => {
                self.tell(json!({ "invalidate": { "want": want(self.rotating, key) } }));
            }
            _ => {}
        }
        self.ask_again();
    }

    /// When the server is well again and timers are on time, everybody gets an answer.
    fn heal(&mut self) {
        for _ in 0..400 {
            self.ask_again();
            if self.callers.is_empty() && self.pending.is_empty() {
                return;
            }
            self.answer(true);
            let due: Vec<String> = self
                .sleeping
                .iter()
                .filter(|(_, until)| **until <= self.now.boot)
                .map(|(flight, _)| flight.clone())
                .collect();
            due.iter().for_each(|flight| self.tick(flight));
            self.now = self.now.plus(500);
        }
        panic!("{} callers wait for ever", self.callers.len());
    }
}

fn run(seeds: std::ops::Range<u64>, rotating: bool) {
    for seed in seeds {
        let result = std::panic::catch_unwind(|| {
            let mut story = Story::new(seed, rotating);
            let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                for _ in 0..150 {
                    story.play();
                }
                story.heal();
            }));
            if told.is_err() {
                let tail = story.log.len().saturating_sub(40);
                eprintln!("seed {seed}:\n{}", story.log[tail..].join("\n"));
            }
            assert!(told.is_ok());
        });
        assert!(result.is_ok(), "seed {seed}");
    }
}

#[test]
fn client_credentials_hold_their_invariants_in_any_story() {
    run(0..400, false);
}

#[test]
fn rotating_refresh_tokens_hold_their_invariants_in_any_story() {
    run(0..400, true);
}
