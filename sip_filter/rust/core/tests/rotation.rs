//! The shared key changes while calls ring: two nodes, each at any step of the change, are one element to a call.

use std::net::SocketAddr;

use palang_core::clause::trunk_key;
use palang_core::counter::Counter;
use palang_core::course::Memory;
use palang_core::decision::{Revision, TrunkMode};
use palang_core::element::{Arrival, Effect, Element, Work};
use palang_core::health::{Checks, Health};
use palang_core::identity::Terms;
use palang_core::keys::Keys;
use palang_core::list;
use palang_core::manners::Manners;
use palang_core::plan::Plan;
use palang_core::refusal::Redress;
use palang_core::setup::{Hop, Network, Response, Setup, Trunk};
use palang_core::transport::Transport;
use proptest::prelude::*;

const TRUNK: &str = "198.51.100.7:5060";
const HOPS: [&str; 3] = ["203.0.113.5:5080", "203.0.113.6:5080", "203.0.113.7:5080"];

fn setup(keys: &[[u8; 32]]) -> Setup {
    let network = |text: &str| vec![Network::parse(text).unwrap()];
    let hop = |address: &&str| Hop {
        name: (*address).into(),
        transport: Transport::Udp,
        address: address.parse().unwrap(),
        networks: network("203.0.113.0/24"),
        drain: false,
        health: Health::default(),
    };
    Setup {
        locals: vec!["192.0.2.1:5060".parse().unwrap()],
        keys: Keys::of(keys),
        trunks: vec![Trunk {
            name: "intl-a".into(),
            key: trunk_key("intl-a"),
            sources: network("198.51.100.0/24"),
            port: None,
            tls_names: vec![],
            terms: Terms {
                plan: Plan::International,
                trusted: true,
                rpid: false,
            },
            mode: TrunkMode::Enforce,
            response: Response::Decline,
            messages: true,
            manners: Manners::default(),
        }],
        hops: HOPS.iter().map(hop).collect(),
        retired: vec![],
        protected: vec![],
        record_route: false,
        label: b"[Spam?]"[..].into(),
        bypass: false,
        count_traffic: true,
        drain: false,
        redress: Redress::default(),
        checks: Checks::default(),
    }
}

/// One gateway, with a memory of its own.
struct Node {
    element: Element,
    memory: Memory,
    list: list::Memory,
    work: Work,
}

impl Node {
    fn new(keys: &[[u8; 32]]) -> Node {
        let lines = ["+77*\torder reject enforce both"];
        Node {
            element: Element::new(setup(keys)),
            memory: Memory::new(256),
            list: list::Memory::from_lines(Revision { epoch: 1, n: 1 }, lines, 0).unwrap(),
            work: Work::default(),
        }
    }

    /// Other keys, in the process that runs: it keeps its memory.
    fn rotate(&mut self, keys: &[[u8; 32]]) {
        self.element = Element::new(setup(keys));
    }

    fn send(&mut self, source: &str, text: &str) -> Option<(SocketAddr, String)> {
        let arrival = Arrival {
            bytes: text.as_bytes(),
            source: source.parse().unwrap(),
            local: 0,
            flow: None,
            names: &[],
            now: 1000,
        };
        let effect = self
            .element
            .receive(arrival, &self.memory, Some(&self.list), &mut self.work);
        match effect {
            Effect::Send { to, .. } => Some((to, String::from_utf8_lossy(&self.work.output.bytes).into())),
            Effect::Drop(_) => None,
        }
    }

    fn counted(&self, counter: Counter) -> bool {
        self.work.output.marks.as_slice().contains(&counter)
    }
}

