//! The open calls of a run: each is begun once, and its answers are held against what was expected.

use std::net::SocketAddrV4;
use std::time::Instant;

use crate::histogram::Histogram;
use crate::invite::{answer, Mark, Template};
use crate::list::numbers;
use crate::scenario::{Caller, Outcome, Scenario};

/// Open calls that are known at once. One that is still open when this many others have begun is lost.
const SLOTS: usize = 1 << 16;

/// A run's calls.
pub struct Calls {
    run: u32,
    began: Instant,
    /// By peer, then by kind.
    templates: Vec<Vec<Template>>,
    peers: Vec<SocketAddrV4>,
    expected: Vec<(Caller, u16)>,
    listed: Vec<u32>,
    slots: Box<[Slot]>,
    next: u32,
    open: usize,
    answers: [u64; 1000],
    pub outcome: Outcome,
    latency: Histogram,
    request_bytes: u64,
    answer_bytes: u64,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    serial: u32,
    is_open: bool,
    due: u64,
}

impl Calls {
    pub fn new(scenario: &Scenario, run: u32, port: u16) -> Calls {
        let peer = |i: u16| SocketAddrV4::new((u32::from(scenario.source) + u32::from(i)).into(), port);
        let peers: Vec<_> = (0..scenario.peers).map(peer).collect();
        let kinds = |peer: &SocketAddrV4| {
            let kind = |(caller, _): &(Caller, u16)| Template::new(*caller, *peer, scenario.transport);
            scenario.callers.iter().map(kind).collect()
        };
        Calls {
            run,
            began: Instant::now(),
            templates: peers.iter().map(kinds).collect(),
            peers,
            expected: scenario.callers.clone(),
            listed: numbers(scenario.numbers),
            slots: vec![Slot::default(); SLOTS].into(),
            next: 0,
            open: 0,
            answers: [0; 1000],
            outcome: Outcome::default(),
            latency: Histogram::default(),
            request_bytes: 0,
            answer_bytes: 0,
        }
    }

    /// Nanoseconds since the run began.
    pub fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    pub fn begun(&self) -> u64 {
        u64::from(self.next)
    }

    pub fn open(&self) -> usize {
        self.open
    }

    /// The address that the next call comes from.
    pub fn peer(&self) -> SocketAddrV4 {
        self.peers[self.next as usize % self.peers.len()]
    }

    /// Begins a call that was due at `due`; writes its request and returns the length.
    pub fn begin(&mut self, due: u64, room: &mut [u8]) -> usize {
        let serial = self.next;
        self.next += 1;
        let slot = &mut self.slots[serial as usize % SLOTS];
        if slot.is_open {
            self.outcome.lost += 1;
            self.open -= 1;
        }
        *slot = Slot {
            serial,
            is_open: true,
            due,
        };
        self.open += 1;
        // A long stride, so that neighbours in time are not neighbours on the list.
        let turn = u64::from(serial) * 7_919;
        let kind = serial as usize % self.expected.len();
        let digits = match self.expected[kind].0 {
            Caller::Number | Caller::Asserted => self.listed[(turn % self.listed.len() as u64) as usize],
            Caller::Prefix | Caller::Good => (turn * 104_729 % 100_000_000) as u32,
        };
        let mark = Mark {
            run: self.run,
            serial,
        };
        let template = &self.templates[serial as usize % self.peers.len()][kind];
        let length = template.write(mark, digits, room);
        self.request_bytes += length as u64;
        length
    }

    /// Takes an answer that was read at `now`.
    pub fn take(&mut self, message: &[u8], now: u64) {
        let known = answer(message).filter(|(status, mark)| mark.run == self.run && *status < 1000);
        let Some((status, mark)) = known else {
            self.outcome.stray += 1;
            return;
        };
        let slot = &mut self.slots[mark.serial as usize % SLOTS];
        if !slot.is_open || slot.serial != mark.serial {
            self.outcome.stray += 1;
            return;
        }
        self.answers[usize::from(status)] += 1;
        self.answer_bytes += message.len() as u64;
        if (100..200).contains(&status) {
            return;
        }
        slot.is_open = false;
        self.open -= 1;
        self.latency.add(now.saturating_sub(slot.due));
        match self.expected[mark.serial as usize % self.expected.len()].1 == status {
            true => self.outcome.right += 1,
            false => self.outcome.wrong += 1,
        }
    }

    /// Gives up on all open calls.
    pub fn lose(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.is_open = false);
        self.outcome.lost += std::mem::take(&mut self.open) as u64;
    }

    /// What came of the run; what is still open is lost.
    pub fn finish(mut self) -> Outcome {
        self.lose();
        let answers: u64 = self.answers.iter().sum();
        let percentiles = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];
        let mut latency_us: std::collections::BTreeMap<_, _> = percentiles
            .map(|(name, share)| (name, self.latency.quantile(share) as f64 / 1e3))
            .into();
        latency_us.insert("max", self.latency.most() as f64 / 1e3);
        Outcome {
            calls: self.begun(),
            answers: (0..).zip(self.answers).filter(|(_, count)| *count > 0).collect(),
            request_bytes: self.request_bytes / self.begun().max(1),
            answer_bytes: self.answer_bytes / answers.max(1),
            latency_us,
            ..self.outcome
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls() -> Calls {
        let scenario = r#"{"server": "127.0.0.1:9", "numbers": 10, "callers": [["number", 603], ["good", 200]],
            "seconds": 1, "window": 4}"#;
        Calls::new(&serde_json::from_str(scenario).unwrap(), 1, 5070)
    }

    fn answered(calls: &mut Calls, status: &str) -> Vec<u8> {
        let mut room = [0; 2048];
        let length = calls.begin(0, &mut room);
        let text = String::from_utf8(room[..length].to_vec()).unwrap();
        text.replacen(
            "INVITE sip:+622150001234@127.0.0.1 SIP/2.0",
            &format!("SIP/2.0 {status} x"),
            1,
        )
        .into_bytes()
    }

    #[test]
    fn each_answer_is_held_against_what_was_expected() {
        let mut calls = calls();
        let refused = answered(&mut calls, "603");
        calls.take(&refused, 1000);
        calls.take(&refused, 1000); // Again: it belongs to no open call.
        let ringing = answered(&mut calls, "180");
        calls.take(&ringing, 1000);
        let passed = answered(&mut calls, "200"); // A blocked caller got through.
        calls.take(&passed, 1000);
        calls.take(b"SIP/2.0 603 Decline\r\n\r\n", 1000);
        let outcome = calls.finish();
        assert_eq!(
            (
                outcome.calls,
                outcome.right,
                outcome.wrong,
                outcome.lost,
                outcome.stray
            ),
            (3, 1, 1, 1, 2)
        );
        assert_eq!(outcome.answers, [(180, 1), (200, 1), (603, 1)].into());
    }

    #[test]
    fn a_call_that_is_never_answered_is_lost() {
        let mut calls = calls();
        for _ in 0..SLOTS + 2 {
            answered(&mut calls, "603");
        }
        assert_eq!((calls.open(), calls.outcome.lost), (SLOTS, 2));
        assert_eq!(calls.finish().lost, SLOTS as u64 + 2);
    }
}
