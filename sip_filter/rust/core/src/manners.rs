//! What is agreed with a trunk besides who it is: its role, how much it may send, and what is counted of it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;

use crate::counter::{Counter, Marks};
use crate::refusal::Refusal;

/// How we behave towards one trunk.
#[derive(Clone)]
pub struct Manners {
    pub role: Role,
    /// New calls and messages a second that are taken, by all workers together; the rest is shed.
    pub max_per_s: Option<u32>,
    pub bucket: Bucket,
    /// What is shed gets this.
    pub shed: Refusal,
    /// Whether a label stands in From too.
    pub label_from: bool,
    pub tally: Tally,
}

/// What a trunk is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Calls go on to a next hop.
    Interconnect,
    /// Another switch asks and is only answered: a refusal, or this for "go on".
    Dip { pass: Refusal },
}

impl Default for Manners {
    fn default() -> Manners {
        Manners {
            role: Role::Interconnect,
            max_per_s: None,
            bucket: Bucket::default(),
            shed: Refusal::Busy,
            label_from: false,
            tally: Tally::default(),
        }
    }
}

/// What is counted for each trunk.
pub const PER_TRUNK: [Counter; 7] = [
    Counter::Judged,
    Counter::Rejected,
    Counter::Labelled,
    Counter::Shadowed,
    Counter::Unreadable,
    Counter::Shed,
    Counter::Isup,
];

/// One trunk's counts. Clones are the same trunk's: they outlive a change of settings.
#[derive(Clone, Default)]
pub struct Tally(Arc<[AtomicU64; PER_TRUNK.len()]>);

impl Tally {
    pub fn add(&self, marks: &Marks) {
        for mark in marks.as_slice() {
            if let Some(i) = PER_TRUNK.iter().position(|counter| counter == mark) {
                self.0[i].fetch_add(1, Relaxed);
            }
        }
    }

    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let names = PER_TRUNK.iter().map(|counter| counter.name());
        names.zip(self.0.iter().map(|count| count.load(Relaxed)))
    }
}

/// One trunk's token bucket, for all workers: a second's worth of calls, full at first. Clones are the same trunk's.
///
/// Its one word is the moment (nanoseconds) at which it would be full again, as in the generic cell rate algorithm (ITU-T
/// I.371): a call moves that on by its share of a second, and is too much when it would lie more than a second ahead.
#[derive(Clone, Default)]
pub struct Bucket(Arc<AtomicU64>);

const SECOND: u64 = 1_000_000_000;

impl Bucket {
    /// Takes one call at `now` (milliseconds). False: there is none left.
    pub fn take(&self, per_s: u32, now: u64) -> bool {
        let (now, share) = (now.saturating_mul(1_000_000), SECOND / u64::from(per_s.max(1)));
        // Fails only when another worker took one, so that some worker gets on each time round.
        let taken = self.0.fetch_update(Relaxed, Relaxed, |full_at| {
            let next = full_at.max(now) + share;
            (next <= now + SECOND).then_some(next)
        });
        taken.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_rate_and_a_second_at_once() {
        let bucket = Bucket::default();
        let take = |now| bucket.take(10, now);
        assert_eq!((0..15).filter(|_| take(5)).count(), 10);
        assert!(!take(104) && take(105) && !take(105));
        // An hour of quiet saves no more than a second's worth.
        assert_eq!((0..99).filter(|_| take(3_600_000)).count(), 10);
        // At twice the rate every second call passes.
        assert_eq!((1..=200).filter(|i| take(3_600_000 + i * 50)).count(), 100);
    }

    #[test]
    fn a_rate_that_changes_holds_from_then_on() {
        let bucket = Bucket::default();
        assert_eq!((0..2000).filter(|_| bucket.take(1000, 1)).count(), 1000);
        assert!(!bucket.take(1, 1000) && bucket.take(1, 2001) && !bucket.take(1, 2001));
        assert_eq!((0..99).filter(|_| bucket.take(7, 4001)).count(), 7);
        assert!(bucket.take(1_000_000, 5001));
    }

    #[test]
    fn workers_together_get_no_more_than_one_would() {
        for per_s in [1, 3, 1000, 999_983] {
            let bucket = Bucket::default();
            let most = u64::from(per_s) * 2;
            let count = |bucket: Bucket| {
                // Each worker's clock, a little apart, over a second.
                let each = most.div_ceil(4) * 2;
                (0..each)
                    .filter(|i| bucket.take(per_s, 1 + i * 1000 / each))
                    .count() as u64
            };
            let taken: u64 = std::thread::scope(|scope| {
                let workers: Vec<_> = (0..4).map(|_| scope.spawn(|| count(bucket.clone()))).collect();
                workers.into_iter().map(|worker| worker.join().unwrap()).sum()
            });
            // A second's worth at once, and what comes in the 0.999 s that follow; shares are cut to whole nanoseconds.
            let fair = u64::from(per_s) * 1999 / 1000;
            assert!(
                taken >= u64::from(per_s) && taken <= fair + fair / 500 + 1,
                "{per_s}: {taken}"
            );
        }
    }
}