fn request(method: &str, caller: &str, call: u32, to_tag: &str) -> String {
    format!(
        "{method} sip:0812@b.example SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bKc{call}\r\n\
         From: <sip:{caller}@a.example>;tag=f{call}\r\nTo: <sip:0812@b.example>{to_tag}\r\nCall-ID: call-{call}\r\n\
         CSeq: 1 {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
}

/// The same but for the seal, the one thing that is of the key in use.
fn unsealed(sent: Option<(SocketAddr, String)>) -> Option<(SocketAddr, String)> {
    sent.map(|(to, text)| {
        let seal = text.split_once(";seal=").map(|(_, rest)| rest[..16].to_owned());
        (to, seal.map_or(text.clone(), |seal| text.replace(&seal, "")))
    })
}

fn answered(forwarded: &str, line: &str) -> String {
    forwarded.replace("INVITE sip:0812@b.example SIP/2.0", line)
}

/// A key whose secret half is its own and whose naming half is `naming`.
fn key(secret: u8, naming: u8) -> [u8; 32] {
    std::array::from_fn(|i| if i < 16 { secret } else { naming })
}

/// Each step of the change, and beyond: what one node may have while another is a step before or behind.
fn steps() -> [Vec<[u8; 32]>; 6] {
    let [zero, one, two] = [0, 1, 2].map(|secret| key(secret, 9));
    [
        vec![one],
        vec![one, two],
        vec![two, one],
        vec![two, one, zero],
        vec![one, two, zero],
        vec![one, zero],
    ]
}

/// Whether what a node with `made` makes is good on one with `taken`.
fn overlap(made: &[[u8; 32]], taken: &[[u8; 32]]) -> bool {
    taken.contains(&made[0])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_call_goes_on_alike_on_every_node(
        begin in 0usize..6,
        own in 0usize..6,
        other in 0usize..6,
        call in any::<u32>(),
        blocked in any::<bool>(),
        here in prop::array::uniform5(any::<bool>()),
    ) {
        let steps = steps();
        prop_assume!(overlap(&steps[begin], &steps[own]) && overlap(&steps[begin], &steps[other]));
        let caller = if blocked { "+77012345678" } else { "+62811000000" };
        let (mut a, mut b, mut still) = (Node::new(&steps[begin]), Node::new(&steps[other]), Node::new(&steps[0]));
        let invite = request("INVITE", caller, call, "");
        let first = a.send(TRUNK, &invite);
        let usual = still.send(TRUNK, &invite);
        prop_assert_eq!(unsealed(first.clone()), unsealed(usual.clone()));
        let (to, text) = first.unwrap();
        prop_assert_eq!(text.starts_with("SIP/2.0 603"), blocked);
        a.rotate(&steps[own]);
        let mut at = here.into_iter().map(|here| if here { 0 } else { 1 });
        let mut nodes = [a, b.take()];
        let mut node = || at.next().unwrap();
        // A copy of the INVITE, its responses, its CANCEL, and the ACK of its failure: what there is.
        let copy = nodes[node()].send(TRUNK, &invite);
        prop_assert_eq!(unsealed(copy), unsealed(Some((to, text.clone()))));
        let cancel = request("CANCEL", caller, call, "");
        let tag = match blocked {
            true => text.split("To: <sip:0812@b.example>").nth(1).unwrap().split("\r\n").next().unwrap().to_owned(),
            false => ";tag=callee".to_owned(),
        };
        let ack = request("ACK", caller, call, &tag);
        if blocked {
            let at = node();
            prop_assert_eq!(nodes[at].send(TRUNK, &ack), None);
            prop_assert!(nodes[at].counted(Counter::AckAbsorbed));
            return Ok(());
        }
        for line in ["SIP/2.0 180 Ringing", "SIP/2.0 487 Request Terminated"] {
            let response = answered(&text, line);
            let back = nodes[node()].send(HOPS[0], &response);
            prop_assert_eq!(&back, &still.send(HOPS[0], &answered(&usual.clone().unwrap().1, line)));
            prop_assert_eq!(back.unwrap().0, TRUNK.parse().unwrap());
        }
        let sent = nodes[node()].send(TRUNK, &cancel);
        prop_assert_eq!(unsealed(sent), unsealed(still.send(TRUNK, &cancel)));
        let sent = nodes[node()].send(TRUNK, &ack);
        prop_assert_eq!(sent.clone().unwrap().0, to);
        prop_assert_eq!(unsealed(sent), unsealed(still.send(TRUNK, &ack)));
    }
}

impl Node {
    fn take(&mut self) -> Node {
        std::mem::replace(self, Node::new(&[]))
    }
}

fn branch(text: &str) -> &str {
    let after = text.split(";branch=").nth(1).unwrap();
    after.split(';').next().unwrap()
}

#[test]
fn a_key_with_other_names_turns_no_call_that_is_remembered() {
    let (old, new) = (key(1, 1), key(2, 2));
    for call in 0..8 {
        let (mut a, mut b) = (Node::new(&[old]), Node::new(&[new, old]));
        let invite = request("INVITE", "+62811000000", call, "");
        let (to, text) = a.send(TRUNK, &invite).unwrap();
        let (_, refusal) = a
            .send(TRUNK, &request("INVITE", "+77012345678", call + 100, ""))
            .unwrap();
        a.rotate(&[new, old]);
        for method in ["INVITE", "CANCEL", "ACK"] {
            let (at, sent) = a.send(TRUNK, &request(method, "+62811000000", call, "")).unwrap();
            assert_eq!((at, branch(&sent)), (to, branch(&text)), "{method}");
        }
        let again = a
            .send(TRUNK, &request("INVITE", "+77012345678", call + 100, ""))
            .unwrap();
        assert_eq!(again.1, refusal);
        // What needs no memory holds on the other node.
        let back = b.send(HOPS[1], &answered(&text, "SIP/2.0 180 Ringing")).unwrap();
        assert_eq!(back.0, TRUNK.parse().unwrap());
        let tag = refusal
            .split("To: <sip:0812@b.example>")
            .nth(1)
            .unwrap()
            .split("\r\n")
            .next()
            .unwrap();
        assert!(b
            .send(TRUNK, &request("ACK", "+77012345678", call + 100, tag))
            .is_none());
        assert!(b.counted(Counter::AckAbsorbed));
        // New calls have new names.
        let fresh = a
            .send(TRUNK, &request("INVITE", "+62811000000", call + 200, ""))
            .unwrap();
        assert_eq!(
            unsealed(Some(fresh)),
            unsealed(b.send(TRUNK, &request("INVITE", "+62811000000", call + 200, "")))
        );
    }
}

#[test]
fn what_was_made_by_a_dropped_key_is_void() {
    let mut node = Node::new(&[key(1, 9)]);
    let (_, text) = node
        .send(TRUNK, &request("INVITE", "+62811000000", 1, ""))
        .unwrap();
    let response = answered(&text, "SIP/2.0 180 Ringing");
    for (keys, passes) in [
        (vec![key(2, 9), key(1, 9)], true),
        (vec![key(2, 9)], false),
        (vec![key(2, 8), key(1, 8)], false),
    ] {
        node.rotate(&keys);
        assert_eq!(node.send(HOPS[0], &response).is_some(), passes);
    }
    node.rotate(&[key(1, 9)]);
    for forged in [
        response.replace(";seal=", ";seal=0"),
        response.replace(";seal=", ";saal="),
        response.replacen("z9hG4bK-palang", "z9hG4bK-palang0", 1),
        response.replace("198.51.100.7:5060;branch", "198.51.100.8:5060;branch"),
        response.replace("Call-ID: call-1", "Call-ID: call-2"),
    ] {
        assert!(
            forged != response && node.send(HOPS[0], &forged).is_none(),
            "{forged}"
        );
    }
}
