//! Dial plans: what the digits that a trunk presents mean, as dated data.
//!
//! The same digits mean different things on different trunks, and prefixes alone don't decide: `0077012345678`
//! is 00 and +7 701 234 56 78, not the access code 007 and something too short; `0017705551234` is 00 and a
//! number in the US, not 001 and something too short for +7. So every access code that fits is tried, and the
//! length of the number left must be one that its country uses ([`crate::countries`]).

use crate::countries::{is_plausible, METADATA};
use crate::number::Number;

/// How a trunk's digits are read: by a row of [`EDITIONS`], or by one of the operator's own ([`crate::own_plan`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plan {
    International,
    IdNational,
    Own(&'static Edition),
}

/// One plan's data, from the day on which it holds.
#[derive(PartialEq, Eq, Debug)]
pub struct Edition {
    pub name: &'static str,
    /// ISO date from which this edition holds.
    pub effective: &'static str,
    pub source: &'static str,
    /// Codes that may stand before a full international number, in order of preference.
    pub(crate) access: &'static [Access],
    /// Country code and prefixes of national numbers; none on an international trunk.
    pub(crate) national: Option<National>,
}

#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Access {
    pub(crate) digits: &'static [u8],
    /// Further digits that belong to the code, whatever they are: 2 for 010XY.
    pub(crate) more: usize,
}

#[derive(PartialEq, Eq, Debug)]
pub(crate) struct National {
    pub(crate) country: &'static [u8],
    /// Before an area or mobile number.
    pub(crate) trunk: &'static [Access],
    /// Long-distance codes before the same: 01X.
    pub(crate) carrier: &'static [Access],
    /// What numbers begin with that come bare of the trunk prefix: mobile ones.
    pub(crate) bare: &'static [&'static [u8]],
    /// First digits that a number behind a trunk or carrier prefix can have.
    pub(crate) first: &'static [u8],
}

const fn code(digits: &'static [u8]) -> Access {
    Access { digits, more: 0 }
}

/// KM 28/2004: 010XY is internet telephony (01017 for one).
const VOICE_OVER_IP: Access = Access {
    digits: b"010",
    more: 2,
};

/// The built-in plans.
pub static EDITIONS: [Edition; 2] = [
    Edition {
        name: "international",
        effective: "2010-11-18",
        source: "ITU-T E.164 (11/2010); access codes of KM 28/2004 where a domestic gateway has left them",
        // Abroad nobody dials 001 for a country: plain 00 is likelier when both readings have a good length.
        access: &[
            code(b"00"),
            code(b"001"),
            code(b"007"),
            code(b"008"),
            code(b"009"),
            VOICE_OVER_IP,
        ],
        national: None,
    },
    Edition {
        name: "id-national",
        effective: "2004-03-11",
        source: "KM 28/2004 (FTP Nasional 2000, as amended): 0, 01X, 010XY, 00X",
        access: &[
            code(b"001"),
            code(b"007"),
            code(b"008"),
            code(b"009"),
            code(b"00"),
            VOICE_OVER_IP,
        ],
        national: Some(National {
            country: b"62",
            trunk: &[code(b"0")],
            carrier: &[Access {
                digits: b"01",
                more: 1,
            }],
            bare: &[b"8"],
            first: b"23456789", // neither an area nor a mobile code begins with 0 or 1
        }),
    },
];

/// What a text turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reading {
    Number(Number),
    /// Not meant as a telephone number: a name, or nothing.
    Name,
    /// Meant as one, but not E.164 in this plan. No match, and counted.
    Unreadable,
}

/// Takes the steps of a reading, for `explain`. `()` takes nothing and costs nothing.
pub trait Trace {
    fn step(&mut self, text: impl FnOnce() -> String);
}

impl Trace for () {
    fn step(&mut self, _text: impl FnOnce() -> String) {}
}

impl Trace for Vec<String> {
    fn step(&mut self, text: impl FnOnce() -> String) {
        self.push(text());
    }
}

/// Longest run of digits worth reading: an access code of 5 and a number of 15.
const MOST_DIGITS: usize = 20;

