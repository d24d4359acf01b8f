//! Rules of misbehaviour: which requests they take, and what they do to them.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::answer::{Answer, Content, Spoiling};
use crate::record::Kind;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    endpoint: Kind,
    provider: Option<String>,
    client_id: Option<String>,
    grant: Option<String>,
    #[serde(default)]
    skip: u32,
    /// How many requests it still takes; `None` is no end.
    #[serde(default = "once")]
    count: Option<u32>,
    pub delay_ms: Option<u64>,
    pub delay_after_ms: Option<u64>,
    #[serde(default)]
    pub hold: bool,
    pub cut: Option<Cut>,
    status: Option<u16>,
    body: Option<String>,
    content_type: Option<String>,
    #[serde(default)]
    process: bool,
    error: Option<String>,
    #[serde(default)]
    garbage: bool,
    body_bytes: Option<u64>,
    redirect: Option<String>,
    redirect_status: Option<u16>,
    slow_body_ms_per_byte: Option<f64>,
    retry_after: Option<String>,
    date_skew_s: Option<i64>,
    #[serde(default)]
    no_date: bool,
    #[serde(default)]
    headers: BTreeMap<String, Lines>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    AfterHeaders,
    AfterProcessing,
    Before,
    MidBody,
}

/// The value of one header.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum Lines {
    One(String),
    Many(Vec<String>),
}

/// What a rule is matched against.
pub struct Subject<'a> {
    pub kind: Kind,
    pub provider: &'a str,
    pub client_id: Option<&'a str>,
    pub grant: Option<&'a str>,
}

impl Fault {
    pub fn problem(&self) -> Option<String> {
        if let Some(wrong) =
            [self.status, self.redirect_status].into_iter().flatten().find(|status| !(200..=599).contains(status))
        {
            return Some(format!("`{wrong}` is not a status between 200 and 599"));
        }
        if self.endpoint == Kind::Echo {
            return Some("`endpoint` must be `token`, `api` or `authorize`".to_owned());
        }
        crate::provider::unknown_name(self.provider.as_deref())
    }

    /// The answer that replaces the real one.
    pub fn replacement(&self) -> Option<Answer> {
        let content_type = self.content_type.as_deref().unwrap_or("application/json");
        if let Some(to) = &self.redirect {
            return Some(Answer::empty(self.redirect_status.unwrap_or(307)).with("location", to));
        }
        if let Some(size) = self.body_bytes {
            let answer = Answer::text(self.status.unwrap_or(200), content_type, "");
            return Some(Answer { body: Content::Filler(size), ..answer });
        }
        if self.garbage {
            let status = self.status.unwrap_or(200);
            return Some(Answer::text(status, content_type, Bytes::from_static(GARBAGE)));
        }
        if let Some(error) = &self.error {
            let body = json!({"error": error});
            let answer = Answer::json(self.status.unwrap_or(400), &body);
            return Some(answer.with("cache-control", "no-store"));
        }
        match (self.status, &self.body) {
            (status, Some(body)) => Some(Answer::text(status.unwrap_or(200), content_type, body.clone())),
            (Some(status), None) => Some(Answer::empty(status)),
            (None, None) => None,
        }
    }

    /// Whether the request reaches the contract.
    pub fn processes(&self) -> bool {
        self.process || self.replacement().is_none()
    }

    /// Changes the headers of an answer, its own or the real one.
    pub fn adorn(&self, answer: &mut Answer) {
        if let Some(skew_s) = self.date_skew_s {
            answer.date_skew_s = Some(skew_s);
        }
        if let Some(value) = &self.retry_after {
            let later = value.strip_prefix("date+").and_then(|by| by.parse::<u64>().ok());
            let value = match later {
                Some(by) => httpdate::fmt_http_date(answer.date() + Duration::from_secs(by.min(1 << 31))),
                None => value.clone(),
            };
            answer.replace("retry-after", value);
        }
        for (name, lines) in &self.headers {
            match lines {
                Lines::One(line) => answer.replace(name, line.clone()),
                Lines::Many(lines) => {
                    answer.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
                    let lines = lines.iter().map(|line| (name.clone(), line.clone()));
                    answer.headers.extend(lines);
                }
            }
        }
        if self.no_date {
            answer.date_skew_s = None;
        }
    }

    pub fn spoiling(&self) -> Spoiling {
        Spoiling {
            cut_at: match self.cut {
                Some(Cut::AfterHeaders) => Some(0.0),
                Some(Cut::MidBody) => Some(0.5),
                Some(Cut::AfterProcessing | Cut::Before) | None => None,
            },
            ms_per_byte: self.slow_body_ms_per_byte,
        }
    }

    /// The rule as it was posted, without what it leaves open.
    pub fn describe(&self) -> Value {
        let mut rule = serde_json::to_value(self).unwrap_or_default();
        if let Some(fields) = rule.as_object_mut() {
            let idle = |value: &Value| matches!(value, Value::Null | Value::Bool(false)) || *value == json!({});
            fields.retain(|name, value| name == "count" || !idle(value));
        }
        rule
    }

    fn concerns(&self, subject: &Subject<'_>) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| wanted.is_none() || wanted.as_deref() == found;
        self.endpoint == subject.kind
            && is(&self.provider, Some(subject.provider))
            && is(&self.client_id, subject.client_id)
            && is(&self.grant, subject.grant)
    }
}

/// The rules of a lane, in the order of their arrival.
#[derive(Debug, Default)]
pub struct Rules(Vec<Fault>);

impl Rules {
    pub fn add(&mut self, rules: Vec<Fault>) {
        self.0.extend(rules.into_iter().filter(|rule| rule.count != Some(0)));
    }

    pub fn describe(&self) -> Vec<Value> {
        self.0.iter().map(Fault::describe).collect()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The first rule that takes this request.
    pub fn take(&mut self, subject: &Subject<'_>) -> Option<Fault> {
        let mut taken = None;
        for rule in self.0.iter_mut().filter(|rule| rule.concerns(subject)) {
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            if let Some(count) = &mut rule.count {
                *count -= 1;
            }
            taken = Some(rule.clone());
            break;
        }
        self.0.retain(|rule| rule.count != Some(0));
        taken
    }
}

fn once() -> Option<u32> {
    Some(1)
}

const GARBAGE: &[u8] = b"\xff\xfe{\"access_token\":\x00\xc3\x28 not JSON";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_taken_in_order_and_used_up() {
        let rules = r#"[{"endpoint":"token","skip":1,"count":1,"status":500},{"endpoint":"token","client_id":"b","count":null,"status":503}]"#;
        let mut queue = Rules::default();
        queue.add(serde_json::from_str(rules).unwrap());
        let mut ask = |client_id| {
            let subject = Subject { kind: Kind::Token, provider: "personify", client_id: Some(client_id), grant: None };
            queue.take(&subject).and_then(|rule| rule.status)
        };
        assert_eq!([ask("a"), ask("a"), ask("a"), ask("b"), ask("b")], [None, Some(500), None, Some(503), Some(503)]);
    }
}
