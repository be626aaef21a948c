//! The decision: which of the rules that touch a request's identities has the last word.
//!
//! Each identity is judged alone. A regulator's reject beats everything that covers it or lies inside it; then the
//! longest subject wins, a Number over a Prefix; at equal length allow, reject, label. Shadow rules never change a
//! verdict; the best one is counted beside it. Over all identities a reject wins: an `allow` excuses only the identity
//! that it matches, and only a trusted one. Protected callees are the caller's business, before this.

use std::fmt;

use crate::clause::{Action, Authority, Kinds, Mode};
use crate::number::{Number, Prefix, Subject};
use crate::policy::{Policy, Term};

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Call,
    Message,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    Pass,
    Reject,
    Label,
}

/// What a trunk does with verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrunkMode {
    Enforce,
    Shadow,
    Off,
}

/// A number that a request says it comes from, and whether the trunk's word for it is believed (RFC 3325).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub number: Number,
    pub trusted: bool,
}

/// The trunk that a request came on; `key` is `clause::trunk_key` of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrunkScope {
    pub key: u64,
    pub mode: TrunkMode,
}

/// The state of a list: `epoch.n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    pub epoch: u32,
    pub n: u64,
}

/// The clause that won, by where it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    pub subject: Subject,
    /// The policy's name within the generation asked.
    pub policy: u16,
    pub authority: Authority,
    pub action: Action,
}

/// The answer for one request. Indexes are into the identities asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    pub verdict: Verdict,
    /// What decided. With `Pass` it is the `allow` that excused an identity, if one did.
    pub decided: Option<(usize, Match)>,
    /// What would have decided, were it enforced.
    pub shadow: Option<(usize, Match)>,
    /// The list seen was this one or a newer one.
    pub revision: Revision,
}

/// What a decision asks of a list.
pub trait ListView {
    fn revision(&self) -> Revision;
    /// The policy of a number's own entry.
    fn number(&self, number: Number) -> Option<u16>;
    /// The policy of a prefix's entry.
    fn prefix(&self, prefix: Prefix) -> Option<u16>;
    /// Bit `i` is set when there may be prefixes of `i` digits.
    fn prefix_lengths(&self) -> u64;
    fn policy(&self, policy: u16) -> Option<Policy<'_>>;
}

/// Judges one request.
pub fn judge(list: &impl ListView, identities: &[Identity], trunk: &TrunkScope, kind: Kind) -> Judgement {
    // Before the entries: what is published up to this revision is then seen.
    let revision = list.revision();
    let mut judgement = Judgement {
        verdict: Verdict::Pass,
        decided: None,
        shadow: None,
        revision,
    };
    if trunk.mode == TrunkMode::Off {
        return judgement;
    }
    for (index, identity) in identities.iter().enumerate() {
        let Winners { enforced, overall } = weigh(list, identity, trunk.key, kind);
        keep_worst(&mut judgement.decided, index, enforced);
        keep_worst(
            &mut judgement.shadow,
            index,
            overall.filter(|winner| winner.shadow),
        );
    }
    judgement.verdict = match judgement.decided.map(|(_, won)| won.action) {
        Some(Action::Reject) => Verdict::Reject,
        Some(Action::Label) => Verdict::Label,
        Some(Action::Allow) | None => Verdict::Pass,
    };
    if trunk.mode == TrunkMode::Shadow && judgement.verdict != Verdict::Pass {
        judgement.shadow = judgement.decided.take();
        judgement.verdict = Verdict::Pass;
    }
    judgement
}

impl Judgement {
    /// What counts as a hit: the clause that stopped or marked the request, and the one that would have (true).
    pub fn hits(&self) -> [Option<(Match, bool)>; 2] {
        let decided = self.decided.filter(|_| self.verdict != Verdict::Pass);
        [
            decided.map(|(_, found)| (found, false)),
            self.shadow.map(|(_, found)| (found, true)),
        ]
    }
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Kind::Call => "call",
            Kind::Message => "message",
        }
    }

    pub fn from_word(word: &str) -> Option<Kind> {
        [Kind::Call, Kind::Message]
            .into_iter()
            .find(|kind| kind.word() == word)
    }

    pub(crate) fn within(self, kinds: Kinds) -> bool {
        match kinds {
            Kinds::Both => true,
            Kinds::Call => self == Kind::Call,
            Kinds::Message => self == Kind::Message,
        }
    }
}

