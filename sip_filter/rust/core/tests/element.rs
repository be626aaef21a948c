//! The element as its peers see it: one scripted exchange per rule, on bytes, without sockets.

use std::net::SocketAddr;

use palang_core::clause::trunk_key;
use palang_core::counter::Counter;
use palang_core::course::Memory;
use palang_core::decision::{ListView, Revision, TrunkMode};
use palang_core::element::{Arrival, Effect, Element, Work};
use palang_core::health::{Checks, Health};
use palang_core::identity::Terms;
use palang_core::keys::Keys;
use palang_core::list;
use palang_core::manners::Manners;
use palang_core::number::{Number, Prefix};
use palang_core::plan::Plan;
use palang_core::policy::Policy;
use palang_core::refusal::Redress;
use palang_core::setup::{Hop, Network, Response, Setup, Trunk};
use palang_core::transport::Transport;

const GATEWAY: &str = "192.0.2.1:5060";
const TRUNK: &str = "198.51.100.7:5060";
const UNTRUSTED: &str = "198.51.100.8:5060";
const SWITCH: &str = "203.0.113.5:5080";
const CALLER: &str = "+77012345678";

struct Bench {
    element: Element,
    memory: Memory,
    list: list::Memory,
    work: Work,
    now: u64,
}

fn trunk(name: &str, source: &str, trusted: bool) -> Trunk {
    Trunk {
        name: name.into(),
        key: trunk_key(name),
        sources: vec![Network::parse(source).unwrap()],
        port: None,
        tls_names: vec![],
        terms: Terms {
            plan: Plan::International,
            trusted,
            rpid: false,
        },
        mode: TrunkMode::Enforce,
        response: Response::Decline,
        messages: true,
        manners: Manners::default(),
    }
}

fn setup() -> Setup {
    Setup {
        locals: vec![GATEWAY.parse().unwrap()],
        keys: Keys::new(&[7; 32]),
        trunks: vec![
            trunk("intl-a", "198.51.100.7", true),
            trunk("intl-b", "198.51.100.8", false),
        ],
        hops: vec![Hop {
            name: "switch-1".into(),
            transport: Transport::Udp,
            address: SWITCH.parse().unwrap(),
            networks: vec![Network::parse("203.0.113.0/24").unwrap()],
            drain: false,
            health: Health::default(),
        }],
        retired: vec![],
        protected: vec![b"112"[..].into()],
        record_route: false,
        label: b"[Spam?]"[..].into(),
        bypass: false,
        count_traffic: true,
        drain: false,
        redress: Redress::default(),
        checks: Checks::default(),
    }
}

fn rules(lines: &[&str]) -> list::Memory {
    list::Memory::from_lines(Revision { epoch: 1, n: 1 }, lines, 0).unwrap()
}

fn bench(lines: &[&str]) -> Bench {
    Bench {
        element: Element::new(setup()),
        memory: Memory::new(1024),
        list: rules(lines),
        work: Work::default(),
        now: 1,
    }
}

impl Bench {
    /// What is sent, and where to; None when the datagram is dropped.
    fn send(&mut self, source: &str, text: &str) -> Option<(SocketAddr, String)> {
        let source = source.parse().unwrap();
        let arrival = Arrival {
            bytes: text.as_bytes(),
            source,
            local: 0,
            flow: None,
            names: &[],
            now: self.now,
        };
        match self
            .element
            .receive(arrival, &self.memory, Some(&self.list), &mut self.work)
        {
            Effect::Send { to, .. } => {
                Some((to, String::from_utf8_lossy(&self.work.output.bytes).into_owned()))
            }
            Effect::Drop(_) => None,
        }
    }

    fn counted(&self, counter: Counter) -> bool {
        self.work.output.marks.as_slice().contains(&counter)
    }

    fn hits(&self) -> usize {
        self.work.output.hits.iter().flatten().count()
    }
}

const REJECT: &str = "+77*\tnoc reject enforce both";

