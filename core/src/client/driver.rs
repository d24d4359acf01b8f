//! The one loop: gives the core events, and does what it answers. It decides nothing.

use core::future::{Future, poll_fn};
use core::panic::AssertUnwindSafe;
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use core::task::{Poll, Waker};
use core::time::Duration;
use std::boxed::Box;
use std::collections::{BTreeMap, HashMap};
use std::panic::catch_unwind;
use std::process;
use std::string::String;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::vec::Vec;

use super::builder::Hooks;
use super::clock::Time;
use super::lease::{Held, Slot, Token};
use super::store::{AnyStore, Changes, Ear, Over};
use super::transport::{Incoming, Outgoing, SendError, Task};
use crate::cache::Key;
use crate::clock::Entropy;
use crate::config::Config;
use crate::error::{Error, ErrorCode};
use crate::event::{Event, FailureKind, Received, StoreResult};
use crate::machine::Core;
use crate::step::{self, Call, Done, FlightId, OpId, Operation, Provision, StoreCommand, Verdict, Withdraw};

/// What differs between threads and tasks.
pub(crate) trait Host: Send + Sync + Sized + 'static {
    /// Whether what is carried out may block the thread that it is carried out on.
    const MAY_BLOCK: bool;

    /// Carries out an operation, and those of the same flight that follow from it.
    fn start(job: Job<Self>);

    /// Runs something that nobody waits for, and that may block if the host's work may.
    fn spawn(shared: &Shared<Self>, task: Task);

    fn send(&self, request: Outgoing) -> impl Future<Output = Result<Incoming, SendError>> + Send;

    /// Is over at a point of the boot clock, or sooner.
    fn sleep(&self, time: &Time, until: i64) -> impl Future<Output = ()> + Send;
}

/// All that the handles of one client have in common.
pub(crate) struct Shared<H> {
    pub(crate) host: H,
    pub(crate) time: Time,
    pub(crate) config: Config,
    pub(crate) hooks: Hooks,
    process: Process,
}

/// One process's step machine. A fork's child begins with a fresh one: the parent's flights are not its own, nor are the
/// refresh tokens that the parent may replace at any time, and the lock may be held by a thread that is not there.
struct Process {
    id: u32,
    state: Mutex<State>,
    child: OnceLock<Box<Self>>,
    /// Whether this process hears what others write to the store, or will.
    hears: AtomicBool,
    hearing: Arc<Over>,
}

pub(crate) struct State {
    core: Core,
    flights: HashMap<FlightId, Arc<Flight>>,
    leases: HashMap<Key, Leased>,
    /// At how many leases those that nobody can be answered from are cleared away.
    sweep_at: usize,
}

struct Leased {
    slot: Weak<Slot>,
    held: Option<Arc<Held>>,
}

/// A flight, to those who wait for it.
pub(crate) struct Flight {
    key: Option<Key>,
    is_over: AtomicBool,
    /// When its operation has come to its end even if nobody says so.
    due: AtomicI64,
    next: AtomicU64,
    waiters: Mutex<BTreeMap<u64, Waker>>,
}

/// The core's answer to a question, with what a waiter needs in the place of what a host needs.
pub(crate) enum Answer {
    Token(Token),
    Wait(Wait),
    Headers(Vec<(String, String)>),
    Verdict(Verdict),
    Again(Call),
    Done(Done),
}

/// A flight to wait for, and until when.
pub(crate) struct Wait {
    pub(crate) id: FlightId,
    flight: Arc<Flight>,
    until: i64,
}

/// One operation that is under way. Dropped before its end, it reports that it was abandoned.
pub(crate) struct Job<H: Host> {
    shared: Arc<Shared<H>>,
    operation: Option<Operation>,
    op: Option<OpId>,
    flight: FlightId,
}

impl<H: Host> Shared<H> {
    pub(crate) fn new(host: H, time: Time, config: Config, hooks: Hooks) -> Arc<Self> {
        let process = Process::new(config.clone());
        Arc::new(Self { host, time, config, hooks, process })
    }

