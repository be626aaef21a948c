//! Policies as the image stores them: interned stacks without times, readable without allocation.
//!
//! A record is `u64` words: the count of clauses and the length of the text; for each clause one word of flags and
//! the keys of its trunks; then the canonical text, from which a restarted writer learns the policy's name again.
//! Judging reads the flags and keys only.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clause::{trunk_key, Action, Authority, Clause, Kinds, Mode, Stack};

/// Most policies in one generation: 14 bits name one, and 0 names none.
pub const MOST_POLICIES: usize = (1 << 14) - 1;

/// The words of a policy's record.
pub fn encode(stack: &Stack) -> Vec<u64> {
    let text = stack.to_string();
    let mut words = vec![stack.clauses().len() as u64 | (text.len() as u64) << TEXT_SHIFT];
    for clause in stack.clauses() {
        words.push(flags(clause));
        words.extend(clause.trunks().iter().map(|trunk| trunk_key(trunk)));
    }
    for chunk in text.as_bytes().chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        words.push(u64::from_le_bytes(word));
    }
    words
}

/// A policy where it lies in the image.
#[derive(Clone, Copy)]
pub struct Policy<'a> {
    words: &'a [AtomicU64],
}

/// One clause of a policy.
#[derive(Clone, Copy)]
pub struct Term<'a> {
    pub authority: Authority,
    pub action: Action,
    pub mode: Mode,
    pub kinds: Kinds,
    trunks: &'a [AtomicU64],
}

impl<'a> Policy<'a> {
    pub fn over(words: &'a [AtomicU64]) -> Policy<'a> {
        Policy { words }
    }

    pub fn terms(&self) -> Terms<'a> {
        let (count, rest) = match self.words.split_first() {
            Some((head, rest)) => (load(head) & COUNT_MASK, rest),
            None => (0, self.words),
        };
        Terms {
            left: count,
            words: rest,
        }
    }

    /// The canonical text; `None` when the record is damaged.
    pub fn text(&self) -> Option<String> {
        let length = (load(self.words.first()?) >> TEXT_SHIFT) as usize;
        let mut terms = self.terms();
        terms.by_ref().for_each(drop);
        let bytes: Vec<u8> = terms
            .words
            .iter()
            .flat_map(|word| load(word).to_le_bytes())
            .collect();
        String::from_utf8(bytes.get(..length)?.to_vec()).ok()
    }

    /// The stack it was made of; `None` when the record is damaged.
    pub fn stack(&self) -> Option<Stack> {
        let stack = Stack::parse(&self.text()?).ok()?;
        let words = encode(&stack);
        let same = words.len() == self.words.len()
            && words.iter().zip(self.words).all(|(own, word)| *own == load(word));
        same.then_some(stack)
    }
}

impl Term<'_> {
    /// Whether it holds for a trunk, by its key.
    pub fn covers(&self, trunk: u64) -> bool {
        self.trunks.is_empty() || self.trunks.iter().any(|key| load(key) == trunk)
    }
}

/// The clauses of a policy, in their order. A damaged record ends early.
pub struct Terms<'a> {
    left: u64,
    words: &'a [AtomicU64],
}

impl<'a> Iterator for Terms<'a> {
    type Item = Term<'a>;

    fn next(&mut self) -> Option<Term<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (flags, rest) = self.words.split_first()?;
        let flags = load(flags);
        let count = (flags >> TRUNKS_SHIFT) as usize;
        if count > rest.len() {
            return None;
        }
        let (trunks, rest) = rest.split_at(count);
        self.words = rest;
        Some(Term {
            authority: *Authority::ALL.get((flags & 3) as usize)?,
            action: *Action::ALL.get((flags >> 2 & 3) as usize)?,
            mode: *Mode::ALL.get((flags >> 4 & 3) as usize)?,
            kinds: *Kinds::ALL.get((flags >> 6 & 3) as usize)?,
            trunks,
        })
    }
}

const COUNT_MASK: u64 = 0xffff;
const TEXT_SHIFT: u32 = 16;
const TRUNKS_SHIFT: u32 = 16;

fn flags(clause: &Clause) -> u64 {
    let words = [
        clause.authority as u64,
        clause.action as u64,
        clause.mode as u64,
        clause.kinds as u64,
    ];
    let packed = words
        .iter()
        .enumerate()
        .fold(0, |packed, (place, word)| packed | word << (2 * place));
    packed | (clause.trunks().len() as u64) << TRUNKS_SHIFT
}

// A record is written before the index word that names it, and that before the entry; whoever came here by an
// acquiring load of the entry sees it whole.
fn load(word: &AtomicU64) -> u64 {
    word.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clause::tests::any_stack;
    use proptest::prelude::*;

    fn placed(words: &[u64]) -> Vec<AtomicU64> {
        words.iter().copied().map(AtomicU64::new).collect()
    }

    proptest! {
        #[test]
        fn records_round_trip(stack in any_stack()) {
            let policy = stack.policy_at(0);
            let words = placed(&encode(&policy));
            let record = Policy::over(&words);
            prop_assert_eq!(record.stack(), Some(policy.clone()));
            let terms: Vec<_> = record.terms().collect();
            prop_assert_eq!(terms.len(), policy.clauses().len());
            for (term, clause) in terms.iter().zip(policy.clauses()) {
                prop_assert_eq!((term.authority, term.action), (clause.authority, clause.action));
                prop_assert_eq!((term.mode, term.kinds), (clause.mode, clause.kinds));
                for name in ["a", "bb", "c"] {
                    let named = clause.trunks().iter().any(|trunk| &**trunk == name);
                    prop_assert_eq!(term.covers(trunk_key(name)), clause.trunks().is_empty() || named);
                }
            }
        }

        #[test]
        fn damaged_records_end_early(words in proptest::collection::vec(any::<u64>(), 0..12)) {
            let words = placed(&words);
            prop_assert!(Policy::over(&words).terms().count() <= words.len());
            let _ = Policy::over(&words).stack();
        }
    }
}