impl Verdict {
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Reject => "reject",
            Verdict::Label => "label",
        }
    }
}

impl TrunkMode {
    pub fn word(self) -> &'static str {
        match self {
            TrunkMode::Enforce => "enforce",
            TrunkMode::Shadow => "shadow",
            TrunkMode::Off => "off",
        }
    }

    pub fn from_word(word: &str) -> Option<TrunkMode> {
        [TrunkMode::Enforce, TrunkMode::Shadow, TrunkMode::Off]
            .into_iter()
            .find(|mode| mode.word() == word)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.epoch, self.n)
    }
}

/// The best clause of one identity, among those enforced and among all.
#[derive(Default)]
struct Winners {
    enforced: Option<Winner>,
    overall: Option<Winner>,
}

#[derive(Clone, Copy)]
struct Winner {
    rank: u32,
    shadow: bool,
    found: Match,
}

fn weigh(list: &impl ListView, identity: &Identity, trunk: u64, kind: Kind) -> Winners {
    let mut winners = Winners::default();
    let mut consider = |subject: Subject, policy: u16| {
        let Some(record) = list.policy(policy) else { return };
        for term in record.terms() {
            let excused = term.action == Action::Allow && !identity.trusted;
            if excused || !kind.within(term.kinds) || !term.covers(trunk) {
                continue;
            }
            let found = Match {
                subject,
                policy,
                authority: term.authority,
                action: term.action,
            };
            let winner = Winner {
                rank: rank(subject, &term),
                shadow: term.mode == Mode::Shadow,
                found,
            };
            if !winner.shadow {
                keep_best(&mut winners.enforced, winner);
            }
            keep_best(&mut winners.overall, winner);
        }
    };
    if let Some(policy) = list.number(identity.number) {
        consider(Subject::Number(identity.number), policy);
    }
    for prefix in identity.number.prefixes(list.prefix_lengths()) {
        if let Some(policy) = list.prefix(prefix) {
            consider(Subject::Prefix(prefix), policy);
        }
    }
    winners
}

/// Where a clause stands; higher wins. Below what the precedence names, an order is reported before a NOC rule that
/// says the same, and an enforced clause before its shadow.
fn rank(subject: Subject, term: &Term<'_>) -> u32 {
    let order_reject = term.authority == Authority::Order && term.action == Action::Reject;
    let action = match term.action {
        Action::Allow => 2,
        Action::Reject => 1,
        Action::Label => 0,
    };
    u32::from(order_reject) << 16
        | (subject.length() as u32) << 8
        | u32::from(subject.is_number()) << 7
        | action << 4
        | u32::from(term.authority == Authority::Order) << 3
        | u32::from(term.mode == Mode::Enforce)
}

fn keep_best(best: &mut Option<Winner>, winner: Winner) {
    if best.is_none_or(|held| winner.rank > held.rank) {
        *best = Some(winner);
    }
}

