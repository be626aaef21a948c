//! The writer's hand on an image: it interns policies, stores entries, and knows when there is room no longer.
//!
//! Every change of an entry is one store. What an entry names is stored before it. The revision is published last, by
//! the caller. Only one `Editor` may work on an image.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;

use crate::clause::Stack;
use crate::decision::ListView;
use crate::list::{
    Layout, ListError, View, ARENA_USED, NUMBER_LIVE, NUMBER_USED, POLICIES, PREFIX_LIVE, PREFIX_USED,
};
use crate::number::{Number, Prefix, Subject};
use crate::policy::{encode, MOST_POLICIES};
use crate::table::{unpack, Put};

#[derive(Default)]
pub struct Editor {
    names: HashMap<Stack, u16>,
    /// How many prefixes there are of each length.
    lengths: [u64; 16],
}

/// What a change would add at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    pub numbers: usize,
    pub prefixes: usize,
    pub policies: usize,
    pub arena_words: usize,
}

impl Editor {
    /// Takes up the work on an image that another process wrote.
    pub fn resume(view: &View<'_>) -> Result<Editor, ListError> {
        let mut editor = Editor::default();
        for name in 1..=view.sizes().policies {
            let stack = u16::try_from(name)
                .ok()
                .and_then(|name| view.policy(name)?.stack());
            let stack = stack.ok_or_else(|| ListError::Image(format!("policy {name} is damaged")))?;
            editor.names.insert(stack, name as u16);
        }
        for (key, _) in view.prefixes.entries() {
            editor.lengths[key.checked_ilog10().map_or(0, |power| power as usize + 1).min(15)] += 1;
        }
        Ok(editor)
    }

    /// What storing these (subject, policy) pairs would add at most.
    pub fn need<'s>(&self, view: &View<'_>, changes: impl Iterator<Item = (Subject, &'s Stack)>) -> Need {
        let mut need = Need::default();
        let mut fresh: HashSet<&Stack> = HashSet::new();
        for (subject, policy) in changes.filter(|(_, policy)| !policy.is_empty()) {
            if view.find(subject).is_none() {
                match subject {
                    Subject::Number(_) => need.numbers += 1,
                    Subject::Prefix(_) => need.prefixes += 1,
                }
            }
            if !self.names.contains_key(policy) && fresh.insert(policy) {
                need.policies += 1;
                need.arena_words += encode(policy).len();
            }
        }
        need
    }

    /// Whether an image has room: at most 8 of 10 slots for numbers and 5 of 10 for prefixes are ever used.
    pub fn fits(view: &View<'_>, need: &Need) -> bool {
        let sizes = view.sizes();
        let adding = |used: u64, more: usize| used + more as u64;
        adding(sizes.number_used, need.numbers) * 10 <= sizes.number_slots * 8
            && adding(sizes.prefix_used, need.prefixes) * 10 <= sizes.prefix_slots * 5
            && adding(sizes.policies, need.policies) <= MOST_POLICIES as u64
            && adding(sizes.arena_used, need.arena_words) <= sizes.arena_words
    }

    /// Gives a subject a policy; the empty policy leaves a tombstone.
    pub fn set(&mut self, view: &View<'_>, subject: Subject, policy: &Stack) -> Result<(), ListError> {
        if policy.is_empty() {
            self.remove(view, subject);
            return Ok(());
        }
        let name = self.intern(view, policy)?;
        self.put(view, subject, name)
    }

    /// The name of a policy in this image; a new one is appended to the arena first.
    pub fn intern(&mut self, view: &View<'_>, policy: &Stack) -> Result<u16, ListError> {
        if let Some(&name) = self.names.get(policy) {
            return Ok(name);
        }
        let record = encode(policy);
        let sizes = view.sizes();
        let (at, name) = (sizes.arena_used as usize, sizes.policies as usize + 1);
        if name > MOST_POLICIES {
            return Err(ListError::Policies(name));
        }
        let place = view
            .arena
            .get(at..at + record.len())
            .ok_or_else(|| full("policies", sizes.arena_words))?;
        for (word, value) in place.iter().zip(&record) {
            word.store(*value, Ordering::Relaxed);
        }
        view.name_policy(name as u16, at, record.len());
        view.count(ARENA_USED, record.len() as i64);
        view.count(POLICIES, 1);
        self.names.insert(policy.clone(), name as u16);
        Ok(name as u16)
    }