fn request(method: &str, target: &str, more: &str) -> String {
    format!(
        "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bK{method}1\r\n\
         From: <sip:{CALLER}@a.example>;tag=f1\r\nTo: <sip:0812@b.example>\r\nCall-ID: call-1\r\n\
         CSeq: 1 {method}\r\nMax-Forwards: 70\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

fn invite() -> String {
    request("INVITE", "sip:0812@b.example", "")
}

/// The same transaction with another method: what CANCEL and the ACK of a failure look like.
fn follow(method: &str) -> String {
    invite()
        .replace("INVITE sip", &format!("{method} sip"))
        .replace("1 INVITE", &format!("1 {method}"))
}

fn header<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    text.split("\r\n")
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .collect()
}

#[test]
fn a_blocked_call_is_declined_and_its_ack_absorbed() {
    let mut bench = bench(&[REJECT]);
    let (to, reply) = bench.send(TRUNK, &invite()).unwrap();
    assert_eq!(to, TRUNK.parse().unwrap());
    assert!(reply.starts_with("SIP/2.0 603 Decline\r\n"), "{reply}");
    assert_eq!(
        header(&reply, "Reason"),
        ["Q.850;cause=21;text=\"Call rejected\""]
    );
    assert_eq!(bench.hits(), 1);
    let tag = header(&reply, "To")[0].split(";tag=").nth(1).unwrap().to_owned();
    let ack = follow("ACK").replace("b.example>\r\nCall", &format!("b.example>;tag={tag}\r\nCall"));
    assert!(bench.send(TRUNK, &ack).is_none());
    assert!(bench.counted(Counter::AckAbsorbed));
    assert!(bench.send(TRUNK, &follow("CANCEL")).is_none());
    assert!(bench.counted(Counter::CancelAbsorbed));
}

#[test]
fn copies_get_the_same_answer_and_one_hit_also_after_a_rule_change() {
    let mut bench = bench(&[REJECT]);
    let first = bench.send(TRUNK, &invite()).unwrap();
    bench.list = rules(&[]);
    for wait in [500, 1000, 2000, 4000, 8000, 16000] {
        bench.now += wait;
        assert_eq!(bench.send(TRUNK, &invite()).unwrap(), first);
        assert_eq!(bench.hits(), 0);
    }
    bench.now += 40_000;
    assert_eq!(bench.send(TRUNK, &invite()).unwrap().0, SWITCH.parse().unwrap());
}

#[test]
fn a_passed_call_stays_on_course_after_a_rule_change_and_a_drain() {
    let mut bench = bench(&[]);
    let first = bench.send(TRUNK, &invite()).unwrap();
    assert_eq!(first.0, SWITCH.parse().unwrap());
    bench.list = rules(&[REJECT]);
    let mut setup = setup();
    setup.retired = std::mem::take(&mut setup.hops);
    setup.hops.push(Hop {
        name: "other".into(),
        transport: Transport::Udp,
        address: "203.0.113.9:5060".parse().unwrap(),
        networks: vec![],
        drain: false,
        health: Health::default(),
    });
    bench.element = Element::new(setup);
    bench.now += 500;
    assert_eq!(bench.send(TRUNK, &invite()).unwrap(), first);
    let branch = |text: &str| {
        header(text, "Via")[0]
            .split(";branch=")
            .nth(1)
            .unwrap()
            .to_owned()
    };
    for method in ["CANCEL", "ACK"] {
        let (to, text) = bench.send(TRUNK, &follow(method)).unwrap();
        assert_eq!((to, branch(&text)), (first.0, branch(&first.1)), "{method}");
    }
    bench.now += 240_000;
    assert!(bench.send(TRUNK, &invite()).unwrap().1.starts_with("SIP/2.0 603"));
}

#[test]
fn responses_return_by_via_and_forged_ones_die() {
    let mut bench = bench(&[]);
    let (_, forwarded) = bench
        .send(TRUNK, &invite().replace(":5060;branch", ";rport;branch"))
        .unwrap();
    let vias = header(&forwarded, "Via");
    assert!(
        vias[0].starts_with("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-palang"),
        "{}",
        vias[0]
    );
    assert_eq!(
        vias[1],
        "SIP/2.0/UDP 198.51.100.7;branch=z9hG4bKINVITE1;rport=5060;received=198.51.100.7"
    );
    assert_eq!(header(&forwarded, "Max-Forwards"), ["69"]);
    let response = forwarded.replace("INVITE sip:0812@b.example SIP/2.0", "SIP/2.0 180 Ringing");
    let (to, back) = bench.send(SWITCH, &response).unwrap();
    assert_eq!(to, TRUNK.parse().unwrap());
    assert_eq!(header(&back, "Via"), [vias[1]]);
    let (_, busy) = bench
        .send(SWITCH, &response.replace("180 Ringing", "503 Full"))
        .unwrap();
    assert!(busy.starts_with("SIP/2.0 500 Server Internal Error\r\n"));
    for forged in [
        response.replace("received=198.51.100.7", "received=192.0.2.66"),
        response.replace("rport=5060", "rport=5061"),
        response.replace("z9hG4bK-palang", "z9hG4bK-palanh"),
        response.replace("Call-ID: call-1", "Call-ID: call-2"),
        response.replacen("192.0.2.1:5060", "192.0.2.2:5060", 1),
        response.replacen("Via: ", "Vja: ", 1),
    ] {
        assert!(bench.send(SWITCH, &forged).is_none(), "{forged}");
        assert!(bench.counted(Counter::ResponseDropped));
    }
    assert!(bench.send("192.0.2.200:5060", &response).is_none());
    assert!(bench.counted(Counter::UnknownSource));
}

#[test]
fn only_what_the_request_uri_says_is_protected() {
    let mut bench = bench(&[REJECT]);
    for target in [
        "sip:112@b.example",
        "tel:112;phone-context=+62",
        "urn:service:sos.fire",
        "sip:+62112@b.example",
    ] {
        let (to, _) = bench.send(TRUNK, &request("INVITE", target, "")).unwrap();
        assert_eq!(to, SWITCH.parse().unwrap(), "{target}");
        assert!(bench.counted(Counter::Protected));
        bench.memory = Memory::new(64);
    }
    for target in [
        "sip:112;rn=+62812@b.example",
        "sip:1120@b.example",
        "urn:service:sosial",
        "sip:0812@112",
    ] {
        let (_, reply) = bench.send(TRUNK, &request("INVITE", target, "")).unwrap();
        assert!(reply.starts_with("SIP/2.0 603"), "{target}");
        bench.memory = Memory::new(64);
    }
}

#[test]
fn untrusted_identities_are_judged_and_removed() {
    let mut bench = bench(&["+62811*\tnoc reject enforce both"]);
    let text = invite().replace("198.51.100.7", "198.51.100.8");
    let (_, forwarded) = bench
        .send(
            UNTRUSTED,
            &text.replace("Max-", "P-Asserted-Identity: <tel:+62822000000>\r\nMax-"),
        )
        .unwrap();
    assert!(header(&forwarded, "P-Asserted-Identity").is_empty());
    bench.memory = Memory::new(64);
    let (_, reply) = bench
        .send(
            UNTRUSTED,
            &text.replace("Max-", "P-Asserted-Identity: <tel:+62811000000>\r\nMax-"),
        )
        .unwrap();
    assert!(reply.starts_with("SIP/2.0 603"));
}

#[test]
fn an_allow_excuses_a_trusted_identity_and_a_label_shows() {
    let lines = [
        "+77*\tnoc reject enforce both",
        "+77012345678\tnoc allow enforce both",
    ];
    let mut one = bench(&lines);
    assert_eq!(one.send(TRUNK, &invite()).unwrap().0, SWITCH.parse().unwrap());
    let other = invite().replace("198.51.100.7", "198.51.100.8");
    assert!(one.send(UNTRUSTED, &other).unwrap().1.starts_with("SIP/2.0 603"));
    let mut two = bench(&["+77*\tnoc label enforce both"]);
    let text = invite().replace("Max-", "P-Asserted-Identity: \"A\" <tel:+77012345678>\r\nMax-");
    for _ in 0..2 {
        let (_, forwarded) = two.send(TRUNK, &text).unwrap();
        assert_eq!(
            header(&forwarded, "P-Asserted-Identity"),
            ["\"[Spam?] A\" <tel:+77012345678>"]
        );
    }
}

#[test]
fn trunk_modes_and_bypass() {
    for (mode, bypass, counter) in [
        (TrunkMode::Shadow, false, Some(Counter::Shadowed)),
        (TrunkMode::Off, false, None),
        (TrunkMode::Enforce, true, Some(Counter::Bypassed)),
    ] {
        let mut bench = bench(&[REJECT]);
        let mut setup = setup();
        setup.trunks[0].mode = mode;
        setup.bypass = bypass;
        bench.element = Element::new(setup);
        assert_eq!(bench.send(TRUNK, &invite()).unwrap().0, SWITCH.parse().unwrap());
        assert_eq!(bench.hits(), usize::from(mode == TrunkMode::Shadow));
        assert!(counter.is_none_or(|counter| bench.counted(counter)));
    }
}

#[test]
fn requests_are_routed_between_trunks_and_next_hops_only() {
    let mut bench = bench(&[REJECT]);
    let in_dialog =
        |target: &str, more: &str| request("BYE", target, more).replace("b.example>", "b.example>;tag=t1");
    let to =
        |sent: Option<(SocketAddr, String)>| sent.map(|(to, text)| (to.to_string(), text[..11].to_owned()));
    let expect = |to: &str, text: &str| Some((to.to_owned(), text.to_owned()));
    // From the trunk: the named switch, else the chosen one; never anywhere else.
    let bye = in_dialog("sip:x@203.0.113.77:5070", "");
    assert_eq!(
        to(bench.send(TRUNK, &bye)),
        expect("203.0.113.77:5070", "BYE sip:x@2")
    );
    let bye = in_dialog("sip:x@192.0.2.66", "");
    assert_eq!(to(bench.send(TRUNK, &bye)), expect(SWITCH, "BYE sip:x@1"));
    let bye = in_dialog(
        "sip:x@y.example",
        "Route: <sip:192.0.2.1;lr>, <sip:203.0.113.6:5090;lr>\r\n",
    );
    let (hop, text) = bench.send(TRUNK, &bye).unwrap();
    assert_eq!(
        (hop.to_string().as_str(), header(&text, "Route")),
        ("203.0.113.6:5090", vec!["<sip:203.0.113.6:5090;lr>"])
    );
    // From the switch: to an address of a trunk.
    let bye = in_dialog("sip:x@198.51.100.7:5062", "");
    assert_eq!(
        to(bench.send(SWITCH, &bye)),
        expect("198.51.100.7:5062", "BYE sip:x@1")
    );
    for target in [
        "sip:x@192.0.2.66",
        "sip:x@y.example",
        "sip:x@203.0.113.6",
        "sip:x@192.0.2.1",
    ] {
        let (back, reply) = bench.send(SWITCH, &request("INVITE", target, "")).unwrap();
        assert!(reply.starts_with("SIP/2.0 404"), "{target}: {reply}");
        assert_eq!(back.to_string(), "203.0.113.5:5060");
    }
    let outbound = request("INVITE", "sip:x@198.51.100.7", "");
    assert_eq!(to(bench.send(SWITCH, &outbound)), expect(TRUNK, "INVITE sip:"));
}

#[test]
fn checks_of_a_proxy() {
    let mut bench = bench(&[]);
    let status = |sent: Option<(SocketAddr, String)>| {
        sent.map_or("none".to_owned(), |(_, text)| text[8..11].to_owned())
    };
    let edit = |from: &str, to: &str| invite().replace(from, to);
    for (text, expected) in [
        (edit("Max-Forwards: 70", "Max-Forwards: 0"), "483"),
        (edit("Max-Forwards: 70", "Max-Forwards: 256"), "400"),
        (edit("Max-Forwards: 70", "Max-Forwards: -1"), "400"),
        (edit("Max-Forwards: 70", "Proxy-Require: x, y"), "420"),
        (edit("From:", "From: <sip:x@y>;tag=2\r\nf:"), "400"),
        (edit("SIP/2.0\r\nVia", "SIP/3.0\r\nVia"), "505"),
        (edit("INVITE sip:0812@b.example", "INVITE mailto:a@b"), "416"),
        (edit("Content-Length: 0", "Content-Length: 1"), "400"),
        (edit("Content-Length: 0", "Content-Length: 0\r\nl: 0"), "400"),
        (edit("Call-ID: call-1\r\n", ""), "400"),
        (edit("CSeq: 1 INVITE", "CSeq: 1 BYE"), "400"),
        (edit("CSeq: 1 INVITE", "CSeq: 99999999999 INVITE"), "400"),
        (edit("INVITE", "invite"), "400"),
        (edit("\r\nCall-ID", "\nCall-ID"), "400"),
        (edit("call-1\r\n", "call-1\r\nX: a\rFrom: b\r\n"), "400"),
        (
            edit("call-1\r\n", &format!("call-1\r\n{}", "X: y\r\n".repeat(300))),
            "513",
        ),
        (
            edit("call-1\r\n", &format!("call-1\r\nX: {}\r\n", "y".repeat(17_000))),
            "513",
        ),
        (
            edit(
                "call-1\r\n",
                &format!("call-1\r\n{}", "Via: SIP/2.0/UDP a\r\n".repeat(71)),
            ),
            "400",
        ),
        (request("REGISTER", "sip:b.example", ""), "405"),
        (request("SUBSCRIBE", "sip:b.example", ""), "405"),
        (request("PUBLISH", "sip:b.example", ""), "405"),
        (request("REFER", "sip:b.example", ""), "405"),
        (request("NOTIFY", "sip:b.example", ""), "405"),
        (request("OPTIONS", "sip:192.0.2.1", ""), "200"),
        (request("OPTIONS", "sip:ping@192.0.2.1:5060", ""), "200"),
        ("\r\n\r\n".to_owned(), "none"),
        ("\0\u{1}stun".to_owned(), "none"),
        (edit("Via", "Vja"), "none"),
    ] {
        assert_eq!(
            status(bench.send(TRUNK, &text)),
            expected,
            "{}",
            &text[..text.len().min(700)]
        );
    }
    let (_, looped) = bench.send(TRUNK, &invite()).unwrap();
    assert_eq!(status(bench.send(TRUNK, &looped)), "482");
    let spiral = looped.replace("INVITE sip:0812@b.example", "INVITE sip:0813@b.example");
    assert_eq!(bench.send(TRUNK, &spiral).unwrap().0, SWITCH.parse().unwrap());
    let (_, added) = bench
        .send(
            TRUNK,
            &edit("Max-Forwards: 70\r\n", "").replace("call-1", "call-3"),
        )
        .unwrap();
    assert_eq!(header(&added, "Max-Forwards"), ["70"]);
    let mut setup = setup();
    setup.hops.clear();
    bench.element = Element::new(setup);
    assert_eq!(
        status(bench.send(TRUNK, &request("OPTIONS", "sip:192.0.2.1", ""))),
        "503"
    );
    assert_eq!(
        status(bench.send(TRUNK, &invite().replace("call-1", "call-2"))),
        "500"
    );
}

#[test]
fn the_same_key_on_two_nodes_gives_the_same_course() {
    let (mut one, mut two) = (bench(&[]), bench(&[]));
    assert_eq!(one.send(TRUNK, &invite()), two.send(TRUNK, &invite()));
    assert_eq!(
        two.send(TRUNK, &follow("ACK")).unwrap().0,
        SWITCH.parse().unwrap()
    );
}

/// A list that falls over when asked.
struct Broken;

impl ListView for Broken {
    fn revision(&self) -> Revision {
        panic!("a broken list")
    }
    fn number(&self, _: Number) -> Option<u16> {
        None
    }
    fn prefix(&self, _: Prefix) -> Option<u16> {
        None
    }
    fn prefix_lengths(&self) -> u64 {
        0
    }
    fn policy(&self, _: u16) -> Option<Policy<'_>> {
        None
    }
}

