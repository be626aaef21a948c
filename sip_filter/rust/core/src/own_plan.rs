//! Dial plans of an operator's own: a row of settings that becomes an [`Edition`] like the built-in ones.

use std::sync::{Mutex, PoisonError};

use crate::plan::{Access, Edition, National, Plan, EDITIONS};

/// Digits of the longest access code, so that it and a number of 15 fit what is read.
const MOST_CODE: usize = 5;

/// A plan as settings write it. Codes are digits, then an `X` for each further digit whatever it is: `010XX`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    pub name: String,
    /// ISO date from which it holds.
    pub effective: String,
    pub source: String,
    /// Before a full international number, in order of preference.
    pub international_prefixes: Vec<String>,
    /// Without one, national forms mean nothing.
    pub country_code: Option<String>,
    /// Before a national number.
    pub trunk_prefixes: Vec<String>,
    /// Before a national number that goes by a named carrier.
    pub carrier_prefixes: Vec<String>,
    /// What national numbers begin with that come bare of a trunk prefix.
    pub bare_prefixes: Vec<String>,
    /// First digits that a national number behind a trunk or carrier prefix can have.
    pub first_digits: String,
}

/// Every plan that was ever made of a row. A trunk's terms are copied per message, so a plan lives as long as the
/// process; equal rows share one, so that reloading settings takes no memory.
static OWN: Mutex<Vec<(Row, &'static Edition)>> = Mutex::new(Vec::new());

impl Row {
    /// The plan. Err: key, value and what is allowed.
    pub fn plan(self) -> Result<Plan, String> {
        self.check()?;
        let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, edition)) = own.iter().find(|(row, _)| *row == self) {
            return Ok(Plan::Own(edition));
        }
        let edition: &'static Edition = Box::leak(Box::new(self.edition()));
        own.push((self, edition));
        Ok(Plan::Own(edition))
    }

    fn check(&self) -> Result<(), String> {
        let name = &self.name;
        let named = (1..=32).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !named {
            return Err(format!(
                "name: {name:?} is not a plan name (1 to 32 of a-z, 0-9, -)"
            ));
        }
        if EDITIONS.iter().any(|edition| edition.name == name) {
            return Err(format!(
                "name: {name:?} is a built-in plan; give yours another name"
            ));
        }
        for (key, codes) in [
            ("international_prefixes", &self.international_prefixes),
            ("trunk_prefixes", &self.trunk_prefixes),
            ("carrier_prefixes", &self.carrier_prefixes),
            ("bare_prefixes", &self.bare_prefixes),
        ] {
            for code in codes {
                let digits = code.trim_end_matches('X');
                let may_vary = matches!(key, "international_prefixes" | "carrier_prefixes");
                let fits = !digits.is_empty() && code.len() <= MOST_CODE && is_digits(digits);
                if !fits || (digits != code && !may_vary) {
                    let more = if may_vary {
                        ", the last of them X for any"
                    } else {
                        ""
                    };
                    return Err(format!(
                        "{key}: {code:?} is not a code of 1 to {MOST_CODE} digits{more}"
                    ));
                }
            }
        }
        if !is_digits(&self.first_digits) || self.first_digits.len() > 10 {
            return Err(format!(
                "first_digits: {:?} is not up to 10 digits",
                self.first_digits
            ));
        }
        match &self.country_code {
            Some(code) if !(1..=3).contains(&code.len()) || !is_digits(code) || code.starts_with('0') => Err(
                format!("country_code: {code:?} is not 1 to 3 digits, the first not 0"),
            ),
            None if [&self.trunk_prefixes, &self.carrier_prefixes, &self.bare_prefixes]
                .iter()
                .any(|codes| !codes.is_empty()) =>
            {
                Err("country_code: missing; national prefixes mean nothing without it".into())
            }
            _ => Ok(()),
        }
    }

    fn edition(&self) -> Edition {
        Edition {
            name: keep(&self.name),
            effective: keep(&self.effective),
            source: keep(&self.source),
            access: codes(&self.international_prefixes),
            national: self.country_code.as_ref().map(|country| National {
                country: keep(country).as_bytes(),
                trunk: codes(&self.trunk_prefixes),
                carrier: codes(&self.carrier_prefixes),
                bare: self
                    .bare_prefixes
                    .iter()
                    .map(|code| keep(code).as_bytes())
                    .collect::<Vec<_>>()
                    .leak(),
                first: keep(&self.first_digits).as_bytes(),
            }),
        }
    }
}

fn codes(texts: &[String]) -> &'static [Access] {
    let access = texts.iter().map(|text| {
        let digits = text.trim_end_matches('X');
        Access {
            digits: keep(digits).as_bytes(),
            more: text.len() - digits.len(),
        }
    });
    access.collect::<Vec<_>>().leak()
}

fn keep(text: &str) -> &'static str {
    text.to_owned().leak()
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Reading;

    /// A plan of a country whose codes don't begin with 0.
    fn russia() -> Row {
        let codes = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Row {
            name: "ru-national".into(),
            effective: "2012-01-01".into(),
            source: "an example".into(),
            international_prefixes: codes(&["810"]),
            country_code: Some("7".into()),
            trunk_prefixes: codes(&["8"]),
            carrier_prefixes: codes(&[]),
            bare_prefixes: codes(&["9"]),
            first_digits: "3489".into(),
        }
    }

    #[test]
    fn a_row_reads_as_it_says() {
        let plan = russia().plan().unwrap();
        for (text, number) in [
            ("84951234567", "+74951234567"),
            ("8106281234567890", "+6281234567890"),
            ("9161234567", "+79161234567"),
            ("79161234567", "+79161234567"),
            ("6281234567890", "+6281234567890"),
            ("81234567890", "+81234567890"),
            ("+6281234567890", "+6281234567890"),
        ] {
            let Reading::Number(read) = plan.read(text.as_bytes(), None, &mut ()) else {
                panic!("{text} is unreadable");
            };
            assert_eq!(read.to_string(), number, "{text}");
        }
        assert_eq!(plan.read(b"0077012345678", None, &mut ()), Reading::Unreadable);
    }

    #[test]
    fn equal_rows_are_one_plan() {
        assert_eq!(russia().plan(), russia().plan());
        let other = Row {
            effective: "2013-01-01".into(),
            ..russia()
        };
        assert_ne!(other.plan(), russia().plan());
    }

    #[test]
    fn errors_name_key_value_and_what_is_allowed() {
        type Change = fn(&mut Row);
        let changes: [(Change, &str); 7] = [
            (|row| row.name = "A".into(), "name: \"A\" is not a plan name"),
            (
                |row| row.name = "international".into(),
                "name: \"international\" is a built-in plan",
            ),
            (
                |row| row.international_prefixes = vec!["010XXX".into()],
                "international_prefixes: \"010XXX\" is not a code of 1 to 5 digits, the last of them X",
            ),
            (
                |row| row.trunk_prefixes = vec!["0X".into()],
                "trunk_prefixes: \"0X\" is not a code of 1 to 5 digits",
            ),
            (
                |row| row.first_digits = "2-9".into(),
                "first_digits: \"2-9\" is not",
            ),
            (
                |row| row.country_code = Some("0".into()),
                "country_code: \"0\" is not 1 to 3",
            ),
            (|row| row.country_code = None, "country_code: missing"),
        ];
        for (change, error) in changes {
            let mut row = russia();
            change(&mut row);
            let said = row.plan().unwrap_err();
            assert!(said.starts_with(error), "{said}");
        }
    }
}
