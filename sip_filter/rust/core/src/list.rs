//! The image of one generation of the list: a header and four regions over shared `u64` words.
//!
//! The words may be a mapped file or the heap; nothing here knows. A `View` reads them without locking, writing or
//! waiting, while one writer (`edit::Editor`) changes them. Regions, in order: header (one page), index of policies,
//! their arena (append-only), prefixes, numbers. Prefixes have a table of their own: among 10^7 numbers their probes
//! doubled the look-up time.
//!
//! The revision is one word, stored after the entries that belong to it. The epoch is fixed for a generation: a new
//! epoch arrives as a whole list.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::decision::{ListView, Revision};
use crate::digest::Digest;
use crate::draft::Draft;
use crate::entry::EntryError;
use crate::number::{Number, Prefix, Subject};
use crate::policy::{Policy, MOST_POLICIES};
use crate::table::Table;

/// Where the regions of an image lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    number_slots: usize,
    prefix_slots: usize,
    arena_words: usize,
}

impl Layout {
    /// An image with room for this much and some growth: about 11.2 bytes a number.
    pub fn for_counts(numbers: usize, prefixes: usize, arena_words: usize) -> Layout {
        Layout {
            number_slots: (numbers * 7).div_ceil(5).next_multiple_of(PAGE).max(PAGE),
            prefix_slots: (prefixes * 3).next_multiple_of(PAGE).max(PAGE),
            arena_words: (arena_words + arena_words / 4)
                .next_multiple_of(PAGE)
                .max(LEAST_ARENA),
        }
    }

    /// Reads the layout from an image's header and checks it against the words there are.
    pub fn read(words: &[AtomicU64]) -> Result<Layout, ListError> {
        let at = |place: usize| words.get(place).map_or(0, load);
        if at(MAGIC) != MAGIC_WORD {
            return Err(ListError::Image(format!(
                "magic {:016x} is not {MAGIC_WORD:016x}",
                at(MAGIC)
            )));
        }
        if at(VERSION) != VERSION_WORD {
            return Err(ListError::Image(format!(
                "format {} is not the {VERSION_WORD} we read",
                at(VERSION)
            )));
        }
        let size = |place: usize| {
            usize::try_from(at(place))
                .ok()
                .filter(|&size| size < 1 << 40)
                .unwrap_or(usize::MAX >> 8)
        };
        let layout = Layout {
            number_slots: size(NUMBER_SLOTS),
            prefix_slots: size(PREFIX_SLOTS),
            arena_words: size(ARENA_WORDS),
        };
        if layout.words() != words.len() || at(TOTAL_WORDS) != words.len() as u64 {
            return Err(ListError::Image(format!(
                "{} words where its header says {}",
                words.len(),
                at(TOTAL_WORDS)
            )));
        }
        Ok(layout)
    }

    /// Writes the header of an empty list over zeroed words.
    pub fn begin(&self, words: &[AtomicU64], epoch: u32) {
        let header = [
            (VERSION, VERSION_WORD),
            (TOTAL_WORDS, self.words() as u64),
            (NUMBER_SLOTS, self.number_slots as u64),
            (PREFIX_SLOTS, self.prefix_slots as u64),
            (ARENA_WORDS, self.arena_words as u64),
            (EPOCH, u64::from(epoch)),
            (MAGIC, MAGIC_WORD),
        ];
        for (place, word) in header {
            words[place].store(word, Ordering::Release);
        }
    }

    /// How many words the image takes.
    pub fn words(&self) -> usize {
        self.numbers_at() + self.number_slots
    }

    fn prefixes_at(&self) -> usize {
        ARENA_AT + self.arena_words
    }

    fn numbers_at(&self) -> usize {
        self.prefixes_at() + self.prefix_slots
    }
}

/// One generation, as readers see it.
#[derive(Clone, Copy)]
pub struct View<'a> {
    header: &'a [AtomicU64],
    index: &'a [AtomicU64],
    pub(crate) arena: &'a [AtomicU64],
    pub(crate) prefixes: Table<'a>,
    pub(crate) numbers: Table<'a>,
    layout: Layout,
}

