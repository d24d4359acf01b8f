//! What one event led to, as plain JSON, and how it is compared with a step's expectations.

use serde_json::{Map, Value, json};

use crate::compare::{difference, subset};
use crate::fields::Fields;

/// The outputs that a step may list. Those that it does not list must be empty.
const OUTPUTS: [&str; 9] =
    ["answer", "operations", "settled", "withdraw", "request", "token", "client", "deleted", "fail"];

/// Takes a step's expectations out of its fields.
pub(crate) fn expected(fields: &mut Fields) -> Map<String, Value> {
    let mut expected = fields.some(&OUTPUTS);
    expected.extend(fields.some(&["notices"]));
    expected
}

/// Compares an outcome with the expectations.
pub(crate) fn compare(expected: &Map<String, Value>, outcome: &Value) -> Vec<String> {
    let mut differences = Vec::new();
    for name in OUTPUTS {
        let came = outcome.get(name);
        match expected.get(name) {
            Some(value) => subset(name, value, came, &mut differences),
            None => {
                if let Some(came) = came {
                    differences.push(difference(name, &Value::from("nothing"), came));
                }
            }
        }
    }
    notices(expected.get("notices"), outcome.get("notices"), &mut differences);
    differences
}

/// A notice is `code` or `code:detail`; a code alone leaves the detail open.
fn notices(expected: Option<&Value>, came: Option<&Value>, differences: &mut Vec<String>) {
    let came: Vec<String> =
        came.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default().iter().map(notice).collect();
    let empty = Vec::new();
    let listed = expected.and_then(Value::as_array).unwrap_or(&empty);
    let same = listed.len() == came.len()
        && listed.iter().zip(&came).all(|(expected, came)| {
            let expected = expected.as_str().unwrap_or_default();
            expected == came || came.split_once(':').is_some_and(|(code, _)| code == expected)
        });
    if !same {
        differences.push(difference("notices", &Value::from(listed.clone()), &json!(came)));
    }
}

/// A notice as vectors write it.
pub(crate) fn notice(notice: &Value) -> String {
    let code = notice.get("notice").and_then(Value::as_str).unwrap_or_default();
    match notice.get("detail") {
        None | Some(Value::Null) => code.to_owned(),
        Some(Value::String(detail)) => format!("{code}:{detail}"),
        Some(detail) => format!("{code}:{detail}"),
    }
}

/// Nothing that is secret may be in an error, a notice or the URL of a token request.
pub(crate) fn leaks(outcome: &Value, canaries: &[String]) -> Vec<String> {
    let mut shown = Vec::new();
    if let Some(answer) = outcome.get("answer").filter(|answer| answer.get("fail").is_some()) {
        shown.push(("answer", answer.to_string()));
    }
    for name in ["fail", "notices"] {
        if let Some(value) = outcome.get(name) {
            shown.push((name, value.to_string()));
        }
    }
    for operation in outcome.get("operations").and_then(Value::as_array).into_iter().flatten() {
        if let Some(url) = operation.pointer("/request/url") {
            shown.push(("operations.request.url", url.to_string()));
        }
    }
    let mut found = Vec::new();
    for canary in canaries {
        for (at, text) in &shown {
            if text.contains(canary.as_str()) {
                found.push(format!("    {at}\n      shows the secret `{canary}`: {text}"));
            }
        }
    }
    found
}
