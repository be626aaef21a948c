//! The log of revisions: records with a CRC each, replayed to the first bad one.
//!
//! A record is its payload's length and CRC-32, then the payload. Cut anywhere or with any bit flipped, a log reads as
//! a prefix of what was written.

use crate::decision::Revision;
use crate::digest::Digest;

/// What happened to a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A revision, and the time at which it was applied.
    Changes {
        revision: Revision,
        digest: Digest,
        now: u64,
        changes: Vec<String>,
    },
    /// Clauses that had ended by `now` were taken out.
    Expiry { now: u64 },
}

/// The bytes of a record.
pub fn encode(record: &Record) -> Vec<u8> {
    let mut payload = Vec::new();
    match record {
        Record::Changes {
            revision,
            digest,
            now,
            changes,
        } => {
            payload.push(CHANGES);
            payload.extend(now.to_le_bytes());
            payload.extend(revision.epoch.to_le_bytes());
            payload.extend(revision.n.to_le_bytes());
            payload.extend(digest.0.to_le_bytes());
            payload.extend(changes.join("\n").as_bytes());
        }
        Record::Expiry { now } => {
            payload.push(EXPIRY);
            payload.extend(now.to_le_bytes());
        }
    }
    let mut bytes = Vec::with_capacity(payload.len() + FRAME);
    bytes.extend((payload.len() as u32).to_le_bytes());
    bytes.extend(crc32fast::hash(&payload).to_le_bytes());
    bytes.extend(payload);
    bytes
}

/// Reads the records of a log's bytes, up to the first bad one.
pub struct Records<'a> {
    bytes: &'a [u8],
    read: usize,
}

impl<'a> Records<'a> {
    pub fn of(bytes: &'a [u8]) -> Records<'a> {
        Records { bytes, read: 0 }
    }

    /// How many bytes the good records took.
    pub fn read(&self) -> usize {
        self.read
    }

    fn payload(&self) -> Option<&'a [u8]> {
        let rest = &self.bytes[self.read..];
        let length = u32::from_le_bytes(take(rest, 0)?) as usize;
        let crc = u32::from_le_bytes(take(rest, 4)?);
        let payload = rest.get(FRAME..FRAME.checked_add(length)?)?;
        (crc32fast::hash(payload) == crc).then_some(payload)
    }
}

impl Iterator for Records<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let payload = self.payload()?;
        let record = decode(payload)?;
        self.read += FRAME + payload.len();
        Some(record)
    }
}

const FRAME: usize = 8;
const CHANGES: u8 = 1;
const EXPIRY: u8 = 2;
/// Where the changes begin in a payload.
const HEAD: usize = 37;

fn decode(payload: &[u8]) -> Option<Record> {
    let now = u64::from_le_bytes(take(payload, 1)?);
    match payload[0] {
        EXPIRY if payload.len() == 9 => Some(Record::Expiry { now }),
        CHANGES => {
            let epoch = u32::from_le_bytes(take(payload, 9)?);
            let n = u64::from_le_bytes(take(payload, 13)?);
            let digest = Digest(u128::from_le_bytes(take(payload, 21)?));
            let text = std::str::from_utf8(payload.get(HEAD..)?).ok()?;
            let changes = text.lines().map(str::to_owned).collect();
            Some(Record::Changes {
                revision: Revision { epoch, n },
                digest,
                now,
                changes,
            })
        }
        _ => None,
    }
}

fn take<const COUNT: usize>(bytes: &[u8], at: usize) -> Option<[u8; COUNT]> {
    bytes.get(at..at + COUNT)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_record() -> impl Strategy<Value = Record> {
        let changes = proptest::collection::vec("\\+77[0-9]{1,3}\\*\\t[a-z ;]{0,8}", 0..4);
        prop_oneof![
            (any::<u32>(), any::<u64>(), any::<u128>(), any::<u64>(), changes).prop_map(
                |(epoch, n, digest, now, changes)| {
                    let revision = Revision { epoch, n };
                    Record::Changes {
                        revision,
                        digest: Digest(digest),
                        now,
                        changes,
                    }
                }
            ),
            any::<u64>().prop_map(|now| Record::Expiry { now }),
        ]
    }

    proptest! {
        #[test]
        fn cut_or_flipped_anywhere_it_reads_as_a_prefix(
            records in proptest::collection::vec(any_record(), 0..6), cut in any::<prop::sample::Index>(), bit in 0..8u8,
        ) {
            let mut ends = vec![0];
            let mut bytes = Vec::new();
            for record in &records {
                bytes.extend(encode(record));
                ends.push(bytes.len());
            }
            prop_assert_eq!(&Records::of(&bytes).collect::<Vec<_>>(), &records);
            if bytes.is_empty() {
                return Ok(());
            }
            let place = cut.index(bytes.len());
            let whole = ends.iter().filter(|&&end| end <= place).count() - 1;
            let mut reader = Records::of(&bytes[..place]);
            prop_assert_eq!(&reader.by_ref().collect::<Vec<_>>(), &records[..whole]);
            prop_assert_eq!(reader.read(), ends[whole]);
            bytes[place] ^= 1u8 << bit;
            prop_assert_eq!(&Records::of(&bytes).collect::<Vec<_>>(), &records[..whole]);
        }
    }
}
