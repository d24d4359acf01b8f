//! Reading encrypted records with the model's own key, as another program that was given it would: the store's invariants are about
//! what is in them.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305};

/// The key that the model's encrypted records are written with.
pub const KEY: [u8; 32] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30,
    31,
];

/// The record's JSON in the clear; the text itself if it is not encrypted, and none if it cannot be opened.
pub fn opened<'a>(record: &'a str, name: &[u8]) -> Option<Cow<'a, str>> {
    let Some(sealed) = member(record, "\"sealed\":\"") else { return Some(Cow::Borrowed(record)) };
    let sealed = URL_SAFE_NO_PAD.decode(sealed.split('"').next()?).ok()?;
    let generation = generation(record)?;
    let (nonce, msg) = sealed.split_at_checked(24)?;
    let aad = [b"remint record 1", name, &generation.to_be_bytes()].concat();
    let plain = XChaCha20Poly1305::new(&KEY.into()).decrypt(nonce.into(), Payload { msg, aad: &aad }).ok()?;
    String::from_utf8(plain).ok().map(Cow::Owned)
}

/// The record's generation, which is in the clear.
pub fn generation(record: &str) -> Option<u64> {
    let rest = member(record, "\"generation\":")?;
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    rest.get(..end)?.parse().ok()
}

/// The bytes of a record's name.
pub fn name(key: remint::cache::Key) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(key.to_string()).unwrap_or_default()
}

fn member<'a>(record: &'a str, name: &str) -> Option<&'a str> {
    record.split_once(name).map(|(_, rest)| rest)
}
