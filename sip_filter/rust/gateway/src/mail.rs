//! Letters: what other threads hand to the one that has the connections.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use mio::Waker;
use palang_core::counter::Counter;
use palang_core::element::Output;
use palang_core::transport::Flow;

/// Letters that wait at most.
const MOST_LETTERS: usize = 1 << 14;

/// A message for a connection: the one named, or any over that local address to that peer.
pub struct Letter {
    pub to: SocketAddr,
    pub local: usize,
    pub flow: Option<Flow>,
    pub bytes: Vec<u8>,
    /// Whether a copy of it has gone before.
    pub again: bool,
}

impl Letter {
    /// What the element has written.
    pub fn of(output: &Output, to: SocketAddr, local: usize, flow: Option<Flow>) -> Letter {
        Letter {
            to,
            local,
            flow,
            bytes: output.bytes.clone(),
            again: output.marks.as_slice().contains(&Counter::ForwardedAgain),
        }
    }
}

/// What waits for that thread, and what wakes it.
#[derive(Default)]
pub struct Mail {
    letters: Mutex<Vec<Letter>>,
    waker: Mutex<Option<Waker>>,
}

impl Mail {
    /// Wakes a thread when a letter comes, in place of the one before.
    pub fn wake(&self, waker: Waker) {
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker);
    }

    /// False when the letter box is full.
    pub fn post(&self, letter: Letter) -> bool {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        if letters.len() >= MOST_LETTERS {
            return false;
        }
        letters.push(letter);
        if letters.len() == 1 {
            if let Some(waker) = &*self.waker.lock().unwrap_or_else(PoisonError::into_inner) {
                // If it fails, the letter is read within PATIENCE all the same.
                let _ = waker.wake();
            }
        }
        true
    }

    /// All that waits.
    pub fn take(&self) -> Vec<Letter> {
        std::mem::take(&mut *self.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
