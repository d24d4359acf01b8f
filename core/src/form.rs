//! Writing `application/x-www-form-urlencoded` (RFC 6749 appendix B).

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::secret::Secret;

/// Names and values in their order, encoded.
pub(crate) struct Form(String);

impl Form {
    pub(crate) fn new() -> Self {
        // Most requests fit, so that no credential is left behind where a string has grown.
        Self(String::with_capacity(256))
    }

    pub(crate) fn push(&mut self, name: &str, value: &str) {
        self.push_texts(name, core::iter::once(value));
    }

    /// A value of several texts with a space between each two.
    pub(crate) fn push_texts<'a>(&mut self, name: &str, texts: impl Iterator<Item = &'a str>) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        encode(name, &mut self.0);
        self.0.push('=');
        for (at, text) in texts.enumerate() {
            if at > 0 {
                self.0.push('+');
            }
            encode(text, &mut self.0);
        }
    }

    pub(crate) fn finish(self) -> String {
        self.0
    }
}

/// The same as a JSON object of texts, for servers that read that; a name that repeats has a list.
pub(crate) fn to_json(form: &Secret) -> String {
    let mut members: Vec<(Cow<'_, str>, Vec<Cow<'_, str>>)> = Vec::new();
    for (name, value) in form_urlencoded::parse(form.expose().as_bytes()) {
        match members.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value),
            None => members.push((name, [value].into())),
        }
    }
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let written = members.iter().map(|(name, values)| {
        let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
        match &*values {
            [value] => format!("{}:{value}", quoted(name)),
            values => format!("{}:[{}]", quoted(name), values.join(",")),
        }
    });
    format!("{{{}}}", written.collect::<Vec<_>>().join(","))
}

/// Writes a text as part of a form. What needs no escape, which is nearly everything, goes out in one piece.
pub(crate) fn encode(text: &str, out: &mut String) {
    if is_unchanged(text) {
        out.push_str(text);
        return;
    }
    let mut rest = text;
    while let Some((plain, from)) =
        rest.bytes().position(|byte| !is_plain(byte)).and_then(|at| rest.split_at_checked(at))
    {
        out.push_str(plain);
        let mut characters = from.chars();
        for byte in characters.next().unwrap_or_default().encode_utf8(&mut [0; 4]).bytes() {
            match byte {
                b' ' => out.push('+'),
                _ => out.extend(['%', digit(byte >> 4), digit(byte & 0xf)]),
            }
        }
        rest = characters.as_str();
    }
    out.push_str(rest);
}

/// Whether a text stays as it is.
pub(crate) fn is_unchanged(text: &str) -> bool {
    // To the end in any case: a loop without a way out is several times as fast.
    text.bytes().fold(true, |plain, byte| plain & is_plain(byte))
}

fn is_plain(byte: u8) -> bool {
    PLAIN.get(usize::from(byte)).copied().unwrap_or_default()
}

/// Every byte's answer, which takes one load instead of a dozen comparisons.
static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut bytes = b"*-._0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".as_slice();
    while let [byte, rest @ ..] = bytes {
        #[expect(clippy::indexing_slicing, reason = "a byte is below 256, and the compiler sees it")]
        {
            plain[*byte as usize] = true;
        }
        bytes = rest;
    }
    plain
};

fn digit(value: u8) -> char {
    char::from_digit(value.into(), 16).unwrap_or_default().to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::{Form, encode, is_unchanged};
    use alloc::string::String;

    fn encoded(text: &str) -> String {
        let mut out = String::new();
        encode(text, &mut out);
        out
    }

    #[test]
    fn the_sample_of_rfc_6749_appendix_b_is_encoded_as_printed() {
        assert_eq!(encoded(" %&+\u{a3}\u{20ac}"), "+%25%26%2B%C2%A3%E2%82%AC");
    }

    #[test]
    fn every_character_is_encoded_as_others_read_it() {
        for character in (0..=0x2ff).chain(0xffff..=0x10100).filter_map(char::from_u32) {
            let text = String::from_iter(['a', character, 'b', character]);
            assert_eq!(encoded(&text), form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>());
            assert_eq!(is_unchanged(&text), encoded(&text) == text);
        }
    }

    #[test]
    fn pairs_are_joined_and_empty_values_stay() {
        let mut form = Form::new();
        form.push("a b", "ü&=");
        form.push("c", "");
        form.push_texts("scope", ["x y", "z"].into_iter());
        assert_eq!(form.finish(), "a+b=%C3%BC%26%3D&c=&scope=x+y+z");
    }
}
