//! What the host's thirty-two bytes become: one draw, and a stream of unguessable text.

use alloc::string::String;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::clock::Entropy;

/// A number from 0 to just under 1, in units of 2^-32, from the first four bytes.
pub(crate) fn draw(entropy: &Entropy) -> u32 {
    let [a, b, c, d, ..] = *entropy;
    u32::from_be_bytes([a, b, c, d])
}

/// That part of a span that a draw stands for.
pub(crate) fn part(span: i64, draw: u32) -> i64 {
    let scaled = i128::from(span).saturating_mul(i128::from(draw)) >> 32;
    i64::try_from(scaled).unwrap_or(span)
}

/// A SHA-256 counter stream over the other twenty-eight bytes: block n is the digest of `remint` | the bytes | n.
pub(crate) struct Stream {
    seeded: Sha256,
    counter: u32,
}

impl Stream {
    pub(crate) fn new(entropy: &Entropy) -> Self {
        let [_, _, _, _, rest @ ..] = entropy;
        Self { seeded: Sha256::new().chain_update(b"remint").chain_update(rest), counter: 0 }
    }

    /// The next 256 bits.
    pub(crate) fn block(&mut self) -> [u8; 32] {
        let block = self.seeded.clone().chain_update(self.counter.to_be_bytes()).finalize();
        self.counter = self.counter.wrapping_add(1);
        block.into()
    }

    /// The next 256 bits as 43 characters of base64url: a `state`, a verifier (RFC 7636 section 4.1) or an owner's name.
    pub(crate) fn text(&mut self) -> String {
        URL_SAFE_NO_PAD.encode(self.block())
    }
}

#[cfg(test)]
mod tests {
    use super::{Stream, draw, part};

    #[test]
    fn a_draw_spreads_a_span_from_none_to_almost_all_of_it() {
        assert_eq!(part(400, draw(&[0; 32])), 0);
        assert_eq!(part(400, draw(&[255; 32])), 399);
        assert_eq!(part(400, 1 << 31), 200);
        assert_eq!(part(i64::MAX, u32::MAX), i64::MAX - (i64::MAX >> 32) - 1);
    }

    #[test]
    fn every_text_is_another_and_has_43_characters() {
        let mut stream = Stream::new(&[7; 32]);
        let (first, second) = (stream.text(), stream.text());
        assert_ne!(first, second);
        assert_eq!((first.len(), second.len()), (43, 43));
    }
}
