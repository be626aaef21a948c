//! How many different numbers there were, in a few kilobytes and without any of them: HyperLogLog.
//!
//! The sketch of Flajolet, Fusy, Gandouet and Meunier (2007) with 64-bit hashes, read by the improved raw estimator of
//! O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (arXiv:1702.01284, algorithm 6): it needs no
//! tables of corrections and is right over the whole range, small and middle included. A sketch is a set of registers:
//! the union of two is the larger of each, without loss, whatever was counted twice. Until most of its registers are used
//! it holds only those.

use std::fmt;

use crate::course::Key;

/// Bits of a hash that choose a register. The relative standard error is 1.04 / √2^14 = 0.81 %; and of 33 numbers, where
/// one that shares a register is 3 % already, none does in 97 of 100 cases.
pub const PRECISION: u32 = 14;
const REGISTERS: usize = 1 << PRECISION;
/// Bits of a hash that are left, and the greatest value of a register less one.
const REST: u32 = 64 - PRECISION;
const MOST_RANK: u8 = REST as u8 + 1;
/// A rank fits these bits.
const RANK_BITS: u32 = 6;
/// Places of the largest table; a fuller one becomes an array.
const MOST_PLACES: usize = 2048;

const MARK: [u8; 3] = [b'P', 1, PRECISION as u8];
const SPARSE: u8 = 0;
const DENSE: u8 = 1;
const HEAD: usize = MARK.len() + 1;
const DENSE_BYTES: usize = REGISTERS * RANK_BITS as usize / 8;
/// Used registers up to which their list is the shorter text.
const MOST_LISTED: usize = (DENSE_BYTES - 3) / 3;

/// What hashes numbers for sketches: the same on all nodes and at all hours while the gateways' naming half stays.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SketchKey(u64, u64);

impl SketchKey {
    pub fn of(key: &Key) -> SketchKey {
        let [first, second] = key.derived(b"palang sketches");
        SketchKey(first, second)
    }

    /// SipHash-1-3 (Aumasson and Bernstein 2012) of the eight bytes of a number: a third of what it takes where the length
    /// could be any.
    pub fn hash(&self, value: u64) -> u64 {
        let SketchKey(first, second) = *self;
        let mut v = [
            first ^ 0x736f_6d65_7073_6575,
            second ^ 0x646f_7261_6e64_6f6d,
            first ^ 0x6c79_6765_6e65_7261,
            second ^ 0x7465_6462_7974_6573,
        ];
        for word in [value, 8 << 56] {
            v[3] ^= word;
            sip_round(&mut v);
            v[0] ^= word;
        }
        v[2] ^= 0xff;
        (0..3).for_each(|_| sip_round(&mut v));
        v[0] ^ v[1] ^ v[2] ^ v[3]
    }

    /// Tells keys apart without telling them: sketches of different ones must not be united.
    pub fn fingerprint(&self) -> u32 {
        self.hash(u64::from_le_bytes(*b"whichkey")) as u32
    }
}

#[inline(always)]
fn sip_round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[2] = v[2].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].rotate_left(32).wrapping_add(v[3]);
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].rotate_left(32);
}

/// A set's size, estimated.
#[derive(Clone, Debug)]
pub struct Sketch(Registers);

#[derive(Clone, Debug)]
enum Registers {
    /// Places by open addressing, `index << RANK_BITS | rank`; 0: free.
    Sparse {
        places: Vec<u32>,
        used: usize,
    },
    Dense(Box<[u8; REGISTERS]>),
}

/// Why bytes are no sketch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SketchError(&'static str);

impl fmt::Display for SketchError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "not a sketch: {}", self.0)
    }
}

impl std::error::Error for SketchError {}

impl Default for Sketch {
    fn default() -> Sketch {
        Sketch(Registers::Sparse {
            places: Vec::new(),
            used: 0,
        })
    }
}

/// Equal when they have seen sets that no sketch can tell apart.
impl PartialEq for Sketch {
    fn eq(&self, other: &Sketch) -> bool {
        self.ranks() == other.ranks()
    }
}

impl Eq for Sketch {}

impl Sketch {
    /// The relative standard error of an estimate; 95 % of them lie within 1.96 times that.
    pub fn error() -> f64 {
        1.04 / (REGISTERS as f64).sqrt()
    }

