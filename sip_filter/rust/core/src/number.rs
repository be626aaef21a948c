//! Numbers and prefixes: what a rule can be about. A value of these types is valid.
//!
//! A `Number` is E.164 (7 to 15 digits, the first never 0), a `Prefix` its first 2 to 14 digits. Since no first
//! digit is 0, the integer alone tells how many digits there are, and 50 bits hold either.

use std::cmp::Ordering;
use std::fmt;

/// Fewest and most digits of a `Number` (ITU-T E.164 §6.1: at most 15).
pub const NUMBER_DIGITS: (usize, usize) = (7, 15);
/// Fewest and most digits of a `Prefix`.
pub const PREFIX_DIGITS: (usize, usize) = (2, 14);

/// One E.164 number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Number(u64);

/// The leading digits that a family of numbers shares.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix(u64);

/// What a rule is about. Ordered as its canonical text, so that a prefix comes before its numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    Number(Number),
    Prefix(Prefix),
}

impl Number {
    /// Reads the digits of a number, without `+`.
    pub fn parse(digits: &[u8]) -> Result<Number, NumberError> {
        read(digits, NUMBER_DIGITS, "number").map(Number)
    }

    /// The canonical number that a text begins with, and the rest of the text; `None` too where there are eight bytes
    /// or fewer. Whole lists are read by it: eight digits at a time, and no error to build.
    pub fn leading(text: &str) -> Option<(Number, &str)> {
        let digits = text.as_bytes().strip_prefix(b"+")?;
        let mut value = read_eight(*digits.first_chunk()?)?;
        let mut count = 8;
        while let Some(digit) = digits.get(count).map(|byte| byte.wrapping_sub(b'0')) {
            if digit > 9 {
                break;
            }
            if count == NUMBER_DIGITS.1 {
                return None;
            }
            value = value * 10 + u64::from(digit);
            count += 1;
        }
        (digits[0] != b'0').then_some((Number(value), &text[1 + count..]))
    }

    /// The number with this value, if it has 7 to 15 digits.
    pub fn from_value(value: u64) -> Option<Number> {
        (1_000_000..1_000_000_000_000_000)
            .contains(&value)
            .then_some(Number(value))
    }

    pub fn value(self) -> u64 {
        self.0
    }

    /// How many digits it has.
    pub fn length(self) -> usize {
        count_digits(self.0)
    }

    /// The digits as text, without `+`.
    pub fn digits(self) -> Digits {
        Digits::of(self.0)
    }

    /// Its first `length` digits as a prefix; `None` when that is no valid prefix of it.
    pub fn prefix(self, length: usize) -> Option<Prefix> {
        let own = self.length();
        if length > own || length < PREFIX_DIGITS.0 || length > PREFIX_DIGITS.1 {
            return None;
        }
        Some(Prefix(cut(self.0, own - length)))
    }

    /// Its prefixes of the lengths whose bits are set in `lengths`, the shortest first.
    pub fn prefixes(self, lengths: u64) -> impl Iterator<Item = Prefix> {
        let own = self.length();
        let valid = PREFIX_DIGITS.0..=PREFIX_DIGITS.1.min(own);
        let mut left = lengths;
        std::iter::from_fn(move || loop {
            let length = left.trailing_zeros() as usize;
            left &= left.checked_sub(1)?;
            if valid.contains(&length) {
                return Some(Prefix(cut(self.0, own - length)));
            }
        })
    }
}

impl Prefix {
    /// Reads the digits of a prefix, without `+` and `*`.
    pub fn parse(digits: &[u8]) -> Result<Prefix, NumberError> {
        read(digits, PREFIX_DIGITS, "prefix").map(Prefix)
    }

    /// The prefix with this value, if it has 2 to 14 digits.
    pub fn from_value(value: u64) -> Option<Prefix> {
        (10..100_000_000_000_000)
            .contains(&value)
            .then_some(Prefix(value))
    }

    pub fn value(self) -> u64 {
        self.0
    }

    /// How many digits it has.
    pub fn length(self) -> usize {
        count_digits(self.0)
    }

    /// The digits as text, without `+` and `*`.
    pub fn digits(self) -> Digits {
        Digits::of(self.0)
    }

    /// Whether `number` begins with it.
    pub fn covers(self, number: Number) -> bool {
        number.prefix(self.length()) == Some(self)
    }
}

impl Subject {
    /// The first in order.
    pub const LEAST: Subject = Subject::Prefix(Prefix(10));

    /// Reads a canonical text: `+6281234567890` or `+77*`. Nothing else is accepted, since digests are of bytes.
    pub fn parse(text: &str) -> Result<Subject, NumberError> {
        let digits = text
            .strip_prefix('+')
            .ok_or(NumberError::new(text.as_bytes(), Problem::NoPlus))?;
        match digits.strip_suffix('*') {
            Some(prefix) => Prefix::parse(prefix.as_bytes()).map(Subject::Prefix),
            None => Number::parse(digits.as_bytes()).map(Subject::Number),
        }
    }

    /// How many digits it has.
    pub fn length(self) -> usize {
        count_digits(self.value())
    }