    /// Tells the core what happened, and does what follows. `key` is the one that the event is about, if it is a question.
    pub(crate) fn ask(
        self: &Arc<Self>,
        event: Event,
        key: Option<(Key, &Arc<Slot>)>,
        entropy: &Entropy,
    ) -> Result<Answer, Error> {
        let (answer, _) = self.handle(event, key, None, entropy);
        answer.unwrap_or_else(|| Err(Error::new(ErrorCode::InvalidEvent, "the core did not answer: this is a bug")))
    }

    /// Tells the core what happened, and does what follows, where nobody waits for an answer.
    pub(crate) fn tell(self: &Arc<Self>, event: Event) {
        self.handle(event, None, None, &self.entropy().unwrap_or_default());
    }

    /// The operation that follows for `flight` is left to the caller.
    pub(crate) fn handle(
        self: &Arc<Self>,
        event: Event,
        key: Option<(Key, &Arc<Slot>)>,
        flight: Option<FlightId>,
        entropy: &Entropy,
    ) -> (Option<Result<Answer, Error>>, Option<Job<H>>) {
        let mut guard = self.lock();
        let now = self.time.now();
        let state = &mut *guard;
        let mut step = state.core.handle(event, now, entropy);
        for operation in &step.operations {
            let (_, id, due) = parts(operation);
            let flight = state.flight(id, key.map(|(key, _)| key));
            flight.due.store(due, Ordering::Release);
        }
        state.withdraw(&step.withdraw);
        let over: Vec<_> = step.settled.iter().map(|id| (*id, state.settle(*id))).collect();
        let answer = step.answer.take().map(|answer| match answer {
            step::Answer::Use(lease) => {
                let held = Held::new(lease, &self.time);
                if let Some((key, slot)) = key.filter(|_| held.is_worth_keeping(now)) {
                    state.keep(key, slot, &held);
                }
                Ok(Answer::Token(held.own()))
            }
            step::Answer::Wait { flight: id, until } => {
                let settled = over.iter().find(|(settled, _)| *settled == id).map(|(_, flight)| flight.clone());
                let flight = settled.unwrap_or_else(|| state.flight(id, key.map(|(key, _)| key)));
                Ok(Answer::Wait(Wait { id, flight, until }))
            }
            step::Answer::Headers { headers } => Ok(Answer::Headers(headers)),
            step::Answer::Verdict(verdict) => Ok(Answer::Verdict(verdict)),
            step::Answer::Again { call } => Ok(Answer::Again(call)),
            step::Answer::Done { done } => Ok(Answer::Done(done)),
            step::Answer::Fail(error) => Err(error),
        });
        drop(guard);

        let mut jobs: Vec<_> = step.operations.into_iter().map(|operation| Job::new(self.clone(), operation)).collect();
        let own = jobs.iter().position(|job| Some(job.flight) == flight).map(|at| jobs.swap_remove(at));
        // A caller that drives its refresh itself does so when all others know what they have to know.
        let (jobs, later) = if self.config.aside { (jobs, Vec::new()) } else { (Vec::new(), jobs) };
        jobs.into_iter().for_each(H::start);
        over.into_iter().for_each(|(_, flight)| flight.wake());
        if let Some(on_notice) = &self.hooks.on_notice {
            for notice in &step.notices {
                // Whatever the user's function does, nothing here depends on it.
                let _ = catch_unwind(AssertUnwindSafe(|| on_notice(notice)));
            }
        }
        later.into_iter().for_each(H::start);
        (answer, own)
    }

