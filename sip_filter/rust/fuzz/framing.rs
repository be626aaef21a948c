//! The laws of framing: pieces don't matter, and the message view sees the same end.

use palang_core::frame::{Framer, Step};
use palang_core::message::{self, Name};

/// Everything that a stream comes to, given in those pieces. What was broken ends it.
pub fn framed<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<(Step, Vec<u8>)> {
    let (mut framer, mut buffer, mut found) = (Framer::default(), Vec::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let step = framer.step(&buffer);
            let count = match step {
                Step::Wait => break,
                Step::Skip(n) | Step::Ping(n) | Step::Message(n) | Step::Broken(n) => n,
            };
            let taken = buffer.drain(..count).collect();
            found.push((step, taken));
            if matches!(step, Step::Broken(_)) {
                return found;
            }
        }
    }
    found
}

/// Checks one stream, whole and in pieces of that size.
pub fn check(stream: &[u8], size: usize) {
    let whole = framed([stream].into_iter());
    assert_eq!(framed(stream.chunks(size.max(1))), whole);
    for (step, bytes) in whole {
        let mut fields = Vec::new();
        let Ok(view) = message::read(&bytes, &mut fields) else {
            continue;
        };
        match step {
            // What has a fault is refused, and goes nowhere.
            Step::Message(_) => assert!(view.fault.is_some() || view.end() == bytes.len()),
            Step::Broken(_) => assert!(view.fault.is_some() || view.get(Name::ContentLength).is_none()),
            Step::Wait | Step::Skip(_) | Step::Ping(_) => {}
        }
    }
}