    pub fn value(self) -> u64 {
        match self {
            Subject::Number(number) => number.0,
            Subject::Prefix(prefix) => prefix.0,
        }
    }

    pub fn is_number(self) -> bool {
        matches!(self, Subject::Number(_))
    }

    pub fn touches(self, number: Number) -> bool {
        match self {
            Subject::Number(own) => own == number,
            Subject::Prefix(prefix) => prefix.covers(number),
        }
    }
}

impl Ord for Subject {
    fn cmp(&self, other: &Self) -> Ordering {
        // In texts `*` sorts before every digit and the end of a text before both.
        let digits = |subject: &Subject| Digits::of(subject.value());
        let (left, right) = (digits(self), digits(other));
        let shared = left.as_bytes().len().min(right.as_bytes().len());
        left.as_bytes()[..shared]
            .cmp(&right.as_bytes()[..shared])
            .then_with(|| match left.as_bytes().len().cmp(&right.as_bytes().len()) {
                Ordering::Equal => self.is_number().cmp(&other.is_number()).reverse(),
                longer => longer,
            })
    }
}

impl PartialOrd for Subject {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Number {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "+{}", self.0)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "+{}*", self.0)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Number(number) => number.fmt(out),
            Subject::Prefix(prefix) => prefix.fmt(out),
        }
    }
}

macro_rules! debug_as_text {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, concat!(stringify!($name), "({})"), self)
            }
        }
    )*};
}
debug_as_text!(Number, Prefix);

impl fmt::Debug for Subject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Subject({self})")
    }
}

/// The decimal digits of a subject, held in place.
#[derive(Clone, Copy)]
pub struct Digits {
    bytes: [u8; 15],
    start: u8,
}

impl Digits {
    fn of(mut value: u64) -> Digits {
        let mut bytes = [b'0'; 15];
        let mut start = bytes.len();
        while value > 0 && start > 0 {
            start -= 1;
            bytes[start] = b'0' + (value % 10) as u8;
            value /= 10;
        }
        Digits {
            bytes,
            start: start as u8,
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[usize::from(self.start)..]
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or("")
    }
}

impl fmt::Display for Digits {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Why a text is no number or prefix: it names the value and the limit, and allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NumberError {
    seen: [u8; SEEN],
    length: u8,
    problem: Problem,
}

const SEEN: usize = 24;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Problem {
    NoPlus,
    NotDigits,
    LeadingZero,
    Count {
        what: &'static str,
        has: usize,
        fewest: usize,
        most: usize,
    },
}

impl NumberError {
    fn new(value: &[u8], problem: Problem) -> NumberError {
        let length = value.len().min(SEEN);
        let mut seen = [0; SEEN];
        seen[..length].copy_from_slice(&value[..length]);
        NumberError {
            seen,
            length: length as u8,
            problem,
        }
    }
}

impl fmt::Display for NumberError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = self.seen[..usize::from(self.length)].escape_ascii();
        match self.problem {
            Problem::NoPlus => write!(out, "subject \"{seen}\" does not begin with +"),
            Problem::NotDigits => write!(out, "\"{seen}\" is not made of the digits 0 to 9 alone"),
            Problem::LeadingZero => write!(out, "\"{seen}\" begins with 0; E.164 never does"),
            Problem::Count {
                what,
                has,
                fewest,
                most,
            } if has < fewest => {
                write!(
                    out,
                    "{what} \"{seen}\" has {has} digits; the fewest allowed are {fewest} (of at most {most})"
                )
            }
            Problem::Count {
                what,
                has,
                fewest,
                most,
            } => {
                write!(
                    out,
                    "{what} \"{seen}\" has {has} digits; the most allowed are {most} (of at least {fewest})"
                )
            }
        }
    }
}

impl fmt::Debug for NumberError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "NumberError({self})")
    }
}

impl std::error::Error for NumberError {}

fn read(digits: &[u8], (fewest, most): (usize, usize), what: &'static str) -> Result<u64, NumberError> {
    let has = digits.len();
    let (eight, rest) = match digits[..has.min(most + 1)].split_first_chunk() {
        Some((eight, rest)) => (read_eight(*eight), rest),
        None => (Some(0), digits),
    };
    let mut value = eight.unwrap_or(0);
    let mut plain = eight.is_some();
    for &byte in rest {
        let digit = byte.wrapping_sub(b'0');
        plain &= digit < 10;
        value = value * 10 + u64::from(digit);
    }
    if !plain {
        return Err(NumberError::new(digits, Problem::NotDigits));
    }
    if !(fewest..=most).contains(&has) {
        return Err(NumberError::new(
            digits,
            Problem::Count {
                what,
                has,
                fewest,
                most,
            },
        ));
    }
    if digits[0] == b'0' {
        return Err(NumberError::new(digits, Problem::LeadingZero));
    }
    Ok(value)
}

