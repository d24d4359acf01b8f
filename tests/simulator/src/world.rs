//! Everything around the cores: true time, the network, the authority, the store, the people; and what happens next.

mod exploring;
mod people;
mod traffic;

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher as _};

use remint::cache::Key;
use remint::event::{Adopt, FailureKind, Flow, Start};
use remint::notice::NoticeKind;
use remint::step::{Call, FlightId, OpId, Operation, Provision};
use remint::{Answer, Config, Core, Event, Secret, Step};

use crate::authority::{Authority, Question, Reply, access_number, refresh_in, refresh_number, refresh_text};
use crate::dice::Dice;
use crate::explore::Budget;
use crate::invariants::{self, Invariant, Memory, Violation};
use crate::mutant::Mutant;
use crate::plan::{Fault, Plan, Reuse, Sharing};
use crate::process::{Attempts, CALLERS, Kind, Process, Running, want};
use crate::sealed;
use crate::store::{Command, Result as StoreAnswer, Store};
pub use exploring::Choice;
use traffic::translated;

/// True Unix time when every schedule begins.
pub const BEGINNING: i64 = 1_800_000_000_000;

/// What is under way.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Message {
    /// Something is done from outside.
    Act,
    /// A process begins.
    Begin {
        process: usize,
    },
    /// A caller asks.
    Ask {
        process: usize,
        wish: Wish,
    },
    /// A request reaches the authority.
    Arrive {
        from: Sender,
        question: Question,
        weather: Weather,
    },
    /// The end of a request reaches the process.
    End {
        to: Sender,
        end: End,
    },
    /// A command reaches the store.
    Command {
        from: Sender,
        key: Key,
        command: Command,
        weather: StoreWeather,
    },
    /// The end of a command reaches the process.
    Stored {
        to: Sender,
        result: StoreAnswer,
    },
    /// An operation's time is up.
    Timeout {
        to: Sender,
    },
    /// The host's database has saved a refresh token, or could not.
    Rotated {
        to: Sender,
        owner: usize,
        token: usize,
        well: bool,
    },
    Tick {
        process: usize,
        incarnation: u32,
        flight: FlightId,
    },
    /// A caller asks again.
    Wake {
        process: usize,
        incarnation: u32,
        caller: usize,
        stamp: u64,
    },
    /// What an API says of a token.
    Verdict {
        process: usize,
        incarnation: u32,
        want: usize,
        call: Call,
        token: usize,
        status: u16,
        last: bool,
    },
    /// Another process wrote.
    Changed {
        process: usize,
        incarnation: u32,
        key: Option<Key>,
    },
}

/// Whose operation it is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Sender {
    pub process: usize,
    pub incarnation: u32,
    pub op: OpId,
}

/// What a caller wants.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Wish {
    pub want: usize,
    pub min_ttl: i64,
    pub force: bool,
    pub patience: i64,
    pub call: Option<Call>,
    pub last: bool,
}

/// How a request fares.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Weather {
    Fair,
    /// It is answered with this status and not looked at, with or without a `Retry-After` in seconds.
    Refused {
        status: u16,
        pause: Option<i64>,
    },
    /// It is carried out and answered with this status.
    Muddled {
        status: u16,
    },
    /// It is carried out, and the answer does not come.
    AnswerLost {
        told: bool,
    },
    Garbage,
}

/// How a command fares.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum StoreWeather {
    Fair,
    /// It is carried out, and the answer does not come.
    AnswerLost {
        told: bool,
    },
}

/// The end of a request, as a host sees it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum End {
    Reply(Reply, Option<i64>),
    Status { status: u16, pause: Option<i64>, error: bool },
    Garbage,
    NotSent,
    MaybeSent,
}

struct Item {
    at: i64,
    order: u64,
    message: Message,
}

/// How an attempt failed.
#[derive(Clone, Copy, Debug)]
struct Failure {
    passing: bool,
    refused: bool,
    asked: Option<i64>,
}

/// Who decides what happens next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// Time and chance.
    Chance,
    /// Whoever explores: nothing takes time, and nothing is drawn.
    Explorer,
}

