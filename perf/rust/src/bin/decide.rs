//! What computing costs on the packet's path, sockets left out: bytes in, verdict out.
//!
//! Method: `--numbers` numbers and 100 prefixes lie in mapped files, as a node has them. Distinct INVITEs of 900 bytes
//! in four clothings are copied into a receiver's buffers, untimed, as the kernel would; each gets a caller that was
//! not asked about lately (five of eight are in the list). Then one thread, pinned to `--core`, answers them. Each
//! answer is timed by itself for the percentiles, and batches of 64 as a whole for the mean, which the clock does not
//! weigh on. `receive` is the whole element with the response or the forwarded request written; `decide` is read,
//! identity and decision alone. `counted` is `receive` with a record written for the counts of traffic, and `fold` what it
//! takes to count a call's record later, off the packet's path, with 100 watches of prefixes. While `--changes` changes are applied by a writer pinned to `--writer-core`, the
//! same runs again.
//!
//! Expected: the verdict that the list calls for, for every message; else the program fails. Prints JSON; times are in
//! nanoseconds. Instructions are counted from outside: `valgrind --tool=callgrind decide --numbers 10000 --changes 0
//! --rounds 1`, then what `receive` and `decide` include, divided by `answers_of_each`.

use std::hint::black_box;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use palang_core::clause::{trunk_key, Kinds};
use palang_core::counter::Counter;
use palang_core::course::Memory;
use palang_core::decision::{Kind, ListView, Revision, TrunkMode, TrunkScope, Verdict};
use palang_core::digest::{entry_digest, Digest};
use palang_core::draft::Draft;
use palang_core::element::{Arrival, Effect, Element, Work};
use palang_core::health::{Checks, Health};
use palang_core::identity::Terms;
use palang_core::inquiry::{self, Ground};
use palang_core::keys::Keys;
use palang_core::list::View;
use palang_core::manners::Manners;
use palang_core::message::{self, Field};
use palang_core::number::{Number, Subject};
use palang_core::plan::Plan;
use palang_core::refusal::Redress;
use palang_core::setup::{Hop, Network, Response, Setup, Trunk};
use palang_core::traffic::{Books, SketchKey, Watch};
use palang_core::transport::Transport;
use palang_maps::{Generation, Reader, Writer};
use serde_json::{json, Value};

const PEER: &str = "198.51.100.7:5060";
const LENGTH: usize = 900;
const BATCH: usize = 64;
/// Distinct INVITEs; a branch predictor learns a few thousand by heart.
const INVITES: usize = 32_768;
/// Records that a worker hands in at once, and the moment at which the clock begins.
const TRAY: usize = 512;
const NOON: u64 = 1_800_000_000_000;
/// Changes in one revision.
const CHANGES: usize = 1_000;

fn main() {
    let options = Options::read();
    let folder = std::env::temp_dir().join(format!("palang-decide-{}", std::process::id()));
    let memory = Path::new("/dev/shm");
    let live = match memory.is_dir() {
        true => memory.join(format!("palang-decide-{}", std::process::id())),
        false => folder.join("live"),
    };
    let figures = measure(&options, &live, &folder.join("state"));
    for path in [&live, &folder] {
        // What is left of a run that failed is the system's to sweep.
        let _ = std::fs::remove_dir_all(path);
    }
    println!("{:#}", figures);
}