/// What an image holds and how full it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    pub numbers: u64,
    pub number_slots: u64,
    /// Slots that are not empty, tombstones too.
    pub number_used: u64,
    pub prefixes: u64,
    pub prefix_slots: u64,
    pub prefix_used: u64,
    pub policies: u64,
    pub arena_used: u64,
    pub arena_words: u64,
    pub longest_probe: u64,
    pub bytes: u64,
}

impl<'a> View<'a> {
    /// Checks an image and looks at it.
    pub fn open(words: &'a [AtomicU64]) -> Result<View<'a>, ListError> {
        Ok(View::over(words, Layout::read(words)?))
    }

    /// Looks at words whose layout was read before; nothing is checked again.
    pub fn over(words: &'a [AtomicU64], layout: Layout) -> View<'a> {
        let (header, rest) = words.split_at(PAGE);
        let (index, rest) = rest.split_at(INDEX_WORDS);
        let (arena, rest) = rest.split_at(layout.arena_words);
        let (prefixes, numbers) = rest.split_at(layout.prefix_slots);
        View {
            header,
            index,
            arena,
            prefixes: Table::over(prefixes, &header[PREFIX_LONGEST]),
            numbers: Table::over(&numbers[..layout.number_slots], &header[NUMBER_LONGEST]),
            layout,
        }
    }

    /// The digest that belongs to the revision, together with it. A busy writer can make it try again, a few times;
    /// it is for reports, not for calls.
    pub fn published(&self) -> (Revision, Digest) {
        let mut revision = self.revision();
        loop {
            let place = digest_place(revision.n);
            let words = [0, 1].map(|half| self.header[place + half].load(Ordering::Acquire));
            let after = self.revision();
            if after == revision {
                return (revision, Digest::from_words(words));
            }
            revision = after;
        }
    }

    /// The policies of many numbers, 0 where there is none: their memory is waited for together.
    pub fn numbers(&self, numbers: &[Number], policies: &mut [u16]) {
        let mut keys = [0; crate::table::BATCH];
        for (numbers, policies) in numbers.chunks(keys.len()).zip(policies.chunks_mut(keys.len())) {
            for (key, number) in keys.iter_mut().zip(numbers) {
                *key = number.value();
            }
            self.numbers.find_many(&keys[..numbers.len()], policies);
        }
    }

    /// The policy of a subject.
    pub fn find(&self, subject: Subject) -> Option<u16> {
        match subject {
            Subject::Number(number) => self.number(number),
            Subject::Prefix(prefix) => self.prefix(prefix),
        }
    }

    /// The record of a policy.
    pub fn record(&self, policy: u16) -> Option<Policy<'a>> {
        let word = self
            .index
            .get(usize::from(policy))
            .filter(|_| policy > 0)?
            .load(Ordering::Acquire);
        let (at, length) = ((word >> LENGTH_BITS) as usize, (word & LENGTH_MASK) as usize);
        self.arena
            .get(at..at.checked_add(length)?)
            .filter(|words| !words.is_empty())
            .map(Policy::over)
    }

    /// Every entry, in no order.
    pub fn entries(&self) -> impl Iterator<Item = (Subject, u16)> + 'a {
        let subject = |value, prefix| match prefix {
            true => Prefix::from_value(value).map(Subject::Prefix),
            false => Number::from_value(value).map(Subject::Number),
        };
        let prefixes = self
            .prefixes
            .entries()
            .map(|(value, policy)| (value, policy, true));
        let numbers = self
            .numbers
            .entries()
            .map(|(value, policy)| (value, policy, false));
        prefixes
            .chain(numbers)
            .filter_map(move |(value, policy, prefix)| Some((subject(value, prefix)?, policy)))
    }

    pub fn sizes(&self) -> Sizes {
        let at = |place: usize| load(&self.header[place]);
        Sizes {
            numbers: at(NUMBER_LIVE),
            number_slots: self.layout.number_slots as u64,
            number_used: at(NUMBER_USED),
            prefixes: at(PREFIX_LIVE),
            prefix_slots: self.layout.prefix_slots as u64,
            prefix_used: at(PREFIX_USED),
            policies: at(POLICIES),
            arena_used: at(ARENA_USED),
            arena_words: self.layout.arena_words as u64,
            longest_probe: at(NUMBER_LONGEST).max(at(PREFIX_LONGEST)),
            bytes: self.layout.words() as u64 * 8,
        }
    }

