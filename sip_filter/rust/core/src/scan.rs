//! Bytes of a message: what each may be part of, and where the next of a kind stands.
//!
//! Every datagram is read by these few functions, so they look at eight bytes at a time, or at a table.

pub const TOKEN: u8 = 1;
pub const URI: u8 = 2;
pub const HOST: u8 = 4;
/// What ends a display name, or an address without brackets.
pub const ADDRESS_END: u8 = 8;
/// What counts inside quotes.
pub const QUOTES_END: u8 = 16;

/// What each byte may be part of: a token, a Request-URI (no brackets, quotes or white space), a host name (letters,
/// digits, hyphens and dots; the underscore is not legal, and in use).
const BYTES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        if matches!(byte as u8, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
        {
            table[byte] |= TOKEN;
        }
        if !matches!(byte as u8, 0..=b' ' | b'<' | b'>' | b'"' | 0x7f) {
            table[byte] |= URI;
        }
        if matches!(byte as u8, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_') {
            table[byte] |= HOST;
        }
        if matches!(byte as u8, b'"' | b'<' | b',' | b';') {
            table[byte] |= ADDRESS_END;
        }
        if matches!(byte as u8, b'"' | b'\\') {
            table[byte] |= QUOTES_END;
        }
        byte += 1;
    }
    table
};

pub fn is_token(byte: u8) -> bool {
    BYTES[byte as usize] & TOKEN != 0
}

/// Whether all bytes are of a class. It looks at every one: a loop without a way out has no branch to mispredict.
#[inline]
pub fn all(text: &[u8], class: u8) -> bool {
    text.iter().fold(class, |kept, byte| kept & BYTES[*byte as usize]) == class
}

/// Position of the first byte of a class from `at` on, or the end.
#[inline]
pub fn skip(text: &[u8], mut at: usize, class: u8) -> usize {
    while at < text.len() && BYTES[text[at] as usize] & class == 0 {
        at += 1;
    }
    at
}

/// Length of the token that a text begins with.
#[inline]
pub fn token_length(text: &[u8]) -> usize {
    text.iter()
        .position(|byte| !is_token(*byte))
        .unwrap_or(text.len())
}

/// Position of the first `byte`.
#[inline]
pub fn find(text: &[u8], byte: u8) -> Option<usize> {
    find_by(text, |word| equals(word, byte))
}

/// Position of the first of two bytes.
#[inline]
pub fn find_of(text: &[u8], one: u8, other: u8) -> Option<usize> {
    find_by(text, |word| equals(word, one) | equals(word, other))
}

/// Looks at eight bytes at a time; the lowest bit that `found` sets tells the first.
#[inline]
fn find_by(text: &[u8], found: impl Fn(u64) -> u64) -> Option<usize> {
    let mut rest = text;
    while let Some((eight, behind)) = rest.split_first_chunk() {
        let bits = found(u64::from_le_bytes(*eight));
        if bits != 0 {
            return Some(text.len() - rest.len() + first(bits));
        }
        rest = behind;
    }
    match text.last_chunk() {
        // The last eight once more: those seen already are known to be others.
        Some(bytes) => {
            let bits = found(u64::from_le_bytes(*bytes));
            (bits != 0).then(|| text.len() - 8 + first(bits))
        }
        None => word(text, 0)
            .map(|word| first(found(word)))
            .filter(|place| *place < text.len()),
    }
}

/// Sets the top bit of the bytes that equal `byte`; the lowest set bit is true.
#[inline]
pub fn equals(word: u64, byte: u8) -> u64 {
    let other = word ^ (LOW * u64::from(byte));
    // Only a zero byte borrows; what a borrow spoils lies above it.
    other.wrapping_sub(LOW) & !other & HIGH
}

/// Which byte the lowest set bit is in.
#[inline]
pub fn first(bits: u64) -> usize {
    bits.trailing_zeros() as usize / 8
}

/// The bits of the bytes below the one that the lowest set bit, a top bit, is in.
#[inline]
pub fn below(bits: u64) -> u64 {
    (bits ^ bits.wrapping_sub(1)) >> 8
}

/// The positions of line feeds.
///
/// Blocks of text become bits, one a byte, by code that compilers turn into vectors; no search begins anew per line.
pub struct LineFeeds<'a> {
    text: &'a [u8],
    /// Behind the block that `feeds` tells of.
    next: usize,
    /// Its line feeds that are still to be told.
    feeds: u64,
}

const BLOCK: usize = u64::BITS as usize;

impl LineFeeds<'_> {
    pub fn of(text: &[u8]) -> LineFeeds<'_> {
        LineFeeds {
            text,
            next: 0,
            feeds: 0,
        }
    }
}

