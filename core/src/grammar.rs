//! Which characters may stand where, as the RFCs have it, and words for what is found instead.

use alloc::format;
use alloc::string::String;

/// `VSCHAR` of RFC 6749 appendix A: what a client identifier, a secret or a state may hold.
pub(crate) fn is_vschar(character: char) -> bool {
    matches!(character, ' '..='~')
}

/// A character of a scope token (RFC 6749 section 3.3).
pub(crate) fn is_scope(character: char) -> bool {
    matches!(character, '!' | '#'..='[' | ']'..='~')
}

/// A character of a header's name or an authentication scheme: `tchar` of RFC 9110 section 5.6.2.
pub(crate) fn is_token(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character)
}

/// A character that needs no escape anywhere in a URL: `unreserved` of RFC 3986 section 2.3.
pub(crate) fn is_unreserved(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-._~".contains(character)
}

/// A character of a bearer token (RFC 6750 section 2.1); `=` only at its end, which is not checked here.
pub(crate) fn is_b64token(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-._~+/=".contains(character)
}

/// Says what is wrong with a value and where, but never the value itself. A line break at the end has its own words, because
/// that is what reading a secret from a file leaves.
pub(crate) fn check(text: &str, allowed: fn(char) -> bool) -> Result<(), String> {
    if text.is_empty() {
        return Err("is empty".into());
    }
    let count = text.chars().count();
    let Some((at, character)) = text.chars().enumerate().find(|(_, character)| !allowed(*character)) else {
        return Ok(());
    };
    let place = at + 1;
    let rest = text.chars().skip(at).all(|character| matches!(character, '\r' | '\n'));
    if rest {
        return Err(format!("ends with a line break, at character {place} of {count}: trim it where it is read"));
    }
    let what = match character {
        '\r' | '\n' => "a line break",
        '\0' => "a NUL",
        ' ' => "a space",
        _ if character.is_control() => "a control character",
        _ if !character.is_ascii() => "a character outside ASCII",
        _ => "a character that is not allowed",
    };
    Err(format!("holds {what} at character {place} of {count}"))
}

/// Says why a request parameter of the user's or a profile's own is refused: the library sends that one itself.
pub(crate) fn check_parameter(name: &str) -> Result<(), String> {
    if let Some((_, instead)) = RESERVED.iter().find(|(reserved, _)| *reserved == name) {
        return Err(match *instead {
            "" => "is reserved: the library sends it itself where it belongs".into(),
            "-" => "is reserved: the password grant is not offered (RFC 9700 section 2.4)".into(),
            option => format!("is reserved: use the option `{option}`"),
        });
    }
    check(name, is_vschar)
}

/// Parameters that nobody may set by hand, and the option to use instead.
const RESERVED: &[(&str, &str)] = &[
    ("actor_token", ""),
    ("actor_token_type", ""),
    ("assertion", ""),
    ("audience", "audience"),
    ("client_assertion", ""),
    ("client_assertion_type", ""),
    ("client_id", "client_id"),
    ("client_secret", "client_secret"),
    ("code", ""),
    ("code_challenge", ""),
    ("code_challenge_method", ""),
    ("code_verifier", ""),
    ("device_code", ""),
    ("grant_type", "grant"),
    ("password", "-"),
    ("redirect_uri", "redirect_uri"),
    ("refresh_token", ""),
    ("request", ""),
    ("request_uri", ""),
    ("requested_token_type", ""),
    ("resource", "resource"),
    ("response_type", ""),
    ("scope", "scope"),
    ("state", ""),
    ("subject_token", ""),
    ("subject_token_type", ""),
    ("username", "-"),
];
