//! Whether a next hop answers: OPTIONS checks of our own, without a thread or a clock.
//!
//! A hop is taken for healthy until checks prove otherwise, and again at its first answer.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::Arc;

use crate::course::{branch, Key};
use crate::keys::Keys;
use crate::transport::Local;

/// How next hops are checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Checks {
    /// Milliseconds between two checks of one hop; 0: none are sent, and every hop counts as healthy.
    pub every: u64,
    /// Checks in a row without an answer that make a hop unhealthy.
    pub misses: u32,
}

/// One hop's state. Clones are the same hop's: they outlive a change of settings.
#[derive(Clone, Default)]
pub struct Health(Arc<State>);

#[derive(Default)]
struct State {
    down: AtomicBool,
    unreachable: AtomicBool,
    sent: AtomicU32,
    answered: AtomicU32,
    misses: AtomicU32,
}

/// The next check of a hop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Due {
    pub cseq: u32,
    /// The one before had no answer in its time.
    pub missed: bool,
}

impl Health {
    pub fn is_up(&self) -> bool {
        !self.0.down.load(Relaxed) && !self.0.unreachable.load(Relaxed)
    }

    /// Whether a connection to it can be had; known without a check.
    pub fn set_reachable(&self, reachable: bool) {
        self.0.unreachable.store(!reachable, Relaxed);
    }

    /// Checks in a row without an answer.
    pub fn misses(&self) -> u32 {
        self.0.misses.load(Relaxed)
    }

    /// The last check has had its time: says what became of it and which is next. One thread calls this.
    pub fn handle_timeout(&self, most_misses: u32) -> Due {
        let last = self.0.sent.load(Relaxed);
        let missed = last != self.0.answered.load(Relaxed);
        if missed {
            let misses = self.misses().saturating_add(1);
            self.0.misses.store(misses, Relaxed);
            if misses >= most_misses.max(1) {
                self.0.down.store(true, Relaxed);
            }
        }
        let cseq = (last + 1) & 0x7fff_ffff; // RFC 3261 §8.1.1.5: below 2^31.
        self.0.sent.store(cseq, Relaxed);
        Due { cseq, missed }
    }

    /// Takes the answer to a check. Any final one shows life, but 503 asks to be spared (RFC 3261 §21.5.4).
    pub fn receive_answer(&self, cseq: u32, code: u16) {
        if cseq == self.0.sent.load(Relaxed) && code >= 200 && code != 503 {
            self.0.answered.store(cseq, Relaxed);
            self.0.misses.store(0, Relaxed);
            self.0.down.store(false, Relaxed);
        }
    }

    /// No more checks: nothing is held against the hop.
    pub fn clear(&self) {
        self.0.answered.store(self.0.sent.load(Relaxed), Relaxed);
        self.0.misses.store(0, Relaxed);
        self.0.down.store(false, Relaxed);
    }
}

/// What stands for the client's branch in the hash of a check's own.
const CLIENT: &[u8] = b"palang-check";

/// The transaction of a check: only who has the keys can have made the branch that carries it.
pub fn transaction(key: &Key, hop: SocketAddr, cseq: u32, call_id: &[u8], tag: &[u8]) -> u64 {
    key.transaction_of(hop, cseq, CLIENT, call_id, tag)
}

/// Writes the OPTIONS that checks a hop. `run` tells this process's checks from those of the one before it.
pub fn write_check(out: &mut Vec<u8>, keys: &Keys, local: Local, hop: SocketAddr, run: u64, cseq: u32) {
    out.clear();
    let Local {
        transport,
        address: local,
    } = local;
    let call_id = format!("palang-check-{run:016x}-{cseq}@{local}");
    let tag = format!("{run:016x}");
    let transaction = transaction(keys.newest(), hop, cseq, call_id.as_bytes(), tag.as_bytes());
    let branch = branch(transaction, 0);
    // Writing into a Vec can't fail.
    drop(write!(
        out,
        "OPTIONS sip:{hop} SIP/2.0\r\nVia: SIP/2.0/{} {local};branch={};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:palang@{local}>;tag={tag}\r\nTo: <sip:{hop}>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} OPTIONS\r\n\
         Accept: application/sdp\r\nContent-Length: 0\r\n\r\n",
        transport.in_via(),
        branch.escape_ascii()
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hop_is_up_until_checks_prove_otherwise() {
        let health = Health::default();
        assert!(health.is_up());
        assert_eq!(
            health.handle_timeout(2),
            Due {
                cseq: 1,
                missed: false
            }
        );
        health.receive_answer(1, 200);
        assert!(!health.handle_timeout(2).missed);
        health.receive_answer(1, 200); // Late: its time was up.
        health.receive_answer(2, 100);
        health.receive_answer(2, 503);
        assert!(health.handle_timeout(2).missed && health.is_up());
        assert!(health.handle_timeout(2).missed && !health.is_up());
        assert_eq!(health.misses(), 2);
        health.receive_answer(4, 405);
        assert!(health.is_up() && health.misses() == 0);
    }

    #[test]
    fn a_hop_that_is_not_reached_is_down() {
        let health = Health::default();
        health.set_reachable(false);
        assert!(!health.is_up());
        health.clear();
        assert!(!health.is_up());
        health.set_reachable(true);
        assert!(health.is_up());
    }

    #[test]
    fn without_checks_every_hop_is_up() {
        let health = Health::default();
        health.handle_timeout(1);
        health.handle_timeout(1);
        assert!(!health.is_up());
        health.clear();
        assert!(health.is_up() && !health.handle_timeout(1).missed);
    }
}
