//! What the writer knows beside the image: stacks with times, as published, and when their clauses end.
//!
//! The image holds policies without times. A stack of which any clause ends by itself is kept here whole, also after
//! its clauses have ended: the digest is over what was published.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::clause::{Stack, LATEST_UNTIL};
use crate::entry::Entry;
use crate::number::Subject;

#[derive(Default)]
pub struct Timed {
    stacks: HashMap<Subject, Arc<Stack>>,
    ends: BTreeSet<(u64, Subject)>,
}

impl Timed {
    /// The stack of a subject as published, if it has times.
    pub fn get(&self, subject: Subject) -> Option<&Arc<Stack>> {
        self.stacks.get(&subject)
    }

    /// Takes what is published for a subject from `now` on. A stack without times is forgotten: the image has it all.
    pub fn set(&mut self, subject: Subject, stack: &Arc<Stack>, now: u64) {
        if let Some(former) = self.stacks.remove(&subject) {
            for end in former.ends_after(0) {
                self.ends.remove(&(end, subject));
            }
        }
        if stack.is_timed() {
            self.ends.extend(stack.ends_after(now).map(|end| (end, subject)));
            self.stacks.insert(subject, Arc::clone(stack));
        }
    }

    /// When the next clause ends.
    pub fn next_end(&self) -> Option<u64> {
        self.ends.first().map(|&(end, _)| end)
    }

    /// The subjects of which a clause has ended by `now`, each once, and how many clauses have.
    pub fn ended(&self, now: u64) -> (Vec<Subject>, usize) {
        let mut count = 0;
        let mut subjects = Vec::new();
        for &(end, subject) in self.ends.range(..(now.saturating_add(1), Subject::LEAST)) {
            let clauses = self.stacks.get(&subject).map_or(&[][..], |stack| stack.clauses());
            count += clauses.iter().filter(|clause| clause.until == Some(end)).count();
            subjects.push(subject);
        }
        subjects.sort_unstable();
        subjects.dedup();
        (subjects, count)
    }

    /// Waits no longer for ends up to `now`: they have been dealt with.
    pub fn forget_ends(&mut self, now: u64) {
        self.ends = self.ends.split_off(&(now.saturating_add(1), Subject::LEAST));
    }

    /// As lines `<time>\t<subject>\t<stack>`: the ends after that time are still waited for.
    pub fn to_lines(&self) -> String {
        let mut lines = String::new();
        for (subject, stack) in self.stacks() {
            let waited = stack
                .ends_after(0)
                .filter(|&end| self.ends.contains(&(end, subject)))
                .min();
            let since = waited.map_or(LATEST_UNTIL, |end| end - 1);
            lines.push_str(&format!("{since}\t{subject}\t{stack}\n"));
        }
        lines
    }

    /// Reads what `to_lines` wrote; `None` when it is something else.
    pub fn from_lines(lines: &str) -> Option<Timed> {
        let mut timed = Timed::default();
        for line in lines.lines() {
            let (since, entry) = line.split_once('\t')?;
            let Entry { subject, stack } = Entry::parse(entry).ok()?;
            timed.set(subject, &Arc::new(stack), since.parse().ok()?);
        }
        Some(timed)
    }

    /// Every stack with times, in the order of subjects.
    pub fn stacks(&self) -> Vec<(Subject, &Arc<Stack>)> {
        let mut stacks: Vec<_> = self
            .stacks
            .iter()
            .map(|(&subject, stack)| (subject, stack))
            .collect();
        stacks.sort_unstable_by_key(|&(subject, _)| subject);
        stacks
    }

    pub fn len(&self) -> usize {
        self.stacks.len()
    }

    pub fn is_empty(&self) -> bool {
        self.stacks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses_end_once_and_stay_published() {
        let subject = Subject::parse("+77*").unwrap();
        let text =
            "noc allow enforce both until=20; noc reject enforce both until=10; noc reject shadow call";
        let stack = Arc::new(Stack::parse(text).unwrap());
        let mut timed = Timed::default();
        timed.set(subject, &stack, 5);
        assert_eq!(timed.next_end(), Some(10));
        assert_eq!(timed.ended(9), (vec![], 0));
        assert_eq!(timed.ended(25), (vec![subject], 2));
        timed.forget_ends(25);
        assert_eq!((timed.next_end(), timed.len()), (None, 1));
        assert_eq!(timed.get(subject), Some(&stack));
        timed.set(
            subject,
            &Arc::new(Stack::parse("noc reject enforce both").unwrap()),
            30,
        );
        assert!(timed.is_empty());
    }

    #[test]
    fn lines_keep_what_is_waited_for() {
        let text = "noc allow enforce both until=20; noc reject enforce both until=10";
        for (now, next) in [(5, Some(10)), (10, Some(20)), (20, None)] {
            let subject = Subject::parse("+77*").unwrap();
            let mut timed = Timed::default();
            timed.set(subject, &Arc::new(Stack::parse(text).unwrap()), 0);
            timed.forget_ends(now);
            let read = Timed::from_lines(&timed.to_lines()).unwrap();
            assert_eq!((read.next_end(), read.len()), (next, 1));
        }
        assert!(Timed::from_lines("x").is_none());
    }

    #[test]
    fn a_new_stack_replaces_the_ends_of_the_former() {
        let subject = Subject::parse("+7712345678").unwrap();
        let stack = |text: &str| Arc::new(Stack::parse(text).unwrap());
        let mut timed = Timed::default();
        timed.set(subject, &stack("noc reject enforce both until=10"), 0);
        timed.set(subject, &stack("noc reject enforce both until=30"), 0);
        assert_eq!(timed.ended(10), (vec![], 0));
        assert_eq!(timed.next_end(), Some(30));
    }
}
