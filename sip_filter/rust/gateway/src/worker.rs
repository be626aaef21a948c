//! One worker: receive a batch, ask the element, send a batch; each lane in turn. It never waits but for its sockets.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use palang_core::counter::{Counter, COUNTERS};
use palang_core::course::Memory;
use palang_core::decision::ListView;
use palang_core::element::{Arrival, Effect, Element, Hit, Work};
use palang_maps::{Effect as HitEffect, Held, Hit as MappedHit, HitRing, Reader};

use crate::house::Pulse;
use crate::lanes::Watch;
use crate::mail::{Letter, Mail};
use crate::sender::{Order, Sender};
use crate::sights::Sights;
use crate::socket::{Receiver, BATCH};
use crate::stream::Terms;
use crate::traffic::Traffic;

/// What all threads of a gateway share.
pub struct Shared {
    pub live: PathBuf,
    pub reader: Reader,
    pub memory: Memory,
    pub stop: AtomicBool,
    pub began: Instant,
    /// What is to go over connections.
    pub mail: Mail,
    pub sights: Sights,
    pub traffic: Traffic,
    terms: RwLock<Terms>,
    element: RwLock<Arc<Element>>,
    /// Counts replacements of `element`, so that workers need not lock to learn that there was none.
    turns: AtomicU64,
}

impl Shared {
    pub fn new(live: PathBuf, reader: Reader, element: Element, terms: Terms, slots: usize) -> Shared {
        Shared {
            live,
            reader,
            memory: Memory::new(slots),
            stop: AtomicBool::new(false),
            began: Instant::now(),
            mail: Mail::default(),
            sights: Sights::default(),
            traffic: Traffic::new(&element.setup),
            terms: RwLock::new(terms),
            element: RwLock::new(Arc::new(element)),
            turns: AtomicU64::new(0),
        }
    }

    pub fn element(&self) -> Arc<Element> {
        Arc::clone(&self.element.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What connections are under now.
    pub fn terms(&self) -> Terms {
        self.terms.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes effect with the next `replace`.
    pub fn set_terms(&self, terms: Terms) {
        *self.terms.write().unwrap_or_else(PoisonError::into_inner) = terms;
    }

    /// How often the element was replaced.
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Acquire)
    }

    /// That count, and the element.
    pub fn latest(&self) -> (u64, Arc<Element>) {
        (self.turns(), self.element())
    }

    pub fn replace(&self, element: Element) {
        *self.element.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(element);
        self.turns.fetch_add(1, Ordering::Release);
    }

    /// Milliseconds of a clock that never goes back.
    pub fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64 + 1
    }
}

/// One thread's counters; only that thread writes them.
pub struct Counts([AtomicU64; COUNTERS]);

impl Default for Counts {
    fn default() -> Counts {
        Counts([const { AtomicU64::new(0) }; COUNTERS])
    }
}

impl Counts {
    pub fn add(&self, counter: Counter, count: u64) {
        let cell = &self.0[counter as usize];
        cell.store(
            cell.load(Ordering::Relaxed).wrapping_add(count),
            Ordering::Relaxed,
        );
    }

    pub fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize].load(Ordering::Relaxed)
    }
}

/// A place to work at: outlives the thread that works there, so that a new one can take over.
pub struct Desk {
    pub name: String,
    /// Which local address this one receives on, by these lanes.
    pub local: usize,
    pub lanes: Arc<[UdpSocket]>,
    /// One for each local address of UDP: replies may leave by any.
    pub sockets: Arc<[UdpSocket]>,
    pub counts: Counts,
    pub pulse: Pulse,
    pub number: usize,
}

impl Desk {
    /// A desk of its own at the same sockets, for a thread that takes over.
    pub fn successor(&self, number: usize) -> Desk {
        Desk {
            name: self.name.clone(),
            local: self.local,
            lanes: Arc::clone(&self.lanes),
            sockets: Arc::clone(&self.sockets),
            counts: Counts::default(),
            pulse: Pulse::default(),
            number,
        }
    }
}

