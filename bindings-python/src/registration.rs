//! One request about a client's registration, and the reading of its answer.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use remint::clock::Now;
use remint::error::{Error, ErrorCode};
use remint::response::HttpResponse;
use remint::{HttpRequest, Registered};

use crate::convert;

/// What registers clients at one server.
#[pyclass(frozen, module = "remint._native")]
pub(crate) struct Registrar(remint::Registrar);

/// A request to send once, and the one thing that can read its answer.
#[pyclass(frozen, module = "remint._native")]
pub(crate) struct Registration {
    request: HttpRequest,
    registration: Mutex<Option<remint::Registration>>,
}

#[pymethods]
impl Registrar {
    #[new]
    fn new(py: Python<'_>, options: &Bound<'_, PyAny>) -> PyResult<Self> {
        let options = convert::to_json(options).and_then(|options| String::from_utf8(options).ok());
        let options = options.ok_or_else(|| Error::new(ErrorCode::InvalidOption, UNREADABLE));
        options
            .and_then(|options| remint::Registrar::new(&options))
            .map(Self)
            .map_err(|error| convert::exception(py, &error))
    }

    /// Builds one request, and what reads its answer.
    fn build(&self, py: Python<'_>, request: &Bound<'_, PyAny>) -> PyResult<Registration> {
        let request = convert::to_json(request).and_then(|request| serde_json::from_slice(&request).ok());
        let request = request.ok_or_else(|| Error::new(ErrorCode::InvalidOption, UNREADABLE_REQUEST));
        request
            .and_then(|request| self.0.build(request))
            .map(Registration::from)
            .map_err(|error| convert::exception(py, &error))
    }
}

impl From<remint::Registration> for Registration {
    fn from(registration: remint::Registration) -> Self {
        Self { request: registration.request().clone(), registration: Mutex::new(Some(registration)) }
    }
}

#[pymethods]
impl Registration {
    /// The HTTP method.
    #[getter]
    fn method(&self) -> &str {
        self.request.method
    }

    /// The absolute URL.
    #[getter]
    fn url(&self) -> &str {
        &self.request.url
    }

    /// The header lines.
    #[getter]
    fn headers(&self) -> Vec<(&str, &str)> {
        self.request.headers.iter().map(|(name, value)| (*name, &**value)).collect()
    }

    /// The body, to be sent as UTF-8; none for a GET and a DELETE.
    #[getter]
    fn body(&self) -> Option<&str> {
        self.request.body.as_deref()
    }

    /// Reads the answer: the client, None once it is deleted, or another `Registration` to send first.
    fn finish<'py>(
        &self,
        py: Python<'py>,
        status: u16,
        headers: Vec<(String, String)>,
        body: &[u8],
        now: (i64, i64),
    ) -> PyResult<Bound<'py, PyAny>> {
        let registration = self.registration.lock().unwrap_or_else(PoisonError::into_inner).take();
        let registration = registration.ok_or_else(|| Error::new(ErrorCode::InvalidEvent, SPENT));
        let response = HttpResponse { status, headers: &headers, body };
        let now = Now { wall: now.0, boot: now.1 };
        let registered = registration
            .and_then(|registration| registration.finish(response, now))
            .map_err(|error| convert::exception(py, &error))?;
        match registered {
            Registered::Next(next) => Ok(Bound::new(py, Self::from(next))?.into_any()),
            Registered::Client(client) => convert::to_python(py, &client),
            Registered::Deleted => Ok(py.None().into_bound(py)),
        }
    }
}

const UNREADABLE: &str = "the options hold something that JSON has no word for: see the list of options";
const UNREADABLE_REQUEST: &str = "the registration request is not one of those that the README lists";
const SPENT: &str = "this registration has read its answer already: build another";