    /// Stores the entries of a whole list, given as table words, those of numbers by shelf; the same subject twice is
    /// an error.
    pub(crate) fn fill(
        &mut self,
        view: &View<'_>,
        prefixes: &[u64],
        numbers: &[Vec<u64>],
    ) -> Result<(), ListError> {
        for (key, name) in prefixes.iter().copied().map(unpack) {
            let prefix = Prefix::from_value(key).ok_or_else(|| no_subject(key))?;
            if view.prefix(prefix).is_some() {
                return Err(ListError::Twice(Subject::Prefix(prefix)));
            }
            self.put(view, Subject::Prefix(prefix), name)?;
        }
        for (key, name) in numbers.iter().flatten().copied().map(unpack) {
            match view.numbers.put(key, name) {
                Put::Fresh | Put::Reused => {}
                Put::Replaced(_) => {
                    let number = Number::from_value(key).ok_or_else(|| no_subject(key))?;
                    return Err(ListError::Twice(Subject::Number(number)));
                }
                Put::Full => return Err(full("numbers", view.sizes().number_slots)),
            }
        }
        let count: usize = numbers.iter().map(Vec::len).sum();
        view.count(NUMBER_LIVE, count as i64);
        view.count(NUMBER_USED, count as i64);
        Ok(())
    }

    fn put(&mut self, view: &View<'_>, subject: Subject, name: u16) -> Result<(), ListError> {
        let (table, live, used) = match subject {
            Subject::Number(_) => (view.numbers, NUMBER_LIVE, NUMBER_USED),
            Subject::Prefix(_) => (view.prefixes, PREFIX_LIVE, PREFIX_USED),
        };
        if !subject.is_number() {
            // Before the entry: no reader may skip a length that has one.
            view.set_prefix_lengths(view.prefix_lengths() | 1 << subject.length());
        }
        match table.put(subject.value(), name) {
            Put::Replaced(_) => return Ok(()),
            Put::Full => return Err(full("subjects", view.sizes().number_slots)),
            Put::Fresh => view.count(used, 1),
            Put::Reused => {}
        }
        view.count(live, 1);
        if !subject.is_number() {
            self.lengths[subject.length()] += 1;
        }
        Ok(())
    }

    fn remove(&mut self, view: &View<'_>, subject: Subject) {
        match subject {
            Subject::Number(number) => {
                if view.numbers.remove(number.value()).is_some() {
                    view.count(NUMBER_LIVE, -1);
                }
            }
            Subject::Prefix(prefix) => {
                if view.prefixes.remove(prefix.value()).is_some() {
                    view.count(PREFIX_LIVE, -1);
                    let left = &mut self.lengths[prefix.length()];
                    *left = left.saturating_sub(1);
                    if *left == 0 {
                        view.set_prefix_lengths(view.prefix_lengths() & !(1 << prefix.length()));
                    }
                }
            }
        }
    }
}

/// A new image with the live entries and policies of an old one, and room for more: growth and repair.
pub struct Rewrite {
    policies: Vec<Option<Stack>>,
    pub layout: Layout,
}

impl Rewrite {
    /// Looks at which policies are still named, and how much room the list needs.
    pub fn plan(old: &View<'_>, need: &Need) -> Result<Rewrite, ListError> {
        let mut policies: Vec<Option<Stack>> = vec![None; MOST_POLICIES + 1];
        let mut named = vec![false; MOST_POLICIES + 1];
        let (mut numbers, mut prefixes) = (need.numbers, need.prefixes);
        for (subject, policy) in old.entries() {
            named[usize::from(policy)] = true;
            match subject {
                Subject::Number(_) => numbers += 1,
                Subject::Prefix(_) => prefixes += 1,
            }
        }
        let mut arena_words = need.arena_words;
        let mut count = need.policies;
        for name in (1..=MOST_POLICIES).filter(|&name| named[name]) {
            let stack = old.policy(name as u16).and_then(|policy| policy.stack());
            let stack = stack.ok_or_else(|| ListError::Image(format!("policy {name} is damaged")))?;
            arena_words += encode(&stack).len();
            count += 1;
            policies[name] = Some(stack);
        }
        if count > MOST_POLICIES {
            return Err(ListError::Policies(count));
        }
        Ok(Rewrite {
            policies,
            layout: Layout::for_counts(numbers, prefixes, arena_words),
        })
    }

