//! The step machine behind a mutex, and who waits for which of its flights.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::sync::MutexExt as _;
use pyo3::types::{PyDict, PyList};
use remint::Config;
use remint::cache::Key;
use remint::clock::{Entropy, Now};
use remint::error::{Error, ErrorCode};
use remint::event::{Event, Received};
use remint::step::{Answer, FlightId, Step};

use crate::convert;
use crate::exchange::Exchange;
use crate::lease::LeaseCell;

/// The step machine of one client: events in, steps out. See `remint.core`.
#[pyclass(frozen, module = "remint._native")]
pub(crate) struct Core {
    state: Mutex<State>,
    /// Grows whenever leases are withdrawn: one load tells the hot path that nothing was.
    epoch: AtomicU64,
    /// Grows whenever a flight settles: what was said during a flight about when to ask again is out of date.
    settled: AtomicU64,
    /// A fork happened in the middle of another thread's step, which takes an interpreter without a GIL.
    torn: AtomicBool,
    /// Nothing is kept for later any more.
    closed: AtomicBool,
}

struct State {
    core: remint::Core,
    waiters: HashMap<FlightId, Vec<Py<PyAny>>>,
    /// Flights that end in a proof of possession for one API request: they say nothing about any token.
    proofs: HashSet<FlightId>,
    withdrawn: Withdrawn,
}

/// Which leases may not be answered from, and since which epoch.
#[derive(Default)]
struct Withdrawn {
    all: u64,
    keys: HashMap<Key, (u64, u64)>,
}

#[pymethods]
impl Core {
    #[new]
    fn new(py: Python<'_>, options: &Bound<'_, PyAny>) -> PyResult<Self> {
        let options = convert::to_json(options).and_then(|options| String::from_utf8(options).ok());
        let options = options.ok_or_else(|| Error::new(ErrorCode::InvalidOption, UNREADABLE_OPTIONS));
        let config =
            options.and_then(|options| Config::new(&options)).map_err(|error| convert::exception(py, &error))?;
        let state = State {
            core: remint::Core::new(config),
            waiters: HashMap::new(),
            proofs: HashSet::new(),
            withdrawn: Withdrawn::default(),
        };
        Ok(Self {
            state: Mutex::new(state),
            epoch: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            torn: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        })
    }

    /// Tells the core what happened, and says what follows.
    ///
    /// `now` is both clocks in milliseconds, `entropy` 32 fresh bytes. If the answer is to wait, `wake` is kept, and
    /// given back under `wake` by the step in which the flight settles. If it is a token, `cell` keeps it, and it is under `token`.
    #[pyo3(signature = (event, now, entropy, wake=None, cell=None))]
    fn handle<'py>(
        &self,
        py: Python<'py>,
        event: &Bound<'py, PyAny>,
        now: (i64, i64),
        entropy: &[u8],
        wake: Option<Py<PyAny>>,
        cell: Option<&LeaseCell>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let event = convert::to_json(event).and_then(|event| serde_json::from_slice(&event).ok());
        self.step(py, event, now, entropy, wake, cell)
    }

    /// Tells the core the answer to a `send`.
    #[expect(clippy::too_many_arguments, reason = "an HTTP answer, and what comes with every event")]
    fn received<'py>(
        &self,
        py: Python<'py>,
        op: &str,
        status: u16,
        headers: Vec<(String, String)>,
        body: &[u8],
        now: (i64, i64),
        entropy: &[u8],
    ) -> PyResult<Bound<'py, PyDict>> {
        let received = |op| Event::Received(Received { op, status, headers, body: body.to_vec() });
        self.step(py, op.parse().ok().map(received), now, entropy, None, None)
    }

    /// Builds one request to the token endpoint, and what reads its answer.
    fn build(&self, py: Python<'_>, token_request: &Bound<'_, PyAny>) -> PyResult<Exchange> {
        let request = convert::to_json(token_request).and_then(|request| serde_json::from_slice(&request).ok());
        let config = self.lock(py).core.config().clone();
        let built = match request {
            Some(request) => config.build(request),
            None => Err(Error::new(ErrorCode::InvalidEvent, UNREADABLE_REQUEST)),
        };
        built.map(Exchange::from).map_err(|error| convert::exception(py, &error))
    }

    /// To be called first in a fork's child: whether the state is whole.
    fn survived_fork(&self) -> bool {
        let whole = self.state.try_lock().is_ok();
        self.torn.store(!whole, Ordering::Release);
        whole
    }
}

