//! The token that is handed out, and the place from which the hot path hands it out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use remint::cache::Key;
use remint::clock::Now;
use remint::step::Call;

use crate::clock;
use crate::core::Core;

/// A token that can be put on requests. Printing it shows no secret.
#[pyclass(frozen, module = "remint")]
pub(crate) struct Token {
    /// The token itself.
    #[pyo3(get)]
    access_token: Py<PyString>,
    /// Its type, as in `Bearer`.
    #[pyo3(get)]
    token_type: String,
    /// The value of the header that carries it.
    #[pyo3(get)]
    authorization: Py<PyString>,
    /// The scope that was granted, space-separated.
    #[pyo3(get)]
    scope: Option<String>,
    /// When it runs out, in Unix seconds.
    #[pyo3(get)]
    expires_at: f64,
    /// Counts the tokens of one cache key, from 1.
    #[pyo3(get)]
    generation: u64,
    /// The API call that it was handed out for.
    #[pyo3(get)]
    _call: String,
    expires: Now,
    clock: Option<Py<PyAny>>,
}

/// What a client holds for the hot path.
#[pyclass(subclass, frozen, module = "remint._native")]
pub(crate) struct LeaseCell {
    bound: OnceLock<(Py<Core>, Option<Py<PyAny>>)>,
    held: Mutex<Option<Arc<Held>>>,
}

struct Held {
    token: Py<Token>,
    key: Key,
    generation: u64,
    recheck: Now,
    expires: Now,
    epoch: AtomicU64,
    settled: u64,
}

#[pymethods]
impl Token {
    /// Seconds of life left, by whichever clock says less; 0 when it has run out.
    fn expires_in(&self, py: Python<'_>) -> PyResult<f64> {
        let now = clock::read(self.clock.as_ref().map(|clock| clock.bind(py)))?;
        Ok(seconds(now.until(self.expires).max(0)))
    }

    fn __repr__(&self) -> String {
        let Self { token_type, generation, expires_at, .. } = self;
        format!("<remint.Token {token_type} generation={generation} expires_at={expires_at} (redacted)>")
    }

    fn __reduce__(&self) -> PyResult<Py<PyAny>> {
        Err(PyTypeError::new_err(
            "a remint Token can't be pickled or copied: create the client in the worker, and ask it there",
        ))
    }
}

#[pymethods]
impl LeaseCell {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self { bound: OnceLock::new(), held: Mutex::new(None) }
    }

    /// The token that was handed out here last, if it is still good. Never a request.
    fn peek(&self, py: Python<'_>) -> PyResult<Option<Py<Token>>> {
        self.good(py, false)
    }

    /// A valid token: the cached one, or a new one. One request serves however many callers wait for it.
    ///
    /// `min_ttl` is how many seconds of life it must have left. `force` asks for another than the cached one. `timeout`
    /// is how many seconds to wait. Raises `RemintError`.
    // Whoever has to wait does so above this frame. At exit, CPython before 3.14 ends such threads by unwinding them,
    // which this crate's frames let through as long as panics abort: as in every build that ships.
    #[pyo3(signature = (min_ttl=None, force=None, timeout=None), text_signature = "($self, min_ttl=0, force=False, timeout=30)")]
    fn token<'py>(
        slf: &Bound<'py, Self>,
        min_ttl: Option<Bound<'py, PyAny>>,
        force: Option<Bound<'py, PyAny>>,
        timeout: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        if min_ttl.is_none() && force.is_none() {
            if let Some(token) = slf.get().good(slf.py(), true)? {
                return Ok(token.into_any());
            }
        }
        Ok(slf.call_method1("_acquire", (min_ttl, force, timeout))?.unbind())
    }

    /// The token that may be handed out without asking the core.
    fn _fresh(&self, py: Python<'_>) -> PyResult<Option<Py<Token>>> {
        self.good(py, true)
    }

    /// Ties the cell to its step machine, and to the clocks of a test.
    #[pyo3(signature = (core, clock=None))]
    fn _bind(&self, core: Py<Core>, clock: Option<Py<PyAny>>) {
        // A second call would be a fault of the shell's, and changes nothing.
        let _ = self.bound.set((core, clock));
    }

    fn __reduce__(&self) -> PyResult<Py<PyAny>> {
        Err(PyTypeError::new_err("a remint client can't be pickled or copied: create it in the worker"))
    }
}

impl LeaseCell {
    /// Keeps what the core answered to a question that was asked at `since`, and gives the asker's token.
    pub(crate) fn keep(&self, py: Python<'_>, lease: remint::token::Lease, since: (u64, u64)) -> PyResult<Py<Token>> {
        let remint::token::Token { expires, generation, key, .. } = *lease.token;
        let (core, clock) = self.bound.get().map(|(core, clock)| (core, clock.as_ref())).unzip();
        let clock = clock.flatten();
        let make = |call: Call| {
            let token = Token {
                access_token: PyString::new(py, lease.token.access_token.expose()).unbind(),
                token_type: lease.token.token_type().to_owned(),
                authorization: PyString::new(py, lease.token.authorization().expose()).unbind(),
                scope: lease.token.scope.as_deref().map(str::to_owned),
                expires_at: seconds(expires.wall),
                generation,
                _call: call.to_string(),
                expires,
                clock: clock.map(|clock| clock.clone_ref(py)),
            };
            Py::new(py, token)
        };
        let token = make(lease.call)?;
        if core.is_some_and(|core| core.get().is_closed()) {
            return Ok(token);
        }
        let kept = if lease.call == lease.lease_call { token.clone_ref(py) } else { make(lease.lease_call)? };
        let (recheck, epoch, settled) = (lease.recheck, since.0.into(), since.1);
        let held = Held { token: kept, key, generation, recheck, expires, epoch, settled };
        // What was there is dropped after the lock, since that may run Python code.
        let _old = self.held.lock().unwrap_or_else(PoisonError::into_inner).replace(Arc::new(held));
        Ok(token)
    }

    /// The token, if it was not withdrawn and has life left; and if `settled`, only while the core need not be asked.
    fn good(&self, py: Python<'_>, settled: bool) -> PyResult<Option<Py<Token>>> {
        let Some((core, clock)) = self.bound.get() else { return Ok(None) };
        let now = clock::read(clock.as_ref().map(|clock| clock.bind(py)))?;
        let (epoch, settlements) = core.get().since();
        let (held, since) = {
            // Nothing else is locked, and no Python code runs, while this lock is held.
            let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(held) = &*held else { return Ok(None) };
            let end = if settled { held.recheck } else { held.expires };
            if now.until(end) <= 0 || settled && settlements != held.settled {
                return Ok(None);
            }
            let since = held.epoch.load(Ordering::Acquire);
            if epoch == since {
                return Ok(Some(held.token.clone_ref(py)));
            }
            (held.clone(), since)
        };
        if !core.get().is_good(py, &held.key, held.generation, since) {
            return Ok(None);
        }
        held.epoch.store(epoch, Ordering::Release);
        Ok(Some(held.token.clone_ref(py)))
    }
}

/// Milliseconds as seconds.
#[expect(clippy::cast_precision_loss, reason = "exact for every time that a clock shows")]
fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}