impl Iterator for LineFeeds<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.feeds == 0 {
            let rest = self.text.get(self.next..).filter(|rest| !rest.is_empty())?;
            self.feeds = places(rest, b'\n');
            self.next += BLOCK;
        }
        let place = self.feeds.trailing_zeros() as usize;
        self.feeds &= self.feeds - 1;
        Some(self.next - BLOCK + place)
    }
}

/// Where a byte stands in the block that a text begins with, a bit for each place.
#[inline(never)] // On its own it becomes vectors; inside another loop it did not.
fn places(text: &[u8], byte: u8) -> u64 {
    let equal = |block: &[u8; BLOCK]| bits(&block.map(|other| u8::from(other == byte)));
    match text.first_chunk() {
        Some(block) => equal(block),
        None => {
            let mut block = [!byte; BLOCK];
            block[..text.len()].copy_from_slice(text);
            equal(&block)
        }
    }
}

/// One bit for each byte, which is 0 or 1: a product gathers those of eight bytes in its highest byte.
#[inline]
fn bits(bytes: &[u8; BLOCK]) -> u64 {
    let words = bytes.chunks_exact(8).rev();
    words.fold(0, |bits, eight| {
        let word = eight.first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight));
        bits << 8 | word.wrapping_mul(0x0102_0408_1020_4080) >> 56
    })
}

/// Eight bytes from `at` on, zeros behind the end; None when nothing is there.
#[inline]
pub fn word(text: &[u8], at: usize) -> Option<u64> {
    let rest = text.get(at..).filter(|rest| !rest.is_empty())?;
    if let Some(bytes) = rest.first_chunk() {
        return Some(u64::from_le_bytes(*bytes));
    }
    // The last eight bytes hold the rest, behind what is not asked for.
    if let Some(bytes) = text.last_chunk() {
        return Some(u64::from_le_bytes(*bytes) >> (64 - rest.len() * 8));
    }
    Some(
        rest.iter()
            .rev()
            .fold(0, |word, byte| word << 8 | u64::from(*byte)),
    )
}

/// How often `byte` occurs. In chunks whose sum fits a byte, which compilers turn into vector code.
pub fn count(text: &[u8], byte: u8) -> usize {
    let chunks = text
        .chunks(128)
        .map(|chunk| chunk.iter().fold(0u8, |sum, b| sum + u8::from(*b == byte)));
    chunks.map(usize::from).sum()
}

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Decimal digits only, at most 32 bits. Leading zeros are digits too.
pub fn decimal(mut text: &[u8]) -> Option<u64> {
    while let [b'0', _, ..] = text {
        text = &text[1..];
    }
    if text.is_empty() || text.len() > 10 {
        return None;
    }
    let mut number = 0u64;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + u64::from(digit);
    }
    (number <= u64::from(u32::MAX)).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn found_where_it_stands(text in prop::collection::vec(b'a'..b'd', 0..40), byte in b'a'..b'd') {
            prop_assert_eq!(find(&text, byte), text.iter().position(|other| *other == byte));
            let either = text.iter().position(|other| matches!(*other, b'b') || *other == byte);
            prop_assert_eq!(find_of(&text, byte, b'b'), either);
            prop_assert_eq!(count(&text, byte), text.iter().filter(|other| **other == byte).count());
        }

        #[test]
        fn lines_end_where_they_do(text in prop::collection::vec(prop::sample::select(b"a\r\n\n\r\t\x8a\xff".to_vec()), 0..200)) {
            let found: Vec<usize> = LineFeeds::of(&text).collect();
            let expected: Vec<usize> = (0..text.len()).filter(|i| text[*i] == b'\n').collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(count(&text, b'\r'), text.iter().filter(|byte| **byte == b'\r').count());
        }

        #[test]
        fn words_like_bytes(word in any::<u64>(), byte in any::<u8>()) {
            let bytes = word.to_le_bytes();
            for at in 0..8 {
                prop_assert_eq!(below(HIGH << (at * 8)), (1 << (at * 8)) - 1);
            }
            for byte in [byte, bytes[5]] {
                let found = Some(first(equals(word, byte))).filter(|place| *place < 8);
                prop_assert_eq!(found, bytes.iter().position(|other| *other == byte));
            }
        }

        #[test]
        fn classes_like_their_bytes(text in prop::collection::vec(any::<u8>(), 0..20)) {
            prop_assert_eq!(all(&text, TOKEN), text.iter().all(|byte| is_token(*byte)));
            let stops = |byte: &u8| matches!(byte, b'"' | b'\\');
            prop_assert_eq!(skip(&text, 0, QUOTES_END), text.iter().position(stops).unwrap_or(text.len()));
        }
    }
}