    /// Fresh randomness, from the system or from a test.
    pub(crate) fn entropy(&self) -> Result<Entropy, Error> {
        if let Some(random) = &self.hooks.random {
            return Ok(random());
        }
        let mut entropy = Entropy::default();
        getrandom::fill(&mut entropy).map(|()| entropy).map_err(|_| {
            Error::new(
                ErrorCode::HostError,
                "the operating system gave no randomness: without it no `state` can be made that nobody guesses",
            )
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.process().state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn process(&self) -> &Process {
        let (id, mut process) = (process::id(), &self.process);
        while process.id != id {
            process = process.child.get_or_init(|| Box::new(Process::new(self.config.clone())));
        }
        process
    }

    /// What other processes write is of no interest any more.
    pub(crate) fn stop_hearing(&self) {
        self.process().hearing.end();
    }

    /// Has the store tell what other processes write, from the first use of it on.
    fn hear(self: &Arc<Self>, store: &Arc<dyn AnyStore>) {
        let process = self.process();
        if process.hears.swap(true, Ordering::AcqRel) {
            return;
        }
        // The subscription does not keep the client alive, but for the length of a pause.
        let (ear, over, store) = (Arc::downgrade(self), process.hearing.clone(), store.clone());
        let changes = Arc::new(Changes::new(ear.clone(), over.clone()));
        let task = async move {
            while let Some(Err(error)) = over.or(store.clone().subscribe(changes.clone(), H::MAY_BLOCK)).await {
                let Some(shared) = ear.upgrade() else { return };
                shared.hooks.store_failed(&error);
                let until = shared.time.now().boot.saturating_add(UNTIL_SUBSCRIBED_AGAIN);
                over.or(shared.host.sleep(&shared.time, until)).await;
            }
        };
        H::spawn(self, Box::pin(task));
    }

    async fn store(self: &Arc<Self>, key: Key, until: i64, command: StoreCommand) -> StoreResult {
        let Some(store) = &self.hooks.store else { return StoreResult::Down };
        self.hear(store);
        let writes = !matches!(command, StoreCommand::Load);
        let in_place = H::MAY_BLOCK && self.config.aside;
        let mut asked = store.clone().carry_out(key, command, self.time.clone(), in_place);
        // A store without an end holds up nobody: not even a caller who drives the renewal alone.
        let mut late = pin!(self.host.sleep(&self.time, until));
        let outcome = poll_fn(|context| match asked.as_mut().poll(context) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending => late.as_mut().poll(context).map(|()| None),
        });
        let outcome = outcome.await;
        if let Some(Err(error)) = &outcome {
            self.hooks.store_failed(error);
        }
        match outcome {
            Some(Ok(result)) => result,
            Some(Err(error)) if error.is_down() => StoreResult::Down,
            _ if writes => StoreResult::Unknown,
            _ => StoreResult::Down,
        }
    }

    async fn perform(self: &Arc<Self>, operation: Operation) -> Event {
        match operation {
            Operation::Send { op, request, tls_id, until, cap, .. } => {
                let timeout = self.time.until(until);
                let kind = match self.host.send(Outgoing { request, timeout, cap, tls_id }).await {
                    Ok(Incoming { status, headers, body }) if body.len() <= cap => {
                        return Event::Received(Received { op, status, headers, body });
                    }
                    Ok(_) => FailureKind::TooLarge,
                    Err(error) => error.into(),
                };
                Event::Failed { op, kind }
            }
            Operation::Provide { op, what, .. } => {
                let provided = match what {
                    Provision::ClientSecret => self.hooks.client_secret().await.map(Some),
                    Provision::ClientAssertion => self.hooks.client_assertion().await.map(Some),
                    Provision::SubjectToken { subject } => self.hooks.subject_token(subject).await.map(Some),
                    Provision::ActorToken { subject } => self.hooks.actor_token(subject).await.map(Some),
                    Provision::Assertion { subject } => self.hooks.assertion(subject).await.map(Some),
                    Provision::Rotated { subject, refresh_token } => {
                        self.hooks.rotated(subject, refresh_token).await.then_some(None)
                    }
                };
                match provided {
                    Some(value) => Event::Provided { op, value },
                    None => Event::Failed { op, kind: FailureKind::HostError },
                }
            }
            Operation::Verify { op, key, alg, input, signature, .. } => {
                match self.hooks.verify(alg, key, input, &signature) {
                    Some(valid) => Event::Verified { op, valid },
                    None => Event::Failed { op, kind: FailureKind::HostError },
                }
            }
            Operation::Sleep { flight, until } => {
                let sleeping = self.lock().flights.get(&flight).cloned();
                if let Some(sleeping) = sleeping {
                    sleeping.settled(self, until).await;
                }
                Event::Tick { flight }
            }
            Operation::Sign { op, key, alg, input, .. } => match self.hooks.sign(&key, alg, input).await {
                Some(signature) => Event::Signed { op, signature },
                None => Event::Failed { op, kind: FailureKind::HostError },
            },
            Operation::Store { op, key, until, command, .. } => {
                Event::Stored { op, result: self.store(key, until, command).await }
            }
        }
    }
}

impl Process {
    fn new(config: Config) -> Self {
        let state =
            State { core: Core::new(config), flights: HashMap::new(), leases: HashMap::new(), sweep_at: FIRST_SWEEP };
        Self {
            id: process::id(),
            state: Mutex::new(state),
            child: OnceLock::new(),
            hears: AtomicBool::new(false),
            hearing: Arc::default(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.hearing.end();
    }
}

impl<H: Host> Ear for Shared<H> {
    fn changed(self: Arc<Self>, key: Option<Key>) {
        self.tell(Event::Changed { key });
    }
}

impl State {
    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    pub(crate) fn flights(&self) -> Vec<Arc<Flight>> {
        self.flights.values().cloned().collect()
    }

    /// The place that this key's lease is read from: one for all who hold it.
    pub(crate) fn slot(&mut self, key: Key) -> Arc<Slot> {
        let leased = self.leased(key);
        leased.slot.upgrade().unwrap_or_else(|| {
            let slot = Arc::default();
            *leased = Leased { slot: Arc::downgrade(&slot), held: None };
            slot
        })
    }

    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.leases.len()
    }

    fn keep(&mut self, key: Key, slot: &Arc<Slot>, held: &Arc<Held>) {
        let leased = self.leased(key);
        if leased.slot.strong_count() == 0 {
            leased.slot = Arc::downgrade(slot);
        }
        slot.write(Some(held.clone()));
        // Should the old one still stand there, nobody is to be answered from it.
        leased.held.replace(held.clone()).into_iter().for_each(|old| old.withdraw());
    }

    fn leased(&mut self, key: Key) -> &mut Leased {
        if self.leases.len() >= self.sweep_at && !self.leases.contains_key(&key) {
            self.leases.retain(|_, leased| leased.slot.strong_count() > 0);
            self.sweep_at = self.leases.len().saturating_mul(2).max(FIRST_SWEEP);
        }
        self.leases.entry(key).or_insert_with(|| Leased { slot: Weak::new(), held: None })
    }

    fn flight(&mut self, id: FlightId, key: Option<Key>) -> Arc<Flight> {
        self.flights.entry(id).or_insert_with(|| Arc::new(Flight::new(key))).clone()
    }

    fn withdraw(&mut self, withdrawn: &[Withdraw]) {
        let take = |leased: &mut Leased, generation: Option<u64>| {
            let old = leased.held.take_if(|held| generation.is_none_or(|last| held.generation() <= last));
            if let Some(old) = old {
                old.withdraw();
                leased.slot.upgrade().into_iter().for_each(|slot| slot.write(None));
            }
        };
        for Withdraw { key, generation } in withdrawn {
            match key {
                Some(key) => self.leases.get_mut(key).into_iter().for_each(|leased| take(leased, *generation)),
                None => self.leases.values_mut().for_each(|leased| take(leased, *generation)),
            }
        }
    }

    /// A flight is over: whoever comes next asks the core, which knows more than the lease that was given during the flight.
    fn settle(&mut self, id: FlightId) -> Arc<Flight> {
        let flight = self.flights.remove(&id).unwrap_or_else(|| Arc::new(Flight::new(None)));
        flight.is_over.store(true, Ordering::Release);
        let held = flight.key.and_then(|key| self.leases.get(&key)).and_then(|leased| leased.held.as_ref());
        held.into_iter().for_each(|held| held.question());
        flight
    }
}

impl Flight {
    fn new(key: Option<Key>) -> Self {
        Self {
            key,
            is_over: AtomicBool::new(false),
            due: AtomicI64::new(i64::MAX),
            next: AtomicU64::new(0),
            waiters: Mutex::default(),
        }
    }

    fn wake(&self) {
        let waiters = core::mem::take(&mut *self.waiters());
        waiters.into_values().for_each(Waker::wake);
    }

    fn waiters(&self) -> MutexGuard<'_, BTreeMap<u64, Waker>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until the flight is over, or the operation that is under way has timed out.
    pub(crate) async fn landed<H: Host>(&self, shared: &Shared<H>) {
        loop {
            let due = self.due.load(Ordering::Acquire);
            self.settled(shared, due).await;
            if self.is_over.load(Ordering::Acquire) || due == self.due.load(Ordering::Acquire) {
                return;
            }
        }
    }

    /// Until the flight is over, or a point of the boot clock is reached.
    async fn settled<H: Host>(&self, shared: &Shared<H>, until: i64) {
        let waiter = Waiter { flight: self, number: self.next.fetch_add(1, Ordering::Relaxed) };
        let mut sleep = pin!(shared.host.sleep(&shared.time, until));
        poll_fn(|context| {
            self.waiters().insert(waiter.number, context.waker().clone());
            // Looked at after the waker is in its place: one of the two finds the other.
            if self.is_over.load(Ordering::Acquire) { Poll::Ready(()) } else { sleep.as_mut().poll(context) }
        })
        .await;
    }
}

/// A caller that waits. One that is cancelled leaves nothing behind.
struct Waiter<'a> {
    flight: &'a Flight,
    number: u64,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.flight.waiters().remove(&self.number);
    }
}

impl Wait {
    pub(crate) fn until(&self) -> i64 {
        self.until
    }

