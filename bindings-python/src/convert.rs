//! The core's answers as Python values. The other way is JSON text, which the core reads itself.

use pyo3::IntoPyObjectExt as _;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use remint::error::Error;
use serde::Serialize;
use serde_json::Value;

/// What serializes, as Python dicts, lists and scalars.
pub(crate) fn to_python<'py>(py: Python<'py>, value: &impl Serialize) -> PyResult<Bound<'py, PyAny>> {
    // The core's plain structs have no way to fail here.
    build(py, &serde_json::to_value(value).unwrap_or_default())
}

fn build<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    match value {
        Value::Null => Ok(py.None().into_bound(py)),
        Value::Bool(value) => value.into_bound_py_any(py),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => integer.into_bound_py_any(py),
            None => number.as_f64().into_bound_py_any(py),
        },
        Value::String(text) => text.into_bound_py_any(py),
        Value::Array(items) => {
            let list = PyList::empty(py);
            items.iter().try_for_each(|item| list.append(build(py, item)?))?;
            Ok(list.into_any())
        }
        Value::Object(members) => {
            let dict = PyDict::new(py);
            members.iter().try_for_each(|(name, member)| dict.set_item(name, build(py, member)?))?;
            Ok(dict.into_any())
        }
    }
}

/// The core's error as the exception class of its family, made by `remint.errors`.
pub(crate) fn exception(py: Python<'_>, error: &Error) -> PyErr {
    let made =
        to_python(py, error).and_then(|record| py.import("remint.errors")?.getattr("from_record")?.call1((record,)));
    made.map_or_else(|error| error, PyErr::from_value)
}
