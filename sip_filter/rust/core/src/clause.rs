//! Clauses and stacks: one rule reduced to what the filter needs, and all of them that bear on one subject.
//!
//! Texts are canonical: a clause or stack has exactly one, and reading accepts no other, since list digests are
//! taken of these bytes on every node. The Python face is `sip_filter/rule.py`.

use std::fmt;
use std::hash::Hasher;

use siphasher::sip::SipHasher24;

/// Most clauses in one stack.
pub const MOST_CLAUSES: usize = 64;
/// Most trunks in one clause.
pub const MOST_TRUNKS: usize = 64;
/// Most characters in the name of a trunk.
pub const MOST_TRUNK_NAME: usize = 32;
/// The latest end of a clause, in Unix seconds: the last second of the year 9999.
pub const LATEST_UNTIL: u64 = 253_402_300_799;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($variant),+ }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }

            pub fn from_word(word: &str) -> Option<$name> {
                match word { $($word => Some($name::$variant),)+ _ => None }
            }
        }
    };
}

words!(
    /// Who stands behind a clause.
    Authority { Order = "order", Noc = "noc" }
);
words!(
    /// What a clause asks for.
    Action { Reject = "reject", Allow = "allow", Label = "label" }
);
words!(
    /// Whether a clause decides or is only counted.
    Mode { Enforce = "enforce", Shadow = "shadow" }
);
words!(
    /// The requests that a clause is about.
    Kinds { Call = "call", Message = "message", Both = "both" }
);

/// One rule as the filter needs it. `trunks` is sorted, without duplicates; empty means every trunk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Clause {
    pub authority: Authority,
    pub action: Action,
    pub mode: Mode,
    pub kinds: Kinds,
    trunks: Vec<Box<str>>,
    pub until: Option<u64>,
}

impl Clause {
    /// Reads a canonical text such as `noc reject shadow call @intl-a until=1798761600`.
    pub fn parse(text: &str) -> Result<Clause, ClauseError> {
        let mut words = text.split(' ');
        let authority = choose(
            words.next(),
            "authority",
            Authority::from_word,
            text,
            "order or noc",
        )?;
        let action = choose(
            words.next(),
            "action",
            Action::from_word,
            text,
            "reject, allow or label",
        )?;
        let mode = choose(words.next(), "mode", Mode::from_word, text, "enforce or shadow")?;
        let kinds = choose(
            words.next(),
            "kinds",
            Kinds::from_word,
            text,
            "call, message or both",
        )?;
        let mut clause = Clause {
            authority,
            action,
            mode,
            kinds,
            trunks: Vec::new(),
            until: None,
        };
        let mut next = words.next();
        if let Some(names) = next.and_then(|word| word.strip_prefix('@')) {
            clause.trunks = read_trunks(names)?;
            next = words.next();
        }
        if let Some(seconds) = next.and_then(|word| word.strip_prefix("until=")) {
            clause.until = Some(read_until(seconds)?);
            next = words.next();
        }
        match next {
            None => Ok(clause),
            Some(word) => Err(ClauseError(format!(
                "clause \"{}\": unexpected \"{}\"",
                shown(text),
                shown(word)
            ))),
        }
    }

    pub fn trunks(&self) -> &[Box<str>] {
        &self.trunks
    }

    /// Whether it has ended at `now` (Unix seconds).
    pub fn ended(&self, now: u64) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = (
            self.authority.word(),
            self.action.word(),
            self.mode.word(),
            self.kinds.word(),
        );
        write!(out, "{} {} {} {}", words.0, words.1, words.2, words.3)?;
        for (index, trunk) in self.trunks.iter().enumerate() {
            write!(out, "{}{trunk}", if index == 0 { " @" } else { "," })?;
        }
        match self.until {
            Some(until) => write!(out, " until={until}"),
            None => Ok(()),
        }
    }
}

/// All clauses on one subject, sorted by text, without duplicates. Without times it is a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stack(Vec<Clause>);

