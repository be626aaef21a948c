//! Watches: rules, and ideas of rules, whose traffic is counted by itself.

use std::collections::HashMap;
use std::fmt;

use super::{Mixed, KEYS};
use crate::clause::Kinds;
use crate::decision::Kind;
use crate::number::{Number, Subject};

/// Watches at once, and exceptions of one.
pub const MOST_WATCHES: usize = 4096;
pub const MOST_EXCEPTIONS: usize = 1024;
/// Characters of a watch's name.
const MOST_NAME: usize = 32;
/// Watches that one request may be counted for.
pub const MOST_MATCHES: usize = 32;
/// Different sets of watches that are told apart for calls under way.
const MOST_SETS: usize = 1 << 15;

/// What one watch is about. A request is counted when a number of it lies in `subject` and not in `except`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    pub id: Box<str>,
    pub subject: Subject,
    /// As an `allow` would, these excuse only who comes on a trunk whose identities are believed.
    pub except: Vec<Subject>,
    /// By `clause::trunk_key`; none: all.
    pub trunks: Vec<u64>,
    pub kinds: Kinds,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchError(String);

impl fmt::Display for WatchError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for WatchError {}

/// All watches, found by the numbers that they are about.
#[derive(Default)]
pub struct Watching {
    kept: Vec<Kept>,
    found: Subjects<Vec<usize>>,
    names: HashMap<u16, Box<str>, Mixed>,
    next: u16,
    sets: Vec<Box<[u16]>>,
    set_numbers: HashMap<Box<[u16]>, u16>,
}

struct Kept {
    watch: Watch,
    except: Subjects<()>,
    /// Stands for this very watch in rows and sketches: another one of its name gets another.
    handle: u16,
    since: u64,
}

/// The watches that one request counts for, and the number by which it does.
#[derive(Default)]
pub struct Matches {
    pub items: Vec<(u16, u64)>,
    pub lost: u64,
}

impl Watching {
    /// Takes these for those of before, at `now` (Unix milliseconds). What stays the same is counted on.
    pub fn set(&mut self, watches: Vec<Watch>, now: u64) -> Result<(), WatchError> {
        check(&watches)?;
        let mut before: HashMap<Box<str>, Kept> = std::mem::take(&mut self.kept)
            .into_iter()
            .map(|kept| (kept.watch.id.clone(), kept))
            .collect();
        for watch in watches {
            let kept = match before.remove(&watch.id) {
                Some(kept) if kept.watch == watch => kept,
                _ => Kept {
                    except: Subjects::of(watch.except.iter().map(|subject| (*subject, ()))),
                    handle: self.fresh_handle(),
                    since: now,
                    watch,
                },
            };
            self.names.insert(kept.handle, kept.watch.id.clone());
            self.kept.push(kept);
        }
        let handles: Vec<u16> = self.kept.iter().map(|kept| kept.handle).collect();
        self.names.retain(|handle, _| handles.contains(handle));
        self.found = Subjects::default();
        for (i, kept) in self.kept.iter().enumerate() {
            self.found.entry(kept.watch.subject).push(i);
        }
        Ok(())
    }

    /// Name and beginning of each.
    pub fn told(&self) -> impl Iterator<Item = (&str, u64)> {
        self.kept.iter().map(|kept| (&*kept.watch.id, kept.since))
    }

    /// The name of a watch that is still watched.
    pub fn name(&self, handle: u16) -> Option<&str> {
        self.names.get(&handle).map(|name| &**name)
    }

    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The watches that a request of these callers counts for, each once.
    pub fn find(&self, callers: &[u64], trunk: u64, trusted: bool, kind: Kind, matches: &mut Matches) {
        matches.items.clear();
        for caller in callers {
            let Some(number) = Number::from_value(*caller) else {
                continue;
            };
            self.found.each(number, |places| {
                for kept in places.iter().map(|place| &self.kept[*place]) {
                    let watch = &kept.watch;
                    let fits = kind.within(watch.kinds)
                        && (watch.trunks.is_empty() || watch.trunks.contains(&trunk))
                        && !(trusted && kept.except.touches(number));
                    if !fits || matches.items.iter().any(|(handle, _)| *handle == kept.handle) {
                        continue;
                    }
                    match matches.items.len() < MOST_MATCHES {
                        true => matches.items.push((kept.handle, *caller)),
                        false => matches.lost += 1,
                    }
                }
            });
        }
    }