    /// Counts an item by its hash, of which all 64 bits must be random.
    pub fn add(&mut self, hash: u64) {
        let (index, rank) = place_of(hash);
        self.raise(index, rank);
    }

    /// The same where it takes no memory. False: it would.
    pub fn add_in_place(&mut self, hash: u64) -> bool {
        let (index, rank) = place_of(hash);
        if let Registers::Sparse { places, used } = &self.0 {
            let full = (*used + 1) * 4 > places.len() * 3;
            if full && find(places, index).is_none_or(|at| places[at] == 0) {
                return false;
            }
        }
        self.raise(index, rank);
        true
    }

    /// Bytes of memory that its registers take.
    pub fn size(&self) -> usize {
        match &self.0 {
            Registers::Sparse { places, .. } => places.len() * 4,
            Registers::Dense(_) => REGISTERS,
        }
    }

    /// Becomes the sketch of both sets together.
    pub fn merge(&mut self, other: &Sketch) {
        match &other.0 {
            Registers::Sparse { places, .. } => {
                for place in places.iter().filter(|place| **place != 0) {
                    self.raise(index_of(*place), rank_of(*place));
                }
            }
            Registers::Dense(theirs) => {
                let ours = self.spread();
                for (rank, their) in ours.iter_mut().zip(theirs.iter()) {
                    *rank = (*rank).max(*their);
                }
            }
        }
    }

    /// How many different items were counted, about.
    pub fn estimate(&self) -> f64 {
        let mut counts = [0u32; MOST_RANK as usize + 1];
        counts[0] = REGISTERS as u32;
        self.each(|_, rank| {
            counts[0] -= 1;
            counts[usize::from(rank)] += 1;
        });
        let m = REGISTERS as f64;
        let share = |rank: usize| f64::from(counts[rank]) / m;
        let mut z = m * tau(1.0 - share(usize::from(MOST_RANK)));
        for rank in (1..usize::from(MOST_RANK)).rev() {
            z = 0.5 * (z + f64::from(counts[rank]));
        }
        z += m * sigma(share(0));
        m * m / (2.0 * std::f64::consts::LN_2 * z)
    }

    /// Its text for others: equal sketches have equal ones.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MARK.to_vec();
        let mut used = Vec::new();
        self.each(|index, rank| used.push(entry(index, rank)));
        if used.len() <= MOST_LISTED {
            used.sort_unstable();
            bytes.push(SPARSE);
            bytes.extend_from_slice(&(used.len() as u16).to_le_bytes());
            for entry in used {
                bytes.extend_from_slice(&entry.to_le_bytes()[..3]);
            }
            return bytes;
        }
        bytes.push(DENSE);
        let ranks = self.ranks();
        for four in ranks.chunks_exact(4) {
            let packed = four
                .iter()
                .rev()
                .fold(0u32, |packed, rank| packed << RANK_BITS | u32::from(*rank));
            bytes.extend_from_slice(&packed.to_le_bytes()[..3]);
        }
        bytes
    }

    /// Reads what `to_bytes` writes, and nothing else.
    pub fn parse(bytes: &[u8]) -> Result<Sketch, SketchError> {
        let (head, rest) = bytes.split_at_checked(HEAD).ok_or(SketchError("too short"))?;
        if head[..MARK.len()] != MARK {
            return Err(SketchError("of another kind, version or precision"));
        }
        match head[MARK.len()] {
            SPARSE => parse_listed(rest),
            DENSE => parse_packed(rest),
            _ => Err(SketchError("neither sparse nor dense")),
        }
    }

    fn raise(&mut self, index: usize, rank: u8) {
        match &mut self.0 {
            Registers::Dense(ranks) => ranks[index] = ranks[index].max(rank),
            Registers::Sparse { places, used } => {
                if let Some(at) = find(places, index) {
                    if places[at] != 0 {
                        places[at] = places[at].max(entry(index, rank));
                        return;
                    }
                    if (*used + 1) * 4 <= places.len() * 3 {
                        places[at] = entry(index, rank);
                        *used += 1;
                        return;
                    }
                }
                self.grow();
                self.raise(index, rank);
            }
        }
    }

    /// Makes room for one register more.
    fn grow(&mut self) {
        let Registers::Sparse { places, used } = &mut self.0 else {
            return;
        };
        if places.len() >= MOST_PLACES {
            self.spread();
            return;
        }
        let mut larger = vec![0; (places.len() * 2).max(8)];
        for place in places.iter().filter(|place| **place != 0) {
            if let Some(at) = find(&larger, index_of(*place)) {
                larger[at] = *place;
            }
        }
        (*places, *used) = (larger, *used);
    }

    /// As an array from now on.
    fn spread(&mut self) -> &mut [u8; REGISTERS] {
        if matches!(self.0, Registers::Sparse { .. }) {
            self.0 = Registers::Dense(self.ranks());
        }
        match &mut self.0 {
            Registers::Dense(ranks) => ranks,
            Registers::Sparse { .. } => unreachable!("it was made an array just now"),
        }
    }

    fn ranks(&self) -> Box<[u8; REGISTERS]> {
        let mut ranks = Box::new([0; REGISTERS]);
        self.each(|index, rank| ranks[index] = rank);
        ranks
    }

    /// The registers that are used.
    fn each(&self, mut tell: impl FnMut(usize, u8)) {
        match &self.0 {
            Registers::Sparse { places, .. } => {
                for place in places.iter().filter(|place| **place != 0) {
                    tell(index_of(*place), rank_of(*place));
                }
            }
            Registers::Dense(ranks) => {
                for (index, rank) in ranks.iter().enumerate().filter(|(_, rank)| **rank != 0) {
                    tell(index, *rank);
                }
            }
        }
    }
}

