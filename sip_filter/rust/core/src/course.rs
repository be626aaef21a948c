//! One course per call: keyed hashes that need no memory, and a small lossy memory for what hashes can't know.
//!
//! Branch, To-tag and next hop follow from the message's own fields and a key that all nodes share, so that a
//! retransmission, its CANCEL and the ACK of its failure meet the same answer on any node (RFC 3261 §16.11,
//! §8.2.7). A rule may change between two copies of one INVITE; [`Memory`] holds what the first copy got.

use std::hash::Hasher;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use siphasher::sip::SipHasher24;

use crate::message::{find, Message, Start};

/// Begins every branch of ours: the magic cookie of RFC 3261 §8.1.1.7, then a name.
pub const COOKIE: &[u8] = b"z9hG4bK-palang";
/// Branch: cookie, 16 hex digits of the transaction, 8 of the route taken.
pub const BRANCH_LENGTH: usize = COOKIE.len() + 24;
/// The To-tag of a response of ours: so long at least, and longer to round the response's size up to `STEP`.
pub const SHORTEST_TAG: usize = 16;
pub const LONGEST_TAG: usize = SHORTEST_TAG + STEP - 1;
/// Bytes between the sizes that our responses have: the fewer sizes, the more of them leave in one send.
pub const STEP: usize = 32;
/// Milliseconds for which a call without final response stays on course (above timer C, RFC 3261 §16.6).
pub const FORWARDED_FOR: u64 = 240_000;
/// Milliseconds after a final response: 64 times T1, when the last retransmission has come (RFC 3261 §17.1.1.2).
pub const AFTER_FINAL: u64 = 32_000;

/// Hashes with a key of 32 bytes; half for what peers must not forge, half for names we give.
#[derive(Clone, Copy)]
pub struct Key {
    secret: (u64, u64),
    naming: (u64, u64),
}

impl Key {
    pub fn new(key: &[u8; 32]) -> Key {
        let word = |i: usize| u64::from_le_bytes(std::array::from_fn(|byte| key[i * 8 + byte]));
        Key {
            secret: (word(0), word(1)),
            naming: (word(2), word(3)),
        }
    }

    /// Whether both give the same names.
    pub fn names_alike(&self, other: &Key) -> bool {
        self.naming == other.naming
    }

    /// The transaction a request belongs to, and its responses: `back` is where these go, `branch` the client's.
    ///
    /// CANCEL and the ACK of a failure have the same fields as their INVITE (RFC 3261 §9.1, §17.1.1.3).
    pub fn transaction(&self, message: &Message<'_>, back: SocketAddr, branch: &[u8]) -> u64 {
        self.transaction_of(back, message.cseq, branch, message.call_id, message.from.tag)
    }

    /// The same from its parts.
    pub fn transaction_of(
        &self,
        back: SocketAddr,
        cseq: u32,
        branch: &[u8],
        call_id: &[u8],
        tag: &[u8],
    ) -> u64 {
        fields(self.naming, back, cseq, branch, call_id, tag)
    }

    /// What vouches for the way of a response back: only who has the key can tell it for other fields.
    pub fn seal(&self, back: SocketAddr, cseq: u32, branch: &[u8], call_id: &[u8], tag: &[u8]) -> [u8; 16] {
        hex(fields(self.secret, back, cseq, branch, call_id, tag))
    }

    /// What tells a spiral, which is legal, from a loop (RFC 3261 §16.6 step 8): the request's target.
    pub fn route_mark(&self, message: &Message<'_>) -> u32 {
        let mut text = Text::new(self.naming);
        if let Start::Request { uri, .. } = message.start {
            text.write_field(uri);
        }
        text.hash() as u32
    }

    /// The To-tag of our final response in a transaction, as long as it may get. Its first `SHORTEST_TAG` digits
    /// are the hash; what follows repeats them and only adds length.
    pub fn to_tag(&self, transaction: u64) -> [u8; LONGEST_TAG] {
        let hasher = SipHasher24::new_with_keys(self.naming.0, self.naming.1);
        let digits = hex(hasher.hash(&transaction.to_le_bytes()));
        std::array::from_fn(|i| digits[i % SHORTEST_TAG])
    }

