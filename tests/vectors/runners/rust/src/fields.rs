//! Taking an object apart so that nothing in it is passed over.

use serde_json::{Map, Value};

/// The members of an object that have not been looked at yet.
pub(crate) struct Fields {
    what: String,
    left: Map<String, Value>,
}

impl Fields {
    /// Opens an object; `what` names it in messages.
    pub(crate) fn of(what: &str, value: &Value) -> Result<Self, String> {
        match value {
            Value::Object(object) => Ok(Self { what: what.to_owned(), left: object.clone() }),
            _ => Err(format!("  {what} must be an object")),
        }
    }

    /// Takes a member out.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.left.remove(name)
    }

    /// Takes a member out that must be there.
    pub(crate) fn need(&mut self, name: &str) -> Result<Value, String> {
        self.take(name).ok_or_else(|| format!("  {} needs `{name}`", self.what))
    }

    /// Takes a text out.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("  `{name}` of {} must be a text", self.what)),
        }
    }

    /// Takes an integer out.
    pub(crate) fn integer(&mut self, name: &str) -> Result<Option<i64>, String> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => match value.as_i64() {
                Some(number) => Ok(Some(number)),
                None => Err(format!("  `{name}` of {} must be an integer", self.what)),
            },
        }
    }

    /// Takes out those of the members that are there, as an object.
    pub(crate) fn some(&mut self, names: &[&str]) -> Map<String, Value> {
        names.iter().filter_map(|name| self.take(name).map(|value| ((*name).to_owned(), value))).collect()
    }

    /// Nothing may be left.
    pub(crate) fn end(self) -> Result<(), String> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(name) => Err(format!("  `{name}` of {} is not understood", self.what)),
        }
    }
}