fn parse_listed(rest: &[u8]) -> Result<Sketch, SketchError> {
    let (count, entries) = rest.split_at_checked(2).ok_or(SketchError("too short"))?;
    let count = usize::from(u16::from_le_bytes([count[0], count[1]]));
    if count > MOST_LISTED || entries.len() != count * 3 {
        return Err(SketchError("its length is not the one that it tells"));
    }
    let mut sketch = Sketch::default();
    let mut next = 0;
    for bytes in entries.chunks_exact(3) {
        let entry = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]);
        let (index, rank) = (index_of(entry), rank_of(entry));
        if index < next || index >= REGISTERS {
            return Err(SketchError("its registers are not in order"));
        }
        if !(1..=MOST_RANK).contains(&rank) {
            return Err(SketchError("a register has a value that none can have"));
        }
        next = index + 1;
        sketch.raise(index, rank);
    }
    Ok(sketch)
}

fn parse_packed(rest: &[u8]) -> Result<Sketch, SketchError> {
    if rest.len() != DENSE_BYTES {
        return Err(SketchError("its length is not that of all registers"));
    }
    let mut ranks = Box::new([0; REGISTERS]);
    for (bytes, four) in rest.chunks_exact(3).zip(ranks.chunks_exact_mut(4)) {
        let packed = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]);
        for (place, rank) in four.iter_mut().enumerate() {
            *rank = (packed >> (place as u32 * RANK_BITS)) as u8 & ((1 << RANK_BITS) - 1);
        }
    }
    if ranks.iter().any(|rank| *rank > MOST_RANK) {
        return Err(SketchError("a register has a value that none can have"));
    }
    if ranks.iter().filter(|rank| **rank != 0).count() <= MOST_LISTED {
        return Err(SketchError("so few registers are written as a list"));
    }
    Ok(Sketch(Registers::Dense(ranks)))
}

/// The register of a hash, and the place of the first 1 among the bits that are left.
fn place_of(hash: u64) -> (usize, u8) {
    let rest = hash << PRECISION;
    ((hash >> REST) as usize, rest.leading_zeros().min(REST) as u8 + 1)
}

fn entry(index: usize, rank: u8) -> u32 {
    (index as u32) << RANK_BITS | u32::from(rank)
}

fn index_of(entry: u32) -> usize {
    (entry >> RANK_BITS) as usize
}

fn rank_of(entry: u32) -> u8 {
    entry as u8 & ((1 << RANK_BITS) - 1)
}

/// The place of a register, or the free one where it goes. An index is random: it is its own hash.
fn find(places: &[u32], index: usize) -> Option<usize> {
    let mask = places.len().checked_sub(1)?;
    let order = (0..places.len()).map(|step| (index + step) & mask);
    order
        .into_iter()
        .find(|at| places[*at] == 0 || index_of(places[*at]) == index)
}

/// Ertl, eq. (28): what empty registers tell.
fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