impl Plan {
    pub fn named(name: &str) -> Option<Plan> {
        [Plan::International, Plan::IdNational]
            .into_iter()
            .find(|plan| plan.edition().name == name)
    }

    pub fn edition(self) -> &'static Edition {
        match self {
            Plan::International => &EDITIONS[0],
            Plan::IdNational => &EDITIONS[1],
            Plan::Own(edition) => edition,
        }
    }

    /// How a trunk of this plan would write one of its own country's numbers; None when only with its country code.
    pub fn national_form(self, number: Number) -> Option<String> {
        let national = self.edition().national.as_ref()?;
        let digits = number.digits();
        let rest = digits
            .as_str()
            .strip_prefix(std::str::from_utf8(national.country).ok()?)?;
        let prefix = std::str::from_utf8(national.trunk.first()?.digits).ok()?;
        let form = format!("{prefix}{rest}");
        (self.read(form.as_bytes(), None, &mut ()) == Reading::Number(number)).then_some(form)
    }

    /// Reads the user part of a caller's address, already unescaped.
    ///
    /// `context` is its phone-context (RFC 3966 §5.1.5), if any: a global prefix completes local digits; a domain
    /// says nothing about numbering, so that the trunk's plan reads the digits.
    pub fn read(self, text: &[u8], context: Option<&[u8]>, trace: &mut impl Trace) -> Reading {
        // As nearly all come, read at once.
        if let Some(number) = plain(text) {
            trace.step(|| format!("E.164 {number}"));
            return Reading::Number(number);
        }
        let Some(first) = text.first() else {
            return Reading::Name;
        };
        if !(first.is_ascii_digit() || matches!(first, b'+' | b'(' | b')' | b'-' | b'.' | ..=b' ' | 0x7f..)) {
            trace.step(|| format!("\"{}\" does not begin like a number", text.escape_ascii()));
            return Reading::Name;
        }
        let mut space = [0u8; MOST_DIGITS + 1];
        let Some(plain) = strip_separators(text, &mut space) else {
            trace.step(|| {
                format!(
                    "\"{}\" is not made of digits, or of more than {MOST_DIGITS}",
                    text.escape_ascii()
                )
            });
            return Reading::Unreadable;
        };
        match (plain, context) {
            ([b'+', digits @ ..], _) => global(digits, trace),
            ([], _) => Reading::Unreadable,
            (digits, Some([b'+', prefix @ ..])) => self.in_context(digits, prefix, trace),
            (digits, _) => self.edition().read(digits, trace),
        }
    }

    /// Local digits under a global prefix.
    fn in_context(self, digits: &[u8], prefix: &[u8], trace: &mut impl Trace) -> Reading {
        trace.step(|| {
            format!(
                "digits {} in phone-context +{}",
                show(digits),
                prefix.escape_ascii()
            )
        });
        let home = |plan: &Plan| {
            let national = plan.edition().national.as_ref();
            national.is_some_and(|national| national.country == prefix)
        };
        if let (b'0', Some(plan)) = (digits[0], [self, Plan::IdNational].into_iter().find(home)) {
            return plan.edition().read(digits, trace);
        }
        let mut space = [0u8; 40];
        let mut length = 0;
        // One leading 0 is most countries' trunk prefix, and never part of the number behind a country code.
        let digits = digits.strip_prefix(b"0").unwrap_or(digits);
        for digit in prefix.iter().filter(|b| !is_separator(**b)).chain(digits) {
            let Some(cell) = space.get_mut(length) else {
                return Reading::Unreadable;
            };
            *cell = *digit;
            length += 1;
        }
        global(&space[..length], trace)
    }
}

/// The number that a text is, if it is one in the form of E.164: no plan and no context reads it otherwise.
pub fn plain(text: &[u8]) -> Option<Number> {
    let digits = text.strip_prefix(b"+")?;
    Number::parse(digits).ok()
}

