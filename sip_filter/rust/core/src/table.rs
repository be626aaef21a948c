//! Open addressing over shared words: the table that every call asks.
//!
//! A slot is `key:50 | policy:14`; 0 is empty and 1 a tombstone. A key's home is found by multiply-shift into any
//! capacity, and collisions go to the next slot. One writer changes single slots by single stores; entries never move,
//! so a reader sees the old or the new and nothing else. It looks at no more slots than the longest probe that any
//! insertion needed, whatever the writer does meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};

const EMPTY: u64 = 0;
const TOMBSTONE: u64 = 1;
const POLICY_BITS: u32 = 14;
const POLICY_MASK: u64 = (1 << POLICY_BITS) - 1;

/// Look-ups that `find_many` overlaps.
pub const BATCH: usize = 64;

#[derive(Clone, Copy)]
pub struct Table<'a> {
    slots: &'a [AtomicU64],
    longest: &'a AtomicU64,
}

/// What `put` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// A new entry in a slot that was empty.
    Fresh,
    /// A new entry where a tombstone lay.
    Reused,
    /// The entry was there; its former policy.
    Replaced(u16),
    /// No slot is left.
    Full,
}

impl<'a> Table<'a> {
    /// A table over `slots`; `longest` holds the most slots any insertion had to look at.
    pub fn over(slots: &'a [AtomicU64], longest: &'a AtomicU64) -> Table<'a> {
        Table { slots, longest }
    }

    /// The policy of `key`.
    pub fn find(&self, key: u64) -> Option<u16> {
        let home = home(key, self.slots.len());
        let first = self.slots.get(home)?.load(Ordering::Acquire);
        self.follow(key, home, first)
    }

    /// The policies of up to `BATCH` keys at once, 0 where there is none. All first slots are loaded before any is
    /// looked at: the loads depend on nothing, so the processor waits for them together.
    pub fn find_many(&self, keys: &[u64], policies: &mut [u16]) {
        for (keys, policies) in keys.chunks(BATCH).zip(policies.chunks_mut(BATCH)) {
            let mut firsts = [(0, EMPTY); BATCH];
            for (first, &key) in firsts.iter_mut().zip(keys) {
                let home = home(key, self.slots.len());
                *first = (
                    home,
                    self.slots
                        .get(home)
                        .map_or(EMPTY, |slot| slot.load(Ordering::Acquire)),
                );
            }
            for ((policy, &key), &(home, first)) in policies.iter_mut().zip(keys).zip(&firsts) {
                *policy = self.follow(key, home, first).unwrap_or(0);
            }
        }
    }

    /// Every entry, as (key, policy), in no order.
    pub fn entries(&self) -> impl Iterator<Item = (u64, u16)> + 'a {
        self.slots
            .iter()
            .map(|slot| slot.load(Ordering::Acquire))
            .filter(|&word| word > TOMBSTONE)
            .map(unpack)
    }

    /// Writer only: gives `key` a policy by one store.
    pub(crate) fn put(&self, key: u64, policy: u16) -> Put {
        let word = pack(key, policy);
        let mut index = home(key, self.slots.len());
        let mut reusable = None;
        for looked in 1..=self.slots.len() as u64 {
            match self.slots[index].load(Ordering::Relaxed) {
                EMPTY => {
                    let (place, looked, outcome) = match reusable {
                        Some((place, looked)) => (place, looked, Put::Reused),
                        None => (index, looked, Put::Fresh),
                    };
                    self.fill(place, looked, word);
                    return outcome;
                }
                TOMBSTONE => reusable = reusable.or(Some((index, looked))),
                found if found >> POLICY_BITS == key => {
                    self.slots[index].store(word, Ordering::Release);
                    return Put::Replaced((found & POLICY_MASK) as u16);
                }
                _ => {}
            }
            index = following(index, self.slots.len());
        }
        match reusable {
            Some((place, looked)) => {
                self.fill(place, looked, word);
                Put::Reused
            }
            None => Put::Full,
        }
    }

    /// Writer only: leaves a tombstone where `key` was; its former policy.
    pub(crate) fn remove(&self, key: u64) -> Option<u16> {
        let mut index = home(key, self.slots.len());
        for _ in 0..self.bound() {
            match self.slots[index].load(Ordering::Relaxed) {
                EMPTY => return None,
                found if found > TOMBSTONE && found >> POLICY_BITS == key => {
                    self.slots[index].store(TOMBSTONE, Ordering::Release);
                    return Some((found & POLICY_MASK) as u16);
                }
                _ => index = following(index, self.slots.len()),
            }
        }
        None
    }

    // The bound is stored before the entry that needs it.
    fn fill(&self, place: usize, looked: u64, word: u64) {
        if looked > self.longest.load(Ordering::Relaxed) {
            self.longest.store(looked, Ordering::Relaxed);
        }
        self.slots[place].store(word, Ordering::Release);
    }

    #[inline]
    fn follow(&self, key: u64, home: usize, first: u64) -> Option<u16> {
        if first >> POLICY_BITS == key {
            return Some((first & POLICY_MASK) as u16);
        }
        if first == EMPTY {
            return None;
        }
        let mut index = home;
        for _ in 1..self.bound() {
            index = following(index, self.slots.len());
            let word = self.slots[index].load(Ordering::Acquire);
            if word >> POLICY_BITS == key {
                return Some((word & POLICY_MASK) as u16);
            }
            if word == EMPTY {
                return None;
            }
        }
        None
    }

    // A damaged bound must not send a reader around for ever.
    fn bound(&self) -> u64 {
        self.longest.load(Ordering::Relaxed).min(self.slots.len() as u64)
    }
}