impl Core {
    fn step<'py>(
        &self,
        py: Python<'py>,
        event: Option<Event>,
        now: (i64, i64),
        entropy: &[u8],
        wake: Option<Py<PyAny>>,
        cell: Option<&LeaseCell>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let refusal = match (event, Entropy::try_from(entropy)) {
            _ if self.torn.load(Ordering::Acquire) => Error::new(ErrorCode::Closed, TORN),
            (None, _) => Error::new(ErrorCode::InvalidEvent, UNREADABLE_EVENT),
            (_, Err(_)) => Error::new(ErrorCode::InvalidEvent, "entropy is 32 bytes, drawn for every event"),
            (Some(event), Ok(entropy)) => {
                let since = self.since();
                let (step, woken) = self.locked_step(py, event, Now { wall: now.0, boot: now.1 }, &entropy, wake);
                let record = convert::to_python(py, &step)?.cast_into::<PyDict>()?;
                if !woken.is_empty() {
                    record.set_item("wake", PyList::new(py, woken)?)?;
                }
                if let (Some(Answer::Use(lease)), Some(cell)) = (step.answer, cell) {
                    record.set_item("token", cell.keep(py, lease, since)?)?;
                }
                return Ok(record);
            }
        };
        let step = Step { answer: Some(Answer::Fail(refusal)), ..Step::default() };
        Ok(convert::to_python(py, &step)?.cast_into()?)
    }

    /// The mutex is held for the core's own work, and never while Python code runs: what is dropped goes out with the result.
    fn locked_step(
        &self,
        py: Python<'_>,
        event: Event,
        now: Now,
        entropy: &Entropy,
        wake: Option<Py<PyAny>>,
    ) -> (Step, Vec<Py<PyAny>>) {
        let (forked, closed) = (matches!(event, Event::Forked {}), matches!(event, Event::Close {}));
        let is_attach = matches!(event, Event::Attach(_));
        let mut state = self.lock(py);
        let step = state.core.handle(event, now, entropy);
        self.closed.fetch_or(closed, Ordering::AcqRel);
        if let Some(Answer::Wait { flight, .. }) = &step.answer {
            if let Some(wake) = wake {
                state.waiters.entry(*flight).or_default().push(wake);
            }
            if is_attach {
                state.proofs.insert(*flight);
            }
        }
        let mut woken: Vec<_> =
            step.settled.iter().filter_map(|flight| state.waiters.remove(flight)).flatten().collect();
        if forked {
            // Those who waited are the parent's. To wake them harms nobody, and lets go of them.
            woken.extend(state.waiters.drain().flat_map(|(_, waiters)| waiters));
            state.proofs.clear();
        }
        if step.settled.iter().filter(|flight| !state.proofs.remove(*flight)).count() > 0 {
            self.settled.fetch_add(1, Ordering::AcqRel);
        }
        if !step.withdraw.is_empty() {
            let epoch = self.epoch.fetch_add(1, Ordering::AcqRel).saturating_add(1);
            for withdraw in &step.withdraw {
                state.withdrawn.note(epoch, withdraw.key, withdraw.generation.unwrap_or(u64::MAX));
            }
        }
        (step, woken)
    }

    /// Whoever waits for the mutex lets the interpreter go on meanwhile.
    fn lock(&self, py: Python<'_>) -> MutexGuard<'_, State> {
        self.state.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner)
    }

    /// How often leases were withdrawn, and how often flights settled.
    pub(crate) fn since(&self) -> (u64, u64) {
        (self.epoch.load(Ordering::Acquire), self.settled.load(Ordering::Acquire))
    }

    /// Whether the client was closed: tokens go to those who wait for them, and are not kept.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether a lease that was good at `since` still is.
    pub(crate) fn is_good(&self, py: Python<'_>, key: &Key, generation: u64, since: u64) -> bool {
        !self.lock(py).withdrawn.holds(key, generation, since)
    }
}

impl Withdrawn {
    /// More withdrawn keys than this withdraw everything: a lease that is asked for anew costs microseconds.
    const MAX_KEYS: usize = 4096;

    fn note(&mut self, epoch: u64, key: Option<Key>, generation: u64) {
        match key {
            Some(key) if self.keys.len() < Self::MAX_KEYS => drop(self.keys.insert(key, (epoch, generation))),
            _ => {
                self.keys.clear();
                self.all = epoch;
            }
        }
    }

    fn holds(&self, key: &Key, generation: u64, since: u64) -> bool {
        self.all > since || self.keys.get(key).is_some_and(|(epoch, last)| *epoch > since && *last >= generation)
    }
}

const TORN: &str = "this process was forked in the middle of another thread's call: make the client after the fork";
const UNREADABLE_EVENT: &str =
    "the event is not one that the step machine knows, or one of its fields is missing, unknown or of the wrong type";
const UNREADABLE_OPTIONS: &str = "the options hold a value that JSON does not have: strings, numbers, booleans, None, lists, tuples and dicts are allowed";
const UNREADABLE_REQUEST: &str = "the token request is not one of client_credentials, code, refresh, device_code, ciba, token_exchange, jwt_bearer and basic_get with its fields";
