//! What must hold for the element whatever bytes arrive. Shared by the fuzz target and the tests on stable Rust.

use std::net::SocketAddr;

use palang_core::clause::trunk_key;
use palang_core::course::Memory;
use palang_core::decision::{Revision, TrunkMode};
use palang_core::element::{Arrival, Effect, Element, Work, MAX_DATAGRAM};
use palang_core::health::{Checks, Health};
use palang_core::identity::Terms;
use palang_core::keys::Keys;
use palang_core::list;
use palang_core::manners::Manners;
use palang_core::message::{self, Fault, Method, Start};
use palang_core::plan::Plan;
use palang_core::refusal::Redress;
use palang_core::setup::{Hop, Network, Peer, Response, Setup, Trunk, Way};
use palang_core::transport::Transport;

/// An element with a trunk of each kind, a switch and a few rules.
pub struct World {
    element: Element,
    list: list::Memory,
}

const SOURCES: [&str; 5] = [
    "198.51.100.7:5060",
    "198.51.100.8:7000",
    "203.0.113.5:5080",
    "192.0.2.200:9",
    "[2001:db8::7]:5060",
];

impl World {
    pub fn new() -> World {
        let trunk = |name: &str, sources: [&str; 2], plan, trusted| Trunk {
            name: name.into(),
            key: trunk_key(name),
            sources: sources.iter().filter_map(|text| Network::parse(text)).collect(),
            port: None,
            tls_names: vec![],
            terms: Terms {
                plan,
                trusted,
                rpid: !trusted,
            },
            mode: TrunkMode::Enforce,
            response: if trusted {
                Response::Decline
            } else {
                Response::Forbidden
            },
            messages: true,
            manners: Manners::default(),
        };
        let hop = |name: &str, address: &str| Hop {
            name: name.into(),
            transport: Transport::Udp,
            address: address.parse().expect("an address"),
            networks: Network::parse("203.0.113.0/24").into_iter().collect(),
            drain: false,
            health: Health::default(),
        };
        let lines = [
            "+77*\torder reject enforce both",
            "+62811*\tnoc label enforce both",
        ];
        let list = list::Memory::from_lines(Revision { epoch: 1, n: 1 }, lines, 0).expect("good lines");
        let element = Element::new(Setup {
            locals: ["192.0.2.1:5060", "[2001:db8::1]:5060"]
                .map(|text| text.parse().expect("an address"))
                .into(),
            keys: Keys::new(&[9; 32]),
            trunks: vec![
                trunk("one", ["198.51.100.7", "2001:db8::7"], Plan::International, true),
                trunk("two", ["198.51.100.8", "198.51.100.9"], Plan::IdNational, false),
            ],
            hops: vec![hop("a", SOURCES[2]), hop("b", "203.0.113.6:5060")],
            retired: vec![],
            protected: vec![b"112"[..].into()],
            record_route: true,
            label: b"[Spam?]"[..].into(),
            bypass: false,
            count_traffic: true,
            drain: false,
            redress: Redress::default(),
            checks: Checks::default(),
        });
        World { element, list }
    }

    /// Checks all laws for one datagram from a trunk, the switch and one of the other sources.
    pub fn check(&self, bytes: &[u8]) {
        let [trunk, two, switch, stranger, six] = SOURCES;
        for source in [trunk, switch, [two, stranger, six][bytes.len() % 3]] {
            self.check_from(bytes, source.parse().expect("an address"));
        }
    }

    fn check_from(&self, bytes: &[u8], source: SocketAddr) {
        let (memory, mut work) = (Memory::new(64), Work::default());
        let local = usize::from(source.is_ipv6());
        let mut receive = |bytes: &[u8], now: u64| {
            let arrival = Arrival {
                bytes,
                source,
                local,
                flow: None,
                names: &[],
                now,
            };
            match self
                .element
                .receive(arrival, &memory, Some(&self.list), &mut work)
            {
                Effect::Send { to, local, .. } => Some((to, local, work.output.bytes.clone())),
                Effect::Drop(_) => None,
            }
        };
        let first = receive(bytes, 1);
        // A copy gets what the first got: that is what being stateless means.
        assert_eq!(receive(bytes, 2), first, "a copy took another course");
        let peer = self.element.setup.peer(source, Way::Datagram);
        let Some((to, local, out)) = first else { return };
        assert_ne!(peer, Peer::Unknown, "an answer to a stranger");
        assert_eq!(
            to.is_ipv4(),
            self.element.setup.locals[local].address.is_ipv4(),
            "a socket of the wrong family"
        );
        assert!(
            out.len() <= bytes.len() + 400 && out.len() <= MAX_DATAGRAM,
            "{} from {}",
            out.len(),
            bytes.len()
        );

        let (mut fields, mut out_fields) = (Vec::new(), Vec::new());
        let asked = message::read(bytes, &mut fields).expect("an answer to what can't be read");
        let said = message::read(&out, &mut out_fields).expect("what is sent can be read");
        match (asked.start, said.start) {
            (Start::Request { method, .. }, Start::Response { code }) => {
                assert_eq!(to.ip(), source.ip(), "a reply to somebody else");
                assert_ne!(method, Method::Ack, "an ACK was answered");
                assert!((200..700).contains(&code));
                assert!(said.body.is_empty());
            }
            (Start::Request { .. }, Start::Request { .. }) => {
                let allowed = match peer {
                    Peer::Trunk(_) => self.element.setup.is_hop(to),
                    _ => self.element.setup.trunks.iter().any(|trunk| trunk.covers(to)),
                };
                assert!(allowed, "relayed to {to}");
                assert_eq!(asked.fault, None, "malformed, and forwarded");
                // What was as large as we read is larger now; a part of it is no measure.
                if said.fault == Some(Fault::TooLarge) {
                    return;
                }
                let grown = said.fault == Some(Fault::TooManyVias);
                assert!(
                    said.fault.is_none() || grown,
                    "forwarding broke it: {:?}",
                    said.fault
                );
                assert_eq!(said.body, asked.body);
                assert!(said.max_forwards < Some(u8::MAX) && said.max_forwards.is_some());
                let vias = |message: &message::Message<'_>| message.values(message::Name::Via).count();
                assert_eq!(vias(&said), vias(&asked) + 1);
                self.check_way_back(&out, said.start_end, to, source);
            }
            (Start::Response { code: asked_code }, Start::Response { code }) => {
                assert!(code == asked_code || (asked_code, code) == (503, 500));
            }
            (Start::Response { .. }, Start::Request { .. }) => panic!("a response became a request"),
        }
    }

    /// The response to what was forwarded returns to where the request came from.
    fn check_way_back(&self, forwarded: &[u8], start_end: usize, from: SocketAddr, source: SocketAddr) {
        let mut response = b"SIP/2.0 200 OK".to_vec();
        response.extend_from_slice(if forwarded[start_end - 2] == b'\r' {
            b"\r\n"
        } else {
            b"\n"
        });
        response.extend_from_slice(&forwarded[start_end..]);
        let local = usize::from(from.is_ipv6());
        let arrival = Arrival {
            bytes: &response,
            source: from,
            local,
            flow: None,
            names: &[],
            now: 3,
        };
        let mut work = Work::default();
        match self
            .element
            .receive(arrival, &Memory::new(8), Some(&self.list), &mut work)
        {
            Effect::Send { to, .. } => assert_eq!(to.ip(), source.ip(), "a response went astray"),
            Effect::Drop(why) => panic!(
                "a good response was dropped: {why:?}\n{}",
                String::from_utf8_lossy(&response)
            ),
        }
    }
}
