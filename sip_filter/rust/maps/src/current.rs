//! The list in one generation, and how revisions change it: verified whole, then stored entry by entry, then named.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use palang_core::clause::Stack;
use palang_core::decision::{ListView, Revision};
use palang_core::digest::{entry_digest, Digest};
use palang_core::edit::{Editor, Need, Rewrite};
use palang_core::entry::Entry;
use palang_core::list::ListError;
use palang_core::log::Record;
use palang_core::number::Subject;
use palang_core::timed::Timed;

use crate::fault::WriteError;
use crate::generation::Generation;

/// A subject, its stack as published, and the policy that this comes to now.
pub type Change = (Subject, Arc<Stack>, Stack);

/// The list in one generation, with what the image does not hold.
pub struct Current {
    pub generation: Generation,
    pub editor: Editor,
    pub timed: Timed,
    pub digest: Digest,
}

/// A revision that was read and verified, and not yet stored.
pub struct Staged {
    pub entries: Vec<Change>,
    pub digest: Digest,
}

impl Current {
    pub fn check_next(&self, got: Revision) -> Result<(), WriteError> {
        let held = self.generation.view().revision();
        let expected = Revision {
            n: held.n.saturating_add(1),
            ..held
        };
        match got == expected {
            true => Ok(()),
            false => Err(WriteError::Gap { expected, got }),
        }
    }

    /// Reads changes, and says what the list's digest will be.
    pub fn stage(&self, changes: &[String], now: u64) -> Result<Staged, WriteError> {
        let mut digest = self.digest;
        let mut seen = HashSet::new();
        let mut entries = Vec::with_capacity(changes.len());
        for line in changes {
            let Entry { subject, stack } = Entry::parse(line).map_err(ListError::from)?;
            if !seen.insert(subject) {
                return Err(ListError::Twice(subject).into());
            }
            let former = self.published(subject);
            if !former.is_empty() {
                digest -= entry_digest(format!("{subject}\t{former}").as_bytes());
            }
            if !stack.is_empty() {
                digest += entry_digest(line.as_bytes());
            }
            let policy = stack.policy_at(now);
            entries.push((subject, Arc::new(stack), policy));
        }
        Ok(Staged { entries, digest })
    }

    pub fn need(&self, entries: &[Change]) -> Need {
        let changes = entries.iter().map(|(subject, _, policy)| (*subject, policy));
        self.editor.need(&self.generation.view(), changes)
    }

    pub fn store(&mut self, staged: Staged, n: u64, now: u64) -> Result<(), ListError> {
        let view = self.generation.view();
        for (subject, stack, policy) in &staged.entries {
            self.editor.set(&view, *subject, policy)?;
            self.timed.set(*subject, stack, now);
        }
        self.digest = staged.digest;
        view.publish(n, staged.digest);
        Ok(())
    }

    /// The entries of timed subjects as they are at `now`.
    pub fn at(&self, subjects: &[Subject], now: u64) -> Vec<Change> {
        let stack = |subject: Subject| {
            self.timed
                .get(subject)
                .map(|stack| (subject, Arc::clone(stack), stack.policy_at(now)))
        };
        subjects.iter().filter_map(|&subject| stack(subject)).collect()
    }

    pub fn expire(&mut self, entries: &[Change], now: u64) -> Result<(), ListError> {
        let view = self.generation.view();
        for (subject, _, policy) in entries {
            self.editor.set(&view, *subject, policy)?;
        }
        self.timed.forget_ends(now);
        Ok(())
    }

    pub fn published(&self, subject: Subject) -> String {
        if let Some(stack) = self.timed.get(subject) {
            return stack.to_string();
        }
        let view = self.generation.view();
        view.find(subject)
            .and_then(|policy| view.record(policy)?.text())
            .unwrap_or_default()
    }

    /// The same list in a new, unnamed generation with room for more.
    pub fn rewritten(&self, live: &Path, need: &Need) -> Result<(Generation, Editor), WriteError> {
        let old = self.generation.view();
        let plan = Rewrite::plan(&old, need)?;
        let generation = Generation::create(
            live,
            self.generation.number() + 1,
            plan.layout,
            old.revision().epoch,
        )?;
        let editor = plan.write(&old, &generation.view())?;
        generation.view().publish(old.revision().n, self.digest);
        Ok((generation, editor))
    }

    /// One record of a log, if it follows from what is held.
    pub fn replay(&mut self, live: &Path, record: Record) -> Result<(), WriteError> {
        match record {
            Record::Changes {
                revision,
                digest,
                now,
                changes,
            } => {
                self.check_next(revision)?;
                let staged = self.stage(&changes, now)?;
                if staged.digest != digest {
                    return Err(WriteError::Digest {
                        expected: digest,
                        computed: staged.digest,
                    });
                }
                self.grow(live, &staged.entries)?;
                Ok(self.store(staged, revision.n, now)?)
            }
            Record::Expiry { now } => {
                let entries = self.at(&self.timed.ended(now).0, now);
                self.grow(live, &entries)?;
                Ok(self.expire(&entries, now)?)
            }
        }
    }

    /// Growth before anybody reads: the former generation never had a name.
    fn grow(&mut self, live: &Path, entries: &[Change]) -> Result<(), WriteError> {
        let need = self.need(entries);
        if !Editor::fits(&self.generation.view(), &need) {
            let (generation, editor) = self.rewritten(live, &need)?;
            self.generation = generation;
            self.editor = editor;
        }
        Ok(())
    }
}