/// Runs until the stop flag is up, or another has taken over.
pub fn run(shared: &Shared, desk: &Desk) {
    let mut receiver = Receiver::new();
    let Ok(mut watch) = Watch::new(&desk.lanes) else {
        desk.counts.add(Counter::ReceiveError, 1);
        return; // The housekeeper starts us again.
    };
    let mut worker = Worker {
        shared,
        desk,
        sender: Sender::default(),
        work: Work::default(),
        hits: Hits::new(shared, desk.number),
        held: shared.reader.hold(),
        element: shared.latest(),
    };
    while !shared.stop.load(Ordering::Relaxed) && desk.pulse.beat() {
        if let Err(error) = watch.wait() {
            worker.note_error(&error);
        }
        // One batch each: whoever sends more than that waits while the others have their turn.
        for (i, lane) in desk.lanes.iter().enumerate() {
            if !watch.is_ready(i) {
                continue;
            }
            match receiver.receive(lane) {
                Ok(count) => {
                    if count < BATCH {
                        watch.rest(i);
                    }
                    worker.serve(&receiver, count);
                    if desk.pulse.is_closed() {
                        worker.hand_in(true);
                        return; // We hung: these calls have been taken care of, or have ended.
                    }
                    if count == BATCH {
                        worker.send(); // Nobody's answer waits for another lane's flood.
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => watch.rest(i),
                Err(error) => worker.note_error(&error),
            }
        }
        worker.send();
        worker.hand_in(false);
    }
    worker.hand_in(true);
}

struct Worker<'a> {
    shared: &'a Shared,
    desk: &'a Desk,
    sender: Sender,
    work: Work,
    hits: Hits<'a>,
    held: Held,
    /// The element, and its turn.
    element: (u64, Arc<Element>),
}

impl Worker<'_> {
    /// Handles a batch.
    fn serve(&mut self, receiver: &Receiver, count: usize) {
        let (shared, desk) = (self.shared, self.desk);
        shared.reader.catch_up(&mut self.held);
        if shared.turns() != self.element.0 {
            self.element = shared.latest();
        }
        let list = (self.held.number() != 0).then(|| self.held.view());
        let now = shared.now();
        desk.counts.add(Counter::Received, count as u64);
        for i in 0..count {
            let Some((bytes, source)) = receiver.datagram(i) else {
                continue;
            };
            let arrival = Arrival {
                bytes,
                source,
                local: desk.local,
                flow: None,
                names: &[],
                now,
            };
            let (element, list) = (&self.element.1, list.as_ref());
            let (work, hits) = (&mut self.work, &mut self.hits);
            match handle(shared, element, list, arrival, work, hits, &desk.counts) {
                Some(Effect::Send { to, local, .. }) if local < desk.sockets.len() => {
                    let order = order(work.output.marks.as_slice());
                    self.sender.put(&work.output.bytes, to, local, order);
                }
                Some(Effect::Send { to, local, flow }) => {
                    let letter = Letter::of(&work.output, to, local, flow);
                    if !shared.mail.post(letter) {
                        desk.counts.add(Counter::ConnectionGone, 1);
                    }
                }
                Some(Effect::Drop(_)) | None => {}
            }
        }
    }

    /// Sends what came of the batches.
    fn send(&mut self) {
        let desk = self.desk;
        let sent = self.sender.flush(&desk.sockets);
        desk.counts.add(Counter::Sent, sent.sent);
        desk.counts.add(Counter::SendError, sent.failed);
        desk.counts.add(Counter::SegmentRefused, sent.refused);
    }

    /// Hands in what was written down for the counts of traffic.
    fn hand_in(&mut self, leaves: bool) {
        let records = &mut self.work.output.records;
        self.shared.traffic.hand_in(records, self.shared.now(), leaves);
    }

    fn note_error(&self, error: &std::io::Error) {
        match error.kind() {
            ErrorKind::Interrupted => {}
            // A switch that is down answers by ICMP; that is told here, and must not end the loop.
            ErrorKind::ConnectionRefused => self.desk.counts.add(Counter::ReceiveError, 1),
            _ => {
                self.desk.counts.add(Counter::ReceiveError, 1);
                std::thread::sleep(Duration::from_millis(10)); // No memory, no buffers: not a busy loop.
            }
        }
    }
}

