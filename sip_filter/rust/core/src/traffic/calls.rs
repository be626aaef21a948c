//! Calls that were sent on, until it is known what became of them: fixed size, and no number of anybody.
//!
//! Places stand in groups of four, each a line of the processor's cache; a call lives in one group and, when that is
//! full, takes the place of the oldest there.

use super::{Code, Column, What};
use crate::course::FORWARDED_FOR;

/// Calls remembered, 16 bytes each, which are taken as they are needed.
pub const REMEMBERED: usize = 1 << 19;
/// Milliseconds after it began to ring within which a call that is given up was brief.
const BRIEF: u32 = 5_000;

const GROUP: usize = 4;
const RANG: u32 = 1;
const ANSWERED: u32 = 2;
const ENDED: u32 = 4;
const FLAGS: u32 = 0xffff;
const LINE: usize = 64;

/// A part of the transaction; the code; the milliseconds (modulo 2^32) when it began, and then when it rang; the set of
/// watches and flags. Never all zeroes: a tag has its last bit set.
type Place = [u32; 4];

/// A call that was sent on at `now` (milliseconds).
#[derive(Clone, Copy)]
pub struct Begun {
    pub transaction: u64,
    pub code: Code,
    pub set: u16,
    pub now: u64,
}

pub struct Calls {
    places: Vec<Place>,
    /// Places before the first that begins a cache line.
    skipped: usize,
    groups: usize,
}

impl Calls {
    pub fn new(count: usize) -> Calls {
        let places = vec![[0; 4]; count + GROUP];
        let past = places.as_ptr() as usize % LINE;
        Calls {
            skipped: (LINE - past) % LINE / std::mem::size_of::<Place>(),
            groups: count / GROUP,
            places,
        }
    }

    /// Remembers calls. In one go: the processor fetches the places of several at a time.
    pub fn begin(&mut self, calls: &[Begun]) {
        for call in calls {
            let now = call.now as u32;
            let (tag, group) = self.group(call.transaction);
            let place = group.iter_mut().max_by_key(|place| match place[0] {
                own if own == tag => u64::MAX,
                0 => u64::MAX - 1,
                _ => u64::from(now.wrapping_sub(place[2])),
            });
            if let Some(place) = place {
                *place = [tag, call.code, now, u32::from(call.set) << 16];
            }
        }
    }

    /// What happened to a call at `now`: what it is counted under, when it counts.
    pub fn tell(&mut self, transaction: u64, what: What, now: u64) -> Option<(Code, u16, Column)> {
        let (tag, group) = self.group(transaction);
        let place = group.iter_mut().find(|place| place[0] == tag)?;
        let since = (now as u32).wrapping_sub(place[2]);
        let flags = place[3] & FLAGS;
        if u64::from(since) >= FORWARDED_FOR {
            return None;
        }
        let (flag, column) = match what {
            What::Rang if flags & (RANG | ANSWERED | ENDED) == 0 => {
                place[2] = now as u32;
                (RANG, Column::Rang)
            }
            What::Answered if flags & ANSWERED == 0 => (ANSWERED, Column::Answered),
            What::Cancelled if flags & (ANSWERED | ENDED) == 0 => {
                let brief = flags & RANG != 0 && since <= BRIEF;
                place[3] |= ENDED;
                return brief.then(|| counted(place, Column::Brief));
            }
            _ => return None,
        };
        place[3] |= flag;
        Some(counted(place, column))
    }

    /// Calls under way count for no watch any more.
    pub fn forget_sets(&mut self) {
        for place in &mut self.places {
            place[3] &= FLAGS;
        }
    }

    /// A call's tag, and the places where it may be.
    fn group(&mut self, transaction: u64) -> (u32, &mut [Place]) {
        let group = ((u128::from(transaction) * self.groups as u128) >> 64) as usize;
        let first = self.skipped + group * GROUP;
        (transaction as u32 | 1, &mut self.places[first..first + GROUP])
    }
}

fn counted(place: &Place, column: Column) -> (Code, u16, Column) {
    (place[1], (place[3] >> 16) as u16, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: u64 = 0x1234_5678_9abc_def0;

    fn call(transaction: u64, now: u64) -> Begun {
        Begun {
            transaction,
            code: 7,
            set: 3,
            now,
        }
    }

    fn course(steps: &[(What, u64)]) -> Vec<Column> {
        let mut calls = Calls::new(64);
        calls.begin(&[call(CALL, 1_000)]);
        let told = steps
            .iter()
            .filter_map(|(what, now)| calls.tell(CALL, *what, *now));
        told.map(|(code, set, column)| {
            assert_eq!((code, set), (7, 3));
            column
        })
        .collect()
    }

    #[test]
    fn each_thing_happens_to_a_call_once() {
        use Column::{Answered, Brief, Rang};
        let (rang, answered, cancelled) = (What::Rang, What::Answered, What::Cancelled);
        assert_eq!(
            course(&[(rang, 2_000), (rang, 2_100), (answered, 9_000), (answered, 9_001)]),
            [Rang, Answered]
        );
        assert_eq!(
            course(&[(rang, 2_000), (cancelled, 7_000), (cancelled, 7_001)]),
            [Rang, Brief]
        );
        assert_eq!(course(&[(rang, 2_000), (cancelled, 7_001)]), [Rang]);
        assert_eq!(
            course(&[(cancelled, 1_500), (rang, 1_600), (cancelled, 1_700)]),
            []
        );
        assert_eq!(
            course(&[(rang, 2_000), (answered, 2_500), (cancelled, 2_600)]),
            [Rang, Answered]
        );
        assert_eq!(course(&[(answered, 2_500), (rang, 2_600)]), [Answered]);
        // The answer that crosses a CANCEL counts (RFC 3261 §9.1), and so does the CANCEL.
        assert_eq!(
            course(&[(rang, 2_000), (cancelled, 2_500), (answered, 2_600)]),
            [Rang, Brief, Answered]
        );
        assert_eq!(course(&[(rang, 1_000 + FORWARDED_FOR)]), []);
    }

    #[test]
    fn a_full_memory_forgets_the_oldest() {
        let mut calls = Calls::new(GROUP);
        // The clock's lower half turns over meanwhile.
        let noon = (1 << 32) - 3;
        let begun: Vec<Begun> = (1..=5).map(|i| call(i << 8, noon + i)).collect();
        calls.begin(&begun);
        calls.begin(&begun[4..]);
        assert_eq!(calls.tell(1 << 8, What::Rang, noon + 9), None);
        assert!((2..=5).all(|i| calls.tell(i << 8, What::Rang, noon + 9).is_some()));
        assert_eq!(calls.tell(99 << 8, What::Rang, noon + 9), None);
    }

    #[test]
    fn sets_are_forgotten_and_calls_are_not() {
        let mut calls = Calls::new(64);
        calls.begin(&[call(CALL, 1_000)]);
        calls.forget_sets();
        assert_eq!(calls.tell(CALL, What::Rang, 1_001), Some((7, 0, Column::Rang)));
    }
}