    /// Fills an empty image of the planned layout.
    pub fn write(&self, old: &View<'_>, new: &View<'_>) -> Result<Editor, ListError> {
        let mut editor = Editor::default();
        let mut names = vec![0; self.policies.len()];
        for (name, stack) in self.policies.iter().enumerate() {
            if let Some(stack) = stack {
                names[name] = editor.intern(new, stack)?;
            }
        }
        for (subject, policy) in old.entries() {
            editor.put(new, subject, names[usize::from(policy)])?;
        }
        Ok(editor)
    }
}

fn no_subject(key: u64) -> ListError {
    ListError::Image(format!("key {key} is no subject"))
}

fn full(what: &str, limit: u64) -> ListError {
    ListError::Image(format!("no room for more {what} within {limit}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clause::tests::any_stack;
    use crate::decision::Revision;
    use crate::digest::Digest;
    use crate::list::Memory;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::sync::atomic::AtomicU64;

    fn lines(view: &View<'_>) -> BTreeMap<String, String> {
        let text = |policy| view.policy(policy).unwrap().text().unwrap();
        view.entries()
            .map(|(subject, policy)| (subject.to_string(), text(policy)))
            .collect()
    }

    fn blank(layout: Layout) -> Vec<AtomicU64> {
        let words: Vec<AtomicU64> = (0..layout.words()).map(|_| AtomicU64::new(0)).collect();
        layout.begin(&words, 1);
        words
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn changes_rewrites_and_resumed_work_agree_with_a_map(
            steps in proptest::collection::vec(("\\+7712345[0-3]{2}|\\+77[0-2]{0,2}\\*", any_stack(), 0..12u8), 1..60),
        ) {
            let empty = Memory::from_lines(Revision { epoch: 1, n: 0 }, [""; 0], 0).unwrap();
            let mut words = blank(Rewrite::plan(&empty.view(), &Need::default()).unwrap().layout);
            let mut editor = Editor::default();
            let mut oracle = BTreeMap::new();
            for (subject, stack, extra) in steps {
                let policy = stack.policy_at(200);
                let parsed = Subject::parse(&subject).unwrap();
                {
                    let view = View::open(&words).unwrap();
                    let need = editor.need(&view, [(parsed, &policy)].into_iter());
                    prop_assert!(Editor::fits(&view, &need));
                    editor.set(&view, parsed, &policy).unwrap();
                    view.publish(1, Digest(1));
                }
                if policy.is_empty() {
                    oracle.remove(&subject);
                } else {
                    oracle.insert(subject, policy.to_string());
                }
                if extra == 0 {
                    let old = View::open(&words).unwrap();
                    let rewrite = Rewrite::plan(&old, &Need::default()).unwrap();
                    let fresh = blank(rewrite.layout);
                    editor = rewrite.write(&old, &View::open(&fresh).unwrap()).unwrap();
                    words = fresh;
                } else if extra == 1 {
                    editor = Editor::resume(&View::open(&words).unwrap()).unwrap();
                }
                let view = View::open(&words).unwrap();
                prop_assert_eq!(&lines(&view), &oracle);
                let lengths: u64 = oracle.keys().filter(|text| text.ends_with('*')).fold(0, |all, text| all | 1 << (text.len() - 2));
                prop_assert_eq!(view.prefix_lengths(), lengths);
                let prefixes = oracle.keys().filter(|text| text.ends_with('*')).count();
                prop_assert_eq!(view.sizes().prefixes as usize, prefixes);
                prop_assert_eq!(view.sizes().numbers as usize, oracle.len() - prefixes);
            }
        }
    }
}
