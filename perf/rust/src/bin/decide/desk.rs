//! One worker's place: it answers INVITEs with the element that a gateway has, and counts them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use palang_core::clause::{trunk_key, Kinds};
use palang_core::counter::Counter;
use palang_core::course::Memory;
use palang_core::decision::{Kind, TrunkMode, TrunkScope, Verdict};
use palang_core::element::{Arrival, Effect, Element, Work};
use palang_core::health::{Checks, Health};
use palang_core::identity::Terms;
use palang_core::inquiry::{self, Ground};
use palang_core::keys::Keys;
use palang_core::list::View;
use palang_core::manners::Manners;
use palang_core::message::{self, Field};
use palang_core::number::Subject;
use palang_core::plan::Plan;
use palang_core::refusal::Redress;
use palang_core::setup::{Hop, Network, Response, Setup, Trunk};
use palang_core::traffic::{Books, SketchKey, Watch};
use palang_core::transport::Transport;
use palang_maps::Generation;

use crate::invites::{Invite, LENGTH};
use crate::times::{nanoseconds, Times, BATCH};

/// Distinct INVITEs; a branch predictor learns a few thousand by heart.
const INVITES: usize = 32_768;
/// Records that a worker hands in at once, and the moment at which the clock begins.
const TRAY: usize = 512;
const NOON: u64 = 1_800_000_000_000;
const SOURCE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)), 5060);

/// One worker's place: what it needs between datagrams.
pub struct Desk {
    element: Element,
    /// The same one, but it counts traffic: into these books.
    counting: Element,
    counting_memory: Memory,
    books: Books,
    memory: Memory,
    work: Work,
    fields: Vec<Field>,
    invites: Vec<Invite>,
    buffers: Vec<[u8; LENGTH]>,
    numbers: usize,
    /// How many calls were made: each has another caller.
    pub calls: usize,
    now: u64,
}

#[derive(Default)]
pub struct Round {
    pub receive: Times,
    pub counted: Times,
    /// Nanoseconds a call, of each batch.
    pub fold: Vec<u32>,
    pub decide: Times,
}

impl Desk {
    pub fn new(numbers: usize) -> Desk {
        Desk {
            element: element(false),
            counting: element(true),
            counting_memory: Memory::new(1 << 20),
            books: books(),
            memory: Memory::new(1 << 20),
            work: Work::default(),
            fields: Vec::new(),
            invites: (0..INVITES).map(Invite::new).collect(),
            buffers: vec![[0; LENGTH]; BATCH],
            numbers,
            calls: 0,
            now: 1,
        }
    }

    /// Answers all INVITEs so many times, or until `done`.
    pub fn run(&mut self, generation: &Generation, rounds: usize, done: &dyn Fn() -> bool) -> Round {
        let mut round = Round::default();
        for _ in 0..rounds {
            if done() {
                break;
            }
            self.now += 300_000; // What was remembered of the calls has gone.
            for first in (0..INVITES).step_by(BATCH) {
                // One half as a whole for the mean, the other half one by one for the percentiles.
                let whole = first / BATCH % 2 == 0;
                let view = generation.view();
                let expected = self.fill(first);
                round.receive.add(whole, |i| {
                    assert_eq!(
                        receive(self, false, i, &view),
                        expected[i],
                        "a wrong verdict by the element"
                    );
                });
                let expected = self.fill(first);
                round.counted.add(whole, |i| {
                    assert_eq!(
                        receive(self, true, i, &view),
                        expected[i],
                        "a wrong verdict by the counting element"
                    );
                });
                round.fold.extend(self.fold());
                let expected = self.fill(first);
                round.decide.add(whole, |i| {
                    assert_eq!(decide(self, i, &view), expected[i], "a wrong verdict");
                });
            }
        }
        round
    }

    /// Folds the records when a tray of them is full; how long one took.
    fn fold(&mut self) -> Option<u32> {
        let count = self.work.output.records.as_slice().len();
        if count < TRAY {
            return None;
        }
        let mut tray = self.work.output.records.swap(Vec::with_capacity(TRAY));
        let began = Instant::now();
        self.books.fold(&tray, self.now, NOON + self.now);
        let each = nanoseconds(began) / count as u32;
        tray.clear();
        self.books.settle(self.now, NOON + self.now);
        let lost = self.books.lost();
        assert_eq!((lost.records, lost.rows), (0, 0), "a call was not counted");
        Some(each)
    }

