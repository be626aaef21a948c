//! The digest of a list: what tells two lists apart without comparing them.
//!
//! Each entry line gives 128 bits of BLAKE2b (RFC 7693), read big-endian; the digest is their sum modulo 2^128. A sum
//! has no order, so a change costs its own entries only, however long the list is.

use std::fmt;
use std::ops::{AddAssign, SubAssign};

use blake2b_simd::many::{hash_many, HashManyJob};
use blake2b_simd::{Hash, Params};

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

    /// Adds the digests of many lines. Computed side by side in the processor's vectors they cost a third.
    pub fn add_lines<'l>(&mut self, lines: impl IntoIterator<Item = &'l [u8]>) {
        let params = params();
        let mut lines = lines.into_iter();
        let mut jobs = Vec::with_capacity(TOGETHER);
        loop {
            jobs.clear();
            let next = lines.by_ref().take(TOGETHER);
            jobs.extend(next.map(|line| HashManyJob::new(&params, line)));
            if jobs.is_empty() {
                return;
            }
            hash_many(&mut jobs);
            for job in &jobs {
                *self += first_128(&job.to_hash());
            }
        }
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
    first_128(&params().hash(line))
}

/// Lines that `add_lines` takes at a time: enough to fill the widest vectors, few enough to stay in the first cache.
const TOGETHER: usize = 64;
const BYTES: usize = 16;

fn params() -> Params {
    let mut params = Params::new();
    params.hash_length(BYTES);
    params
}

fn first_128(hash: &Hash) -> u128 {
    let mut bytes = [0; BYTES];
    bytes.copy_from_slice(&hash.as_bytes()[..BYTES]);
    u128::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn lines_together_come_to_what_each_adds(lines in proptest::collection::vec(".{0,300}", 0..150)) {
            let (mut together, mut each) = (Digest::default(), Digest::default());
            together.add_lines(lines.iter().map(|line| line.as_bytes()));
            lines.iter().for_each(|line| each += entry_digest(line.as_bytes()));
            prop_assert_eq!(together, each);
        }
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
