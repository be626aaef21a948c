//! Entry lines: `<subject>\t<stack>`, the one form in which a list is published, digested, logged and replayed.

use std::fmt;

use crate::clause::{ClauseError, Stack};
use crate::number::{Number, NumberError, Subject};

/// One line of a list or of a change. In a change an empty stack deletes the subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub subject: Subject,
    pub stack: Stack,
}

impl Entry {
    pub fn parse(line: &str) -> Result<Entry, EntryError> {
        let (subject, stack) = split(line)?;
        Ok(Entry {
            subject,
            stack: Stack::parse(stack)?,
        })
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}\t{}", self.subject, self.stack)
    }
}

/// The subject of a line, and the text of its stack, not yet read.
pub fn split(line: &str) -> Result<(Subject, &str), EntryError> {
    if let Some((number, rest)) = Number::leading(line) {
        if let Some(stack) = rest.strip_prefix('\t') {
            return Ok((Subject::Number(number), stack));
        }
    }
    let (subject, stack) = line
        .split_once('\t')
        .ok_or_else(|| EntryError::NoTab(line.chars().take(40).collect()))?;
    Ok((Subject::parse(subject)?, stack))
}

/// Why a line is no entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryError {
    NoTab(String),
    Subject(NumberError),
    Stack(ClauseError),
}

impl fmt::Display for EntryError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EntryError::NoTab(line) => {
                write!(out, "entry line {line:?} has no tab between subject and stack")
            }
            EntryError::Subject(error) => error.fmt(out),
            EntryError::Stack(error) => error.fmt(out),
        }
    }
}

impl std::error::Error for EntryError {}

impl From<NumberError> for EntryError {
    fn from(error: NumberError) -> EntryError {
        EntryError::Subject(error)
    }
}

impl From<ClauseError> for EntryError {
    fn from(error: ClauseError) -> EntryError {
        EntryError::Stack(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_round_trip_and_errors_name_the_value() {
        for line in ["+6281234567890\torder reject enforce both", "+77*\t"] {
            assert_eq!(Entry::parse(line).unwrap().to_string(), line);
        }
        let message = |line: &str| Entry::parse(line).unwrap_err().to_string();
        assert!(message("+6281234567890 order").contains("no tab"));
        assert!(message("+6*\t").contains("\"6\" has 1 digits"));
        assert!(message("+77*\tx").contains("authority \"x\""));
    }
}
