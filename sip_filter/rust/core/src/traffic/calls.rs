//! Calls that were sent on, until it is known what became of them: fixed size, and no number of anybody.
//!
//! Places stand in groups of eight, as those of `course::Memory` do: a call lives in one group and, when that is full,
//! takes the place of the oldest there.

use super::{Code, Column, What};
use crate::course::FORWARDED_FOR;

/// Calls remembered: at 2,000 a second for the 240 s that a call may ring. 24 bytes each, taken as they are needed.
pub const REMEMBERED: usize = 1 << 19;
/// Milliseconds after it began to ring within which a call that is given up was brief.
const BRIEF: u64 = 5_000;

const GROUP: usize = 8;
const BORN_BITS: u32 = 40;
const RANG: u64 = 1;
const ANSWERED: u64 = 2;
const ENDED: u64 = 4;

/// Transaction; code, set of watches and flags; when it began (40 bits) and how long after it rang.
type Place = [u64; 3];

pub struct Calls {
    places: Vec<Place>,
}

impl Calls {
    pub fn new(count: usize) -> Calls {
        Calls {
            places: vec![[0; 3]; count.div_ceil(GROUP) * GROUP],
        }
    }

    /// Remembers a call that was sent on at `now` (milliseconds).
    pub fn begin(&mut self, transaction: u64, code: Code, set: u16, now: u64) {
        let group = self.group(transaction);
        let free = |place: &Place| match place[0] == transaction {
            true => 0,
            false if place[0] == 0 => 1,
            false => 2 + born(place),
        };
        if let Some(place) = group.iter_mut().min_by_key(|place| free(place)) {
            *place = [
                transaction,
                u64::from(code) << 32 | u64::from(set) << 16,
                now & BORN,
            ];
        }
    }

    /// What happened to a call at `now`: what it is counted under, when it counts.
    pub fn tell(&mut self, transaction: u64, what: What, now: u64) -> Option<(Code, u16, Column)> {
        let group = self.group(transaction);
        let place = group.iter_mut().find(|place| place[0] == transaction)?;
        let since = now.saturating_sub(born(place));
        let flags = place[1] & 0xffff;
        let rang = place[2] >> BORN_BITS;
        let (flag, column) = match what {
            _ if since >= FORWARDED_FOR => return None,
            What::Rang if flags & (RANG | ANSWERED | ENDED) == 0 => {
                place[2] |= since << BORN_BITS;
                (RANG, Column::Rang)
            }
            What::Answered if flags & ANSWERED == 0 => (ANSWERED, Column::Answered),
            What::Cancelled if flags & (ANSWERED | ENDED) == 0 => {
                let brief = flags & RANG != 0 && since.saturating_sub(rang) <= BRIEF;
                place[1] |= ENDED;
                return brief.then(|| counted(place, Column::Brief));
            }
            _ => return None,
        };
        place[1] |= flag;
        Some(counted(place, column))
    }

    /// Calls under way count for no watch any more.
    pub fn forget_sets(&mut self) {
        for place in &mut self.places {
            place[1] &= !(0xffff << 16);
        }
    }

    fn group(&mut self, transaction: u64) -> &mut [Place] {
        let groups = self.places.len() / GROUP;
        let group = ((u128::from(transaction) * groups as u128) >> 64) as usize;
        &mut self.places[group * GROUP..(group + 1) * GROUP]
    }
}

const BORN: u64 = (1 << BORN_BITS) - 1;

fn born(place: &Place) -> u64 {
    place[2] & BORN
}

fn counted(place: &Place, column: Column) -> (Code, u16, Column) {
    ((place[1] >> 32) as Code, (place[1] >> 16) as u16, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: u64 = 0x1234_5678_9abc_def0;

    fn course(steps: &[(What, u64)]) -> Vec<Column> {
        let mut calls = Calls::new(64);
        calls.begin(CALL, 7, 3, 1_000);
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
        (1..=GROUP as u64 + 1).for_each(|call| calls.begin(call, 1, 0, call));
        assert_eq!(calls.tell(1, What::Rang, 100), None);
        assert!((2..=GROUP as u64 + 1).all(|call| calls.tell(call, What::Rang, 100).is_some()));
        assert_eq!(calls.tell(99, What::Rang, 100), None);
    }

    #[test]
    fn sets_are_forgotten_and_calls_are_not() {
        let mut calls = Calls::new(64);
        calls.begin(CALL, 7, 3, 1_000);
        calls.forget_sets();
        assert_eq!(calls.tell(CALL, What::Rang, 1_001), Some((7, 0, Column::Rang)));
    }
}
