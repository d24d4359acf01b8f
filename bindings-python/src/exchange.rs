//! One request to the token endpoint and the reading of its answer, without the cache.

use std::sync::{Mutex, PoisonError};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use remint::clock::Now;
use remint::error::{Error, ErrorCode};
use remint::request::HttpRequest;
use remint::response::HttpResponse;
use remint::secret::Secret;

use crate::convert;

/// A request to send once, and the one thing that can read its answer.
#[pyclass(frozen, module = "remint._native")]
pub(crate) struct Exchange {
    request: HttpRequest,
    exchange: Mutex<Option<remint::Exchange>>,
}

impl From<(HttpRequest, remint::Exchange)> for Exchange {
    fn from((request, exchange): (HttpRequest, remint::Exchange)) -> Self {
        Self { request, exchange: Mutex::new(Some(exchange)) }
    }
}

#[pymethods]
impl Exchange {
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

    /// The body; none for a GET.
    #[getter]
    fn body(&self) -> Option<&str> {
        self.request.body.as_deref()
    }

    /// Reads the answer. `started` is what both clocks showed when the request was started.
    fn finish<'py>(
        &self,
        py: Python<'py>,
        status: u16,
        headers: Vec<(String, String)>,
        body: &[u8],
        started: (i64, i64),
    ) -> PyResult<Bound<'py, PyDict>> {
        let exchange = self.exchange.lock().unwrap_or_else(PoisonError::into_inner).take();
        let exchange = exchange.ok_or_else(|| Error::new(ErrorCode::InvalidEvent, SPENT));
        let response = HttpResponse { status, headers: &headers, body };
        let started = Now { wall: started.0, boot: started.1 };
        let tokens = exchange
            .and_then(|exchange| exchange.finish(response, started))
            .map_err(|error| convert::exception(py, &error))?;
        let record = PyDict::new(py);
        record.set_item(intern!(py, "access_token"), tokens.access_token.expose())?;
        record.set_item(intern!(py, "token_type"), tokens.token_type)?;
        record.set_item(intern!(py, "lifetime"), tokens.lifetime)?;
        record.set_item(intern!(py, "scope"), tokens.scope)?;
        record.set_item(intern!(py, "refresh_token"), tokens.refresh_token.as_ref().map(Secret::expose))?;
        record.set_item(intern!(py, "oddities"), convert::to_python(py, &tokens.oddities)?)?;
        Ok(record)
    }
}

const SPENT: &str = "this exchange has read its answer already: build another";
