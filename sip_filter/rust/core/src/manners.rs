//! What is agreed with a trunk besides who it is: its role, how much it may send, and what is counted of it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;

use crate::counter::{Counter, Marks};
use crate::refusal::Refusal;

/// How we behave towards one trunk.
#[derive(Clone)]
pub struct Manners {
    pub role: Role,
    /// New calls and messages a second that one worker takes; the rest is shed.
    pub max_per_s: Option<u32>,
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

/// One worker's token bucket for one trunk: a second's worth of calls, full at first.
#[derive(Clone, Copy, Default, Debug)]
pub struct Bucket {
    /// The trunk's key: settings may have put another in its place.
    owner: u64,
    /// Thousandths of a call.
    level: u64,
    at: u64,
}

impl Bucket {
    /// Takes one call at `now` (milliseconds). False: there is none left.
    pub fn take(&mut self, owner: u64, per_s: u32, now: u64) -> bool {
        let full = u64::from(per_s) * 1000;
        if self.owner != owner {
            (self.owner, self.level) = (owner, full);
        } else {
            let waited = now.saturating_sub(self.at).min(1000);
            self.level = full.min(self.level + waited * u64::from(per_s));
        }
        self.at = now;
        let taken = self.level >= 1000;
        if taken {
            self.level -= 1000;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_rate_and_a_second_at_once() {
        let mut bucket = Bucket::default();
        let mut take = |now| bucket.take(7, 10, now);
        assert_eq!((0..15).filter(|_| take(5)).count(), 10);
        assert!(!take(104) && take(105) && !take(105));
        // An hour of quiet saves no more than a second's worth.
        assert_eq!((0..99).filter(|_| take(3_600_000)).count(), 10);
        // At twice the rate every second call passes.
        assert_eq!((1..=200).filter(|i| take(3_600_000 + i * 50)).count(), 100);
    }

    #[test]
    fn another_trunk_begins_anew() {
        let mut bucket = Bucket::default();
        assert!(bucket.take(7, 1, 1) && !bucket.take(7, 1, 1));
        assert!(bucket.take(8, 1, 1));
    }
}
