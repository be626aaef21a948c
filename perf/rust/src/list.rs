//! The list that every server under test has loaded, as a rule that each of them can work out for itself.
//!
//! Its numbers are `+62811` and eight digits x, where x runs through x' = (21 x + 7,654,321) mod 10^8 from 0. That generator has its full period (21 - 1 is divisible by 4 and by 5, the addend by neither 2 nor 5), so
//! that no number comes twice, and its largest product fits the 32-bit whole numbers of Kamailio's configuration.
//! The prefixes are `+7700` to `+7799`.

/// Most numbers that a list may have.
pub const NUMBERS: u32 = 100_000_000;

/// The eight digits of the first `count` numbers.
pub fn numbers(count: u32) -> Vec<u32> {
    let step = |x: &u32| Some((21 * x + 7_654_321) % NUMBERS);
    std::iter::successors(Some(0), step)
        .take(count as usize)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_comes_twice() {
        let mut found = numbers(1_000_000);
        assert_eq!(found[..3], [0, 7_654_321, 68_395_062]);
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), 1_000_000);
    }
}