    /// Writer only: names a revision, after everything that belongs to it.
    pub fn publish(&self, n: u64, digest: Digest) {
        // The halves for `n` are not those that readers of `n - 1` look at.
        let place = digest_place(n);
        for (half, word) in digest.words().into_iter().enumerate() {
            self.header[place + half].store(word, Ordering::Release);
        }
        self.header[N].store(n, Ordering::Release);
    }

    /// Writer only: where a policy's record lies.
    pub(crate) fn name_policy(&self, policy: u16, at: usize, length: usize) {
        self.index[usize::from(policy)].store((at as u64) << LENGTH_BITS | length as u64, Ordering::Release);
    }

    /// Writer only: a counter of the header.
    pub(crate) fn count(&self, place: usize, change: i64) {
        let value = load(&self.header[place]).wrapping_add_signed(change);
        self.header[place].store(value, Ordering::Relaxed);
    }

    /// Writer only.
    pub(crate) fn set_prefix_lengths(&self, lengths: u64) {
        self.header[PREFIX_LENGTHS].store(lengths, Ordering::Release);
    }
}

impl ListView for View<'_> {
    fn revision(&self) -> Revision {
        let epoch = load(&self.header[EPOCH]) as u32;
        Revision {
            epoch,
            n: self.header[N].load(Ordering::Acquire),
        }
    }

    fn number(&self, number: Number) -> Option<u16> {
        self.numbers.find(number.value())
    }

    fn prefix(&self, prefix: Prefix) -> Option<u16> {
        self.prefixes.find(prefix.value())
    }

    fn prefix_lengths(&self) -> u64 {
        self.header[PREFIX_LENGTHS].load(Ordering::Acquire)
    }

    fn policy(&self, policy: u16) -> Option<Policy<'_>> {
        self.record(policy)
    }
}

/// A list on the heap, for tests, fuzzing and questions about a few entries.
pub struct Memory {
    words: Box<[AtomicU64]>,
    layout: Layout,
}

impl Memory {
    /// Builds a list from its entry lines as it stands at `now` (Unix seconds).
    pub fn from_lines<L: AsRef<str>>(
        revision: Revision,
        lines: impl IntoIterator<Item = L>,
        now: u64,
    ) -> Result<Memory, ListError> {
        let mut draft = Draft::new(now);
        for line in lines {
            draft.add(std::iter::once(line.as_ref()))?;
        }
        let layout = draft.layout();
        let words: Box<[AtomicU64]> = (0..layout.words()).map(|_| AtomicU64::new(0)).collect();
        layout.begin(&words, revision.epoch);
        let view = View::over(&words, layout);
        draft.write(&view)?;
        view.publish(revision.n, draft.digest());
        Ok(Memory { words, layout })
    }

    pub fn view(&self) -> View<'_> {
        View::over(&self.words, self.layout)
    }
}

impl ListView for Memory {
    fn revision(&self) -> Revision {
        self.view().revision()
    }

    fn number(&self, number: Number) -> Option<u16> {
        self.view().number(number)
    }

    fn prefix(&self, prefix: Prefix) -> Option<u16> {
        self.view().prefix(prefix)
    }

    fn prefix_lengths(&self) -> u64 {
        self.view().prefix_lengths()
    }

    fn policy(&self, policy: u16) -> Option<Policy<'_>> {
        self.view().record(policy)
    }
}

/// Why a list can't be built or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListError {
    Entry(EntryError),
    /// The same subject twice in one list or one change.
    Twice(Subject),
    /// More distinct policies than 14 bits can name.
    Policies(usize),
    /// An image that is damaged or not ours.
    Image(String),
}

impl fmt::Display for ListError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListError::Entry(error) => error.fmt(out),
            ListError::Twice(subject) => write!(out, "subject {subject} is named twice; once is allowed"),
            ListError::Policies(needed) => {
                write!(
                    out,
                    "{needed} distinct policies are needed; one list can hold {MOST_POLICIES}"
                )
            }
            ListError::Image(what) => write!(out, "list image: {what}"),
        }
    }
}

impl std::error::Error for ListError {}

impl From<EntryError> for ListError {
    fn from(error: EntryError) -> ListError {
        ListError::Entry(error)
    }
}

