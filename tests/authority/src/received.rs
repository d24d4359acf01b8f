//! Strict reading of requests. What is wrong is a [`Refusal`]; what is merely odd is noted as a problem for the log.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::{HeaderMap, Method};
use serde::Deserialize;

use crate::answer::Answer;

/// A request to a provider, its path without lane and provider.
pub struct Received {
    /// The address up to and including the provider's segment.
    pub base: String,
    pub method: Method,
    pub path: String,
    pub raw_query: Option<String>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Received {
    /// The one value of a header; `Err` if there are several or it isn't visible ASCII.
    pub fn header(&self, name: &str) -> Result<Option<&str>, String> {
        let mut values = self.headers.get_all(name).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(format!("{name} was sent more than once"));
        }
        value.to_str().map(Some).map_err(|_| format!("{name} holds characters that are not visible ASCII"))
    }

    pub fn query(&self) -> Result<Parameters, String> {
        Parameters::read(self.raw_query.as_deref().unwrap_or("").as_bytes())
    }
}

/// Decoded parameters, each name at most once.
#[derive(Clone, Debug, Default)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub fn read(encoded: &[u8]) -> Result<Self, String> {
        let mut parameters = Vec::<(String, String)>::new();
        for pair in encoded.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let name = form_decoded(halves.next().unwrap_or_default())
                .ok_or("the name of a parameter is not well-formed form encoding")?;
            let value = form_decoded(halves.next().unwrap_or_default())
                .ok_or_else(|| format!("`{name}` is not well-formed form encoding"))?;
            if parameters.iter().any(|(other, _)| *other == name) {
                return Err(format!("`{name}` was sent more than once"));
            }
            parameters.push((name, value));
        }
        Ok(Self(parameters))
    }

    /// An empty parameter is treated as omitted (RFC 6749 section 3.2).
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, value)| other == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    fn empty_ones(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, value)| value.is_empty()).map(|(name, _)| name.as_str())
    }
}

/// How a client may show who it is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// Basic over form-encoded parts (RFC 6749 section 2.3.1).
    Basic,
    Body,
    None,
    /// Basic over the parts as they are (RFC 7617).
    RawBasic,
}

impl ClientAuth {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Basic | Self::RawBasic => "basic",
            Self::Body => "body",
            Self::None => "none",
        }
    }
}

/// Why a token request is refused before its client and grant are looked at.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub status: u16,
    pub error: &'static str,
    pub description: String,
}

impl Refusal {
    pub fn invalid_request(description: impl Into<String>) -> Self {
        Self { status: 400, error: "invalid_request", description: description.into() }
    }

    pub fn answer(&self) -> Answer {
        let body = serde_json::json!({"error": self.error, "error_description": self.description});
        Answer::json(self.status, &body).with("cache-control", "no-store")
    }
}

/// A token request, read but not yet judged by a contract.
#[derive(Debug, Default)]
pub struct TokenRequest {
    pub parameters: Parameters,
    /// What `Authorization` holds, as it is and form-decoded.
    pub raw_basic: Option<(String, String)>,
    pub basic: Option<(String, String)>,
    pub refusal: Option<Refusal>,
    pub problems: Vec<String>,
}

impl TokenRequest {
    /// Reads as much as can be read, so that faults and counters can tell whose request it is even if it is refused.
    pub fn read(received: &Received, method: &Method, known: &[&str]) -> Self {
        let mut request = Self::default();
        request.read_authorization(received);
        match received.query() {
            Ok(query) if query.get("client_secret").or(query.get("client_assertion")).is_some() => {
                request.refuse("credentials may not be in the URL");
            }
            Ok(query) => {
                let names: Vec<_> = query.names().map(|name| format!("`{name}` in the URL")).collect();
                request.problems.extend(names);
            }
            Err(problem) => request.refuse(problem),
        }
        if method == Method::POST {
            request.read_form(received, known);
        } else if !received.body.is_empty() {
            request.problems.push("a body was sent".to_owned());
        }
        match received.header("accept") {
            Ok(Some(accept)) if accept.contains("application/json") => {}
            _ => request.problems.push("Accept is not application/json".to_owned()),
        }
        if received.method != *method {
            request.refusal =
                Some(Refusal { status: 405, ..Refusal::invalid_request(format!("the method must be {method}")) });
        }
        let refused = request.refusal.iter().map(|refusal| refusal.description.clone());
        request.problems.extend(refused);
        request
    }

    pub fn method(&self) -> ClientAuth {
        if self.raw_basic.is_some() {
            ClientAuth::RawBasic
        } else if self.parameters.get("client_secret").is_some() {
            ClientAuth::Body
        } else {
            ClientAuth::None
        }
    }