    /// Whether a tag is ours for that transaction, at any length that we give.
    pub fn is_to_tag(&self, tag: &[u8], transaction: u64) -> bool {
        (SHORTEST_TAG..=LONGEST_TAG).contains(&tag.len()) && self.to_tag(transaction).starts_with(tag)
    }

    /// One name for all copies of a call, on every trunk and node: hits are counted by it.
    pub fn call(&self, message: &Message<'_>) -> u64 {
        let mut text = Text::new(self.naming);
        text.write_field(message.call_id);
        text.write_field(message.from.tag);
        text.write(&message.cseq.to_le_bytes());
        text.hash()
    }

    /// A key of its own for another purpose, the same as long as the names are.
    pub fn derived(&self, purpose: &[u8]) -> [u64; 2] {
        let key: Vec<u8> = [self.naming.0, self.naming.1].map(u64::to_le_bytes).concat();
        let hash = blake2b_simd::Params::new()
            .hash_length(16)
            .key(&key)
            .hash(purpose);
        let half = |i: usize| u64::from_le_bytes(std::array::from_fn(|byte| hash.as_bytes()[i * 8 + byte]));
        [half(0), half(1)]
    }

    /// A stable choice for everything that belongs to one dialog.
    pub fn choice(&self, message: &Message<'_>) -> u64 {
        let mut text = Text::new(self.naming);
        text.write_field(message.call_id);
        text.hash()
    }
}

/// The fields that a request has in common with its copies, its CANCEL, the ACK of its failure and its responses.
fn fields(key: (u64, u64), back: SocketAddr, cseq: u32, branch: &[u8], call_id: &[u8], tag: &[u8]) -> u64 {
    let mut text = Text::new(key);
    match back.ip() {
        IpAddr::V4(ip) => text.write(&ip.octets()),
        IpAddr::V6(ip) => text.write(&ip.octets()),
    }
    text.write(&(u64::from(back.port()) << 32 | u64::from(cseq)).to_le_bytes());
    text.write_field(branch);
    text.write_field(call_id);
    text.write_field(tag);
    text.hash()
}

/// What is hashed, gathered first: the hasher takes whole texts at half the price of many small pieces.
struct Text {
    hasher: SipHasher24,
    gathered: [u8; 256],
    length: usize,
}

impl Text {
    #[inline]
    fn new(keys: (u64, u64)) -> Text {
        Text {
            hasher: SipHasher24::new_with_keys(keys.0, keys.1),
            gathered: [0; 256],
            length: 0,
        }
    }

    /// Length first: two fields must not flow into each other.
    #[inline]
    fn write_field(&mut self, field: &[u8]) {
        self.write(&(field.len() as u32).to_le_bytes());
        self.write(field);
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        if let Some(room) = self.gathered.get_mut(self.length..end) {
            room.copy_from_slice(bytes);
            self.length = end;
            return;
        }
        self.hasher.write(&self.gathered[..self.length]);
        self.hasher.write(bytes);
        self.length = 0;
    }

    #[inline]
    fn hash(mut self) -> u64 {
        self.hasher.write(&self.gathered[..self.length]);
        self.hasher.finish()
    }
}

/// Writes the branch of a forwarded request.
pub fn branch(transaction: u64, route_mark: u32) -> [u8; BRANCH_LENGTH] {
    let mut text = [0; BRANCH_LENGTH];
    let (cookie, rest) = text.split_at_mut(COOKIE.len());
    cookie.copy_from_slice(COOKIE);
    rest[..16].copy_from_slice(&hex(transaction));
    rest[16..].copy_from_slice(&hex(u64::from(route_mark) << 32)[..8]);
    text
}

/// Whether a text may hold a branch of ours: one look for its hyphen spares reading most others.
pub fn mentions_branch(text: &[u8]) -> bool {
    let (before, name) = COOKIE.split_at(COOKIE.len() - "-palang".len());
    let mut rest = text;
    while let Some(hyphen) = find(rest, b'-') {
        if rest[..hyphen].ends_with(before) && rest[hyphen..].starts_with(name) {
            return true;
        }
        rest = &rest[hyphen + 1..];
    }
    false
}