fn measure(options: &Options, live: &Path, state: &Path) -> Value {
    let mut writer = Writer::open(live, state).expect("two folders of our own");
    load(&mut writer, options.numbers);
    let changes = Changes::prepare(&writer, options);
    let reader = Reader::open(live).expect("the list that was loaded");
    let generation = reader.current();
    pin(options.core);
    let mut desk = Desk::new(options.numbers);
    desk.run(&generation, 1, &|| false); // Warm.

    let quiet = desk.run(&generation, options.rounds, &|| false);
    let applied = AtomicBool::new(false);
    let (busy, seconds) = std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            pin(options.writer_core);
            let seconds = changes.apply(&mut writer);
            applied.store(true, Ordering::Release);
            seconds
        });
        let busy = desk.run(&generation, usize::MAX, &|| applied.load(Ordering::Acquire));
        (busy, writing.join().expect("the writer lives"))
    });
    assert_eq!(
        generation.number(),
        writer.generation(),
        "the list that was changed is not the one asked"
    );
    let ratio = |of: fn(&Round) -> &Times| of(&busy).at(99.0) / of(&quiet).at(99.0);
    json!({
        "numbers": options.numbers,
        "prefixes": PREFIXES,
        "message_bytes": LENGTH,
        "answers_of_each": desk.calls / 3,
        "clock": clock(),
        "receive": quiet.receive.figures(),
        "decide": quiet.decide.figures(),
        "counted": quiet.counted.figures(),
        "fold": { "median": percentile(&quiet.fold, 50.0), "best": percentile(&quiet.fold, 0.0) },
        "while_changes_are_applied": {
            "changes": changes.count(),
            "changes_per_s": (changes.count() as f64 / seconds).round(),
            "receive": busy.receive.figures(),
            "decide": busy.decide.figures(),
            "p99_ratio_receive": rounded(ratio(|round| &round.receive)),
            "p99_ratio_decide": rounded(ratio(|round| &round.decide)),
        },
        "look_up": look_up(&generation.view(), options.numbers),
    })
}

struct Options {
    numbers: usize,
    changes: usize,
    rounds: usize,
    core: usize,
    writer_core: usize,
}

impl Options {
    fn read() -> Options {
        let mut options = Options {
            numbers: 10_000_000,
            changes: 1_000_000,
            rounds: 20,
            core: 1,
            writer_core: 0,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let field = match word.as_str() {
                "--numbers" => &mut options.numbers,
                "--changes" => &mut options.changes,
                "--rounds" => &mut options.rounds,
                "--core" => &mut options.core,
                "--writer-core" => &mut options.writer_core,
                _ => panic!("{word}: not one of --numbers, --changes, --rounds, --core, --writer-core"),
            };
            let value = words.next().and_then(|value| value.parse().ok());
            *field = value.unwrap_or_else(|| panic!("{word} needs a number"));
        }
        options
    }
}

const PREFIXES: usize = 100;
/// Where the list's numbers lie: Indonesian mobile ones.
const FIRST: u64 = 6_281_000_000_000;
const SPAN: u64 = 8_000_000_000;

/// The i-th number, all different and in no order: the factor has no divisor in common with the span.
fn number(i: usize) -> u64 {
    FIRST + i as u64 * 2_654_435_761 % SPAN
}

fn load(writer: &mut Writer, numbers: usize) {
    let mut draft = Draft::new(0);
    for i in 0..numbers {
        let line = format!("+{}\t{}", number(i), STACKS[0]);
        draft.add([line.as_str()].into_iter()).expect("a good line");
    }
    for i in 0..PREFIXES {
        let line = format!(
            "+{}{}*\tnoc reject enforce both",
            770 + i,
            ["", "1", "12", "123"][i % 4]
        );
        draft.add([line.as_str()].into_iter()).expect("a good line");
    }
    let digest = draft.digest();
    writer
        .load(Revision { epoch: 1, n: 1 }, draft, digest)
        .expect("room for the list");
}

/// What a changed number goes through, one after another and round again.
const STACKS: [&str; 3] = ["order reject enforce both", "noc reject enforce call", ""];

/// Revisions made beforehand, so that the writer does nothing but write.
struct Changes(Vec<(Vec<String>, Digest)>);

