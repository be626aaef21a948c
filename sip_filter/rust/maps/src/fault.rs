//! Why a writer refuses. Whatever it refuses has changed nothing.

use std::fmt;
use std::io;

use palang_core::decision::Revision;
use palang_core::digest::Digest;
use palang_core::list::ListError;

/// Most changed entries in one revision.
pub const MOST_CHANGES: usize = 1_000;

#[derive(Debug)]
pub enum WriteError {
    Gap { expected: Revision, got: Revision },
    Digest { expected: Digest, computed: Digest },
    TooMany(usize),
    Epoch,
    List(ListError),
    Io(io::Error),
}

impl fmt::Display for WriteError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::Gap { expected, got } => {
                write!(out, "revision {got} does not follow: {expected} is next")
            }
            WriteError::Digest { expected, computed } => {
                write!(
                    out,
                    "the list's digest would be {computed}, not {expected} as published"
                )
            }
            WriteError::TooMany(count) => {
                write!(
                    out,
                    "{count} changed entries in one revision; the most allowed are {MOST_CHANGES}"
                )
            }
            WriteError::Epoch => write!(out, "epoch 0 is none; the lowest is 1"),
            WriteError::List(error) => error.fmt(out),
            WriteError::Io(error) => error.fmt(out),
        }
    }
}

impl std::error::Error for WriteError {}

impl From<ListError> for WriteError {
    fn from(error: ListError) -> WriteError {
        WriteError::List(error)
    }
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> WriteError {
        WriteError::Io(error)
    }
}
