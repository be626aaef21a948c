//! Names of header fields: those that matter here, and how one is read at the beginning of a line.
//!
//! A name that most requests carry is told by one look into a table, eight letters a word, whatever its case. Any
//! other is read letter by letter, and so is what stands oddly before its colon.

use crate::scan::{below, equals, first, token_length, word};

/// The header fields that a stateless element and a caller filter look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Name {
    Via,
    From,
    To,
    CallId,
    CSeq,
    MaxForwards,
    ContentLength,
    ContentType,
    Route,
    RecordRoute,
    ProxyRequire,
    AssertedIdentity,
    RemotePartyId,
    Other,
}

/// Header name and the offset of its value. None: no colon, or a name that is no token.
#[inline]
pub fn read_name(line: &[u8]) -> Option<(Name, usize)> {
    read_known(line).or_else(|| read_any(line))
}

/// Names in lower case, compact ones too (RFC 3261 §7.3.3). The last are not our business, and met in most calls.
const ROWS: [(&str, Name); 48] = [
    ("v", Name::Via),
    ("via", Name::Via),
    ("f", Name::From),
    ("from", Name::From),
    ("t", Name::To),
    ("to", Name::To),
    ("i", Name::CallId),
    ("call-id", Name::CallId),
    ("cseq", Name::CSeq),
    ("max-forwards", Name::MaxForwards),
    ("l", Name::ContentLength),
    ("content-length", Name::ContentLength),
    ("c", Name::ContentType),
    ("content-type", Name::ContentType),
    ("route", Name::Route),
    ("record-route", Name::RecordRoute),
    ("proxy-require", Name::ProxyRequire),
    ("p-asserted-identity", Name::AssertedIdentity),
    ("remote-party-id", Name::RemotePartyId),
    ("m", Name::Other),
    ("contact", Name::Other),
    ("k", Name::Other),
    ("supported", Name::Other),
    ("x", Name::Other),
    ("session-expires", Name::Other),
    ("accept", Name::Other),
    ("accept-language", Name::Other),
    ("allow", Name::Other),
    ("allow-events", Name::Other),
    ("content-disposition", Name::Other),
    ("date", Name::Other),
    ("diversion", Name::Other),
    ("expires", Name::Other),
    ("history-info", Name::Other),
    ("identity", Name::Other),
    ("mime-version", Name::Other),
    ("min-se", Name::Other),
    ("p-access-network-info", Name::Other),
    ("p-charging-vector", Name::Other),
    ("p-early-media", Name::Other),
    ("p-preferred-identity", Name::Other),
    ("privacy", Name::Other),
    ("require", Name::Other),
    ("server", Name::Other),
    ("subject", Name::Other),
    ("timestamp", Name::Other),
    ("user-agent", Name::Other),
    ("warning", Name::Other),
];

/// One row, eight letters a word.
#[derive(Clone, Copy)]
struct Row {
    words: [u64; WORDS],
    /// The bit that makes a capital small, where a letter stands: there no other byte becomes that letter.
    small: [u64; WORDS],
    length: usize,
    name: Name,
}

const WORDS: usize = 3;

/// What stands in an empty slot: no name is so long.
const EMPTY: Row = Row {
    words: [0; WORDS],
    small: [0; WORDS],
    length: usize::MAX,
    name: Name::Other,
};

/// The rows, each in the slot that its beginning and length give.
static TABLE: [Row; SLOTS] = {
    let mut table = [EMPTY; SLOTS];
    let mut i = 0;
    while i < ROWS.len() {
        let (text, name) = (ROWS[i].0.as_bytes(), ROWS[i].1);
        let mut row = Row {
            length: 0,
            name,
            ..EMPTY
        };
        while row.length < text.len() {
            let (word, shift) = (row.length / 8, row.length % 8 * 8);
            row.words[word] |= (text[row.length] as u64) << shift;
            row.small[word] |= (text[row.length].is_ascii_lowercase() as u64) << (shift + 5);
            row.length += 1;
        }
        let slot = slot(row.words[0], row.length);
        assert!(
            table[slot].length == EMPTY.length,
            "two names in one slot: choose another FACTOR"
        );
        table[slot] = row;
        i += 1;
    }
    table
};

const SLOTS: usize = 128;
/// Chosen so that each row has a slot of its own.
const FACTOR: u64 = 0x1db3_f594_5e40_6353;

const fn slot(first: u64, length: usize) -> usize {
    const CASE: u64 = 0x2020_2020_2020_2020;
    let mixed = ((first | CASE) ^ length as u64).wrapping_mul(FACTOR);
    (mixed >> (64 - SLOTS.trailing_zeros())) as usize
}

#[inline]
fn read_known(line: &[u8]) -> Option<(Name, usize)> {
    // By hand, word by word: in a loop over an array the words would leave their registers.
    let one = word(line, 0)?;
    let colons = equals(one, b':');
    if colons != 0 {
        return known([one & below(colons), 0, 0], first(colons));
    }
    let two = word(line, 8)?;
    let colons = equals(two, b':');
    if colons != 0 {
        return known([one, two & below(colons), 0], 8 + first(colons));
    }
    let three = word(line, 16)?;
    let colons = equals(three, b':');
    if colons != 0 {
        return known([one, two, three & below(colons)], 16 + first(colons));
    }
    None
}

#[inline]
fn known(words: [u64; WORDS], length: usize) -> Option<(Name, usize)> {
    let row = &TABLE[slot(words[0], length)];
    let same = (0..WORDS).all(|i| words[i] | row.small[i] == row.words[i]);
    (same && row.length == length).then_some((row.name, length + 1))
}

fn read_any(line: &[u8]) -> Option<(Name, usize)> {
    let length = token_length(line);
    let name = &line[..length];
    // HCOLON allows white space before the colon (RFC 3261 §25.1).
    let gap = line[length..].iter().position(|b| !matches!(b, b' ' | b'\t'))?;
    let colon = length + gap;
    if name.is_empty() || line[colon] != b':' {
        return None;
    }
    let row = ROWS
        .iter()
        .find(|row| name.eq_ignore_ascii_case(row.0.as_bytes()));
    Some((row.map_or(Name::Other, |row| row.1), colon + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_row_is_found_both_ways() {
        for (text, name) in ROWS {
            for line in [
                format!("{text}:"),
                format!("{text}: x"),
                format!("{}:{}", text.to_uppercase(), "x".repeat(30)),
            ] {
                let expected = Some((name, text.len() + 1));
                assert_eq!(read_known(line.as_bytes()), expected, "{line}");
                assert_eq!(read_any(line.as_bytes()), expected, "{line}");
            }
        }
        assert_eq!(read_name(b"From \t: x"), Some((Name::From, 7)));
        for line in [
            &b""[..],
            b":",
            b" From: x",
            b"From",
            b"Fr(m: x",
            b"via\0: x",
            b"From x: y",
        ] {
            assert_eq!(read_name(line), None, "{}", line.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn the_table_never_contradicts_the_letters(
            row in prop::sample::select(ROWS.map(|row| row.0).to_vec()),
            at in 0usize..24, byte in any::<u8>(), cut in 0usize..30,
        ) {
            let mut line = format!("{row}: some value").into_bytes();
            let place = at % line.len();
            line[place] = byte;
            line.truncate(cut);
            prop_assert_eq!(read_known(&line).or_else(|| read_any(&line)), read_any(&line));
        }
    }
}
