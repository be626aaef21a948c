//! A whole list on its way into a new image: lines in, then one writing of every table at its final size.

use std::collections::HashMap;
use std::sync::Arc;

use crate::clause::Stack;
use crate::digest::Digest;
use crate::edit::Editor;
use crate::entry::{split, EntryError};
use crate::list::{Layout, ListError, View};
use crate::number::Subject;
use crate::policy::{encode, MOST_POLICIES};
use crate::table::{pack, shelf, SHELVES};
use crate::timed::Timed;

pub struct Draft {
    now: u64,
    digest: Digest,
    entries: usize,
    /// As table words, half of what pairs would take, and by shelf.
    numbers: Vec<Vec<u64>>,
    prefixes: Vec<u64>,
    policies: Vec<Stack>,
    arena_words: usize,
    names: HashMap<Stack, u16>,
    known: HashMap<Box<str>, Known>,
    /// The stacks without times that were met last: most lists have few.
    recent: Vec<(Box<str>, u16)>,
    timed: Timed,
}

/// What a stack's text comes to at the draft's time.
#[derive(Clone)]
struct Known {
    /// 0 when nothing of it is in force.
    policy: u16,
    timed: Option<Arc<Stack>>,
}

impl Draft {
    /// A draft of the list as it stands at `now` (Unix seconds).
    pub fn new(now: u64) -> Draft {
        Draft {
            now,
            digest: Digest::default(),
            entries: 0,
            numbers: vec![Vec::new(); SHELVES],
            prefixes: Vec::new(),
            policies: Vec::new(),
            arena_words: 0,
            names: HashMap::new(),
            known: HashMap::new(),
            recent: Vec::with_capacity(RECENT),
            timed: Timed::default(),
        }
    }

    /// Adds entry lines. An entry with an empty stack is none, and adds nothing.
    pub fn add<'l>(&mut self, lines: impl Iterator<Item = &'l str> + Clone) -> Result<(), ListError> {
        lines.clone().try_for_each(|line| self.enter(line))?;
        let entries = lines.filter(|line| !line.ends_with('\t'));
        self.digest.add_lines(entries.map(str::as_bytes));
        Ok(())
    }

    fn enter(&mut self, line: &str) -> Result<(), ListError> {
        let (subject, text) = split(line)?;
        if text.is_empty() {
            return Ok(());
        }
        self.entries += 1;
        let policy = match self.recall(text) {
            Some(policy) => policy,
            None => self.know_for(subject, text)?,
        };
        if policy > 0 {
            match subject {
                Subject::Number(number) => {
                    self.numbers[shelf(number.value())].push(pack(number.value(), policy))
                }
                Subject::Prefix(prefix) => self.prefixes.push(pack(prefix.value(), policy)),
            }
        }
        Ok(())
    }

    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many entries were added.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// The image that this list needs.
    pub fn layout(&self) -> Layout {
        let numbers = self.numbers.iter().map(Vec::len).sum();
        Layout::for_counts(numbers, self.prefixes.len(), self.arena_words)
    }

    /// Writes every table of an empty image of that layout. The revision is left to the caller.
    pub fn write(&self, view: &View<'_>) -> Result<Editor, ListError> {
        let mut editor = Editor::default();
        for stack in &self.policies {
            editor.intern(view, stack)?;
        }
        editor.fill(view, &self.prefixes, &self.numbers)?;
        // A timed entry of which nothing is in force has no slot: only here would it be met twice.
        let twice = |(subject, stack): &(Subject, &Arc<Stack>)| {
            stack.policy_at(self.now).is_empty() && view.find(*subject).is_some()
        };
        match self.timed.stacks().into_iter().find(twice) {
            Some((subject, _)) => Err(ListError::Twice(subject)),
            None => Ok(editor),
        }
    }

    /// The stacks with times, for the writer to keep.
    pub fn into_timed(self) -> Timed {
        self.timed
    }

    /// The policy of a stack without times that was met a moment ago.
    fn recall(&self, text: &str) -> Option<u16> {
        let found = self.recent.iter().find(|(known, _)| **known == *text)?;
        Some(found.1)
    }

    fn know_for(&mut self, subject: Subject, text: &str) -> Result<u16, ListError> {
        let Known { policy, timed } = self.know(text)?;
        match timed {
            Some(_) if self.timed.get(subject).is_some() => return Err(ListError::Twice(subject)),
            Some(stack) => self.timed.set(subject, &stack, self.now),
            None => {
                self.recent.truncate(RECENT - 1);
                self.recent.insert(0, (text.into(), policy));
            }
        }
        Ok(policy)
    }

    fn know(&mut self, text: &str) -> Result<Known, ListError> {
        if let Some(known) = self.known.get(text) {
            return Ok(known.clone());
        }
        let stack = Stack::parse(text).map_err(EntryError::from)?;
        let policy = self.name(stack.policy_at(self.now))?;
        let timed = stack.is_timed().then(|| Arc::new(stack));
        let known = Known { policy, timed };
        self.known.insert(text.into(), known.clone());
        Ok(known)
    }

    fn name(&mut self, policy: Stack) -> Result<u16, ListError> {
        if policy.is_empty() {
            return Ok(0);
        }
        if let Some(&name) = self.names.get(&policy) {
            return Ok(name);
        }
        let needed = self.policies.len() + 1;
        if needed > MOST_POLICIES {
            return Err(ListError::Policies(needed));
        }
        self.arena_words += encode(&policy).len();
        self.names.insert(policy.clone(), needed as u16);
        self.policies.push(policy);
        Ok(needed as u16)
    }
}

const RECENT: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::Revision;
    use crate::digest::entry_digest;
    use crate::list::Memory;

    #[test]
    fn more_stacks_than_are_remembered_keep_their_own_entries() {
        let stack = |index: u64| {
            format!(
                "noc reject enforce both @t{}",
                index * index % (3 * RECENT as u64)
            )
        };
        let lines: Vec<String> = (0..2_000)
            .map(|index| format!("+{}\t{}", 6_281_200_000_000 + index * 7, stack(index)))
            .collect();
        let mut draft = Draft::new(0);
        draft.add(lines.iter().map(String::as_str)).unwrap();
        let sum = lines
            .iter()
            .fold(0u128, |sum, line| sum.wrapping_add(entry_digest(line.as_bytes())));
        assert_eq!((draft.digest(), draft.entries()), (Digest(sum), lines.len()));
        let list = Memory::from_lines(Revision::default(), &lines, 0).unwrap();
        let view = list.view();
        for line in &lines {
            let (subject, text) = split(line).unwrap();
            let policy = view.find(subject).and_then(|policy| view.record(policy)).unwrap();
            assert_eq!(policy.text().unwrap(), text);
        }
    }

    #[test]
    fn the_same_number_twice_is_refused() {
        let twice = ["+6281234567890\torder reject enforce both"; 2];
        let error = Memory::from_lines(Revision::default(), twice, 0).err().unwrap();
        assert_eq!(
            error.to_string(),
            "subject +6281234567890 is named twice; once is allowed"
        );
    }
}
