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

/// A character that needs no escape anywhere in a URL (RFC 3986 section 2.3: `unreserved`).
pub(crate) fn is_unreserved(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-._~".contains(character)
}

/// A byte of a bearer token, but for the `=` at its end (RFC 6750 section 2.1).
pub(crate) const fn is_b64token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/')
}

/// A set of characters, and words for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Characters {
    contains: fn(char) -> bool,
    words: &'static str,
}

/// `VSCHAR`.
pub(crate) const PRINTABLE: Characters =
    Characters { contains: is_vschar, words: "printable ASCII is allowed (RFC 6749 appendix A)" };

/// What a header's value may hold. Obsolete forms and tabs are left to others (RFC 9110 section 5.5).
pub(crate) const HEADER_VALUE: Characters =
    Characters { contains: is_vschar, words: "printable ASCII is allowed in a header (RFC 9110 section 5.5)" };

/// Printable ASCII without the space.
pub(crate) const GRAPHIC: Characters = Characters {
    contains: |character| character.is_ascii_graphic(),
    words: "printable ASCII without spaces is allowed",
};

/// Everything but control characters (RFC 7617 section 2).
pub(crate) const NO_CONTROLS: Characters =
    Characters { contains: |character| !character.is_control(), words: "anything but control characters is allowed" };

/// The characters of a scope token (RFC 6749 section 3.3).
pub(crate) const SCOPE: Characters = Characters {
    contains: is_scope,
    words: "printable ASCII without spaces, `\"` and `\\` is allowed in a scope (RFC 6749 section 3.3)",
};

/// The characters of a header's name or an authentication scheme (RFC 9110 section 5.6.2: `tchar`).
pub(crate) const TOKEN: Characters = Characters {
    contains: |character| character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character),
    words: "letters, digits and `-` are allowed, and a few signs more (RFC 9110 section 5.6.2)",
};

/// `unreserved`.
pub(crate) const UNRESERVED: Characters =
    Characters { contains: is_unreserved, words: "letters, digits, `-`, `.`, `_` and `~` are allowed" };

/// The characters of a bearer token (RFC 6750 section 2.1).
pub(crate) const B64TOKEN: Characters = Characters {
    contains: |character| character == '=' || u8::try_from(character).is_ok_and(is_b64token),
    words: "letters, digits, `-`, `.`, `_`, `~`, `+` and `/` are allowed, and `=` at the end (RFC 6750 section 2.1)",
};

/// Says what is wrong with a value and where, but never the value itself. A line break at the end has its own words, because
/// that is what reading a secret from a file leaves.
pub(crate) fn check(text: &str, characters: Characters) -> Result<(), String> {
    if text.is_empty() {
        return Err("is empty: give it a value, or leave it out".into());
    }
    let Some((at, character)) = text.chars().enumerate().find(|(_, character)| !(characters.contains)(*character))
    else {
        return Ok(());
    };
    let place = at.saturating_add(1);
    let count = text.chars().count();
    if text.chars().skip(at).all(|character| matches!(character, '\r' | '\n')) {
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
    Err(format!("holds {what} at character {place} of {count}: {}", characters.words))
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
    check(name, PRINTABLE)
}

/// Parameters that nobody may set by hand, and the option to use instead.
pub(crate) const RESERVED: &[(&str, &str)] = &[
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
    ("response_mode", "response_mode"),
    ("response_type", ""),
    ("scope", "scope"),
    ("state", ""),
    ("subject_token", ""),
    ("subject_token_type", ""),
    ("username", "-"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_value_is_never_shown_but_its_flaw_and_the_place_are() {
        let flaw = |text| check(text, PRINTABLE).unwrap_err();
        assert_eq!(flaw("hunter2\n"), "ends with a line break, at character 8 of 8: trim it where it is read");
        assert_eq!(flaw("hunter2\r\n"), "ends with a line break, at character 8 of 9: trim it where it is read");
        assert!(flaw("hun\nter2").starts_with("holds a line break at character 4 of 8: "));
        assert!(flaw("hun\0ter2").starts_with("holds a NUL at character 4 of 8: "));
        assert!(flaw("hünter2").starts_with("holds a character outside ASCII at character 2 of 7: "));
        assert!(flaw("\u{7f}").starts_with("holds a control character at character 1 of 1: "));
        assert!(flaw("").starts_with("is empty"));
        assert_eq!(check("hunter 2 ~!", PRINTABLE), Ok(()));
    }

    #[test]
    fn the_sets_end_where_the_rfcs_end_them() {
        for (characters, inside, outside) in [
            (PRINTABLE, " ~", "\u{1f}\u{7f}é"),
            (HEADER_VALUE, " ~", "\t\r\n\0é"),
            (GRAPHIC, "!~", " \u{7f}"),
            (NO_CONTROLS, " é:", "\0\u{7f}\u{85}"),
            (SCOPE, "!#[]~", " \"\\\u{7f}"),
            (TOKEN, "aZ9!#$%&'*+-.^_`|~", " ():;,/@[]{}\""),
            (UNRESERVED, "aZ9-._~", "/%?#@:"),
            (B64TOKEN, "aZ9-._~+/=", " ,:%"),
        ] {
            for character in inside.chars() {
                assert_eq!(check(&character.to_string(), characters), Ok(()), "{character:?}");
            }
            for character in outside.chars() {
                assert!(check(&character.to_string(), characters).is_err(), "{character:?}");
            }
        }
    }

    #[test]
    fn a_parameter_that_the_library_sends_itself_is_refused_with_the_option_to_use() {
        assert_eq!(check_parameter("scope").unwrap_err(), "is reserved: use the option `scope`");
        assert_eq!(check_parameter("code").unwrap_err(), "is reserved: the library sends it itself where it belongs");
        assert!(check_parameter("password").unwrap_err().contains("password grant"));
        assert!(check_parameter("").is_err());
        assert!(check_parameter("a\nb").is_err());
        assert_eq!(check_parameter("login_hint"), Ok(()));
    }
}