impl Edition {
    fn read(&self, digits: &[u8], trace: &mut impl Trace) -> Reading {
        trace.step(|| {
            format!(
                "digits {} in plan {} of {}",
                show(digits),
                self.name,
                self.effective
            )
        });
        // A 0 always begins a code: no country code has one. Where codes begin otherwise, bare digits are possible too.
        let coded = digits[0] == b'0';
        if coded || self.has_code(digits[0]) {
            let reading = self.read_prefixed(digits, trace);
            if coded || reading != Reading::Unreadable {
                return reading;
            }
        }
        if let Some(national) = &self.national {
            // Bare digits on a national trunk: its own country first, with or without the code, then the world.
            let own = digits.starts_with(national.country) && is_plausible(digits);
            if !own && national.bare.iter().any(|bare| digits.starts_with(bare)) {
                if let Reading::Number(number) = national.complete(digits) {
                    trace.step(|| format!("a national number without its trunk prefix: {number}"));
                    return Reading::Number(number);
                }
            }
        }
        if !is_plausible(digits) {
            trace.step(|| format!("no country has numbers like {} ({METADATA})", show(digits)));
            return Reading::Unreadable;
        }
        trace.step(|| "a country code and a number of a length that the country uses".to_owned());
        global(digits, trace)
    }

    fn has_code(&self, first: u8) -> bool {
        let national = self.national.iter().flat_map(|n| n.trunk.iter().chain(n.carrier));
        self.access
            .iter()
            .chain(national)
            .any(|code| code.digits[0] == first)
    }

    fn read_prefixed(&self, digits: &[u8], trace: &mut impl Trace) -> Reading {
        let mut chosen: Option<&[u8]> = None;
        for access in self.access {
            let Some(rest) = access.strip(digits) else {
                continue;
            };
            let code = &digits[..digits.len() - rest.len()];
            let fits = is_plausible(rest);
            trace.step(|| {
                let verdict = if !fits {
                    "no country has numbers of that form and length"
                } else if chosen.is_some() {
                    "possible, but the plan prefers the reading before"
                } else {
                    "fits"
                };
                format!("as {} + {}: {verdict}", show(code), show(rest))
            });
            if fits && chosen.is_none() {
                chosen = Some(rest);
            }
        }
        if let Some(rest) = chosen {
            return global(rest, trace);
        }
        let Some(national) = &self.national else {
            trace.step(|| "a national form, which has no meaning on an international trunk".to_owned());
            return Reading::Unreadable;
        };
        // 0 + area or mobile number; 01X + the same through a named carrier.
        let codes = national.trunk.iter().chain(national.carrier);
        let Some(rest) = codes
            .filter_map(|code| code.strip(digits))
            .find(|rest| national.first.contains(&rest[0]))
        else {
            trace.step(|| "neither an access code nor a trunk prefix leaves a number".to_owned());
            return Reading::Unreadable;
        };
        let reading = national.complete(rest);
        trace.step(|| match reading {
            Reading::Number(number) => format!("trunk prefix, then {}: {number}", show(rest)),
            _ => format!("{} has no length that a national number has", show(rest)),
        });
        reading
    }
}

impl Access {
    /// What follows the code; None when that is nothing, or the code is another.
    fn strip<'a>(&self, digits: &'a [u8]) -> Option<&'a [u8]> {
        let length = self.digits.len() + self.more;
        (digits.starts_with(self.digits) && digits.len() > length).then(|| &digits[length..])
    }
}

impl National {
    fn complete(&self, rest: &[u8]) -> Reading {
        let mut space = [0u8; 32];
        let length = self.country.len() + rest.len();
        let Some(full) = space.get_mut(..length) else {
            return Reading::Unreadable;
        };
        full[..self.country.len()].copy_from_slice(self.country);
        full[self.country.len()..].copy_from_slice(rest);
        if !is_plausible(full) {
            return Reading::Unreadable;
        }
        Number::parse(full).map_or(Reading::Unreadable, Reading::Number)
    }
}

/// Digits behind a plus, or a number whose prefix was taken off.
fn global(digits: &[u8], trace: &mut impl Trace) -> Reading {
    match Number::parse(digits) {
        Ok(number) => {
            trace.step(|| format!("E.164 {number}"));
            Reading::Number(number)
        }
        Err(error) => {
            trace.step(|| format!("not E.164: {error}"));
            Reading::Unreadable
        }
    }
}