    fn read_authorization(&mut self, received: &Received) {
        let value = match received.header("authorization") {
            Ok(None) => return,
            Ok(Some(value)) => value,
            Err(problem) => return self.refuse(problem),
        };
        let Some((scheme, encoded)) = value.split_once(' ') else {
            return self.refuse("Authorization is not a scheme, a space and credentials");
        };
        if !scheme.eq_ignore_ascii_case("basic") {
            return self.refuse("Authorization at the token endpoint must be Basic");
        }
        let decoded = STANDARD.decode(encoded).ok();
        let Some(text) = decoded.and_then(|bytes| String::from_utf8(bytes).ok()) else {
            return self.refuse("Authorization does not hold padded base64 of UTF-8");
        };
        let Some((id, secret)) = text.split_once(':') else {
            return self.refuse("the Basic credentials hold no colon");
        };
        if text.chars().any(char::is_control) {
            return self.refuse("the Basic credentials hold control characters");
        }
        self.basic = form_decoded(id.as_bytes()).zip(form_decoded(secret.as_bytes()));
        self.raw_basic = Some((id.to_owned(), secret.to_owned()));
    }

    fn read_form(&mut self, received: &Received, known: &[&str]) {
        match received.header("content-type") {
            Ok(Some(content_type)) if is_form(content_type) => {}
            Ok(_) => self.refuse("Content-Type must be application/x-www-form-urlencoded"),
            Err(problem) => self.refuse(problem),
        }
        match Parameters::read(&received.body) {
            Ok(parameters) => self.parameters = parameters,
            Err(problem) => self.refuse(problem),
        }
        let in_body = ["client_secret", "client_assertion"];
        let in_body = in_body.iter().any(|name| self.parameters.get(name).is_some());
        if self.raw_basic.is_some() && in_body {
            self.refuse("more than one way of client authentication was used");
        }
        let unknown = self.parameters.names().filter(|name| !known.contains(name));
        let unknown = unknown.map(|name| format!("unknown parameter `{name}`"));
        let empty = self.parameters.empty_ones();
        let empty = empty.map(|name| format!("empty parameter `{name}`"));
        let odd: Vec<_> = unknown.chain(empty).collect();
        self.problems.extend(odd);
    }

    fn refuse(&mut self, description: impl Into<String>) {
        self.refusal.get_or_insert(Refusal::invalid_request(description));
    }
}

/// The credentials after a scheme, for the API. Notes what is odd; `Err` says what is wrong.
pub fn credentials<'value>(value: &'value str, problems: &mut Vec<String>) -> Result<(String, &'value str), String> {
    let (scheme, rest) = value.split_once(' ').ok_or("the credentials are not a scheme, a space and a token")?;
    let credentials = rest.trim_start_matches(' ');
    if credentials.len() != rest.len() {
        problems.push("more than one space after the scheme".to_owned());
    }
    let body = credentials.trim_end_matches('=');
    if body.is_empty() || !body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte)) {
        return Err("the credentials hold characters that no token68 may hold".to_owned());
    }
    Ok((scheme.to_ascii_lowercase(), credentials))
}

/// Basic as RFC 7617 has it.
pub fn raw_basic(encoded: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

pub fn form_encoded(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b' ' => encoded.push('+'),
            b'*' | b'-' | b'.' | b'_' => encoded.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// `None` for a `%` without two hexadecimal digits, a byte that must be escaped, and what isn't UTF-8.
fn form_decoded(encoded: &[u8]) -> Option<String> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut bytes = encoded.iter().copied();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                let digits = std::str::from_utf8(&digits).ok()?;
                if digits.starts_with('+') {
                    return None;
                }
                u8::from_str_radix(digits, 16).ok()?
            }
            0x21..=0x7e => byte,
            _ => return None,
        });
    }
    String::from_utf8(decoded).ok()
}

fn is_form(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
        && parts.all(|parameter| parameter.eq_ignore_ascii_case("charset=utf-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_encoding_is_read_strictly() {
        assert_eq!(form_decoded(b"a+b%26%C2%A3").as_deref(), Some("a b&£"));
        for wrong in [&b"%"[..], b"%4", b"%zz", b"%+4", b"%ff", b"a b", b"\xc3\xa9", b"a\n"] {
            assert_eq!(form_decoded(wrong), None, "{wrong:?}");
        }
        let odd = "s3cret+/%&: odd";
        assert_eq!(form_decoded(form_encoded(odd).as_bytes()).as_deref(), Some(odd));
    }

    #[test]
    fn a_parameter_may_not_come_twice() {
        assert!(Parameters::read(b"a=1&b=2&a=1").is_err());
        assert!(Parameters::read(b"a=1&%61=2").is_err());
    }

    #[test]
    fn two_spaces_after_the_scheme_are_noted() {
        let mut problems = Vec::new();
        assert_eq!(credentials("Bearer  abc", &mut problems), Ok(("bearer".to_owned(), "abc")));
        assert_eq!(problems.len(), 1);
        assert!(credentials("Bearer a b", &mut problems).is_err());
        assert!(credentials("Bearer", &mut problems).is_err());
    }
}
