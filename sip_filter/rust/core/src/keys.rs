//! The keys that all nodes share, while one takes another's place: what one of them made is good under the others.
//!
//! New seals and names are of the newest key; all of them are accepted. Keys that follow one another have their naming
//! half in common, so that a call has one name on every node at every moment; where they don't, what a node remembers
//! still goes by the name it had.

use std::net::SocketAddr;

use crate::course::Key;
use crate::message::Message;

/// Keys at once: the one in use, the one that follows or went before, and one more for a change in haste.
pub const MOST_KEYS: usize = 3;

#[derive(Clone)]
pub struct Keys {
    all: Box<[Key]>,
    /// Those of different names.
    ages: Box<[Key]>,
}

impl Keys {
    pub fn new(key: &[u8; 32]) -> Keys {
        Keys::of(&[*key])
    }

    /// The newest first; beyond `MOST_KEYS` none counts. Without any, the key of zeroes, which is no secret.
    pub fn of(keys: &[[u8; 32]]) -> Keys {
        let mut all: Vec<Key> = keys.iter().take(MOST_KEYS).map(Key::new).collect();
        if all.is_empty() {
            all.push(Key::new(&[0; 32]));
        }
        let mut ages: Vec<Key> = Vec::new();
        for key in &all {
            if !ages.iter().any(|age| age.names_alike(key)) {
                ages.push(*key);
            }
        }
        Keys {
            all: all.into(),
            ages: ages.into(),
        }
    }

    pub fn newest(&self) -> &Key {
        &self.all[0]
    }

    /// The keys by which names may have been given, the newest first; at least one.
    pub fn ages(&self) -> &[Key] {
        &self.ages
    }

    /// Whether the seal in a response is of one of the keys.
    pub fn is_sealed(&self, message: &Message<'_>, back: SocketAddr, branch: &[u8], seal: &[u8]) -> bool {
        let (cseq, call_id, tag) = (message.cseq, message.call_id, message.from.tag);
        let mut keys = self.all.iter();
        keys.any(|key| key.seal(back, cseq, branch, call_id, tag) == seal)
    }
}