pub struct World<'a> {
    pub plan: Plan,
    config: &'a Config,
    pub now: i64,
    dice: Dice,
    queue: Vec<Item>,
    order: u64,
    pub order_by: Order,
    pub authority: Authority,
    pub store: Store,
    pub processes: Vec<Process>,
    pub memory: Memory,
    /// The records' names, by owner.
    pub keys: Vec<Key>,
    names: Vec<Vec<u8>>,
    /// The cache keys of the wishes.
    tokens: Vec<Key>,
    /// The first refresh token of each owner's last consent, and what the host's database has.
    first: Vec<usize>,
    database: Vec<usize>,
    pub violation: Option<Violation>,
    pub trace: Option<Vec<String>>,
    mutant: Option<Mutant>,
    healed: bool,
    acts_left: u32,
    server_down_until: i64,
    store_down_until: i64,
    store_slow_until: i64,
    began: i64,
    pub handled: u64,
    stamp: u64,
    /// The last questions, once everything has healed: process, wish and how often it was put.
    last_questions: Vec<(usize, usize, u32)>,
    survives: Vec<bool>,
    /// What may still happen, for an explorer.
    pub budget: Option<Budget>,
    /// How often leases were withdrawn.
    withdrawn: u64,
    /// The flights that the last step settled.
    over: Vec<FlightId>,
}

/// More than any schedule needs: what goes on for longer goes on for ever.
const MOST_EVENTS: u64 = 20_000;

impl<'a> World<'a> {
    pub fn new(plan: Plan, dice: Dice, config: &'a Config, mutant: Option<Mutant>, traced: bool) -> Self {
        let (wants, owners) = (plan.wants, plan.owners());
        let probe = Core::new(config.clone());
        let keys: Vec<Key> = (0..owners).map(|owner| probe.key(&want(&plan, plan.first_want(owner)))).collect();
        let authority = Authority::new(&plan);
        let first: Vec<usize> = (0..if plan.rotating { owners } else { 0 }).collect();
        let processes = (0..plan.processes).map(|_| Process::new(wants, owners)).collect();
        let memory = Memory {
            durable: vec![None; owners],
            durable_since: vec![0; owners],
            excused: vec![None; owners],
            ..Memory::default()
        };
        Self {
            config,
            now: BEGINNING,
            dice,
            queue: Vec::new(),
            order: 0,
            order_by: Order::Chance,
            authority,
            store: Store::default(),
            processes,
            memory,
            tokens: (0..wants).map(|number| probe.key(&want(&plan, number))).collect(),
            names: keys.iter().map(|key| sealed::name(*key)).collect(),
            keys,
            database: first.clone(),
            first,
            violation: None,
            trace: traced.then(Vec::new),
            mutant,
            healed: false,
            acts_left: plan.acts,
            server_down_until: i64::MIN,
            store_down_until: i64::MIN,
            store_slow_until: i64::MIN,
            began: BEGINNING,
            handled: 0,
            stamp: 0,
            last_questions: Vec::new(),
            survives: vec![false; owners],
            budget: None,
            withdrawn: 0,
            over: Vec::new(),
            plan,
        }
    }

    /// Plays the whole schedule.
    pub fn play(&mut self) {
        self.set_out();
        while self.violation.is_none() {
            let Some(message) = self.next() else { break };
            self.deliver(message);
        }
        if self.violation.is_none() {
            self.finish();
        }
    }

    fn set_out(&mut self) {
        let clocks = self.plan.has(Fault::Clocks);
        for process in 0..self.plan.processes {
            let apart =
                if clocks { self.dice.pick(&[0, 0, 400, -400, 20_000, -20_000, 3_600_000, -3_600_000]) } else { 0 };
            self.processes[process].wall = apart;
            self.memory.skew = (self.memory.skew.0.min(apart), self.memory.skew.1.max(apart));
            // Far from 0: a boot clock that misses time runs late, but never backwards past its beginning.
            self.processes[process].boot = 1_000_000_000 + self.dice.between(0, 1_000_000) - BEGINNING;
            let delay = self.dice.pick(&[0, 0, 0, 3, 200]);
            self.post(delay, Message::Begin { process });
        }
        if clocks {
            self.memory.troubles += 1;
        }
        self.post(1, Message::Act);
    }

    /// The refresh token that the store holds for an owner.
    pub fn stored_refresh(&self, owner: usize) -> Option<usize> {
        let record = self.store.record(self.keys[owner])?;
        refresh_in(&sealed::opened(record, &self.names[owner])?)
    }

    /// How long the schedule has gone on.
    pub fn elapsed(&self) -> i64 {
        self.now - self.began
    }

