//! How a client proves at the token endpoint who it is (RFC 6749 section 2.3).

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::assertion::ASSERTION_TYPE;
use crate::config::ClientAuth;
use crate::error::{Error, ErrorCode};
use crate::form::{Form, encode, is_unchanged};

/// Puts the client's identity on a token request, in exactly one place (STD-6). `secret` is the secret, or the assertion.
pub(crate) fn apply(
    method: ClientAuth,
    client_id: &str,
    secret: Option<&str>,
    headers: &mut Vec<(&'static str, Cow<'static, str>)>,
    form: &mut Form,
) -> Result<(), Error> {
    let secret = secret.unwrap_or_default();
    match method {
        ClientAuth::BasicForm => headers.push(("authorization", basic_form(client_id, secret).into())),
        ClientAuth::BasicRaw => headers.push(("authorization", basic_raw(client_id, secret)?.into())),
        ClientAuth::Body => {
            form.push("client_id", client_id);
            // An empty secret may be left out, and an empty parameter counts as left out (STD-4).
            if !secret.is_empty() {
                form.push("client_secret", secret);
            }
        }
        ClientAuth::SecretJwt | ClientAuth::KeyJwt => {
            // Not needed beside the assertion's subject, and the same (STD-90): some servers look for it.
            form.push("client_id", client_id);
            form.push("client_assertion_type", ASSERTION_TYPE);
            form.push("client_assertion", secret);
        }
        // The certificate is the proof, and tells no server which client to look for (STD-110).
        ClientAuth::Tls | ClientAuth::SelfSignedTls => form.push("client_id", client_id),
        // A grant may say by itself who asks.
        ClientAuth::None if client_id.is_empty() => {}
        ClientAuth::None => form.push("client_id", client_id),
    }
    Ok(())
}

/// HTTP Basic with both parts form-encoded separately (RFC 6749 section 2.3.1 and appendix B, STD-7).
fn basic_form(client_id: &str, secret: &str) -> String {
    // Room for the worst case: a grown string would leave a copy of the secret behind.
    let mut pair = pair(client_id.len().saturating_add(secret.len()).saturating_mul(3));
    encode(client_id, &mut pair);
    pair.push(':');
    encode(secret, &mut pair);
    basic(&pair)
}

/// HTTP Basic as it is (RFC 7617 section 2, STD-9).
pub(crate) fn basic_raw(user: &str, password: &str) -> Result<String, Error> {
    if user.contains(':') {
        return Err(Error::new(
            ErrorCode::InvalidOption,
            "`client_id` holds a colon, which HTTP Basic cannot carry in a user name: check the id",
        ));
    }
    if user.chars().chain(password.chars()).any(char::is_control) {
        return Err(Error::new(
            ErrorCode::InvalidOption,
            "the client's id or secret holds a control character, which HTTP Basic cannot carry: remove a trailing line break",
        ));
    }
    let mut pair = pair(user.len().saturating_add(password.len()));
    pair.push_str(user);
    pair.push(':');
    pair.push_str(password);
    Ok(basic(&pair))
}

fn pair(length: usize) -> Zeroizing<String> {
    Zeroizing::new(String::with_capacity(length.saturating_add(1)))
}

/// Whether the two encodings of Basic give different bytes, so that a server that expects the other one refuses the client (P-12).
pub(crate) fn encodings_differ(client_id: &str, secret: &str) -> bool {
    !is_unchanged(client_id) || !is_unchanged(secret)
}

fn basic(pair: &str) -> String {
    let mut value = String::with_capacity(6 + pair.len().div_ceil(3) * 4);
    value.push_str("Basic ");
    STANDARD.encode_string(pair, &mut value);
    value
}

#[cfg(test)]
mod tests {
    use super::{basic_form, basic_raw, encodings_differ};

    #[test]
    fn the_sample_of_rfc_6749_is_encoded_as_printed() {
        let expected = "Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3";
        assert_eq!(basic_form("s6BhdRkqt3", "7Fjfp0ZBr1KtDRbnfVdmIw"), expected);
    }

    #[test]
    fn odd_characters_are_form_encoded_before_base64() {
        // openid/AppAuth-Android#337
        let expected = "Basic MVBwRyUyRlErMTp6JTJGdFo5VndGWnFBcG1JUSUyQlpIMUk1cExrJTJGdUI0dWQlM0FYMiUyRjhiTCUyQndmRlR0MXJGdyUzRA==";
        assert_eq!(basic_form("1PpG/Q 1", "z/tZ9VwFZqApmIQ+ZH1I5pLk/uB4ud:X2/8bL+wfFTt1rFw="), expected);
    }

    #[test]
    fn raw_basic_is_utf_8_and_refuses_what_it_cannot_carry() {
        assert_eq!(basic_raw("test", "123\u{a3}").unwrap(), "Basic dGVzdDoxMjPCow==");
        assert!(basic_raw("a:b", "c").is_err());
        assert!(basic_raw("a", "c\n").is_err());
    }

    #[test]
    fn the_two_encodings_differ_only_for_odd_characters() {
        assert!(!encodings_differ("plain", "letters-and_digits.123"));
        assert!(encodings_differ("plain", "a+b"));
        assert!(encodings_differ("a b", "plain"));
    }
}