impl Stack {
    /// Brings clauses into their one order.
    pub fn new(clauses: impl IntoIterator<Item = Clause>) -> Result<Stack, ClauseError> {
        let mut texts: Vec<(String, Clause)> = clauses
            .into_iter()
            .map(|clause| (clause.to_string(), clause))
            .collect();
        texts.sort_by(|left, right| left.0.as_bytes().cmp(right.0.as_bytes()));
        texts.dedup_by(|left, right| left.0 == right.0);
        if texts.len() > MOST_CLAUSES {
            let count = texts.len();
            return Err(ClauseError(format!(
                "a stack of {count} clauses; the most allowed are {MOST_CLAUSES}"
            )));
        }
        Ok(Stack(texts.into_iter().map(|(_, clause)| clause).collect()))
    }

    /// Reads a canonical text; the empty text is the empty stack.
    pub fn parse(text: &str) -> Result<Stack, ClauseError> {
        if text.is_empty() {
            return Ok(Stack::default());
        }
        let mut clauses = Vec::new();
        let mut previous = "";
        for part in text.split("; ") {
            let clause = Clause::parse(part)?;
            if part.as_bytes() <= previous.as_bytes() {
                return Err(ClauseError(format!(
                    "stack \"{}\": clause \"{}\" is not after the one before it",
                    shown(text),
                    shown(part)
                )));
            }
            previous = part;
            clauses.push(clause);
        }
        Stack::new(clauses)
    }

    pub fn clauses(&self) -> &[Clause] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any clause ends by itself.
    pub fn is_timed(&self) -> bool {
        self.0.iter().any(|clause| clause.until.is_some())
    }

    /// The policy in force at `now`: clauses that have not ended, their ends left out.
    pub fn policy_at(&self, now: u64) -> Stack {
        let live = self.0.iter().filter(|clause| !clause.ended(now));
        // A part of a valid stack is within its limit.
        Stack::new(live.map(|clause| Clause {
            until: None,
            ..clause.clone()
        }))
        .unwrap_or_default()
    }

    /// The ends of its clauses that lie after `now`.
    pub fn ends_after(&self, now: u64) -> impl Iterator<Item = u64> + '_ {
        self.0
            .iter()
            .filter_map(|clause| clause.until)
            .filter(move |&until| until > now)
    }
}

impl fmt::Display for Stack {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, clause) in self.0.iter().enumerate() {
            write!(out, "{}{clause}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

/// The 64-bit name of a trunk inside images, hits and judgements: SipHash-2-4 of the name under a zero key, so that
/// every process and version agrees.
pub fn trunk_key(name: &str) -> u64 {
    let mut hasher = SipHasher24::new();
    hasher.write(name.as_bytes());
    hasher.finish()
}

/// Why a text is no clause or stack; it names the value and the limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClauseError(String);

impl fmt::Display for ClauseError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for ClauseError {}

fn choose<T>(
    word: Option<&str>,
    part: &str,
    from_word: impl Fn(&str) -> Option<T>,
    text: &str,
    allowed: &str,
) -> Result<T, ClauseError> {
    let word = word.unwrap_or("");
    from_word(word).ok_or_else(|| {
        ClauseError(format!(
            "clause \"{}\": {part} \"{}\" must be {allowed}",
            shown(text),
            shown(word)
        ))
    })
}

fn read_trunks(names: &str) -> Result<Vec<Box<str>>, ClauseError> {
    let mut trunks: Vec<Box<str>> = Vec::new();
    for name in names.split(',') {
        check_trunk(name)?;
        if trunks
            .last()
            .is_some_and(|last| last.as_bytes() >= name.as_bytes())
        {
            return Err(ClauseError(format!(
                "trunks \"{}\" are not sorted without duplicates",
                shown(names)
            )));
        }
        trunks.push(name.into());
    }
    if trunks.len() > MOST_TRUNKS {
        let count = trunks.len();
        return Err(ClauseError(format!(
            "a clause on {count} trunks; the most allowed are {MOST_TRUNKS}"
        )));
    }
    Ok(trunks)
}

fn check_trunk(name: &str) -> Result<(), ClauseError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > MOST_TRUNK_NAME || !name.bytes().all(allowed) {
        return Err(ClauseError(format!(
            "trunk \"{}\" must be 1 to {MOST_TRUNK_NAME} of a-z, 0-9 and -",
            shown(name)
        )));
    }
    Ok(())
}

fn read_until(seconds: &str) -> Result<u64, ClauseError> {
    let plain =
        !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit()) && !seconds.starts_with('0');
    match seconds.parse::<u64>() {
        Ok(until) if plain && until <= LATEST_UNTIL => Ok(until),
        _ => Err(ClauseError(format!(
            "until \"{}\" must be Unix seconds from 1 to {LATEST_UNTIL}, without leading zeros",
            shown(seconds)
        ))),
    }
}

