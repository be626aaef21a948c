//! The digest of a list: what tells two lists apart without comparing them.
//!
//! Each entry line gives 128 bits of BLAKE2b (RFC 7693), read big-endian; the digest is their sum modulo 2^128. A sum
//! has no order, so a change costs its own entries only, however long the list is.

use std::fmt;
use std::ops::{AddAssign, SubAssign};

use blake2::digest::consts::U16;
use blake2::{Blake2b, Digest as _};

/// The sum over the entries of a list. The empty list's is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Digest(pub u128);

impl Digest {
    /// Reads 32 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Digest> {
        let plain = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        plain
            .then(|| u128::from_str_radix(text, 16).ok())
            .flatten()
            .map(Digest)
    }

    pub fn words(self) -> [u64; 2] {
        [(self.0 >> 64) as u64, self.0 as u64]
    }

    pub fn from_words([high, low]: [u64; 2]) -> Digest {
        Digest(u128::from(high) << 64 | u128::from(low))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", self.0)
    }
}

impl AddAssign<u128> for Digest {
    fn add_assign(&mut self, entry: u128) {
        self.0 = self.0.wrapping_add(entry);
    }
}

impl SubAssign<u128> for Digest {
    fn sub_assign(&mut self, entry: u128) {
        self.0 = self.0.wrapping_sub(entry);
    }
}

/// The digest of one entry line's bytes.
pub fn entry_digest(line: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&Blake2b::<U16>::digest(line));
    u128::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_forgets_order_and_undoes() {
        let (one, other) = (
            entry_digest(b"+77*\tnoc reject enforce both"),
            entry_digest(b"other"),
        );
        let mut digest = Digest::default();
        digest += one;
        digest += other;
        digest -= one;
        digest -= other;
        assert_eq!(digest.to_string(), "0".repeat(32));
    }

    #[test]
    fn texts_round_trip() {
        // Python: hashlib.blake2b(b"", digest_size=16).hexdigest()
        let empty = Digest(entry_digest(b""));
        assert_eq!(empty.to_string(), "cae66941d9efbd404e4d88758ea67670");
        assert_eq!(Digest::parse(&empty.to_string()), Some(empty));
        assert_eq!(Digest::from_words(empty.words()), empty);
        assert_eq!(Digest::parse("+ae66941d9efbd404e4d88758ea67670"), None);
        assert_eq!(Digest::parse("CAE66941D9EFBD404E4D88758EA67670"), None);
    }
}