    /// Puts INVITEs with new callers into the buffers; which of them are to be refused.
    fn fill(&mut self, first: usize) -> [bool; BATCH] {
        std::array::from_fn(|i| {
            let invite = &self.invites[first + i];
            self.calls += 1;
            invite.write(&mut self.buffers[i], self.calls, self.numbers)
        })
    }
}

/// Books that watch 100 prefixes.
fn books() -> Books {
    let mut books = Books::open(SketchKey::of(Keys::new(&[9; 32]).newest()), 1, NOON);
    books.know([(trunk_key("intl"), "intl")]);
    let watches = (0..100).map(|i| Watch {
        id: format!("r{i}").into(),
        subject: Subject::parse(&format!("+{}*", 770 + i)).expect("a prefix"),
        except: Vec::new(),
        trunks: Vec::new(),
        kinds: Kinds::Both,
    });
    books.watch(watches.collect(), NOON).expect("good watches");
    books
}

/// The whole element; whether it refused the call.
#[inline(never)]
fn receive(desk: &mut Desk, counting: bool, i: usize, view: &View<'_>) -> bool {
    let arrival = Arrival {
        bytes: &desk.buffers[i],
        source: SOURCE,
        local: 0,
        flow: None,
        names: &[],
        now: desk.now,
    };
    let (element, memory) = match counting {
        true => (&desk.counting, &desk.counting_memory),
        false => (&desk.element, &desk.memory),
    };
    let effect = element.receive(arrival, memory, Some(view), &mut desk.work);
    assert!(matches!(effect, Effect::Send { .. }), "a call got no answer");
    let refused = desk.work.output.bytes.starts_with(b"SIP/2.0 603 ");
    let outcome = if refused {
        Counter::Rejected
    } else {
        Counter::Forwarded
    };
    assert!(
        desk.work.output.marks.as_slice().contains(&outcome),
        "a copy, or an error"
    );
    refused
}

/// Read, identity and decision; whether the call is refused.
#[inline(never)]
fn decide(desk: &mut Desk, i: usize, view: &View<'_>) -> bool {
    let message = message::read(&desk.buffers[i], &mut desk.fields).expect("a good message");
    let trunk = &desk.element.setup.trunks[0];
    let ground = Ground {
        terms: &trunk.terms,
        scope: TrunkScope {
            key: trunk.key,
            mode: trunk.mode,
        },
        protected: &desk.element.setup.protected,
    };
    let finding = inquiry::ask(&message, Kind::Call, &ground, Some(view)).expect("few identities");
    finding.judgement.expect("a list").verdict == Verdict::Reject
}

fn element(count_traffic: bool) -> Element {
    let trunk = Trunk {
        name: "intl".into(),
        key: trunk_key("intl"),
        sources: Network::parse("198.51.100.0/24").into_iter().collect(),
        port: None,
        tls_names: Vec::new(),
        terms: Terms {
            plan: Plan::International,
            trusted: true,
            rpid: false,
        },
        mode: TrunkMode::Enforce,
        response: Response::Decline,
        messages: true,
        manners: Manners::default(),
    };
    let hop = Hop {
        name: "switch".into(),
        transport: Transport::Udp,
        address: "203.0.113.5:5080".parse().expect("an address"),
        networks: Vec::new(),
        drain: false,
        health: Health::default(),
    };
    Element::new(Setup {
        locals: vec!["192.0.2.1:5060".parse().expect("an address")],
        keys: Keys::new(&[9; 32]),
        trunks: vec![trunk],
        hops: vec![hop],
        retired: vec![],
        protected: ["110", "112", "113", "115", "118", "119"]
            .map(|code| code.as_bytes().into())
            .into(),
        record_route: false,
        label: b"[Spam?]"[..].into(),
        bypass: false,
        count_traffic,
        drain: false,
        redress: Redress::default(),
        checks: Checks::default(),
    })
}