const MAGIC_WORD: u64 = u64::from_le_bytes(*b"PALANGL1");
const VERSION_WORD: u64 = 1;
/// Words in a page: regions begin on pages.
const PAGE: usize = 512;
const INDEX_WORDS: usize = MOST_POLICIES + 1;
const ARENA_AT: usize = PAGE + INDEX_WORDS;
const LEAST_ARENA: usize = 32 * PAGE;
// An index word is the place of a record in the arena and its length.
const LENGTH_BITS: u32 = 24;
const LENGTH_MASK: u64 = (1 << LENGTH_BITS) - 1;

// Header words. Fixed for the generation:
const MAGIC: usize = 0;
const VERSION: usize = 1;
const TOTAL_WORDS: usize = 2;
const NUMBER_SLOTS: usize = 3;
const PREFIX_SLOTS: usize = 4;
const ARENA_WORDS: usize = 5;
const EPOCH: usize = 6;
// Read by every call:
const N: usize = 16;
const NUMBER_LONGEST: usize = 17;
const PREFIX_LONGEST: usize = 18;
const PREFIX_LENGTHS: usize = 19;
// Of even and of odd revisions:
const DIGESTS: usize = 24;
// Kept by the writer:
pub(crate) const NUMBER_LIVE: usize = 32;
pub(crate) const NUMBER_USED: usize = 33;
pub(crate) const PREFIX_LIVE: usize = 34;
pub(crate) const PREFIX_USED: usize = 35;
pub(crate) const POLICIES: usize = 36;
pub(crate) const ARENA_USED: usize = 37;

fn digest_place(n: u64) -> usize {
    DIGESTS + 2 * (n & 1) as usize
}

fn load(word: &AtomicU64) -> u64 {
    word.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Revision = Revision { epoch: 3, n: 9 };

    #[test]
    fn a_list_answers_for_its_lines() {
        let lines = [
            "+6281234567890\torder reject enforce both",
            "+77*\tnoc label shadow call @intl-a",
        ];
        let list = Memory::from_lines(ONE, lines, 0).unwrap();
        let view = list.view();
        assert_eq!(view.revision(), ONE);
        let mut found: Vec<String> = view
            .entries()
            .map(|(subject, policy)| format!("{subject}\t{}", view.policy(policy).unwrap().text().unwrap()))
            .collect();
        found.sort();
        assert_eq!(found, lines);
        assert_eq!(view.prefix_lengths(), 1 << 2);
        assert_eq!(
            (view.sizes().numbers, view.sizes().prefixes, view.sizes().policies),
            (1, 1, 2)
        );
        let mut policies = [9; 2];
        let numbers = [b"6281234567890", b"6281234567891"].map(|digits| Number::parse(digits).unwrap());
        view.numbers(&numbers, &mut policies);
        assert_eq!(policies.map(|policy| policy > 0), [true, false]);
    }

    #[test]
    fn the_same_subject_twice_is_refused() {
        let lines = ["+77*\tnoc reject enforce both"; 2];
        let error = Memory::from_lines(ONE, lines, 0).err().unwrap();
        assert_eq!(error.to_string(), "subject +77* is named twice; once is allowed");
    }

    #[test]
    fn a_damaged_image_is_refused_or_answers_something() {
        let list = Memory::from_lines(ONE, ["+77*\tnoc reject enforce both"], 0).unwrap();
        assert!(View::open(&list.words).is_ok());
        assert!(View::open(&list.words[..100]).is_err());
        assert!(View::open(&[]).is_err());
        for place in (0..PAGE).chain(ARENA_AT..ARENA_AT + 8) {
            for bad in [0, 1, u64::MAX, 1 << 40] {
                let kept = list.words[place].swap(bad, Ordering::Relaxed);
                if let Ok(view) = View::open(&list.words) {
                    let number = Number::parse(b"77012345678").unwrap();
                    let _ = (view.number(number), view.sizes(), view.entries().count());
                    let prefix = number.prefix(2).unwrap();
                    let _ = view
                        .prefix(prefix)
                        .and_then(|policy| view.policy(policy)?.stack());
                }
                list.words[place].store(kept, Ordering::Relaxed);
            }
        }
    }

    #[test]
    fn bytes_per_number() {
        let layout = Layout::for_counts(10_000_000, 100, 1_000);
        assert!(layout.words() * 8 <= 12 * 10_000_000, "{}", layout.words() * 8);
    }
}
