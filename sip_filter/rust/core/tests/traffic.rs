//! A million calls with known numbers through two nodes' books: counts are exact, unions lose nothing, and estimates of how
//! many different numbers there were are within 3 % in 95 of 100 cases.

use std::collections::{BTreeMap, HashSet};

use palang_core::clause::trunk_key;
use palang_core::course::Key;
use palang_core::traffic::{Books, Record, Sketch, SketchKey, Told, ToldRow, What};

const NOON: u64 = 1_800_000_000_000;
const HOUR: u64 = 3_600_000;
const TRUNKS: [&str; 2] = ["intl-a", "intl-b"];
/// Prefixes, and about how many numbers call from each.
const CALLERS: [(u64, u64); 9] = [
    (7701, 40),
    (7702, 250),
    (7799, 900),
    (4420, 2_500),
    (8613, 6_000),
    (2519, 15_000),
    (1876, 22_000),
    (6281, 40_000),
    (9999, 90_000),
];
const SEEDS: u64 = 16;
const CALLS: usize = 62_500;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Lot(u64);

impl Lot {
    fn draw(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % below
    }
}

fn key() -> SketchKey {
    SketchKey::of(&Key::new(&[7; 32]))
}

/// What was sent: of each key the calls and the numbers, apart by what they are to be united over.
#[derive(Default)]
struct Truth {
    calls: BTreeMap<(usize, usize, u64), u64>,
    callers: BTreeMap<u64, HashSet<u64>>,
    callees: BTreeMap<u64, HashSet<u64>>,
}

/// What an agent has of one node: the closed minutes, each once.
#[derive(Default)]
struct Gathered {
    after: u64,
    sums: BTreeMap<(usize, u64), u64>,
}

impl Gathered {
    fn take(&mut self, books: &Books) -> Told {
        let told = books.tell(self.after);
        self.sums = self.with(&told.rows);
        assert_eq!(told.next, None);
        self.after = told.closed_to;
        told
    }

    fn with(&self, rows: &[ToldRow]) -> BTreeMap<(usize, u64), u64> {
        let mut sums = self.sums.clone();
        for row in rows {
            let trunk = TRUNKS.iter().position(|name| **name == *row.trunk).unwrap();
            *sums.entry((trunk, row.key.parse().unwrap())).or_default() += u64::from(row.figures[0]);
        }
        sums
    }
}

/// The cases near enough, and all of them.
#[derive(Default)]
struct Score {
    near: usize,
    cases: usize,
}

impl Score {
    fn take(&mut self, numbers: &HashSet<u64>, sketch: &Sketch) {
        let truth = numbers.len() as f64;
        self.cases += 1;
        self.near += usize::from((sketch.estimate() / truth - 1.0).abs() <= 0.03);
        // What was united is what one would have seen that had everything.
        let mut whole = Sketch::default();
        numbers.iter().for_each(|number| whole.add(key().hash(*number)));
        assert!(whole == *sketch && whole.to_bytes() == sketch.to_bytes());
    }
}

#[test]
fn a_million_calls() {
    let mut score = Score::default();
    let mut total = 0;
    for seed in 0..SEEDS {
        total += one_seed(seed, &mut score);
    }
    assert_eq!(total, 1_000_000);
    assert!(score.cases >= 300, "{}", score.cases);
    assert!(
        score.near * 100 >= score.cases * 95,
        "{} of {} cases are within 3 %",
        score.near,
        score.cases
    );
}

/// How many calls were counted.
fn one_seed(seed: u64, score: &mut Score) -> u64 {
    let mut lot = Lot(seed << 32);
    let mut truth = Truth::default();
    let mut nodes = [0, 1].map(|_| {
        let mut books = Books::open(key(), 1, NOON);
        books.know(TRUNKS.map(|name| (trunk_key(name), name)));
        books
    });
    let mut gathered = [Gathered::default(), Gathered::default()];
    for call in 0..CALLS {
        let now = call as u64 * 2 * HOUR / CALLS as u64;
        let (node, trunk) = (lot.draw(2) as usize, lot.draw(2) as usize);
        let (prefix, numbers) = CALLERS[lot.draw(CALLERS.len() as u64) as usize];
        let caller = prefix * 100_000_000 + seed * 1_000_000 + lot.draw(numbers);
        let callee = 6_281_000_000_000 + seed * 1_000_000 + lot.draw(numbers);
        *truth.calls.entry((node, trunk, prefix)).or_default() += 1;
        truth.callers.entry(prefix).or_default().insert(caller);
        truth.callees.entry(prefix).or_default().insert(callee);
        let record = Record {
            now,
            trunk: trunk_key(TRUNKS[trunk]),
            transaction: lot.draw(u64::MAX),
            caller,
            callee,
            what: What::Call,
            rejected: false,
            shadowed: false,
            followed: true,
            trusted: true,
        };
        nodes[node].fold(&[record], now, NOON + now);
        if call % 500 == 0 {
            for (node, books) in nodes.iter_mut().enumerate() {
                books.settle(now, NOON + now);
                gathered[node].take(books);
            }
        }
    }
    let mut counted = 0;
    let mut united: BTreeMap<u64, [Sketch; 2]> = BTreeMap::new();
    for (node, books) in nodes.iter().enumerate() {
        let told = gathered[node].take(books);
        assert_eq!((told.lost.records, told.lost.rows, told.lost.sketches), (0, 0, 0));
        let sums = gathered[node].with(&told.open);
        for ((trunk, prefix), sum) in sums {
            assert_eq!(sum, truth.calls[&(node, trunk, prefix)]);
            counted += sum;
        }
        for hour in 0..3 {
            let found = books.sketches(NOON / HOUR + hour, None);
            assert_eq!(found.next, None);
            for pair in found.pairs {
                let [callers, callees] = united.entry(pair.key.parse().unwrap()).or_default();
                callers.merge(&pair.callers);
                callees.merge(&pair.callees);
            }
        }
    }
    for (prefix, [callers, callees]) in &united {
        score.take(&truth.callers[prefix], callers);
        score.take(&truth.callees[prefix], callees);
    }
    // Shorter prefixes are unions of longer ones.
    for short in [7, 77] {
        let below = |prefix: &u64| prefix.to_string().starts_with(&short.to_string());
        let mut sketch = Sketch::default();
        let mut numbers = HashSet::new();
        for prefix in united.keys().filter(|prefix| below(prefix)) {
            sketch.merge(&united[prefix][0]);
            numbers.extend(&truth.callers[prefix]);
        }
        score.take(&numbers, &sketch);
    }
    counted
}