    /// A number for a set of watches; `None` when there are too many sets.
    pub fn set_number(&mut self, matches: &Matches) -> Option<u16> {
        if matches.items.is_empty() {
            return Some(0);
        }
        let mut handles = [0; MOST_MATCHES];
        let handles = &mut handles[..matches.items.len()];
        for (place, (handle, _)) in handles.iter_mut().zip(&matches.items) {
            *place = *handle;
        }
        handles.sort_unstable();
        if let Some(number) = self.set_numbers.get(&*handles) {
            return Some(*number);
        }
        if self.sets.len() >= MOST_SETS {
            return None;
        }
        self.sets.push((&*handles).into());
        let number = self.sets.len() as u16;
        self.set_numbers.insert((&*handles).into(), number);
        Some(number)
    }

    /// The watches of such a number.
    pub fn set_of(&self, number: u16) -> &[u16] {
        let place = usize::from(number).checked_sub(1);
        place
            .and_then(|place| self.sets.get(place))
            .map_or(&[], |set| set)
    }

    /// Whether so many sets have gathered that it is time to forget them, with all that refers to them.
    pub fn is_crowded(&self) -> bool {
        self.sets.len() > MOST_SETS / 2
    }

    pub fn forget_sets(&mut self) {
        self.sets.clear();
        self.set_numbers.clear();
    }

    /// A handle that no watch has, and none had lately: they are given in turn.
    fn fresh_handle(&mut self) -> u16 {
        loop {
            self.next = self.next.checked_add(1).unwrap_or(KEYS).max(KEYS);
            if !self.names.contains_key(&self.next) {
                return self.next;
            }
        }
    }
}

fn check(watches: &[Watch]) -> Result<(), WatchError> {
    if watches.len() > MOST_WATCHES {
        let count = watches.len();
        return Err(WatchError(format!(
            "{count} watches; the most at once are {MOST_WATCHES}"
        )));
    }
    let mut seen = std::collections::HashSet::new();
    for watch in watches {
        let id = &*watch.id;
        let good = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
        let named = (1..=MOST_NAME).contains(&id.len()) && id.bytes().all(good);
        if !named || !id.as_bytes()[0].is_ascii_alphabetic() {
            return Err(WatchError(format!(
                "watch {id:?}: a name is a letter and up to {} of A-Z a-z 0-9 - _ . : behind it",
                MOST_NAME - 1
            )));
        }
        if !seen.insert(id) {
            return Err(WatchError(format!("watch {id:?} is there twice")));
        }
        if watch.except.len() > MOST_EXCEPTIONS {
            let count = watch.except.len();
            return Err(WatchError(format!(
                "watch {id:?}: {count} exceptions; the most are {MOST_EXCEPTIONS}"
            )));
        }
    }
    Ok(())
}

/// Something for each of some subjects, found by a number that these cover.
struct Subjects<T> {
    /// Bit `i` is set when there are prefixes of `i` digits.
    lengths: u64,
    entries: HashMap<u64, T, Mixed>,
}

impl<T> Default for Subjects<T> {
    fn default() -> Subjects<T> {
        Subjects {
            lengths: 0,
            entries: HashMap::default(),
        }
    }
}

impl<T: Default> Subjects<T> {
    fn of(rows: impl IntoIterator<Item = (Subject, T)>) -> Subjects<T> {
        let mut subjects = Subjects::default();
        for (subject, value) in rows {
            *subjects.entry(subject) = value;
        }
        subjects
    }

    fn entry(&mut self, subject: Subject) -> &mut T {
        if !subject.is_number() {
            self.lengths |= 1 << subject.length();
        }
        self.entries.entry(place(subject)).or_default()
    }

    fn each(&self, number: Number, mut tell: impl FnMut(&T)) {
        let own = self.entries.get(&place(Subject::Number(number)));
        own.into_iter().for_each(&mut tell);
        for prefix in number.prefixes(self.lengths) {
            if let Some(found) = self.entries.get(&place(Subject::Prefix(prefix))) {
                tell(found);
            }
        }
    }

    fn touches(&self, number: Number) -> bool {
        let mut found = false;
        if !self.entries.is_empty() {
            self.each(number, |_| found = true);
        }
        found
    }
}

fn place(subject: Subject) -> u64 {
    subject.value() << 1 | u64::from(subject.is_number())
}
