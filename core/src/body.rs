//! The JSON object that an endpoint answers with, member by member.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;

use crate::json::{Object, Value};
use crate::response::{Refusal, unexpected};

/// An answer's body.
pub(crate) struct Body<'a> {
    pub(crate) object: Object<'a>,
    pub(crate) bytes: &'a [u8],
}

impl Body<'_> {
    /// A text of printable ASCII that is not empty.
    pub(crate) fn text(&self, name: &str) -> Result<String, Refusal> {
        match self.object.find(&[name]) {
            Ok(Some(Value::Text(text))) if !text.is_empty() && !text.chars().any(char::is_control) => {
                Ok((*text).to_owned())
            }
            Ok(None) => Err(unexpected(format!("the answer has no `{name}`: check the endpoint's URL"))),
            _ => Err(unexpected(format!("`{name}` of the answer cannot be used: a text is expected, once"))),
        }
    }

    /// A positive number of seconds, in milliseconds.
    pub(crate) fn seconds(&self, name: &str) -> Result<i64, Refusal> {
        let digits = match self.object.find(&[name]) {
            Ok(Some(Value::Number(digits))) => digits.parse().ok(),
            // Some servers write numbers as texts (P-6).
            Ok(Some(Value::Text(digits))) => digits.parse().ok(),
            _ => None,
        };
        let seconds: i64 = digits
            .filter(|seconds: &i64| *seconds > 0)
            .ok_or_else(|| unexpected(format!("`{name}` of the answer is no number of seconds above 0")))?;
        Ok(seconds.min(LONGEST).saturating_mul(1000))
    }

    pub(crate) fn boolean(&self, name: &str) -> Result<bool, Refusal> {
        match self.object.find(&[name]) {
            Ok(Some(Value::Bool(value))) => Ok(value),
            // A guess would be a guess about who gets in (RFC 7662 section 2.2, STD-83).
            _ => Err(unexpected(format!("`{name}` of the answer is not `true` or `false`: take it for `false`"))),
        }
    }

    /// The whole of it.
    pub(crate) fn whole(&self) -> String {
        String::from_utf8_lossy(self.bytes).trim_start_matches('\u{feff}').to_owned()
    }
}

/// No code or request lives longer than a year.
const LONGEST: i64 = 31_536_000;