/// Ertl, eq. (29): what registers at their end tell.
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use siphasher::sip::SipHasher13;

    fn key() -> SketchKey {
        SketchKey::of(&Key::new(&[7; 32]))
    }

    fn of(values: impl IntoIterator<Item = u64>) -> Sketch {
        let (mut sketch, key) = (Sketch::default(), key());
        values.into_iter().for_each(|value| sketch.add(key.hash(value)));
        sketch
    }

    fn union(one: &Sketch, other: &Sketch) -> Sketch {
        let mut both = one.clone();
        both.merge(other);
        both
    }

    /// Sets of all sizes: from none to so many that every register is used.
    fn any_sketch() -> impl Strategy<Value = Sketch> {
        (
            0u64..40_000,
            prop_oneof![Just(0u64), 1u64..30, 1u64..3_000, 1u64..20_000],
        )
            .prop_map(|(first, count)| of(first..first + count))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn a_union_is_the_same_in_any_order_and_as_often_as_you_like(a in any_sketch(), b in any_sketch(), c in any_sketch()) {
            prop_assert_eq!(union(&a, &b), union(&b, &a));
            prop_assert_eq!(union(&union(&a, &b), &c), union(&a, &union(&b, &c)));
            prop_assert_eq!(union(&union(&a, &b), &b), union(&a, &b));
            prop_assert_eq!(union(&a, &Sketch::default()).to_bytes(), a.to_bytes());
            prop_assert_eq!(union(&a, &b).estimate(), union(&b, &a).estimate());
        }

        #[test]
        fn the_hash_is_siphash(first in any::<u64>(), second in any::<u64>(), value in any::<u64>()) {
            let whole = SipHasher13::new_with_keys(first, second).hash(&value.to_le_bytes());
            prop_assert_eq!(SketchKey(first, second).hash(value), whole);
        }

        #[test]
        fn what_is_written_is_read_again(a in any_sketch()) {
            let bytes = a.to_bytes();
            let read = Sketch::parse(&bytes).unwrap();
            prop_assert_eq!(&read, &a);
            prop_assert_eq!(read.to_bytes(), bytes);
        }

        #[test]
        fn what_is_read_is_written_so(bytes in prop::collection::vec(any::<u8>(), 0..40), dense in any::<bool>()) {
            let mut bytes = [&MARK[..], &[u8::from(dense)], &bytes].concat();
            if dense {
                bytes.resize(HEAD + DENSE_BYTES, bytes.len() as u8);
            }
            for text in [&bytes[..], &bytes[1..]] {
                if let Ok(sketch) = Sketch::parse(text) {
                    prop_assert_eq!(sketch.to_bytes(), text);
                }
            }
        }

        #[test]
        fn one_flipped_bit_is_noticed_or_another_sketch(a in any_sketch(), at in any::<prop::sample::Index>(), bit in 0..8u32) {
            let mut bytes = a.to_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= 1u8 << bit;
            if let Ok(sketch) = Sketch::parse(&bytes) {
                prop_assert_ne!(&sketch, &a);
                prop_assert_eq!(sketch.to_bytes(), bytes);
            }
        }

        #[test]
        fn a_full_one_takes_what_needs_no_room(values in prop::collection::vec(0u64..2_000, 0..1_500)) {
            let (mut bounded, mut free, key) = (Sketch::default(), Sketch::default(), key());
            for value in values {
                let hash = key.hash(value);
                let size = bounded.size();
                let taken = bounded.add_in_place(hash);
                prop_assert_eq!(bounded.size(), size);
                free.add(hash);
                if !taken {
                    bounded.add(hash);
                }
                prop_assert_eq!(&bounded, &free);
            }
        }
    }

    #[test]
    fn texts_of_every_length_but_the_right_one_are_refused() {
        for sketch in [of(0..100), of(0..100_000)] {
            let bytes = sketch.to_bytes();
            assert!((0..bytes.len()).all(|end| Sketch::parse(&bytes[..end]).is_err()));
            assert!(Sketch::parse(&[&bytes[..], &[0]].concat()).is_err());
        }
    }

    #[test]
    fn another_key_makes_other_sketches() {
        let other = SketchKey::of(&Key::new(&[8; 32]));
        assert_ne!(other.fingerprint(), key().fingerprint());
        let mut sketch = Sketch::default();
        (0..100).for_each(|value| sketch.add(other.hash(value)));
        assert_ne!(sketch, of(0..100));
    }
}
