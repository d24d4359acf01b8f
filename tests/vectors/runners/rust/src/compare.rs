//! Comparing what a vector expects with what came out.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Adds to `differences` wherever `actual` is not what `expected` says. An absent field of an object is not compared; `null` stands for absence.
pub(crate) fn subset(at: &str, expected: &Value, actual: Option<&Value>, differences: &mut Vec<String>) {
    let actual = actual.unwrap_or(&Value::Null);
    match (expected, actual) {
        (Value::Object(expected), Value::Object(fields)) => {
            for (name, value) in expected {
                let place = format!("{at}.{name}");
                match name.as_str() {
                    "headers" => headers(&place, value, fields.get(name), differences),
                    "body" => body(&place, value, fields.get(name), differences),
                    "body_bytes" => subset(&place, value, fields.get("body"), differences),
                    // An error's words are no contract, but what they name is.
                    "names" if fields.contains_key("fail") => names(&place, value, fields, differences),
                    _ => subset(&place, value, fields.get(name), differences),
                }
            }
        }
        (Value::Array(expected), Value::Array(items)) if expected.len() == items.len() => {
            for (number, (value, item)) in expected.iter().zip(items).enumerate() {
                subset(&format!("{at}[{number}]"), value, Some(item), differences);
            }
        }
        _ if expected == actual => {}
        _ => differences.push(difference(at, expected, actual)),
    }
}

/// An error's message or hint contains a text.
fn names(at: &str, expected: &Value, error: &Map<String, Value>, differences: &mut Vec<String>) {
    let words = ["message", "hint"].map(|part| error.get(part).and_then(Value::as_str).unwrap_or_default()).join(": ");
    if !expected.as_str().is_some_and(|name| words.contains(name)) {
        differences.push(difference(at, expected, &Value::from(words)));
    }
}

/// One line for what was expected and one for what came.
pub(crate) fn difference(at: &str, expected: &Value, actual: &Value) -> String {
    format!("    {at}\n      expected {expected}\n      came     {actual}")
}

/// A list of pairs is the whole list, in any order; an object names some of the lines, `null` for one that must not be there.
/// Names are compared without regard to case.
fn headers(at: &str, expected: &Value, actual: Option<&Value>, differences: &mut Vec<String>) {
    let came = pairs(actual);
    match expected {
        Value::Object(named) => {
            for (name, value) in named {
                let found: Vec<&str> = came
                    .iter()
                    .filter(|(known, _)| known.eq_ignore_ascii_case(name))
                    .map(|(_, value)| value.as_str())
                    .collect();
                let same = match value {
                    Value::Null => found.is_empty(),
                    Value::String(value) => found == [value.as_str()],
                    _ => false,
                };
                if !same {
                    differences.push(difference(&format!("{at}.{name}"), value, &Value::from(found.join(" | "))));
                }
            }
        }
        _ => {
            let mut expected_pairs = pairs(Some(expected));
            let mut came = came;
            for (name, _) in expected_pairs.iter_mut().chain(&mut came) {
                name.make_ascii_lowercase();
            }
            expected_pairs.sort();
            came.sort();
            if expected_pairs != came {
                differences.push(difference(at, expected, actual.unwrap_or(&Value::Null)));
            }
        }
    }
}

/// Neither the order of a form's fields nor the choice between `.` and `%2E` means anything.
fn body(at: &str, expected: &Value, actual: Option<&Value>, differences: &mut Vec<String>) {
    let same = match (expected, actual) {
        (Value::String(expected), Some(Value::String(actual))) => form(expected) == form(actual),
        (Value::Null, None) => true,
        _ => false,
    };
    if !same {
        differences.push(difference(at, expected, actual.unwrap_or(&Value::Null)));
    }
}

fn form(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        fields.entry(name.into_owned()).or_default().push(value.into_owned());
    }
    fields
}

fn pairs(value: Option<&Value>) -> Vec<(String, String)> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let items = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    items.iter().map(|pair| (text(pair.get(0)), text(pair.get(1)))).collect()
}