    pub fn violate(&mut self, invariant: Invariant, what: String) {
        self.note(|| format!("VIOLATION of {invariant:?}: {what}"));
        if self.violation.is_none() {
            self.violation = Some(Violation { invariant, what });
        }
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>12} {}", self.now - BEGINNING, line()));
        }
    }
}

/// What happens next.
impl World<'_> {
    pub fn post(&mut self, delay: i64, message: Message) {
        self.order += 1;
        self.queue.push(Item { at: self.now + delay.max(0), order: self.order, message });
    }

    fn next(&mut self) -> Option<Message> {
        self.handled += 1;
        if self.handled > MOST_EVENTS {
            self.violate(Invariant::Progress, format!("more than {MOST_EVENTS} events, and no end"));
            return None;
        }
        let soonest = (0..self.queue.len()).min_by_key(|at| (self.queue[*at].at, self.queue[*at].order))?;
        let item = self.queue.swap_remove(soonest);
        self.now = self.now.max(item.at);
        Some(item.message)
    }

    pub fn pending(&self) -> impl Iterator<Item = (usize, i64, &Message)> {
        self.queue.iter().enumerate().map(|(at, item)| (at, item.at, &item.message))
    }

    /// Takes one message out of its turn.
    pub fn take(&mut self, at: usize) -> Message {
        let item = self.queue.swap_remove(at);
        self.now = self.now.max(item.at);
        item.message
    }

    pub fn deliver(&mut self, message: Message) {
        let process = match &message {
            Message::End { to, .. }
            | Message::Stored { to, .. }
            | Message::Timeout { to }
            | Message::Rotated { to, .. } => Some((to.process, Some(to.incarnation))),
            Message::Tick { process, incarnation, .. }
            | Message::Wake { process, incarnation, .. }
            | Message::Verdict { process, incarnation, .. }
            | Message::Changed { process, incarnation, .. } => Some((*process, Some(*incarnation))),
            Message::Ask { process, .. } => Some((*process, None)),
            Message::Act | Message::Begin { .. } | Message::Arrive { .. } | Message::Command { .. } => None,
        };
        if let Some((process, incarnation)) = process {
            let me = &self.processes[process];
            if !me.is_up() || incarnation.is_some_and(|incarnation| incarnation != me.incarnation) {
                self.undelivered(&message);
                return;
            }
            if me.stopped_until > self.now {
                let wait = me.stopped_until - self.now;
                let wait = wait + if self.order_by == Order::Chance { self.dice.between(0, 3) } else { 0 };
                self.post(wait, message);
                return;
            }
        }
        match message {
            Message::Act => self.act(),
            Message::Begin { process } => self.begin(process),
            Message::Ask { process, wish } => self.ask(process, wish),
            Message::Arrive { from, question, weather } => self.arrive(from, &question, weather),
            Message::End { to, end } => self.end(to, end),
            Message::Command { from, key, command, weather } => self.command(from, key, &command, weather),
            Message::Stored { to, result } => self.stored(to, result),
            Message::Timeout { to } => self.time_out(to),
            Message::Rotated { to, owner, token, well } => self.rotated(to, owner, token, well),
            Message::Tick { process, flight, .. } => self.tick(process, flight),
            Message::Wake { process, caller, stamp, .. } => self.wake(process, caller, stamp),
            Message::Verdict { process, want, call, token, status, last, .. } => {
                self.verdict(process, want, call, token, status, last);
            }
            Message::Changed { process, key, .. } => {
                self.tell(process, || format!("changed {key:?}"), Event::Changed { key });
            }
        }
    }

    /// Nobody is there any more.
    fn undelivered(&mut self, message: &Message) {
        if let Message::End { end: End::Reply(Reply::Tokens { refresh: Some(token), .. }, _), .. } = message {
            let owner = self.authority.refresh[*token].owner;
            self.excuse(owner, "the process ended before the answer came");
        }
    }

    fn excuse(&mut self, owner: usize, why: &'static str) {
        self.memory.excused[owner].get_or_insert(why);
    }

    fn chance(&mut self, fault: Fault, percent: u64) -> bool {
        !self.healed && self.plan.has(fault) && self.dice.chance(percent)
    }

    /// A short while, now and then a longer one.
    fn moment(&mut self) -> i64 {
        if self.order_by == Order::Explorer {
            return 0;
        }
        match self.dice.below(12) {
            0 => self.dice.between(5, 120),
            1..=3 => self.dice.between(1, 8),
            _ => self.dice.between(0, 2),
        }
    }
}

