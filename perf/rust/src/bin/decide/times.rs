//! Times of answers, and what is told of them.

use std::time::Instant;

use serde_json::{json, Value};

/// Answers that are timed as a whole.
pub const BATCH: usize = 64;

/// Durations: of single answers, and of batches for the mean.
#[derive(Default)]
pub struct Times {
    singles: Vec<u32>,
    batches: Vec<u32>,
}

impl Times {
    pub fn add(&mut self, whole: bool, mut answer: impl FnMut(usize)) {
        let began = Instant::now();
        if whole {
            (0..BATCH).for_each(answer);
            self.batches.push(nanoseconds(began));
            return;
        }
        for i in 0..BATCH {
            let began = Instant::now();
            answer(i);
            self.singles.push(nanoseconds(began));
        }
    }

    pub fn at(&self, percent: f64) -> f64 {
        percentile(&self.singles, percent)
    }

    pub fn figures(&self) -> Value {
        let means = |percent| (percentile(&self.batches, percent) / BATCH as f64).round();
        json!({
            "mean_in_median_batch": means(50.0),
            "mean_in_best_batch": means(0.0),
            "median": self.at(50.0),
            "p99": self.at(99.0),
            "p99.9": self.at(99.9),
            "samples": self.singles.len(),
        })
    }
}

pub fn nanoseconds(began: Instant) -> u32 {
    began.elapsed().as_nanos().min(u128::from(u32::MAX)) as u32
}

pub fn percentile(times: &[u32], percent: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let place = (sorted.len() as f64 * percent / 100.0) as usize;
    sorted
        .get(place.min(sorted.len().saturating_sub(1)))
        .map_or(0.0, |time| f64::from(*time))
}

pub fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// What the clock itself adds to a single time.
pub fn clock() -> f64 {
    let times: Vec<u32> = (0..10_000).map(|_| nanoseconds(Instant::now())).collect();
    percentile(&times, 50.0)
}