pub(crate) fn pack(key: u64, policy: u16) -> u64 {
    key << POLICY_BITS | u64::from(policy) & POLICY_MASK
}

pub(crate) fn unpack(word: u64) -> (u64, u16) {
    (word >> POLICY_BITS, (word & POLICY_MASK) as u16)
}

/// Into so many shelves a list is sorted on its way into a table.
pub(crate) const SHELVES: usize = 256;

/// Where in a table of any capacity a key's home is, in 256ths from its start: who stores key by key, shelf by shelf,
/// stays within memory that the caches hold.
#[inline]
pub(crate) fn shelf(key: u64) -> usize {
    (mixed(key) >> (u64::BITS - SHELVES.ilog2())) as usize
}

#[inline]
fn home(key: u64, capacity: usize) -> usize {
    ((u128::from(mixed(key)) * capacity as u128) >> 64) as usize
}

// Numbers come in runs and with equal endings: fold both halves of a product before the one that picks the slot.
#[inline]
fn mixed(key: u64) -> u64 {
    let product = u128::from(key) * 0x9e37_79b9_7f4a_7c15_u128;
    ((product >> 64) as u64 ^ product as u64).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

#[inline]
fn following(index: usize, capacity: usize) -> usize {
    if index + 1 == capacity {
        0
    } else {
        index + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn blank(capacity: usize) -> (Vec<AtomicU64>, AtomicU64) {
        (
            (0..capacity).map(|_| AtomicU64::new(EMPTY)).collect(),
            AtomicU64::new(0),
        )
    }

    #[test]
    fn a_full_table_says_so_and_still_answers() {
        let (slots, longest) = blank(3);
        let table = Table::over(&slots, &longest);
        for key in [10, 11, 12] {
            assert_eq!(table.put(key, 5), Put::Fresh);
        }
        assert_eq!(table.put(13, 5), Put::Full);
        assert_eq!((table.find(12), table.find(13)), (Some(5), None));
        assert_eq!(table.remove(11), Some(5));
        assert_eq!(table.put(13, 6), Put::Reused);
        assert_eq!(table.find(13), Some(6));
    }

    #[test]
    fn an_empty_slice_holds_nothing() {
        let (slots, longest) = blank(0);
        let table = Table::over(&slots, &longest);
        assert_eq!(
            (table.find(7), table.put(7, 1), table.remove(7)),
            (None, Put::Full, None)
        );
    }

    #[test]
    fn shelves_are_parts_of_the_table_in_order() {
        for capacity in [1, 300, 10_000, 14_000_000] {
            let part = |shelf: usize| shelf as u128 * capacity as u128 / SHELVES as u128;
            for key in (0..10_000).map(|index| 628_120_000_000 + index * 37) {
                let (shelf, home) = (shelf(key), home(key, capacity) as u128);
                assert!(
                    (part(shelf)..=part(shelf + 1)).contains(&home),
                    "{key} of {capacity}"
                );
            }
        }
    }

    #[test]
    fn runs_of_numbers_spread() {
        for step in [1u64, 10, 1000, 4096] {
            let (slots, longest) = blank(10_000);
            let table = Table::over(&slots, &longest);
            assert!((0..8_000).all(|index| table.put(628_120_000_000 + index * step, 1) == Put::Fresh));
            assert!(longest.load(Ordering::Relaxed) < 400, "step {step}: {longest:?}");
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_map(steps in proptest::collection::vec((10..60u64, 0..4u16), 0..300)) {
            let (slots, longest) = blank(64);
            let table = Table::over(&slots, &longest);
            let mut oracle = HashMap::new();
            for (key, policy) in steps {
                if policy == 0 {
                    prop_assert_eq!(table.remove(key), oracle.remove(&key));
                } else {
                    let before = oracle.insert(key, policy);
                    match table.put(key, policy) {
                        Put::Replaced(old) => prop_assert_eq!(Some(old), before),
                        Put::Full => prop_assert!(false, "full with {} entries", oracle.len()),
                        Put::Fresh | Put::Reused => prop_assert_eq!(None, before),
                    }
                }
                let keys: Vec<u64> = (10..70).collect();
                let mut policies = vec![9; keys.len()];
                table.find_many(&keys, &mut policies);
                for (key, policy) in keys.iter().zip(policies) {
                    prop_assert_eq!(table.find(*key), oracle.get(key).copied());
                    prop_assert_eq!(policy, oracle.get(key).copied().unwrap_or(0));
                }
            }
            prop_assert_eq!(table.entries().collect::<HashMap<_, _>>(), oracle);
        }
    }
}