#[test]
fn a_list_that_falls_over_stops_no_call() {
    let mut bench = bench(&[]);
    let text = invite();
    let arrival = Arrival {
        bytes: text.as_bytes(),
        source: TRUNK.parse().unwrap(),
        local: 0,
        flow: None,
        names: &[],
        now: 1,
    };
    let effect = bench
        .element
        .receive(arrival, &bench.memory, Some(&Broken), &mut bench.work);
    assert_eq!(
        effect,
        Effect::Send {
            to: SWITCH.parse().unwrap(),
            local: 0,
            flow: None
        }
    );
    assert!(bench.counted(Counter::JudgeError));
}

#[test]
fn a_dialog_is_recorded_when_asked() {
    let mut bench = bench(&[]);
    let mut setup = setup();
    setup.record_route = true;
    bench.element = Element::new(setup);
    let (_, text) = bench
        .send(
            TRUNK,
            &invite().replace("Max-", "Record-Route: <sip:a;lr>\r\nMax-"),
        )
        .unwrap();
    assert_eq!(
        header(&text, "Record-Route"),
        ["<sip:192.0.2.1:5060;lr>", "<sip:a;lr>"]
    );
}

/// The switches of `ringing`, in the order of their drain.
const SWITCHES: [&str; 3] = ["203.0.113.5:5080", "203.0.113.6:5080", "203.0.113.7:5080"];

