//! Traffic: how much comes, and from where, so that a person sees what a rule would do before it does it.
//!
//! The element writes a short [`Record`] of each new call and message, and of what became of it. Off the packet's path
//! [`Books`] fold them into exact counts by minute, trunk and prefix, and into hourly [`Sketch`]es of how many
//! different numbers there were. No number is kept.

mod books;
mod calls;
mod minutes;
mod record;
mod sketch;
mod watch;

use std::hash::{BuildHasherDefault, Hasher};

pub use books::{Books, Lost, Sketches, Told, ToldPair, ToldRow};
pub use record::{Record, Records, What, MOST_RECORDS};
pub use sketch::{Sketch, SketchError, SketchKey, PRECISION};
pub use watch::{Watch, WatchError, MOST_EXCEPTIONS, MOST_WATCHES};

/// What is counted of a request or of what became of it, in the order of a row's figures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Column {
    /// Out-of-dialog INVITEs that were judged.
    Calls,
    /// MESSAGEs that were judged.
    Messages,
    /// Those refused by a rule.
    Rejected,
    /// Those that a rule in shadow, or an enforced one on a trunk in shadow, would have refused or labelled.
    Shadowed,
    /// Forwarded calls that rang.
    Rang,
    /// Forwarded calls that were answered.
    Answered,
    /// Forwarded calls that the caller gave up soon after they began to ring.
    Brief,
}

impl Column {
    pub const ALL: [Column; 7] = [
        Column::Calls,
        Column::Messages,
        Column::Rejected,
        Column::Shadowed,
        Column::Rang,
        Column::Answered,
        Column::Brief,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Column::Calls => "calls",
            Column::Messages => "messages",
            Column::Rejected => "rejected",
            Column::Shadowed => "shadowed",
            Column::Rang => "rang",
            Column::Answered => "answered",
            Column::Brief => "brief",
        }
    }
}

/// Figures in the order of [`Column::ALL`].
pub type Figures = [u32; Column::ALL.len()];

/// What a row or a sketch is about: a trunk's number, and a prefix or a watch on it.
type Code = u32;

/// The first four digits of a caller; 0: no number could be read. What lies above them are watches.
const KEYS: u16 = 10_000;

fn code(trunk: u16, what: u16) -> Code {
    Code::from(trunk) << 16 | Code::from(what)
}

fn parts(code: Code) -> (u16, u16) {
    ((code >> 16) as u16, code as u16)
}

/// A hash for small keys of our own making, which no peer chooses.
#[derive(Default)]
struct Mixer(u64);

type Mixed = BuildHasherDefault<Mixer>;

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u16(&mut self, value: u16) {
        self.write_u64(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
}