/// Reads a branch of ours: transaction and route mark.
pub fn read_branch(text: &[u8]) -> Option<(u64, u32)> {
    let rest = text.strip_prefix(COOKIE).filter(|rest| rest.len() == 24)?;
    let number = rest.iter().try_fold(0u128, |n, b| {
        let digit = match b {
            b'0'..=b'9' => b - b'0',
            b'a'..=b'f' => b - b'a' + 10,
            _ => return None,
        };
        Some(n << 4 | u128::from(digit))
    })?;
    Some(((number >> 32) as u64, number as u32))
}

fn hex(value: u64) -> [u8; 16] {
    std::array::from_fn(|i| b"0123456789abcdef"[(value >> (60 - 4 * i) & 15) as usize])
}

/// What the first copy of a request got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Course {
    Forwarded {
        hop: u16,
        labelled: bool,
    },
    /// `status` is a `Refusal::mark`.
    Refused {
        status: u16,
    },
}

/// A process-wide memory of courses: fixed size, no locks, lossy when full.
///
/// Slots stand in groups of eight; a key lives in one group and, when that is full, takes the slot that would
/// be free first. A slot is two words, `key ^ value` and `value`, so that a torn read matches no key.
pub struct Memory {
    slots: Box<[[AtomicU64; 2]]>,
    groups: u64,
}

const GROUP: usize = 8;
const REFUSED: u64 = 1;
const LABELLED: u64 = 2;

impl Memory {
    /// Room for `slots` calls, 16 bytes each.
    pub fn new(slots: usize) -> Memory {
        let groups = slots.div_ceil(GROUP).max(1);
        let slots = (0..groups * GROUP)
            .map(|_| [AtomicU64::new(0), AtomicU64::new(0)])
            .collect();
        Memory {
            slots,
            groups: groups as u64,
        }
    }

    /// The course of a transaction that is still remembered at `now` (milliseconds of a clock that never goes back).
    pub fn recall(&self, transaction: u64, now: u64) -> Option<Course> {
        let (_, value) = self.find(transaction)?;
        if ends(value) <= now {
            return None;
        }
        let argument = (value >> 8) as u16;
        Some(if value & REFUSED != 0 {
            Course::Refused { status: argument }
        } else {
            Course::Forwarded {
                hop: argument,
                labelled: value & LABELLED != 0,
            }
        })
    }

    /// Remembers the course that a request takes at `now`.
    pub fn note(&self, transaction: u64, course: Course, now: u64) {
        let (flags, argument, kept) = match course {
            Course::Forwarded { hop, labelled } => (if labelled { LABELLED } else { 0 }, hop, FORWARDED_FOR),
            Course::Refused { status } => (REFUSED, status, AFTER_FINAL),
        };
        let value = (now + kept) << 24 | u64::from(argument) << 8 | flags;
        let slot = match self.find(transaction) {
            Some((slot, _)) => slot,
            None => self
                .group(transaction)
                .iter()
                .min_by_key(|slot| slot[1].load(Relaxed))
                .unwrap_or(&self.slots[0]),
        };
        store(slot, transaction, value);
    }

    /// A final response has gone back: the call needs its course only until the last retransmission.
    pub fn finish(&self, transaction: u64, now: u64) {
        if let Some((slot, value)) = self.find(transaction) {
            let end = ends(value).min(now + AFTER_FINAL);
            store(slot, transaction, end << 24 | (value & 0xff_ffff));
        }
    }

    fn find(&self, transaction: u64) -> Option<(&[AtomicU64; 2], u64)> {
        self.group(transaction).iter().find_map(|slot| {
            let value = slot[1].load(Relaxed);
            (value != 0 && slot[0].load(Relaxed) ^ value == transaction).then_some((slot, value))
        })
    }

    fn group(&self, transaction: u64) -> &[[AtomicU64; 2]] {
        // Multiply-shift spreads a hash over any number of groups.
        let group = ((u128::from(transaction) * u128::from(self.groups)) >> 64) as usize;
        &self.slots[group * GROUP..(group + 1) * GROUP]
    }
}