/// A setup with three switches of which those at `drained` get no new calls.
fn ringing(drained: &[usize]) -> Setup {
    let mut setup = setup();
    setup.hops = SWITCHES
        .iter()
        .enumerate()
        .map(|(i, address)| Hop {
            name: (*address).into(),
            transport: Transport::Udp,
            address: address.parse().unwrap(),
            networks: vec![],
            drain: drained.contains(&i),
            health: Health::default(),
        })
        .collect();
    setup
}

#[test]
fn a_cancel_after_90_seconds_of_ringing_stops_the_same_phone() {
    let branch = |text: &str| {
        let after = text.split(";branch=").nth(1).unwrap();
        after.split(';').next().unwrap().to_owned()
    };
    for call in 0..12 {
        let mut bench = bench(&[]);
        bench.element = Element::new(ringing(&[]));
        let text = |method: &str| follow(method).replace("call-1", &format!("call-{call}"));
        let (to, first) = bench.send(TRUNK, &text("INVITE")).unwrap();
        let own = SWITCHES
            .iter()
            .position(|address| *address == to.to_string())
            .unwrap();
        let answer = first.replace("INVITE sip:0812@b.example SIP/2.0", "SIP/2.0 180 Ringing");
        bench.send(&to.to_string(), &answer).unwrap();
        // While it rings the caller is blocked, its switch drained, and at last gone from the settings.
        bench.list = rules(&[REJECT]);
        bench.now += 45_000;
        bench.element = Element::new(ringing(&[own]));
        bench.now += 44_000;
        let mut gone = ringing(&[]);
        gone.retired = vec![gone.hops.remove(own)];
        bench.element = Element::new(gone);
        bench.now += 1_000;
        let (stopped, cancel) = bench.send(TRUNK, &text("CANCEL")).unwrap();
        assert_eq!((stopped, branch(&cancel)), (to, branch(&first)));
        assert!(bench.counted(Counter::Cancelled));
        let ended = answer.replace("180 Ringing", "487 Request Terminated");
        assert_eq!(
            bench.send(&to.to_string(), &ended).unwrap().0,
            TRUNK.parse().unwrap()
        );
        let (acknowledged, ack) = bench.send(TRUNK, &text("ACK")).unwrap();
        assert_eq!((acknowledged, branch(&ack)), (to, branch(&first)));
        // A minute later the same Call-ID would be a new call, and refused.
        bench.now += 60_000;
        assert!(bench
            .send(TRUNK, &text("INVITE"))
            .unwrap()
            .1
            .starts_with("SIP/2.0 603"));
    }
}