/// Eight digits in one word: each step joins neighbours, first to pairs, then to fours, then to eight.
fn read_eight(digits: [u8; 8]) -> Option<u64> {
    let word = u64::from_le_bytes(digits) ^ 0x3030_3030_3030_3030;
    let beyond_nine = (word.wrapping_add(0x7676_7676_7676_7676) | word) & 0x8080_8080_8080_8080;
    if beyond_nine != 0 {
        return None;
    }
    let pairs = word.wrapping_mul(10).wrapping_add(word >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    Some(fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff)
}

const TENS: [u64; 16] = {
    let mut tens = [1u64; 16];
    let mut power = 1;
    while power < tens.len() {
        tens[power] = tens[power - 1] * 10;
        power += 1;
    }
    tens
};

/// A value of at most 15 digits without its last `digits`.
///
/// A product with the reciprocal, rounded up: processors divide 64 bits in 40 cycles, and a call needs several cuts.
fn cut(value: u64, digits: usize) -> u64 {
    let (reciprocal, shift) = RECIPROCALS[digits];
    ((u128::from(value) * u128::from(reciprocal)) >> shift) as u64
}

/// 2^shift / 10^n, rounded up, for each n. Exact for values below 2^50 (Granlund and Montgomery 1994, theorem 4.2):
/// the shift is 50 and the bits of the divisor.
const RECIPROCALS: [(u64, u32); 15] = {
    let mut reciprocals = [(1, 0); 15];
    let mut power = 1;
    while power < reciprocals.len() {
        let shift = 50 + TENS[power].ilog2() + 1;
        reciprocals[power] = ((1u128 << shift).div_ceil(TENS[power] as u128) as u64, shift);
        power += 1;
    }
    reciprocals
};

fn count_digits(value: u64) -> usize {
    value.checked_ilog10().map_or(0, |power| power as usize + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_limits_are_named() {
        let message = |text: &str| Subject::parse(text).unwrap_err().to_string();
        assert_eq!(
            message("+6*"),
            "prefix \"6\" has 1 digits; the fewest allowed are 2 (of at most 14)"
        );
        assert_eq!(
            message("+123456"),
            "number \"123456\" has 6 digits; the fewest allowed are 7 (of at most 15)"
        );
        assert!(message("+1234567890123456").contains("the most allowed are 15"));
        assert!(message("6281234567890").contains("does not begin with +"));
        assert!(message("+0812345678").contains("begins with 0"));
        assert!(message("+62812\u{661}34567").contains("digits 0 to 9"));
        assert!(message("").contains("does not begin with +"));
    }

    #[test]
    fn a_number_knows_its_prefixes() {
        let number = Number::parse(b"77012345678").unwrap();
        assert_eq!(number.prefix(2), Some(Prefix::parse(b"77").unwrap()));
        assert_eq!(number.prefix(11), Some(Prefix::parse(b"77012345678").unwrap()));
        assert_eq!(number.prefix(1), None);
        assert_eq!(number.prefix(12), None);
        assert_eq!(Number::parse(b"123456789012345").unwrap().prefix(15), None);
    }

    proptest! {
        #[test]
        fn a_cut_is_a_division(value in 1_000_000u64..1_000_000_000_000_000, digits in 0usize..14) {
            let near = value / TENS[digits] * TENS[digits];
            for value in [value, near, near + TENS[digits] - 1] {
                prop_assert_eq!(cut(value, digits), value / TENS[digits]);
            }
            let number = Number(value);
            let each = (0..64).filter_map(|length| number.prefix(length));
            prop_assert!(number.prefixes(u64::MAX).eq(each));
        }

        #[test]
        fn canonical_texts_round_trip(text in "\\+[1-9][0-9]{6,14}|\\+[1-9][0-9]{1,13}\\*") {
            prop_assert_eq!(Subject::parse(&text).unwrap().to_string(), text);
        }

        #[test]
        fn order_is_the_order_of_texts(left in "\\+[1-3][0-2]{6,9}|\\+[1-3][0-2]{1,9}\\*", right in "\\+[1-3][0-2]{6,9}|\\+[1-3][0-2]{1,9}\\*") {
            let (one, other) = (Subject::parse(&left).unwrap(), Subject::parse(&right).unwrap());
            prop_assert_eq!(one.cmp(&other), left.cmp(&right));
        }

        #[test]
        fn a_leading_number_is_what_the_text_up_to_there_says(text in "\\+?[0-9]{0,17}[\t*x:/\u{e9}]{0,2}[0-9]{0,2}") {
            match Number::leading(&text) {
                Some((number, rest)) => {
                    prop_assert_eq!(format!("{number}{rest}"), text.clone());
                    prop_assert!(!rest.starts_with(|next: char| next.is_ascii_digit()));
                    prop_assert_eq!(Number::from_value(number.value()), Some(number));
                }
                None => {
                    let end = text.bytes().skip(1).position(|byte| !byte.is_ascii_digit());
                    let head = text.get(..end.map_or(text.len(), |end| end + 1)).unwrap_or("");
                    prop_assert!(head.len() < 9 || Subject::parse(head).is_err(), "{head}");
                }
            }
        }

        #[test]
        fn whatever_parses_is_canonical(text in "[+*0-9]{0,20}") {
            if let Ok(subject) = Subject::parse(&text) {
                prop_assert_eq!(subject.to_string(), text);
            }
        }
    }
}