impl Changes {
    /// Changes numbers of odd place; those of even place are the callers', whose verdict stays.
    fn prepare(writer: &Writer, options: &Options) -> Changes {
        let mut digest = writer.digest();
        let places = (options.numbers / 2 / CHANGES * CHANGES).max(CHANGES);
        let changes = (0..options.changes / CHANGES).map(|revision| {
            let lines = (revision * CHANGES..(revision + 1) * CHANGES).map(|turn| {
                let value = number(turn % places * 2 + 1);
                let line = |stack: &str| format!("+{value}\t{stack}");
                let [former, next] = [0, 1].map(|step| STACKS[(turn / places + step) % STACKS.len()]);
                if !former.is_empty() {
                    digest -= entry_digest(line(former).as_bytes());
                }
                if !next.is_empty() {
                    digest += entry_digest(line(next).as_bytes());
                }
                line(next)
            });
            (lines.collect(), digest)
        });
        Changes(changes.collect())
    }

    fn count(&self) -> usize {
        self.0.len() * CHANGES
    }

    /// Applies all; in how many seconds.
    fn apply(&self, writer: &mut Writer) -> f64 {
        let mut revision = writer.revision();
        let began = Instant::now();
        for (lines, digest) in &self.0 {
            revision.n += 1;
            writer
                .apply(revision, lines.clone(), *digest, 0)
                .expect("a good revision");
        }
        began.elapsed().as_secs_f64()
    }
}

/// One worker's place: what it needs between datagrams.
struct Desk {
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
    calls: usize,
    now: u64,
}

#[derive(Default)]
struct Round {
    receive: Times,
    counted: Times,
    /// Nanoseconds a call, of each batch.
    fold: Vec<u32>,
    decide: Times,
}

impl Desk {
    fn new(numbers: usize) -> Desk {
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
    fn run(&mut self, generation: &Generation, rounds: usize, done: &dyn Fn() -> bool) -> Round {
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

/// Durations: of single answers, and of batches for the mean.
#[derive(Default)]
struct Times {
    singles: Vec<u32>,
    batches: Vec<u32>,
}

impl Times {
    fn add(&mut self, whole: bool, mut answer: impl FnMut(usize)) {
        let began = Instant::now();
        if whole {
            (0..BATCH).for_each(answer);
            self.batches.push(nanoseconds(began));
            return;
        }
        for i in 0..BATCH {
            let began = Instant::now();
            answer(i);
            self.singles.push(nanoseconds(began));
        }
    }

    fn at(&self, percent: f64) -> f64 {
        percentile(&self.singles, percent)
    }

    fn figures(&self) -> Value {
        let means = |percent| (percentile(&self.batches, percent) / BATCH as f64).round();
        json!({
            "mean_in_median_batch": means(50.0),
            "mean_in_best_batch": means(0.0),
            "median": self.at(50.0),
            "p99": self.at(99.0),
            "p99.9": self.at(99.9),
            "samples": self.singles.len(),
        })
    }
}

fn nanoseconds(began: Instant) -> u32 {
    began.elapsed().as_nanos().min(u128::from(u32::MAX)) as u32
}

fn percentile(times: &[u32], percent: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let place = (sorted.len() as f64 * percent / 100.0) as usize;
    sorted
        .get(place.min(sorted.len().saturating_sub(1)))
        .map_or(0.0, |time| f64::from(*time))
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// What the clock itself adds to a single time.
fn clock() -> f64 {
    let times: Vec<u32> = (0..10_000).map(|_| nanoseconds(Instant::now())).collect();
    percentile(&times, 50.0)
}

/// Look-ups of numbers in the list, in an order that is not the table's.
fn look_up(view: &View<'_>, numbers: usize) -> Value {
    let count = numbers.min(1_000_000) / 2;
    let even = |i: usize| Number::from_value(number(i * 7919 % (numbers / 2) * 2)).expect("13 digits");
    let asked: Vec<Number> = (0..count).map(even).collect();
    let each = |began: Instant| rounded(began.elapsed().as_nanos() as f64 / count as f64);
    let mut best = [f64::MAX; 2];
    for _ in 0..5 {
        let began = Instant::now();
        let (mut found, mut waited) = (0, 0);
        for place in 0..count {
            // A policy has 14 bits, so this adds nothing; but that must be known before the next can begin.
            let policy = view.number(asked[place + (waited >> 14)]);
            waited = black_box(usize::from(policy.unwrap_or(0)));
            found += usize::from(policy.is_some());
        }
        best[0] = best[0].min(each(began));
        assert_eq!(found, count, "a number of the list was not found");
        let mut policies = [0; BATCH];
        let began = Instant::now();
        let mut found = 0;
        for batch in asked.chunks(BATCH) {
            view.numbers(batch, &mut policies);
            found += policies[..batch.len()]
                .iter()
                .filter(|&&policy| policy > 0)
                .count();
        }
        best[1] = best[1].min(each(began));
        assert_eq!(found, count, "a number of the list was not found in a batch");
    }
    json!({ "dependent": best[0], "batch_of_64": best[1] })
}

const SOURCE: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7)),
    5060,
);

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

/// An INVITE whose caller is still open.
struct Invite {
    bytes: Vec<u8>,
    caller: Caller,
    /// Where the caller's digits stand.
    places: Vec<usize>,
}

/// Who calls: five of eight are in the list, four by their number and one by its prefix.
#[derive(Clone, Copy)]
enum Caller {
    Listed,
    Prefixed,
    Free,
}

impl Invite {
    fn new(i: usize) -> Invite {
        // What tells one call from another looks drawn by lot.
        let lot = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (caller, digits) = match lot >> 61 {
            0..4 => (Caller::Listed, "0000000000000"),
            4 => (Caller::Prefixed, "00000000000"),
            _ => (Caller::Free, "0000000000000"),
        };
        let text = head(lot, digits);
        let plus = format!("+{digits}");
        let places = text.match_indices(&plus).map(|(at, _)| at + 1).collect();
        Invite {
            bytes: with_body(text, i),
            caller,
            places,
        }
    }