/// Takes out visual separators (RFC 3966 §3), and spaces: a switch shows the same number without them. None: something that is neither digit nor separator, or too much.
fn strip_separators<'a>(text: &[u8], space: &'a mut [u8; MOST_DIGITS + 1]) -> Option<&'a [u8]> {
    let mut length = 0;
    for byte in text {
        if is_separator(*byte) {
            continue;
        }
        if !(byte.is_ascii_digit() || (*byte == b'+' && length == 0)) {
            return None;
        }
        *space.get_mut(length)? = *byte;
        length += 1;
    }
    Some(&space[..length])
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b'-' | b'.' | b'(' | b')' | b' ')
}

fn show(digits: &[u8]) -> std::slice::EscapeAscii<'_> {
    digits.escape_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(plan: Plan, text: &str) -> String {
        match plan.read(text.as_bytes(), None, &mut ()) {
            Reading::Number(number) => number.to_string(),
            Reading::Name => "name".to_owned(),
            Reading::Unreadable => "unreadable".to_owned(),
        }
    }

    #[test]
    fn both_plans_agree_on_what_is_unambiguous() {
        for plan in [Plan::International, Plan::IdNational] {
            for (text, number) in [
                ("+77012345678", "+77012345678"),
                ("+62-812-3456-7890", "+6281234567890"),
                ("0077012345678", "+77012345678"),
                ("0017705551234", "+17705551234"),
                ("00177012345678", "+77012345678"),
                ("00777012345678", "+77012345678"),
                ("00877012345678", "+77012345678"),
                ("0101777012345678", "+77012345678"),
                ("77012345678", "+77012345678"),
                ("6281234567890", "+6281234567890"),
                ("008613812345678", "+8613812345678"),
                ("+0077012345678", "unreadable"),
                ("++77012345678", "unreadable"),
                ("+1234567890123456", "unreadable"),
                ("+123456", "unreadable"),
                ("7012345678", "unreadable"),
                ("7701234567\u{200b}8", "unreadable"),
                ("\u{ff17}7012345678", "unreadable"),
                ("+7701 2345678", "+77012345678"),
                ("(+7) 701 234.56.78 ", "+77012345678"),
                ("-+77012345678", "+77012345678"),
                ("7701+2345678", "unreadable"),
                ("+7701\t2345678", "unreadable"),
                ("", "name"),
                ("anonymous", "name"),
                ("112", "unreadable"),
            ] {
                assert_eq!(read(plan, text), number, "{text} in {plan:?}");
            }
        }
    }

    #[test]
    fn the_trunk_decides_national_forms() {
        for (text, international, national) in [
            ("081234567890", "unreadable", "+6281234567890"),
            ("0212345678", "unreadable", "+62212345678"),
            ("81234567890", "+81234567890", "+6281234567890"),
            ("01721234567", "unreadable", "+6221234567"),
            ("0016581234567", "+16581234567", "+6581234567"),
        ] {
            assert_eq!(read(Plan::International, text), international, "{text}");
            assert_eq!(read(Plan::IdNational, text), national, "{text}");
        }
    }

    #[test]
    fn a_context_completes_local_digits() {
        let read = |text: &[u8], context: &[u8]| Plan::International.read(text, Some(context), &mut ());
        let number = |digits: &[u8]| Reading::Number(Number::parse(digits).unwrap());
        assert_eq!(read(b"0812345678", b"+62"), number(b"62812345678"));
        assert_eq!(read(b"7012345678", b"+7"), number(b"77012345678"));
        assert_eq!(read(b"2345678", b"+7701"), number(b"77012345678"));
        assert_eq!(read(b"77012345678", b"example.com"), number(b"77012345678"));
        assert_eq!(read(b"+77012345678", b"+62"), number(b"77012345678"));
    }

    #[test]
    fn steps_tell_the_reading() {
        let mut steps = Vec::new();
        Plan::International.read(b"0077012345678", None, &mut steps);
        assert_eq!(steps.last().map(String::as_str), Some("E.164 +77012345678"));
        assert!(steps
            .iter()
            .any(|step| step.starts_with("as 007 + 7012345678: no country")));
    }
}