    pub(crate) async fn over<H: Host>(&self, shared: &Shared<H>) {
        let until = self.until.min(self.flight.due.load(Ordering::Acquire));
        self.flight.settled(shared, until).await;
    }
}

impl<H: Host> Job<H> {
    fn new(shared: Arc<Shared<H>>, operation: Operation) -> Self {
        let (op, flight, _) = parts(&operation);
        Self { shared, op, flight, operation: Some(operation) }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<H>> {
        &self.shared
    }

    /// Carries it out, and what follows for the same flight.
    pub(crate) async fn run(mut self) {
        while let Some(operation) = self.operation.take() {
            let event = self.shared.perform(operation).await;
            self.op = None;
            let entropy = self.shared.entropy().unwrap_or_default();
            let (_, next) = self.shared.handle(event, None, Some(self.flight), &entropy);
            let Some(mut next) = next else { return };
            (self.op, self.operation) = (next.op.take(), next.operation.take());
        }
    }
}

impl<H: Host> Drop for Job<H> {
    fn drop(&mut self) {
        if let Some(op) = self.op.take() {
            self.shared.tell(Event::Failed { op, kind: FailureKind::Abandoned });
        }
    }
}

/// An operation's name, its flight, and its end.
fn parts(operation: &Operation) -> (Option<OpId>, FlightId, i64) {
    match operation {
        Operation::Send { op, flight, until, .. }
        | Operation::Sign { op, flight, until, .. }
        | Operation::Verify { op, flight, until, .. }
        | Operation::Provide { op, flight, until, .. }
        | Operation::Store { op, flight, until, .. } => (Some(*op), *flight, *until),
        Operation::Sleep { flight, until } => (None, *flight, *until),
    }
}

pub(crate) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A client with fewer leases than this is not swept.
const FIRST_SWEEP: usize = 1_024;
/// In milliseconds.
const UNTIL_SUBSCRIBED_AGAIN: i64 = 1_000;
/// No wait for a clock is longer: the clock may be moved meanwhile.
pub(crate) const LONGEST_SLEEP: Duration = Duration::from_secs(3_600);