/// Over identities a reject counts before a label, and that before an allow; then the first.
fn keep_worst(worst: &mut Option<(usize, Match)>, index: usize, winner: Option<Winner>) {
    let weight = |found: &Match| match found.action {
        Action::Reject => 2,
        Action::Label => 1,
        Action::Allow => 0,
    };
    if let Some(winner) = winner {
        if worst
            .as_ref()
            .is_none_or(|(_, held)| weight(&winner.found) > weight(held))
        {
            *worst = Some((index, winner.found));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clause::trunk_key;
    use crate::list::Memory;

    const CALLER: &[u8] = b"77012345678";

    fn list(lines: &[&str]) -> Memory {
        Memory::from_lines(Revision { epoch: 1, n: 7 }, lines, 1_000).unwrap()
    }

    fn ask(lines: &[&str], identities: &[(&[u8], bool)], mode: TrunkMode, kind: Kind) -> Judgement {
        let identities: Vec<Identity> = identities
            .iter()
            .map(|&(digits, trusted)| Identity {
                number: Number::parse(digits).unwrap(),
                trusted,
            })
            .collect();
        let trunk = TrunkScope {
            key: trunk_key("intl-a"),
            mode,
        };
        judge(&list(lines), &identities, &trunk, kind)
    }

    fn call(lines: &[&str]) -> Judgement {
        ask(lines, &[(CALLER, true)], TrunkMode::Enforce, Kind::Call)
    }

    fn subject(found: Option<(usize, Match)>) -> String {
        found.map_or(String::new(), |(_, found)| found.subject.to_string())
    }

    #[test]
    fn an_order_beats_an_allow_that_lies_inside_or_covers_it() {
        let inside = call(&[
            "+77*\torder reject enforce both",
            "+77012345678\tnoc allow enforce both",
        ]);
        assert_eq!(
            (inside.verdict, subject(inside.decided).as_str()),
            (Verdict::Reject, "+77*")
        );
        let covers = call(&[
            "+77012345678\torder reject enforce both",
            "+77*\tnoc allow enforce both",
        ]);
        assert_eq!(covers.verdict, Verdict::Reject);
        assert_eq!(covers.revision, Revision { epoch: 1, n: 7 });
    }

    #[test]
    fn the_longest_wins_and_a_number_over_a_prefix() {
        let longer = call(&["+77*\tnoc reject enforce both", "+7701*\tnoc allow enforce both"]);
        assert_eq!(
            (longer.verdict, subject(longer.decided).as_str()),
            (Verdict::Pass, "+7701*")
        );
        let equal = call(&[
            "+77012345678*\tnoc allow enforce both",
            "+77012345678\tnoc label enforce both",
        ]);
        assert_eq!(
            (equal.verdict, subject(equal.decided).as_str()),
            (Verdict::Label, "+77012345678")
        );
        let both = call(&["+77*\tnoc allow enforce both; noc label enforce both; noc reject enforce both"]);
        assert_eq!(both.decided.unwrap().1.action, Action::Allow);
    }

    #[test]
    fn a_shadow_rule_is_only_counted() {
        let shadow = call(&["+77*\tnoc reject enforce both", "+7701*\tnoc allow shadow both"]);
        assert_eq!(
            (shadow.verdict, subject(shadow.shadow).as_str()),
            (Verdict::Reject, "+7701*")
        );
        let beaten = call(&["+77*\torder reject enforce both", "+7701*\tnoc allow shadow both"]);
        assert_eq!(beaten.shadow, None);
        let same = call(&["+77*\tnoc reject enforce both; noc reject shadow both"]);
        assert_eq!((same.verdict, same.shadow), (Verdict::Reject, None));
    }

    #[test]
    fn an_allow_excuses_only_its_trusted_identity() {
        let lines = [
            "+77*\tnoc reject enforce both",
            "+77012345678\tnoc allow enforce both",
        ];
        let untrusted = ask(&lines, &[(CALLER, false)], TrunkMode::Enforce, Kind::Call);
        assert_eq!(untrusted.verdict, Verdict::Reject);
        let other = ask(
            &lines,
            &[(CALLER, true), (b"77099999999", true)],
            TrunkMode::Enforce,
            Kind::Call,
        );
        assert_eq!((other.verdict, other.decided.unwrap().0), (Verdict::Reject, 1));
        let excused = ask(&lines, &[(CALLER, true)], TrunkMode::Enforce, Kind::Call);
        assert_eq!(
            (excused.verdict, subject(excused.decided).as_str()),
            (Verdict::Pass, "+77012345678")
        );
    }

    #[test]
    fn scope_and_time_skip_a_clause() {
        assert_eq!(call(&["+77*\tnoc reject enforce message"]).verdict, Verdict::Pass);
        assert_eq!(
            call(&["+77*\tnoc reject enforce both @intl-b"]).verdict,
            Verdict::Pass
        );
        assert_eq!(
            call(&["+77*\tnoc reject enforce both @intl-a,intl-b"]).verdict,
            Verdict::Reject
        );
        assert_eq!(
            call(&["+77*\tnoc reject enforce both until=1000"]).verdict,
            Verdict::Pass
        );
        assert_eq!(
            call(&["+77*\tnoc reject enforce both until=1001"]).verdict,
            Verdict::Reject
        );
    }

    #[test]
    fn the_trunk_has_the_last_word() {
        let lines = ["+77*\torder reject enforce both"];
        let shadow = ask(&lines, &[(CALLER, true)], TrunkMode::Shadow, Kind::Message);
        assert_eq!(
            (shadow.verdict, shadow.decided, subject(shadow.shadow).as_str()),
            (Verdict::Pass, None, "+77*")
        );
        let off = ask(&lines, &[(CALLER, true)], TrunkMode::Off, Kind::Message);
        assert_eq!(
            (off.verdict, off.decided, off.shadow),
            (Verdict::Pass, None, None)
        );
    }
}
