//! Everything around a client under test: the clocks, and the wire.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use remint::client::{Clock, Incoming, Outgoing, SendError};
use remint::{HttpRequest, Now};

/// Shared by the runner and the client.
#[derive(Clone)]
pub(crate) struct World(Arc<Mutex<Inside>>);

struct Inside {
    now: Now,
    wires: Vec<Wire>,
    notices: Vec<String>,
}

/// One token request, and its answer as soon as the vector gives one.
#[derive(Clone)]
pub(crate) struct Wire(Arc<Line>);

struct Line {
    request: HttpRequest,
    answer: Mutex<Option<Result<Incoming, SendError>>>,
    answered: Condvar,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(crate) fn new(now: Now) -> Self {
        Self(Arc::new(Mutex::new(Inside { now, wires: Vec::new(), notices: Vec::new() })))
    }

    pub(crate) fn now(&self) -> Now {
        lock(&self.0).now
    }

    pub(crate) fn set(&self, now: Now) {
        lock(&self.0).now = now;
    }

    pub(crate) fn hear(&self, notice: String) {
        lock(&self.0).notices.push(notice);
    }

    pub(crate) fn notices(&self) -> Vec<String> {
        lock(&self.0).notices.clone()
    }

    pub(crate) fn forget_notices(&self) {
        lock(&self.0).notices.clear();
    }

    pub(crate) fn requests(&self) -> usize {
        lock(&self.0).wires.len()
    }

    pub(crate) fn requests_since(&self, before: usize) -> Vec<Wire> {
        lock(&self.0).wires.get(before..).unwrap_or_default().to_vec()
    }

    pub(crate) fn put_on_the_wire(&self, outgoing: Outgoing) -> Wire {
        let wire =
            Wire(Arc::new(Line { request: outgoing.request, answer: Mutex::new(None), answered: Condvar::new() }));
        lock(&self.0).wires.push(wire.clone());
        wire
    }

    /// Whatever is still on the wire is never answered.
    pub(crate) fn end(&self) {
        self.requests_since(0).iter().for_each(|wire| wire.answer(Err(SendError::NotSent)));
    }
}

impl Wire {
    pub(crate) fn request(&self) -> &HttpRequest {
        &self.0.request
    }

    pub(crate) fn answer(&self, answer: Result<Incoming, SendError>) {
        lock(&self.0.answer).get_or_insert(answer);
        self.0.answered.notify_all();
    }

    /// The answer, if there is one.
    pub(crate) fn peek(&self) -> Option<Result<Incoming, SendError>> {
        lock(&self.0.answer).clone()
    }

    /// The answer, as soon as there is one.
    pub(crate) fn wait(&self) -> Result<Incoming, SendError> {
        let mut answer = lock(&self.0.answer);
        loop {
            match &*answer {
                Some(answer) => return answer.clone(),
                None => answer = self.0.answered.wait(answer).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl Clock for World {
    fn wall(&self) -> i64 {
        self.now().wall
    }

    fn boot(&self) -> i64 {
        self.now().boot
    }

    fn park(&self, limit: Duration) {
        // This clock moves in jumps that wake nobody.
        std::thread::park_timeout(limit.min(Duration::from_millis(1)));
    }
}
