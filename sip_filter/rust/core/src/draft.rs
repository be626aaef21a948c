//! A whole list on its way into a new image: lines in, then one writing of every table at its final size.

use std::collections::HashMap;
use std::sync::Arc;

use crate::clause::Stack;
use crate::digest::{entry_digest, Digest};
use crate::edit::Editor;
use crate::entry::{split, EntryError};
use crate::list::{Layout, ListError, View};
use crate::number::Subject;
use crate::policy::{encode, MOST_POLICIES};
use crate::table::pack;
use crate::timed::Timed;

pub struct Draft {
    now: u64,
    digest: Digest,
    entries: usize,
    /// As table words: half of what pairs would take.
    numbers: Vec<u64>,
    prefixes: Vec<u64>,
    policies: Vec<Stack>,
    arena_words: usize,
    names: HashMap<Stack, u16>,
    known: HashMap<Box<str>, Known>,
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
            numbers: Vec::new(),
            prefixes: Vec::new(),
            policies: Vec::new(),
            arena_words: 0,
            names: HashMap::new(),
            known: HashMap::new(),
            timed: Timed::default(),
        }
    }

    /// Adds one entry line. An entry with an empty stack is none, and adds nothing.
    pub fn add(&mut self, line: &str) -> Result<(), ListError> {
        let (subject, text) = split(line)?;
        if text.is_empty() {
            return Ok(());
        }
        let Known { policy, timed } = self.know(text)?;
        self.digest += entry_digest(line.as_bytes());
        self.entries += 1;
        if let Some(stack) = timed {
            if self.timed.get(subject).is_some() {
                return Err(ListError::Twice(subject));
            }
            self.timed.set(subject, &stack, self.now);
        }
        if policy > 0 {
            match subject {
                Subject::Number(number) => self.numbers.push(pack(number.value(), policy)),
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
        Layout::for_counts(self.numbers.len(), self.prefixes.len(), self.arena_words)
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
