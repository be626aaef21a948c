//! Durations counted in 64 steps to each power of two: any percentile within 1.6 %.

const STEPS: u64 = 64;

/// Counts of nanoseconds.
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    most: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            counts: vec![0; place(u64::MAX) + 1],
            total: 0,
            most: 0,
        }
    }
}

impl Histogram {
    pub fn add(&mut self, nanoseconds: u64) {
        self.counts[place(nanoseconds)] += 1;
        self.total += 1;
        self.most = self.most.max(nanoseconds);
    }

    /// What `share` of all durations do not exceed; 0 when there are none.
    pub fn quantile(&self, share: f64) -> u64 {
        let rank = (share * self.total as f64).ceil() as u64;
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        found.map_or(0, |place| upper(place).min(self.most))
    }

    pub fn most(&self) -> u64 {
        self.most
    }
}

fn place(value: u64) -> usize {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(STEPS.ilog2() + 1);
    (u64::from(shift) * STEPS + (value >> shift)) as usize
}

/// The largest value that `place` puts there.
fn upper(place: usize) -> u64 {
    let place = place as u64;
    let shift = (place / STEPS).saturating_sub(1);
    let lead = u128::from(place - shift * STEPS);
    (((lead + 1) << shift) - 1).min(u128::from(u64::MAX)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_in_order_and_narrow() {
        let mut values: Vec<u64> = (0..64)
            .flat_map(|bit| [1 << bit, (1 << bit) + 1, (1 << bit) / 2 * 3])
            .collect();
        values.sort_unstable();
        for value in values {
            let found = upper(place(value));
            assert!(
                value <= found && found - value <= value / STEPS,
                "{value}: {found}"
            );
            assert_eq!(place(found), place(value));
            assert!(found == u64::MAX || place(found + 1) == place(value) + 1);
        }
    }

    #[test]
    fn quantiles() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), 0);
        (1..=1000).for_each(|n| histogram.add(n * 1000));
        assert!((500_000..510_000).contains(&histogram.quantile(0.5)));
        assert!((990_000..1_000_000).contains(&histogram.quantile(0.99)));
        assert_eq!(histogram.quantile(1.0), 1_000_000);
    }
}