/// A process's core and the shell around it.
impl World<'_> {
    fn begin(&mut self, process: usize) {
        if self.processes[process].is_up() {
            return;
        }
        let keeps_history = self.plan.has(Fault::Fork) || self.order_by == Order::Explorer;
        self.processes[process].begin(self.config, keeps_history && self.order_by == Order::Chance);
        self.note(|| format!("p{process} begins"));
        if !self.plan.rotating || !(self.plan.all_adopt || process == 0) {
            return;
        }
        for owner in 0..self.plan.owners() {
            let token = if self.plan.on_rotated { self.database[owner] } else { self.first[owner] };
            self.processes[process].knows[owner] = Some(token);
            let adopt = Adopt {
                want: want(&self.plan, self.plan.first_want(owner)),
                refresh_token: Some(Secret::new(refresh_text(token))),
                on_rotated: self.plan.on_rotated,
                ..Adopt::default()
            };
            let start = Start { flow: Flow::Adopt(adopt), deadline: None, after: None };
            self.tell(process, || format!("adopt rt-{token} for u{owner}"), Event::Start(start));
        }
    }

    /// Gives a core an event and does what it says.
    fn tell(&mut self, process: usize, label: impl FnOnce() -> String, event: Event) -> Option<Answer> {
        self.end_overdue(process);
        let explores = self.order_by == Order::Explorer;
        let label = if explores || self.trace.is_some() { label() } else { String::new() };
        let entropy = if explores {
            // The same for the same history, in whatever order other processes went on.
            Dice::new(self.processes[process].told ^ (process as u64) << 32).entropy()
        } else {
            self.dice.entropy()
        };
        let me = &mut self.processes[process];
        let now = me.now(self.now);
        me.told += 1;
        if explores {
            let mut hasher = DefaultHasher::new();
            (me.digest, &label, now.wall, now.boot).hash(&mut hasher);
            me.digest = hasher.finish();
        }
        if let Some(history) = &mut me.history {
            history.push((event.clone(), now, entropy));
        }
        let core = me.core.as_mut()?;
        let step = core.handle(event, now, &entropy);
        if self.trace.is_some() {
            self.note(|| format!("p{process} <- {label}"));
            let shown = step.to_json();
            if shown != "{}" {
                self.note(|| format!("p{process} -> {shown}"));
            }
        }
        self.carry_out(process, step)
    }

    fn carry_out(&mut self, process: usize, step: Step) -> Option<Answer> {
        self.look_for_secrets(&step);
        let incarnation = self.processes[process].incarnation;
        let most = if self.chance(Fault::Crash, 1) { self.dice.below(step.operations.len() + 1) } else { usize::MAX };
        for operation in step.operations.into_iter().take(most) {
            if let (Some(Answer::Use(lease)), Some(flight)) = (&step.answer, flight_of(&operation)) {
                self.processes[process].aside.insert(flight, lease.token.key);
            }
            self.start(process, operation);
        }
        if most != usize::MAX {
            self.note(|| format!("p{process} dies after {most} of its operations"));
            self.crash(process);
            return None;
        }
        self.withdrawn += step.withdraw.len() as u64;
        let ignores = self.mutant == Some(Mutant::ServesWithdrawnLeases);
        for withdrawn in step.withdraw.iter().filter(|_| !ignores) {
            for lease in &mut self.processes[process].leases {
                let is_meant = lease.as_ref().is_some_and(|lease| {
                    withdrawn.key.is_none_or(|key| key == lease.token.key)
                        && withdrawn.generation.is_none_or(|generation| lease.token.generation <= generation)
                });
                if is_meant {
                    *lease = None;
                }
            }
        }
        for notice in &step.notices {
            self.take_notice(process, &notice.kind, notice.key);
        }
        for flight in &step.settled {
            if let Some(key) = self.processes[process].aside.remove(flight).filter(|_| !ignores) {
                // A lease that was given while it flew knows nothing of how it ended.
                self.processes[process]
                    .leases
                    .iter_mut()
                    .for_each(|lease| drop(lease.take_if(|lease| lease.token.key == key)));
            }
            self.settled(process, incarnation, *flight);
        }
        self.over = step.settled;
        step.answer
    }

    fn look_for_secrets(&mut self, step: &Step) {
        let mut found = None;
        for notice in &step.notices {
            if let NoticeKind::TokenTypeAssumed(text) = &notice.kind {
                found = found.or_else(|| invariants::i12_no_secret(text, "a notice"));
            }
        }
        if let Some(Answer::Fail(error)) = &step.answer {
            for text in
                [Some(error.message()), error.hint(), error.oauth_error(), error.pointer()].into_iter().flatten()
            {
                found = found.or_else(|| invariants::i12_no_secret(text, "an error"));
            }
        }
        if self.plan.looks_at_debug {
            found = found.or_else(|| invariants::i12_no_secret(&format!("{step:?}"), "a step's Debug text"));
        }
        if let Some(what) = found {
            self.violate(Invariant::I12, what);
        }
    }

    fn take_notice(&mut self, process: usize, kind: &NoticeKind, key: Option<Key>) {
        if let (NoticeKind::DeadOnArrival, Some(owner)) = (kind, key.and_then(|key| self.owner_of_token(key))) {
            let is_its = |(token, fetched): &(&usize, &(usize, u32, i64, i64))| {
                fetched.0 == process && self.authority.access[**token].owner == owner
            };
            let newest = self.memory.fetched.iter().rev().find(is_its).map(|(token, _)| *token);
            self.memory.dead.extend(newest.map(|token| (token, ())));
        }
        if let (NoticeKind::PersistFailed, Some(owner)) = (kind, key.and_then(|key| self.owner_of_token(key))) {
            self.excuse(owner, "a new refresh token could not be saved, and that was told");
        }
        if let (NoticeKind::Adopted, Some(_)) = (kind, key) {
            let me = &mut self.processes[process];
            let clocks = (me.wall, me.boot);
            me.adopted.iter_mut().for_each(|adopted| *adopted = Some(clocks));
            // Somebody else's success ends the row of our failures.
            if let Some(owner) = key.and_then(|key| self.owner_of_token(key)) {
                for want in (0..self.plan.wants).filter(|want| self.plan.owner(*want) == owner) {
                    self.processes[process].attempts[want].row = 0;
                }
            }
        }
    }

    /// Those who wait for a flight wake up, each in their own time.
    fn settled(&mut self, process: usize, incarnation: u32, flight: FlightId) {
        for caller in 0..CALLERS {
            let Some(waiter) = &mut self.processes[process].callers[caller] else { continue };
            if waiter.flight == Some(flight) && waiter.settled.is_none() {
                waiter.settled = Some(self.now);
                let stamp = waiter.stamp;
                let delay = self.moment();
                self.post(delay, Message::Wake { process, incarnation, caller, stamp });
            }
        }
    }

    fn start(&mut self, process: usize, operation: Operation) {
        let incarnation = self.processes[process].incarnation;
        let boot = self.processes[process].boot;
        if let Some(flight) = flight_of(&operation) {
            self.processes[process].began.entry(flight).or_insert(self.now);
        }
        match operation {
            Operation::Send { op, flight, request, until, .. } => {
                let from = Sender { process, incarnation, op };
                let question = self.read_request(&request.url, request.body.as_deref().unwrap_or_default());
                let Some(question) = question else {
                    self.violate(
                        Invariant::I7,
                        "a request names a token that was never issued, or no scope".to_owned(),
                    );
                    return;
                };
                let what = self.kind_of(process, &question);
                self.processes[process].running.push(Running { op, flight, until, what: what.clone() });
                self.about_to_send(process, flight, &what);
                if self.order_by == Order::Chance {
                    self.post(until - boot - self.now, Message::Timeout { to: from });
                }
                self.send(from, question);
            }
            Operation::Store { op, flight, key, until, command } => {
                let from = Sender { process, incarnation, op };
                let command = translated(command);
                if let Command::Lock { owner, ttl: 1.. } = &command {
                    let names = &mut self.processes[process].names;
                    names.retain(|(known, _)| *known != key);
                    names.push((key, owner.clone()));
                }
                if let Some(what) = invariants::i12_record(self, &command) {
                    self.violate(Invariant::I12, what);
                }
                self.processes[process].running.push(Running { op, flight, until, what: Kind::Store });
                if self.order_by == Order::Chance {
                    self.post(until - boot - self.now, Message::Timeout { to: from });
                }
                self.ask_store(from, key, command);
            }
            Operation::Provide { op, flight, until, what: Provision::Rotated { subject, refresh_token } } => {
                let to = Sender { process, incarnation, op };
                let owner = subject.and_then(|subject| subject.strip_prefix('u')?.parse().ok());
                let token = refresh_number(refresh_token.expose());
                let (Some(owner), Some(token)) = (owner, token) else {
                    self.violate(Invariant::I7, "the host is told of a refresh token that was never issued".to_owned());
                    return;
                };
                self.processes[process].running.push(Running {
                    op,
                    flight,
                    until,
                    what: Kind::Rotated { owner, token },
                });
                let delay = self.moment();
                let well = !self.chance(Fault::Loss, 10);
                self.post(delay, Message::Rotated { to, owner, token, well });
            }
            Operation::Sleep { flight, until } => {
                let late = match self.order_by {
                    Order::Explorer => 0,
                    Order::Chance => self.dice.pick(&[0, 0, 0, 1, 20, 900]),
                };
                self.post(until - boot - self.now + late, Message::Tick { process, incarnation, flight });
            }
            Operation::Provide { .. } | Operation::Sign { .. } | Operation::Verify { .. } => {}
        }
    }

    fn read_request(&self, url: &str, body: &str) -> Option<Question> {
        let field = |name: &str| {
            form_urlencoded::parse(body.as_bytes())
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.into_owned())
        };
        if url.ends_with("/revoke") {
            let token = field("token")?;
            return Some(Question::Revoke { refresh: refresh_number(&token), access: access_number(&token) });
        }
        match field("refresh_token") {
            Some(token) => {
                let token = refresh_number(&token).filter(|token| *token < self.authority.refresh.len())?;
                Some(Question::Refresh { token, scope: field("scope") })
            }
            None => {
                let scope = field("scope")?;
                let owner = scope.strip_prefix('s')?.parse().ok()?;
                Some(Question::ClientCredentials { owner, scope: Some(scope) })
            }
        }
    }

    fn kind_of(&self, process: usize, question: &Question) -> Kind {
        let me = &self.processes[process];
        let (wall, boot, at) = (me.wall, me.boot, self.now);
        match question {
            Question::ClientCredentials { owner, scope } => Kind::Token {
                owner: *owner,
                want: self.plan.want_of(*owner, scope.is_some()),
                refresh: None,
                wall,
                boot,
                at,
            },
            Question::Refresh { token, scope } => {
                let owner = self.authority.refresh[*token].owner;
                Kind::Token {
                    owner,
                    want: self.plan.want_of(owner, scope.is_some()),
                    refresh: Some(*token),
                    wall,
                    boot,
                    at,
                }
            }
            Question::Revoke { refresh, access } => {
                let owner = refresh.map(|token| self.authority.refresh[token].owner);
                let owner =
                    owner.or_else(|| access.map(|token| self.authority.access[token].owner)).unwrap_or_default();
                Kind::Revocation { owner }
            }
        }
    }

    fn about_to_send(&mut self, process: usize, flight: FlightId, what: &Kind) {
        let Kind::Token { owner, want, refresh, .. } = *what else { return };
        let mut found = invariants::i2_one_request(self, process, owner, flight).map(|what| (Invariant::I2, what));
        if let Some(token) = refresh {
            if self.plan.reuse != Reuse::NoRotation {
                *self.memory.unclear.entry(token).or_default() += 1;
                found = found.or_else(|| invariants::i4_sent_again(self, token).map(|what| (Invariant::I4, what)));
            }
            found = found
                .or_else(|| invariants::i3_replaced(self, process, owner, token).map(|what| (Invariant::I3, what)));
        }
        found = found.or_else(|| invariants::i9_pause(self, process, want, refresh).map(|what| (Invariant::I9, what)));
        self.processes[process].attempts[want].sent += 1;
        if let Some((invariant, what)) = found {
            self.violate(invariant, what);
        }
    }

    /// Takes an operation that ends; none if it has ended already.
    fn take_running(&mut self, to: Sender) -> Option<Running> {
        let running = &mut self.processes[to.process].running;
        let at = running.iter().position(|running| running.op == to.op)?;
        Some(running.swap_remove(at))
    }

    fn time_out(&mut self, to: Sender) {
        let Some(running) = self.processes[to.process].running.iter().find(|running| running.op == to.op) else {
            return;
        };
        let boot = self.processes[to.process].boot;
        if running.until > self.now + boot {
            let wait = running.until - boot - self.now;
            self.post(wait, Message::Timeout { to });
            return;
        }
        let Some(running) = self.take_running(to) else { return };
        self.overdue(to.process, &running);
        self.tell(
            to.process,
            || format!("{} timed out", to.op),
            Event::Failed { op: to.op, kind: FailureKind::Timeout },
        );
        self.forget_failure(to.process);
    }

    /// An operation has timed out, whether its host has said so or the core has noticed by itself.
    fn overdue(&mut self, process: usize, running: &Running) {
        match &running.what {
            Kind::Token { owner, want, refresh, .. } => {
                let failure = Failure { passing: true, refused: false, asked: None };
                self.failed_attempt(process, *want, failure, *refresh);
                if refresh.is_some() {
                    self.excuse(*owner, "an answer did not come in time");
                }
                self.processes[process].late.push(running.clone());
            }
            Kind::Store => self.memory.store_trouble = true,
            Kind::Revocation { .. } | Kind::Rotated { .. } => {}
        }
    }

    /// Whatever event comes next, it ends what should have been answered by then.
    fn end_overdue(&mut self, process: usize) {
        let now = self.now + self.processes[process].boot;
        while let Some(at) = self.processes[process].running.iter().position(|running| running.until <= now) {
            let running = self.processes[process].running.swap_remove(at);
            self.overdue(process, &running);
        }
    }

    fn failed_attempt(&mut self, process: usize, want: usize, failure: Failure, refresh: Option<usize>) {
        let Failure { passing, refused, asked } = failure;
        self.memory.troubles += 1;
        let me = &mut self.processes[process];
        let at = self.now + me.boot;
        let before = me.attempts[want];
        let row = if before.passing == passing && before.refresh == refresh { before.row + 1 } else { 1 };
        me.attempts[want] = Attempts { failed: before.failed + 1, row, passing, refused, at, asked, refresh, ..before };
        if self.plan.sharing != Sharing::Alone {
            // Whoever heeds it has not failed in one way any more.
            let others = self.processes.iter_mut().enumerate().filter(|(number, _)| *number != process);
            let others = others.map(|(_, other)| &mut other.attempts[want]).filter(|other| other.passing != passing);
            others.for_each(|other| other.row = 0);
        }
    }

    /// What a process without a memory for failures would do: begin anew, but for those who wait.
    fn forget_failure(&mut self, process: usize) {
        if self.mutant == Some(Mutant::ForgetsFailures) {
            self.processes[process].core = Some(Core::new(self.config.clone()));
        }
    }

    fn tick(&mut self, process: usize, flight: FlightId) {
        self.tell(process, || format!("tick {flight}"), Event::Tick { flight });
    }

    fn rotated(&mut self, to: Sender, owner: usize, token: usize, well: bool) {
        if self.take_running(to).is_none() {
            return;
        }
        if well {
            self.database[owner] = token;
            self.tell(to.process, || format!("{} saved", to.op), Event::Provided { op: to.op, value: None });
        } else {
            self.tell(
                to.process,
                || format!("{} failed", to.op),
                Event::Failed { op: to.op, kind: FailureKind::HostError },
            );
        }
    }

    fn crash(&mut self, process: usize) {
        self.memory.troubles += 1;
        self.memory.deaths += 1;
        for owner in 0..self.plan.owners() {
            let me = &self.processes[process];
            let newest = me.knows[owner];
            let durable = self.memory.durable[owner];
            let ahead = newest.is_some() && newest > durable;
            if let (true, Some(newest)) = (ahead, newest) {
                // It takes it along.
                self.memory.received.remove(&newest);
            }
            if self.plan.rotating
                && (me.is_busy_for(owner) || self.plan.sharing == Sharing::Alone || ahead && durable.is_some())
            {
                self.excuse(owner, "a process ended in the middle of it");
            }
        }
        self.processes[process].end();
    }

    /// The owner of a token's cache key: every scope of a person's has its own.
    fn owner_of_token(&self, key: Key) -> Option<usize> {
        let want = self.tokens.iter().position(|known| *known == key)?;
        Some(self.plan.owner(want))
    }

    pub fn owner_of(&self, key: Key) -> Option<usize> {
        self.keys.iter().position(|known| *known == key)
    }
}

/// The flight that an operation belongs to.
fn flight_of(operation: &Operation) -> Option<FlightId> {
    match operation {
        Operation::Send { flight, .. } | Operation::Store { flight, .. } | Operation::Sleep { flight, .. } => {
            Some(*flight)
        }
        _ => None,
    }
}
