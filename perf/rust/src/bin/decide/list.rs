//! The list that is asked: its numbers and prefixes, the changes of it, and bare look-ups in it.

use std::hint::black_box;
use std::time::Instant;

use palang_core::decision::{ListView, Revision};
use palang_core::digest::{entry_digest, Digest};
use palang_core::draft::Draft;
use palang_core::list::View;
use palang_core::number::Number;
use palang_maps::Writer;
use serde_json::{json, Value};

use crate::times::{rounded, BATCH};

/// Changes in one revision.
const CHANGES: usize = 1_000;
pub const PREFIXES: usize = 100;
/// Where the list's numbers lie: Indonesian mobile ones.
const FIRST: u64 = 6_281_000_000_000;
const SPAN: u64 = 8_000_000_000;

/// The i-th number, all different and in no order: the factor has no divisor in common with the span.
pub fn number(i: usize) -> u64 {
    FIRST + i as u64 * 2_654_435_761 % SPAN
}

pub fn load(writer: &mut Writer, numbers: usize) {
    let mut draft = Draft::new(0);
    for i in 0..numbers {
        let line = format!("+{}\t{}", number(i), STACKS[0]);
        draft.add([line.as_str()].into_iter()).expect("a good line");
    }
    for i in 0..PREFIXES {
        let line = format!(
            "+{}{}*\tnoc reject enforce both",
            770 + i,
            ["", "1", "12", "123"][i % 4]
        );
        draft.add([line.as_str()].into_iter()).expect("a good line");
    }
    let digest = draft.digest();
    writer
        .load(Revision { epoch: 1, n: 1 }, draft, digest)
        .expect("room for the list");
}

/// What a changed number goes through, one after another and round again.
const STACKS: [&str; 3] = ["order reject enforce both", "noc reject enforce call", ""];

/// Revisions made beforehand, so that the writer does nothing but write.
pub struct Changes(Vec<(Vec<String>, Digest)>);

impl Changes {
    /// Changes numbers of odd place; those of even place are the callers', whose verdict stays.
    pub fn prepare(writer: &Writer, numbers: usize, changes: usize) -> Changes {
        let mut digest = writer.digest();
        let places = (numbers / 2 / CHANGES * CHANGES).max(CHANGES);
        let revisions = (0..changes / CHANGES).map(|revision| {
            let lines = (revision * CHANGES..(revision + 1) * CHANGES).map(|turn| {
                let value = number(turn % places * 2 + 1);
                let line = |stack: &str| format!("+{value}\t{stack}");
                let [former, next] = [0, 1].map(|step| STACKS[(turn / places + step) % STACKS.len()]);
                if !former.is_empty() {
                    digest -= entry_digest(line(former).as_bytes());
                }
                if !next.is_empty() {
                    digest += entry_digest(line(next).as_bytes());
                }
                line(next)
            });
            (lines.collect(), digest)
        });
        Changes(revisions.collect())
    }

    pub fn count(&self) -> usize {
        self.0.len() * CHANGES
    }

    /// Applies all; in how many seconds.
    pub fn apply(&self, writer: &mut Writer) -> f64 {
        let mut revision = writer.revision();
        let began = Instant::now();
        for (lines, digest) in &self.0 {
            revision.n += 1;
            writer
                .apply(revision, lines.clone(), *digest, 0)
                .expect("a good revision");
        }
        began.elapsed().as_secs_f64()
    }
}

/// Look-ups of numbers in the list, in an order that is not the table's.
pub fn look_up(view: &View<'_>, numbers: usize) -> Value {
    let count = numbers.min(1_000_000) / 2;
    let even = |i: usize| Number::from_value(number(i * 7919 % (numbers / 2) * 2)).expect("13 digits");
    let asked: Vec<Number> = (0..count).map(even).collect();
    let each = |began: Instant| rounded(began.elapsed().as_nanos() as f64 / count as f64);
    let mut best = [f64::MAX; 2];
    for _ in 0..5 {
        let began = Instant::now();
        let (mut found, mut waited) = (0, 0);
        for place in 0..count {
            // A policy has 14 bits, so this adds nothing; but that must be known before the next can begin.
            let policy = view.number(asked[place + (waited >> 14)]);
            waited = black_box(usize::from(policy.unwrap_or(0)));
            found += usize::from(policy.is_some());
        }
        best[0] = best[0].min(each(began));
        assert_eq!(found, count, "a number of the list was not found");
        let mut policies = [0; BATCH];
        let began = Instant::now();
        let mut found = 0;
        for batch in asked.chunks(BATCH) {
            view.numbers(batch, &mut policies);
            found += policies[..batch.len()]
                .iter()
                .filter(|&&policy| policy > 0)
                .count();
        }
        best[1] = best[1].min(each(began));
        assert_eq!(found, count, "a number of the list was not found in a batch");
    }
    json!({ "dependent": best[0], "batch_of_64": best[1] })
}
