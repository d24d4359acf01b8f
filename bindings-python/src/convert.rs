//! Python values as JSON, which the core reads itself, and its answers as Python values.

use pyo3::IntoPyObjectExt as _;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use remint::error::Error;
use serde::Serialize;
use serde_json::Value;

/// A Python value as JSON text; a string is taken for JSON text already. None if JSON has no such value.
pub(crate) fn to_json(value: &Bound<'_, PyAny>) -> Option<Vec<u8>> {
    if let Ok(text) = value.cast::<PyString>() {
        return Some(text.to_cow().ok()?.into_owned().into_bytes());
    }
    let mut text = Vec::with_capacity(256);
    write(value, &mut text, 0).then_some(text)
}

/// The core refuses what is deeper than any event.
const MAX_DEPTH: usize = 64;

fn write(value: &Bound<'_, PyAny>, text: &mut Vec<u8>, depth: usize) -> bool {
    if let Ok(string) = value.cast::<PyString>() {
        string.to_cow().is_ok_and(|string| serde_json::to_writer(text, &*string).is_ok())
    } else if let Ok(dict) = value.cast::<PyDict>() {
        let is_text = |name: &Bound<'_, PyAny>| name.is_instance_of::<PyString>();
        write_all(*b"{}", text, depth, dict, |(name, member), text| {
            is_text(&name) && write(&name, text, depth) && {
                text.push(b':');
                write(&member, text, depth + 1)
            }
        })
    } else if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        let one = |item: PyResult<Bound<'_, PyAny>>, text: &mut _| item.is_ok_and(|item| write(&item, text, depth + 1));
        value.try_iter().is_ok_and(|items| write_all(*b"[]", text, depth, items, one))
    } else if let Ok(boolean) = value.cast::<PyBool>() {
        serde_json::to_writer(text, &boolean.is_true()).is_ok()
    } else if value.is_instance_of::<PyInt>() {
        value.extract::<i64>().is_ok_and(|integer| serde_json::to_writer(text, &integer).is_ok())
    } else if value.is_instance_of::<PyFloat>() {
        value.extract::<f64>().is_ok_and(|float| serde_json::to_writer(text, &float).is_ok())
    } else {
        value.is_none() && serde_json::to_writer(text, &()).is_ok()
    }
}

fn write_all<T>(
    [open, close]: [u8; 2],
    text: &mut Vec<u8>,
    depth: usize,
    items: impl IntoIterator<Item = T>,
    one: impl Fn(T, &mut Vec<u8>) -> bool,
) -> bool {
    text.push(open);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        if depth >= MAX_DEPTH || !one(item, text) {
            return false;
        }
    }
    text.push(close);
    true
}

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
