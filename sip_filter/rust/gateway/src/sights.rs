//! What became of each new call and message, for a person who watches a trial.
//!
//! Nobody watches a node: there this costs one load. Under watch the message is read a second time, so that the
//! element need not carry what only a person wants to see.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use palang_core::clause::Action;
use palang_core::counter::Counter;
use palang_core::decision::Kind;
use palang_core::element::{Arrival, Effect, Element, Output};
use palang_core::identity::callers;
use palang_core::message::{self, Method, Start};
use palang_core::number::{Number, Subject};
use palang_core::setup::Peer;

/// Sights that wait at most until somebody asks.
const MOST: usize = 4096;

/// One new call or message of a trunk.
#[derive(Clone, Debug)]
pub struct Sight {
    pub at_ms: u64,
    pub kind: Kind,
    pub trunk_key: u64,
    /// The numbers that it says it comes from.
    pub callers: Vec<Number>,
    /// The rule that refused or labelled it.
    pub rule: Option<(Action, Subject)>,
    pub fate: Fate,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Final status and reason phrase.
    Answered(String),
    SentTo(SocketAddr),
    Dropped,
}

#[derive(Default)]
pub struct Sights {
    on: AtomicBool,
    waiting: Mutex<(Vec<Sight>, u64)>,
}

impl Sights {
    /// What was seen since it was last asked, and how many more there were. The first asking begins the watch.
    pub fn take(&self) -> (Vec<Sight>, u64) {
        self.on.store(true, Ordering::Relaxed);
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn note(&self, element: &Element, arrival: &Arrival<'_>, effect: Effect, output: &Output) {
        if !self.on.load(Ordering::Relaxed) {
            return;
        }
        let Some(sight) = see(element, arrival, effect, output) else {
            return;
        };
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.0.len() < MOST {
            true => waiting.0.push(sight),
            false => waiting.1 += 1,
        }
    }
}

/// None: no new call or message of a trunk.
fn see(element: &Element, arrival: &Arrival<'_>, effect: Effect, output: &Output) -> Option<Sight> {
    let again = [Counter::ForwardedAgain, Counter::RefusedAgain];
    let Peer::Trunk(i) = element.setup.peer(arrival.source, arrival.way()) else {
        return None;
    };
    if output.marks.as_slice().iter().any(|mark| again.contains(mark)) {
        return None;
    }
    let mut fields = Vec::new();
    let message = message::read(arrival.bytes, &mut fields).ok()?;
    let kind = match message.start {
        Start::Request {
            method: Method::Invite,
            ..
        } => Kind::Call,
        Start::Request {
            method: Method::Message,
            ..
        } => Kind::Message,
        _ => return None,
    };
    if !message.to.tag.is_empty() {
        return None;
    }
    let trunk = &element.setup.trunks[i];
    let found = callers(&message, kind, &trunk.terms, &mut ());
    let rule = output.hits.iter().flatten().find(|hit| !hit.shadow);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(Sight {
        at_ms: since.as_millis() as u64,
        kind,
        trunk_key: trunk.key,
        callers: found.map_or(Vec::new(), |found| {
            found.as_slice().iter().map(|caller| caller.number).collect()
        }),
        rule: rule.map(|hit| (hit.matched.action, hit.matched.subject)),
        fate: fate(effect, &output.bytes),
    })
}

fn fate(effect: Effect, bytes: &[u8]) -> Fate {
    let Effect::Send { to, .. } = effect else {
        return Fate::Dropped;
    };
    match bytes.strip_prefix(b"SIP/2.0 ") {
        None => Fate::SentTo(to),
        Some(rest) => {
            let end = rest.iter().position(|b| matches!(b, b'\r' | b'\n'));
            Fate::Answered(String::from_utf8_lossy(&rest[..end.unwrap_or(0)]).into_owned())
        }
    }
}
