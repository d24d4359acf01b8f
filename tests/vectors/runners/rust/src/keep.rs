//! Values that a vector keeps from one step for a later one, because only the implementation under test can make them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::fields::Fields;

/// What has been kept, by name.
#[derive(Default)]
pub(crate) struct Kept(BTreeMap<String, String>);

impl Kept {
    /// Keeps what the pointers of `keep` name in a step's outcome. `?name` behind a pointer takes one field out of a query or form.
    pub(crate) fn keep(&mut self, keep: Value, outcome: &Value) -> Result<(), String> {
        let Value::Object(keep) = keep else { return Err("  `keep` must be an object".to_owned()) };
        for (name, pointer) in keep {
            let pointer = pointer.as_str().ok_or("  a pointer of `keep` must be a text")?;
            let (pointer, field) =
                pointer.split_once('?').map_or((pointer, None), |(pointer, field)| (pointer, Some(field)));
            let found = outcome.pointer(pointer).and_then(Value::as_str);
            let found = found.ok_or_else(|| format!("  nothing to keep at `{pointer}` in {outcome}"))?;
            let value = match field {
                None => found.to_owned(),
                Some(field) => {
                    let query = found.split_once('?').map_or(found, |(_, query)| query);
                    let mut fields = form_urlencoded::parse(query.as_bytes());
                    let field = fields.find(|(known, _)| known == field);
                    field.ok_or_else(|| format!("  `{name}`: no such field in {found}"))?.1.into_owned()
                }
            };
            self.0.insert(name, value);
        }
        Ok(())
    }

    /// Puts what was kept where `{name}` stands for it.
    pub(crate) fn fill(&self, value: &Value) -> Value {
        match value {
            Value::String(text) if !self.0.is_empty() && text.contains('{') => {
                let filled =
                    self.0.iter().fold(text.clone(), |text, (name, kept)| text.replace(&format!("{{{name}}}"), kept));
                Value::String(filled)
            }
            Value::Array(items) => items.iter().map(|item| self.fill(item)).collect(),
            Value::Object(fields) => {
                Value::Object(fields.iter().map(|(name, value)| (name.clone(), self.fill(value))).collect())
            }
            other => other.clone(),
        }
    }

    /// Checks what is to be true of kept values.
    pub(crate) fn check(&self, checks: &Value) -> Result<(), String> {
        let checks = checks.as_array().ok_or("  `check` must be a list")?;
        for check in checks {
            let mut fields = Fields::of("a check", check)?;
            let name = fields.text("value")?.ok_or("  a check needs `value`")?;
            let value = self.get(&name)?;
            if let Some(length) = fields.take("length") {
                let bound = |number: usize| {
                    length.get(number).and_then(Value::as_u64).and_then(|bound| usize::try_from(bound).ok())
                };
                let (least, most) = bound(0).zip(bound(1)).ok_or("  `length` is [least, most]")?;
                if !(least..=most).contains(&value.len()) {
                    return Err(format!("  `{name}` has {} characters, not {least} to {most}", value.len()));
                }
            }
            if let Some(alphabet) = fields.text("alphabet")? {
                let belongs: fn(u8) -> bool = match alphabet.as_str() {
                    "vschar" => |byte| (0x20..=0x7e).contains(&byte),
                    "unreserved" => |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte),
                    "base64url" => |byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte),
                    _ => return Err(format!("  the alphabet `{alphabet}` is not understood")),
                };
                if !value.bytes().all(belongs) {
                    return Err(format!("  `{name}` leaves its alphabet, {alphabet}"));
                }
            }
            if let Some(other) = fields.text("s256_of")? {
                if value != URL_SAFE_NO_PAD.encode(Sha256::digest(self.get(&other)?)) {
                    return Err(format!("  `{name}` is not the S256 challenge of `{other}`"));
                }
            }
            if let Some(other) = fields.text("differs_from")? {
                if value == self.get(&other)? {
                    return Err(format!("  `{name}` and `{other}` are the same"));
                }
            }
            if let Some(other) = fields.text("same_as")? {
                if value != self.get(&other)? {
                    return Err(format!("  `{name}` and `{other}` are not the same"));
                }
            }
            if let Some(part) = fields.text("without")? {
                if value.contains(&part) {
                    return Err(format!("  `{name}` contains `{part}`"));
                }
            }
            fields.end()?;
        }
        Ok(())
    }

    fn get(&self, name: &str) -> Result<&str, String> {
        self.0.get(name).map(String::as_str).ok_or_else(|| format!("  nothing was kept as `{name}`"))
    }
}