/// Enough of a foreign text to recognise it in a message.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn any_clause() -> impl Strategy<Value = Clause> {
        let trunks = proptest::collection::btree_set("[a-c]{1,2}", 0..3);
        (
            0..2usize,
            0..3usize,
            0..2usize,
            0..3usize,
            trunks,
            proptest::option::of(1..400u64),
        )
            .prop_map(|(authority, action, mode, kinds, trunks, until)| Clause {
                authority: Authority::ALL[authority],
                action: Action::ALL[action],
                mode: Mode::ALL[mode],
                kinds: Kinds::ALL[kinds],
                trunks: trunks.into_iter().map(String::into_boxed_str).collect(),
                until,
            })
    }

    pub(crate) fn any_stack() -> impl Strategy<Value = Stack> {
        proptest::collection::vec(any_clause(), 0..5).prop_map(|clauses| Stack::new(clauses).unwrap())
    }

    #[test]
    fn the_examples_of_the_format_read() {
        for text in [
            "order reject enforce both",
            "noc reject shadow call @intl-a until=1798761600",
        ] {
            assert_eq!(Clause::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_not_canonical_is_refused_by_name() {
        let message = |text: &str| Stack::parse(text).unwrap_err().to_string();
        assert!(
            message("order block enforce both").contains("action \"block\" must be reject, allow or label")
        );
        assert!(message("order reject enforce both @b,a").contains("not sorted"));
        assert!(message("order reject enforce both @a,a").contains("not sorted"));
        assert!(message("order reject enforce both @A").contains("trunk \"A\" must be 1 to 32"));
        assert!(message("order reject enforce both @").contains("trunk \"\""));
        assert!(message("order reject enforce both until=007").contains("until \"007\""));
        assert!(message("order reject enforce both until=253402300800").contains("253402300799"));
        assert!(message("order reject enforce both ").contains("unexpected \"\""));
        assert!(message("order reject enforce both; noc reject enforce both")
            .contains("not after the one before"));
        assert!(message("noc  reject enforce both").contains("action \"\""));
        let long: Vec<String> = (100..165)
            .map(|until| format!("noc reject enforce both until={until}"))
            .collect();
        assert!(message(&long.join("; ")).contains("65 clauses; the most allowed are 64"));
    }

    #[test]
    fn a_trunk_key_never_changes() {
        assert_eq!(trunk_key("intl-a"), trunk_key("intl-a"));
        assert_ne!(trunk_key("intl-a"), trunk_key("intl-b"));
        assert_eq!(trunk_key(""), 0x1e92_4b9d_7377_00d7);
    }

    proptest! {
        #[test]
        fn stacks_round_trip(stack in any_stack()) {
            prop_assert_eq!(Stack::parse(&stack.to_string()).unwrap(), stack);
        }

        #[test]
        fn a_policy_has_no_times_and_ends_with_its_clauses(stack in any_stack(), now in 0..500u64) {
            let policy = stack.policy_at(now);
            prop_assert!(!policy.is_timed());
            prop_assert_eq!(policy.is_empty(), stack.clauses().iter().all(|clause| clause.ended(now)));
            prop_assert!(stack.ends_after(now).all(|until| until > now));
        }
    }
}