fn store(slot: &[AtomicU64; 2], transaction: u64, value: u64) {
    slot[0].store(transaction ^ value, Relaxed);
    slot[1].store(value, Relaxed);
}

fn ends(value: u64) -> u64 {
    value >> 24
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn courses_are_kept_for_their_time() {
        let memory = Memory::new(64);
        let forwarded = Course::Forwarded {
            hop: 513,
            labelled: true,
        };
        memory.note(7, forwarded, 1000);
        assert_eq!(memory.recall(7, 1000 + FORWARDED_FOR - 1), Some(forwarded));
        assert_eq!(memory.recall(7, 1000 + FORWARDED_FOR), None);
        memory.finish(7, 5000);
        assert_eq!(memory.recall(7, 5000 + AFTER_FINAL - 1), Some(forwarded));
        assert_eq!(memory.recall(7, 5000 + AFTER_FINAL), None);
        memory.note(8, Course::Refused { status: 603 }, 0);
        assert_eq!(
            memory.recall(8, AFTER_FINAL - 1),
            Some(Course::Refused { status: 603 })
        );
        assert_eq!(memory.recall(9, 0), None);
    }

    #[test]
    fn a_full_memory_forgets_what_ends_first() {
        let memory = Memory::new(GROUP);
        for key in 1..=GROUP as u64 {
            memory.note(
                key,
                Course::Forwarded {
                    hop: 0,
                    labelled: false,
                },
                key,
            );
        }
        memory.note(
            100,
            Course::Forwarded {
                hop: 0,
                labelled: false,
            },
            100,
        );
        assert_eq!(memory.recall(1, 101), None);
        assert!((2..=GROUP as u64)
            .chain([100])
            .all(|key| memory.recall(key, 101).is_some()));
    }

    #[test]
    fn tags_verify_at_every_length_that_we_give() {
        let key = Key::new(&[7; 32]);
        let tag = key.to_tag(1);
        assert!((SHORTEST_TAG..=LONGEST_TAG).all(|length| key.is_to_tag(&tag[..length], 1)));
        assert!(!key.is_to_tag(&tag[..SHORTEST_TAG - 1], 1) && !key.is_to_tag(&tag, 2));
        assert!(!key.is_to_tag(&[&tag[..], b"0"].concat(), 1));
        assert!(!key.is_to_tag(&[&tag[..SHORTEST_TAG], b"x"].concat(), 1));
    }

    #[test]
    fn long_fields_are_hashed_whole() {
        let key = Key::new(&[7; 32]);
        let hash = |call_id: &[u8]| {
            key.transaction_of("192.0.2.1:5060".parse().unwrap(), 1, b"z9hG4bK1", call_id, b"tag")
        };
        for length in [8, 220, 255, 256, 257, 3000] {
            let mut call_id = vec![b'a'; length];
            let mut hasher = SipHasher24::new_with_keys(key.naming.0, key.naming.1);
            hasher.write(&[192, 0, 2, 1]);
            hasher.write_u64(5060 << 32 | 1);
            for field in [&b"z9hG4bK1"[..], &call_id, b"tag"] {
                hasher.write_u32(field.len() as u32);
                hasher.write(field);
            }
            assert_eq!(hash(&call_id), hasher.finish(), "{length}");
            call_id[length - 1] = b'b';
            assert_ne!(hash(&call_id), hasher.finish(), "{length}");
        }
    }

    #[test]
    fn branches_round_trip() {
        let text = branch(0x0123_4567_89ab_cdef, 0xfeed_f00d);
        assert_eq!(&text[..], b"z9hG4bK-palang0123456789abcdeffeedf00d");
        assert_eq!(read_branch(&text), Some((0x0123_4567_89ab_cdef, 0xfeed_f00d)));
        assert_eq!(read_branch(&text[..30]), None);
        assert_eq!(read_branch(b"z9hG4bK-palang0123456789abcdeffeedf0+d"), None);
        assert!(mentions_branch(b"SIP/2.0/UDP a-b;branch=z9hG4bK-palang0"));
        assert!(!mentions_branch(b"SIP/2.0/UDP a-palang;branch=z9hG4bK-pala"));
    }
}
