//! Messages out of a stream (RFC 3261 §18.3): where one ends and the next begins, whatever the segments.
//!
//! A [`Framer`] looks at the bytes not yet consumed and says what to take next. It finds the end of the header
//! as [`message::read`](crate::message::read) does, so that both mean the same bytes, and reads no byte twice
//! while a message trickles in. What can't be framed must end its connection: nobody knows where the next begins.

use crate::message::{decimal, find, read_name, Name, MAX_HEAD};
use crate::uri;

/// The longest message: as much as a datagram carries, since most go on in one.
pub const MAX_MESSAGE: usize = crate::element::MAX_DATAGRAM;

/// What to do with the bytes that are there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// More bytes must come first.
    Wait,
    /// Consume so many line ends between messages (RFC 3261 §7.5).
    Skip(usize),
    /// Consume a double CRLF, and answer it with a single one (RFC 5626 §4.4.1).
    Ping(usize),
    /// The first so many bytes are a message: consume them.
    Message(usize),
    /// The first so many bytes begin a message whose end can't be known: refuse it, then close.
    Broken(usize),
}

/// Where in the next message we are. One for each connection.
#[derive(Default)]
pub struct Framer {
    /// Bytes seen without a line end in them, and where their line began.
    at: usize,
    line: usize,
    /// The value of Content-Length, with its folds.
    length: Option<(usize, usize)>,
    repeated: bool,
    folds: bool,
    /// Length of the whole message, once its header is complete.
    total: usize,
}

const PING: &[u8] = b"\r\n\r\n";

impl Framer {
    /// Looks at all bytes that came since what was consumed last.
    pub fn step(&mut self, bytes: &[u8]) -> Step {
        if self.total == 0 && self.at == 0 {
            if bytes.is_empty() || bytes.len() < PING.len() && PING.starts_with(bytes) {
                return Step::Wait;
            }
            if bytes.starts_with(PING) {
                return Step::Ping(PING.len());
            }
            if is_line_end(bytes[0]) {
                return Step::Skip(1);
            }
        }
        if self.total == 0 {
            match self.read_head(bytes) {
                Ok(Some(total)) => self.total = total,
                Ok(None) => return Step::Wait,
                Err(end) => return Step::Broken(end),
            }
        }
        if bytes.len() < self.total {
            return Step::Wait;
        }
        let total = self.total;
        *self = Framer::default();
        Step::Message(total)
    }

    /// Whether these unconsumed bytes begin a message, not only line ends.
    pub fn has_begun(bytes: &[u8]) -> bool {
        !bytes.iter().all(|byte| is_line_end(*byte))
    }

    /// The length of the whole message; None until its header is complete. Err: as much as may be refused.
    fn read_head(&mut self, bytes: &[u8]) -> Result<Option<usize>, usize> {
        let limit = bytes.len().min(MAX_HEAD);
        while let Some(length) = find(&bytes[self.at..limit], b'\n') {
            let (line, next) = (self.line, self.at + length + 1);
            let end = next - 1 - usize::from(next - 1 > line && bytes[next - 2] == b'\r');
            (self.at, self.line) = (next, next);
            if line == 0 {
                continue;
            }
            if end == line {
                return self.total(bytes, next).map(Some);
            }
            self.read_line(&bytes[line..end], line, end);
        }
        self.at = limit;
        match bytes.len() > MAX_HEAD {
            true => Err(MAX_HEAD + 1),
            false => Ok(None),
        }
    }

    fn read_line(&mut self, text: &[u8], line: usize, end: usize) {
        if matches!(text[0], b' ' | b'\t') {
            if let (true, Some((_, value_end))) = (self.folds, &mut self.length) {
                *value_end = end;
            }
            return;
        }
        self.folds = false;
        // Most lines are told by their first letter.
        if !matches!(text[0], b'l' | b'L' | b'c' | b'C') {
            return;
        }
        if let Some((Name::ContentLength, value)) = read_name(text) {
            self.repeated |= self.length.is_some();
            self.length = Some((line + value, end));
            self.folds = true;
        }
    }

    fn total(&self, bytes: &[u8], head: usize) -> Result<usize, usize> {
        // Two lengths, be they equal, let two readers see two messages; over a stream the field is due
        // (RFC 3261 §20.14). A length of more than 32 bits must not wrap.
        let length = self
            .length
            .filter(|_| !self.repeated)
            .and_then(|(start, end)| decimal(uri::trim(&bytes[start..end])));
        length
            .map(|length| head as u64 + length)
            .filter(|total| *total <= MAX_MESSAGE as u64)
            .map(|total| total as usize)
            .ok_or(head)
    }
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}