    /// Writes this INVITE from the caller of that turn; whether the list refuses it.
    fn write(&self, buffer: &mut [u8; LENGTH], turn: usize, numbers: usize) -> bool {
        buffer.copy_from_slice(&self.bytes);
        let caller = match self.caller {
            Caller::Listed => number(turn * 2 % numbers),
            Caller::Prefixed => 77_112_000_000 + turn as u64 % 1_000_000,
            Caller::Free => number(numbers + turn),
        };
        let digits = Number::from_value(caller).expect("11 or 13 digits").digits();
        for &place in &self.places {
            buffer[place..place + digits.as_bytes().len()].copy_from_slice(digits.as_bytes());
        }
        !matches!(self.caller, Caller::Free)
    }
}

fn head(lot: u64, caller: &str) -> String {
    let (id, tag) = (lot ^ lot >> 29, (lot >> 13) as u32);
    let callee = 62_215_550_000 + (lot >> 40) % 10_000;
    match lot >> 33 & 3 {
        0 => format!(
            "INVITE sip:+{callee}@192.0.2.1:5060;user=phone SIP/2.0\r\n\
             Via: SIP/2.0/UDP {PEER};branch=z9hG4bK{id:x};rport\r\n\
             Max-Forwards: 70\r\n\
             From: \"Caller\" <sip:+{caller}@198.51.100.7;user=phone>;tag=as{tag:08x}\r\n\
             To: <sip:+{callee}@192.0.2.1;user=phone>\r\n\
             Contact: <sip:+{caller}@{PEER}>\r\n\
             Call-ID: {id:016x}5a9b44c7@198.51.100.7\r\n\
             CSeq: 102 INVITE\r\n\
             User-Agent: Carrier SBC 9\r\n\
             Date: Sun, 22 Nov 2026 16:00:00 GMT\r\n\
             Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, SUBSCRIBE, NOTIFY, INFO, PUBLISH, MESSAGE\r\n\
             Supported: replaces, timer\r\n\
             P-Asserted-Identity: <sip:+{caller}@198.51.100.7;user=phone>\r\n\
             Content-Type: application/sdp\r\n"
        ),
        1 => format!(
            "INVITE sip:+{callee}@192.0.2.1 SIP/2.0\r\n\
             v: SIP/2.0/UDP {PEER};branch=z9hG4bK-{id:x};rport\r\n\
             f: <sip:+{caller}@ims.example.net>;tag={tag:x}\r\n\
             t: <sip:+{callee}@ims.example.net>\r\n\
             i: {id:x}@ims.example.net\r\n\
             CSeq: 1 INVITE\r\n\
             m: <sip:+{caller}@{PEER};transport=udp>\r\n\
             Max-Forwards: 66\r\n\
             P-Asserted-Identity: <tel:+{caller}>\r\n\
             P-Charging-Vector: icid-value={id:016x};icid-generated-at=198.51.100.7;orig-ioi=example.net\r\n\
             k: 100rel, timer, histinfo\r\n\
             x: 1800;refresher=uac\r\n\
             c: application/sdp\r\n"
        ),
        2 => format!(
            "INVITE tel:+{callee} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {PEER};rport;branch=z9hG4bK{tag:x}.{id:x}\r\n\
             Via: SIP/2.0/UDP 10.20.30.40:5060;branch=z9hG4bK{id:016x}0;received=10.20.30.40\r\n\
             From: \"Doe, Jane\" <sip:+{caller};cpc=ordinary@198.51.100.7;user=phone>;tag={id:x}\r\n\
             To: \"{callee}\" <sip:+{callee}@192.0.2.1;user=phone>\r\n\
             Call-ID: isbc{id:x}{tag:x}\r\n\
             CSeq: 1 INVITE\r\n\
             Record-Route: <sip:10.20.30.40;lr;ftag={id:x}>\r\n\
             Contact: <sip:198.51.100.7:5060>;+sip.ice\r\n\
             P-Asserted-Identity: \"Doe, Jane\" <sip:+{caller}@198.51.100.7;user=phone>, <tel:+{caller}>\r\n\
             Privacy: none\r\n\
             Max-Forwards: 68\r\n\
             Allow: INVITE,ACK,CANCEL,BYE,PRACK,UPDATE\r\n\
             Session-Expires: 1800\r\n\
             Content-Type: application/sdp\r\n"
        ),
        _ => format!(
            "INVITE sip:+{callee}@192.0.2.1;transport=udp SIP/2.0\r\n\
             Via: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK{id:016x}\r\n\
             max-forwards: 69\r\n\
             from: sip:+{caller}@198.51.100.7;tag={tag:08x}-{id:x}\r\n\
             to: sip:+{callee}@192.0.2.1\r\n\
             call-id: {id:x}-{tag:x}-{id:016x}\r\n\
             cseq: 31 INVITE\r\n\
             contact: <sip:+{caller}@198.51.100.7>\r\n\
             user-agent: softswitch/4.2 (x86_64; linux)\r\n\
             accept: application/sdp, application/isup, multipart/mixed\r\n\
             supported: 100rel\r\n\
             min-se: 90\r\n\
             content-type: application/sdp\r\n"
        ),
    }
}

/// Adds a body such that the whole has `LENGTH` bytes.
fn with_body(mut head: String, i: usize) -> Vec<u8> {
    let mut body = format!(
        "v=0\r\no=- {i} 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\nm=audio {} RTP/AVP 8\r\na=x:",
        10_000 + i % 20_000
    );
    let length = LENGTH - head.len() - "Content-Length: 999\r\n\r\n".len();
    assert!(
        (100..1000).contains(&length) && body.len() + 2 <= length,
        "{} bytes of head",
        head.len()
    );
    body.push_str(&"0123456789".repeat(60)[..length - body.len() - 2]);
    body.push_str("\r\n");
    head.push_str(&format!("Content-Length: {length}\r\n\r\n{body}"));
    head.into_bytes()
}

fn pin(core: usize) {
    // SAFETY: all zeroes is a valid, empty set; the call only reads it.
    let failed = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    assert_eq!(failed, 0, "this machine has no core {core}");
}