/// Answers of ours may overtake each other; what is forwarded follows what was forwarded before.
fn order(marks: &[Counter]) -> Order {
    let forwarded = |mark: &Counter| matches!(mark, Counter::Forwarded | Counter::Response);
    match marks.iter().any(forwarded) {
        true => Order::Kept,
        false => Order::Free,
    }
}

/// Asks the element about one message, counts what happened and notes the hits. None: handling it failed.
pub fn handle<L: ListView>(
    shared: &Shared,
    element: &Element,
    list: Option<&L>,
    arrival: Arrival<'_>,
    work: &mut Work,
    hits: &mut Hits<'_>,
    counts: &Counts,
) -> Option<Effect> {
    #[cfg(test)]
    crate::tests::trouble(arrival.bytes);
    let handled = catch_unwind(AssertUnwindSafe(|| {
        element.receive(arrival, &shared.memory, list, work)
    }));
    let Ok(effect) = handled else {
        counts.add(Counter::Panic, 1);
        let records = std::mem::take(&mut work.output.records);
        *work = Work::default();
        work.output.records = records;
        return None;
    };
    for counter in work.output.marks.as_slice() {
        counts.add(*counter, 1);
    }
    for hit in work.output.hits.iter().flatten() {
        if !hits.push(hit, element) {
            counts.add(Counter::HitLost, 1);
        }
    }
    shared.sights.note(element, &arrival, effect, &work.output);
    Some(effect)
}

/// The same pipeline for one datagram, on the side: nothing is sent, counted or remembered.
pub fn rehearse(shared: &Shared, trunk: usize, bytes: &[u8]) -> u16 {
    let element = shared.element();
    let held = shared.reader.hold();
    let list = (held.number() != 0).then(|| held.view());
    rehearse_with(&element, list.as_ref(), trunk, bytes)
}

fn rehearse_with<L: ListView>(element: &Element, list: Option<&L>, trunk: usize, bytes: &[u8]) -> u16 {
    let mut work = Work::default();
    let source = ([0, 0, 0, 0], 5060).into();
    let arrival = Arrival {
        bytes,
        source,
        local: 0,
        flow: None,
        names: &[],
        now: 1,
    };
    match element.receive_on(trunk, arrival, &Memory::new(1), list, &mut work) {
        // Neither a dip's "go on" nor the lack of a next hop is a rule's refusal.
        Effect::Send { .. } if work.output.marks.as_slice().contains(&Counter::Rejected) => {
            status(&work.output.bytes)
        }
        Effect::Send { .. } | Effect::Drop(_) => 0,
    }
}

/// The status of a response; 0 for a request, which is what a forwarded one is.
fn status(bytes: &[u8]) -> u16 {
    bytes
        .strip_prefix(b"SIP/2.0 ")
        .and_then(|rest| std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok())
        .unwrap_or(0)
}

/// This worker's ring. It is made when first needed, and again, at most each second, while it can't be.
pub struct Hits<'a> {
    shared: &'a Shared,
    number: usize,
    ring: Option<HitRing>,
    tried: Option<Instant>,
}

impl<'a> Hits<'a> {
    pub fn new(shared: &'a Shared, number: usize) -> Hits<'a> {
        Hits {
            shared,
            number,
            ring: None,
            tried: None,
        }
    }

    fn push(&mut self, hit: &Hit, element: &Element) -> bool {
        if self.ring.is_none() && self.tried.is_none_or(|at| at.elapsed() > Duration::from_secs(1)) {
            self.tried = Some(Instant::now());
            self.ring = HitRing::create(&self.shared.live, self.number).ok();
        }
        let Some(ring) = &mut self.ring else { return false };
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        ring.push(&MappedHit {
            at_ms: at.as_millis() as u64,
            subject: hit.matched.subject,
            authority: hit.matched.authority,
            action: hit.matched.action,
            effect: HitEffect::of(hit.matched.action, hit.shadow),
            kind: hit.kind,
            trunk_key: element.setup.trunks[hit.trunk].key,
            revision: hit.revision,
            call_key: hit.call,
        })
    }
}
