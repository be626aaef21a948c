//! What a trunk is answered, by what is agreed with it: responses, the dip role, shedding, privacy, next hops.

use std::net::SocketAddr;

use palang_core::clause::trunk_key;
use palang_core::counter::Counter;
use palang_core::course::Memory;
use palang_core::decision::{Revision, TrunkMode};
use palang_core::element::{Arrival, Effect, Element, Work};
use palang_core::health::{write_check, Checks, Health};
use palang_core::identity::Terms;
use palang_core::keys::Keys;
use palang_core::list;
use palang_core::manners::{Manners, Role};
use palang_core::plan::Plan;
use palang_core::refusal::{CardTerm, Redress, Refusal};
use palang_core::setup::{Hop, Network, Response, Setup, Trunk};
use palang_core::transport::Transport;

const TRUNK: &str = "198.51.100.7:5060";
const HOPS: [&str; 3] = ["203.0.113.1:5060", "203.0.113.2:5060", "203.0.113.3:5060"];

struct Bench {
    element: Element,
    memory: Memory,
    list: list::Memory,
    work: Work,
    now: u64,
}

impl Bench {
    /// One trunk, three next hops, +77 refused; `change` sets what the test is about.
    fn new(change: impl FnOnce(&mut Setup)) -> Bench {
        let networks = |text: &str| vec![Network::parse(text).unwrap()];
        let hops = HOPS.iter().map(|address| Hop {
            name: (*address).into(),
            transport: Transport::Udp,
            address: address.parse().unwrap(),
            networks: networks("203.0.113.0/24"),
            drain: false,
            health: Health::default(),
        });
        let mut setup = Setup {
            locals: vec!["192.0.2.1:5060".parse().unwrap()],
            keys: Keys::new(&[7; 32]),
            trunks: vec![Trunk {
                name: "intl-a".into(),
                key: trunk_key("intl-a"),
                sources: networks("198.51.100.0/24"),
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
            hops: hops.collect(),
            retired: vec![],
            protected: vec![b"112"[..].into()],
            record_route: false,
            label: b"[Spam?]"[..].into(),
            bypass: false,
            count_traffic: true,
            drain: false,
            redress: Redress::new(
                Some(("url", "https://redress.example/")),
                "op-",
                Some("https://redress.example/card"),
                signed(),
            ),
            checks: Checks::default(),
        };
        change(&mut setup);
        let rules = ["+77*\tnoc reject enforce both", "+62811*\tnoc label enforce both"];
        Bench {
            element: Element::new(setup),
            memory: Memory::new(1024),
            list: list::Memory::from_lines(Revision { epoch: 1, n: 1 }, rules, 0).unwrap(),
            work: Work::default(),
            now: 1,
        }
    }

    fn send(&mut self, source: &str, text: &str) -> Option<(SocketAddr, String)> {
        let arrival = Arrival {
            bytes: text.as_bytes(),
            source: source.parse().unwrap(),
            local: 0,
            now: self.now,
            flow: None,
            names: &[],
        };
        let effect = self
            .element
            .receive(arrival, &self.memory, Some(&self.list), &mut self.work);
        match effect {
            Effect::Send { to, .. } => {
                Some((to, String::from_utf8_lossy(&self.work.output.bytes).into_owned()))
            }
            Effect::Drop(_) => None,
        }
    }

    fn counted(&self, counter: Counter) -> bool {
        self.work.output.marks.as_slice().contains(&counter)
    }

    /// The status of what one request gets; 0 when it goes on, 1 when it is dropped.
    fn status(&mut self, text: &str) -> u16 {
        let sent = self.send(TRUNK, text);
        sent.map_or(1, |(_, text)| match text.strip_prefix("SIP/2.0 ") {
            Some(rest) => rest[..3].parse().unwrap(),
            None => 0,
        })
    }

    fn hop_of(&mut self, call: u32) -> SocketAddr {
        self.send(TRUNK, &request("INVITE", "+62812000000", call, ""))
            .unwrap()
            .0
    }

    /// What the trunk's tally says of one counter.
    fn tally(&self, name: &str) -> u64 {
        let mut counts = self.element.setup.trunks[0].manners.tally.counts();
        counts.find(|(counter, _)| *counter == name).unwrap().1
    }
}

fn request(method: &str, caller: &str, call: u32, more: &str) -> String {
    format!(
        "{method} sip:0812@b.example SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bK{call}\r\n\
         From: <sip:{caller}@a.example>;tag=f1\r\nTo: <sip:0812@b.example>\r\nCall-ID: call-{call}\r\n\
         CSeq: 1 {method}\r\nMax-Forwards: 70\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

fn header<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    text.split("\r\n")
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .collect()
}

const BLOCKED: &str = "+77012345678";
const CAPS: &str = "Feature-Caps: *;+sip.608\r\n";

#[test]
fn a_603_plus_says_who_blocked_and_where_to_complain() {
    let mut bench = Bench::new(|setup| setup.trunks[0].response = Response::NetworkBlocked);
    let text = request("INVITE", BLOCKED, 1, "");
    let (_, reply) = bench.send(TRUNK, &text).unwrap();
    assert!(reply.starts_with("SIP/2.0 603 Network Blocked\r\n"), "{reply}");
    let reason = header(&reply, "Reason")[0];
    let id = reason
        .strip_prefix("SIP;cause=603;text=\"v=analytics1;url=https://redress.example/;id=op-")
        .and_then(|rest| rest.strip_suffix("\";location=RLN"))
        .unwrap();
    assert_eq!(id.len(), 16);
    assert_eq!(id, format!("{:016x}", bench.work.output.hits[0].unwrap().call));
    bench.now += 500;
    assert_eq!(bench.send(TRUNK, &text).unwrap().1, reply);
    assert!(bench.counted(Counter::RefusedAgain));
    let (_, other) = bench.send(TRUNK, &request("INVITE", BLOCKED, 2, "")).unwrap();
    assert_ne!(header(&other, "Reason"), [reason]);
}

/// The term of a card that is good.
fn signed() -> CardTerm {
    let term = CardTerm::default();
    term.extend(u64::MAX);
    term
}

#[test]
fn a_608_goes_only_where_it_can_be_shown() {
    let mut bench = Bench::new(|setup| setup.trunks[0].response = Response::Rejected);
    let (_, reply) = bench.send(TRUNK, &request("INVITE", BLOCKED, 1, CAPS)).unwrap();
    assert!(reply.starts_with("SIP/2.0 608 Rejected\r\n"), "{reply}");
    assert_eq!(
        header(&reply, "Call-Info"),
        ["<https://redress.example/card>;purpose=jwscard"]
    );
    assert_eq!(bench.status(&request("INVITE", BLOCKED, 2, "")), 603);
    bench.element.setup.redress.term.extend(bench.now);
    assert_eq!(bench.status(&request("INVITE", BLOCKED, 3, CAPS)), 603, "stale");
    assert!(bench.counted(Counter::CardStale));
    let copy = request("INVITE", BLOCKED, 1, CAPS);
    assert_eq!(bench.status(&copy), 608, "a copy gets what the first got");
    bench.element.setup.redress = Redress::default();
    assert_eq!(bench.status(&request("INVITE", BLOCKED, 4, CAPS)), 603);
    assert!(!bench.counted(Counter::CardStale));
}

#[test]
fn the_longest_answers_keep_within_400_bytes() {
    let long = format!("https://{}", "x".repeat(120));
    let id = "i".repeat(48);
    for response in [Response::NetworkBlocked, Response::Rejected] {
        let mut bench = Bench::new(|setup| {
            setup.trunks[0].response = response;
            setup.redress = Redress::new(Some(("email", &long)), &id, Some(&long), signed());
        });
        let short =
            "INVITE tel:1 SIP/2.0\r\nv:SIP/2.0/UDP a;rport\r\nf:<tel:+77012345678>;tag=1\r\nt:<tel:1>\r\n\
                     i:1\r\nCSeq:1 INVITE\r\nFeature-Caps:*;+sip.608\r\n\r\n";
        let (_, reply) = bench.send(TRUNK, short).unwrap();
        assert!(reply.len() <= short.len() + 400, "{}", reply.len() - short.len());
        assert!(reply.starts_with("SIP/2.0 60"));
    }
}

#[test]
fn a_dip_answers_and_never_forwards() {
    for (pass, status) in [(Refusal::NotFound, 404), (Refusal::Moved, 302)] {
        let mut bench = Bench::new(|setup| {
            setup.trunks[0].manners.role = Role::Dip { pass };
            setup.hops.clear(); // It needs none.
        });
        assert_eq!(bench.status(&request("INVITE", BLOCKED, 1, "")), 603);
        assert!(bench.work.output.hits[0].is_some());
        let free = request("INVITE", "+62812000000", 2, "");
        let (to, reply) = bench.send(TRUNK, &free).unwrap();
        assert_eq!(to, TRUNK.parse().unwrap());
        assert!(reply.starts_with(&format!("SIP/2.0 {status} ")), "{reply}");
        let contact: &[&str] = if status == 302 {
            &["<sip:0812@b.example>"]
        } else {
            &[]
        };
        assert_eq!(header(&reply, "Contact"), contact);
        assert!(bench.counted(Counter::DipPassed) && bench.work.output.hits[0].is_none());
        // The same for its copies, and nothing for what follows.
        assert_eq!(bench.send(TRUNK, &free).unwrap().1, reply);
        for (method, counter) in [("CANCEL", Counter::CancelAbsorbed), ("ACK", Counter::AckDropped)] {
            assert_eq!(bench.status(&free.replace("INVITE", method)), 1);
            assert!(bench.counted(counter));
        }
        let tag = header(&reply, "To")[0].split(";tag=").nth(1).unwrap();
        let ack = free
            .replace("INVITE", "ACK")
            .replace("b.example>\r\nCall", &format!("b.example>;tag={tag}\r\nCall"));
        assert_eq!(bench.status(&ack), 1);
        assert!(bench.counted(Counter::AckAbsorbed));
        assert_eq!(bench.status(&request("MESSAGE", "+62812000000", 3, "")), status);
        assert_eq!(bench.status(&request("MESSAGE", BLOCKED, 4, "")), 603);
        assert_eq!(bench.status(&request("INFO", BLOCKED, 5, "")), 405);
        let bye = request("BYE", BLOCKED, 6, "").replace("b.example>\r\nCall", "b.example>;tag=x\r\nCall");
        assert_eq!(bench.status(&bye), 481);
        let options = request("OPTIONS", BLOCKED, 7, "").replace("0812@b.example", "192.0.2.1");
        assert_eq!(bench.status(&options), 200);
        let out = request("INVITE", BLOCKED, 8, "").replace("sip:0812@b.example", "sip:1@198.51.100.7");
        assert!(bench
            .send(HOPS[0], &out)
            .is_none_or(|(_, text)| text.starts_with("SIP/2.0 ")));
    }
}

#[test]
fn more_than_a_trunk_may_send_is_shed_and_never_by_503() {
    for (shed, status) in [(Refusal::Busy, 500), (Refusal::Unavailable, 480)] {
        let mut bench = Bench::new(|setup| {
            setup.trunks[0].manners.max_per_s = Some(3);
            setup.trunks[0].manners.shed = shed;
        });
        let calls: Vec<_> = (1..=5)
            .map(|i| request("INVITE", "+62812000000", i, ""))
            .collect();
        let got: Vec<_> = calls.iter().map(|call| bench.status(call)).collect();
        assert_eq!(got, [0, 0, 0, status, status]);
        assert_eq!((bench.tally("shed"), bench.tally("judged")), (2, 3));
        let (_, reply) = bench.send(TRUNK, &calls[4]).unwrap();
        assert_eq!(header(&reply, "Retry-After"), ["5"]);
        // Copies stay on course, emergencies are never too much, and time gives more.
        assert_eq!(bench.status(&calls[0]), 0);
        let emergency = request("INVITE", BLOCKED, 6, "").replace("sip:0812@", "sip:112@");
        assert_eq!(bench.status(&emergency), 0);
        bench.now += 400;
        assert_eq!(bench.status(&request("INVITE", BLOCKED, 7, "")), 603);
        assert_eq!(bench.status(&calls[4]), status, "a shed call does not ring later");
    }
    let mut dip = Bench::new(|setup| {
        setup.trunks[0].manners.max_per_s = Some(1);
        setup.trunks[0].manners.role = Role::Dip {
            pass: Refusal::NotFound,
        };
    });
    assert_eq!(dip.status(&request("INVITE", BLOCKED, 1, "")), 603);
    assert_eq!(dip.status(&request("INVITE", BLOCKED, 2, "")), 404);
    assert!(dip.counted(Counter::Shed));
}

#[test]
fn new_calls_go_to_hops_that_take_them_and_the_others_stay() {
    let mut bench = Bench::new(|_| {});
    let before: Vec<_> = (0..60).map(|call| bench.hop_of(call)).collect();
    let used = |hops: &[SocketAddr], i: usize| {
        hops.iter()
            .filter(|hop| **hop == HOPS[i].parse().unwrap())
            .count()
    };
    assert!((0..3).all(|i| used(&before, i) >= 8), "{before:?}");
    // Copies of what went to a hop that fails still go there; new calls move, and only those that have to.
    let health = bench.element.setup.hops[0].health.clone();
    for _ in 0..3 {
        health.handle_timeout(2);
    }
    bench.element.setup.hops[1].drain = true;
    assert_eq!((0..60).map(|call| bench.hop_of(call)).collect::<Vec<_>>(), before);
    bench.memory = Memory::new(1024);
    assert!((0..60).all(|call| bench.hop_of(call) == HOPS[2].parse().unwrap()));
    bench.element.setup.hops[1].drain = false;
    bench.memory = Memory::new(1024);
    let after: Vec<_> = (0..60).map(|call| bench.hop_of(call)).collect();
    let moved = (0..60).filter(|i| before[*i] != after[*i]).count();
    assert_eq!((moved, used(&after, 0)), (used(&before, 0), 0));
    // Nobody left: new calls are refused, what belongs to a call is not.
    bench
        .element
        .setup
        .hops
        .iter_mut()
        .for_each(|hop| hop.drain = true);
    bench.memory = Memory::new(1024);
    let text = request("INVITE", "+62812000000", 1, "");
    assert_eq!(bench.status(&text), 500);
    assert!(bench.counted(Counter::NoRoute));
    let emergency = request("INVITE", BLOCKED, 2, "").replace("sip:0812@", "sip:112@");
    assert_eq!(bench.status(&emergency), 0);
    let bye = request("BYE", BLOCKED, 1, "").replace("b.example>\r\nCall", "b.example>;tag=x\r\nCall");
    assert_eq!(
        (
            bench.status(&bye),
            bench.status(&text.replace("INVITE", "CANCEL"))
        ),
        (0, 0)
    );
    let options = request("OPTIONS", BLOCKED, 7, "").replace("0812@b.example", "192.0.2.1");
    assert_eq!(bench.status(&options), 503);
}

#[test]
fn only_the_hop_that_was_checked_can_answer_a_check() {
    let mut bench = Bench::new(|_| {});
    let hop = bench.element.setup.hops[0].clone();
    hop.health.handle_timeout(1);
    let due = hop.health.handle_timeout(1);
    assert!(due.missed && !hop.health.is_up());
    let (keys, local) = (bench.element.setup.keys.clone(), bench.element.setup.locals[0]);
    let mut text = Vec::new();
    write_check(&mut text, &keys, local, hop.address, 99, due.cseq);
    let check = String::from_utf8(text).unwrap();
    let answer = check.replace(&format!("OPTIONS sip:{} SIP/2.0", hop.address), "SIP/2.0 200 OK");
    for (source, forged) in [
        (HOPS[1], answer.clone()),
        ("198.51.100.7:5060", answer.clone()),
        (HOPS[0], answer.replace("palang-check-", "palang-chick-")),
        (HOPS[0], answer.replace("CSeq: 2 ", "CSeq: 1 ")),
        (
            HOPS[0],
            answer.replace("192.0.2.1:5060;branch", "192.0.2.2:5060;branch"),
        ),
    ] {
        assert!(bench.send(source, &forged).is_none());
        assert!(
            bench.counted(Counter::ResponseDropped) && !hop.health.is_up(),
            "{forged}"
        );
    }
    assert!(bench.send(HOPS[0], &answer).is_none());
    assert!(bench.counted(Counter::CheckAnswered) && hop.health.is_up());
}

#[test]
fn asserted_identities_stay_inside_when_privacy_is_asked() {
    let asserted = "P-Asserted-Identity: <tel:+62812000000>\r\n";
    let outbound = |more: &str| {
        request("INVITE", "anonymous", 1, more).replace("sip:0812@b.example", "sip:1@198.51.100.7")
    };
    for (trusted, privacy, kept) in [
        (false, "Privacy: id\r\n", false),
        (false, "", true),
        (true, "Privacy: id\r\n", true),
    ] {
        let mut bench = Bench::new(|setup| setup.trunks[0].terms.trusted = trusted);
        let (to, text) = bench
            .send(HOPS[0], &outbound(&format!("{asserted}{privacy}")))
            .unwrap();
        assert_eq!(to, TRUNK.parse().unwrap());
        assert_eq!(!header(&text, "P-Asserted-Identity").is_empty(), kept);
        assert_eq!(bench.counted(Counter::Private), !kept);
    }
    // Of two trunks on an address the narrower is meant.
    let mut bench = Bench::new(|setup| {
        setup.trunks[0].terms.trusted = false;
        setup.trunks[0].sources = vec![Network::parse("198.51.100.7").unwrap()];
        let mut wide = Bench::new(|_| {}).element.setup.trunks.remove(0);
        wide.name = "wide".into();
        setup.trunks.insert(0, wide);
    });
    let private = format!("{asserted}Privacy: id\r\n");
    let (_, text) = bench.send(HOPS[0], &outbound(&private)).unwrap();
    assert!(header(&text, "P-Asserted-Identity").is_empty());
    // Responses carry identities too, in both directions.
    let mut bench = Bench::new(|setup| setup.trunks[0].terms.trusted = false);
    let answer = |request: &str| {
        let (_, rest) = request.split_once("\r\n").unwrap();
        format!(
            "SIP/2.0 200 OK\r\n{}",
            rest.replace("Max-", &format!("{asserted}Privacy: id\r\nMax-"))
        )
    };
    let (hop, inbound) = bench
        .send(TRUNK, &request("INVITE", "+62812000000", 2, ""))
        .unwrap();
    let (to, up) = bench.send(&hop.to_string(), &answer(&inbound)).unwrap();
    assert_eq!(
        (to, header(&up, "P-Asserted-Identity").len()),
        (TRUNK.parse().unwrap(), 0)
    );
    let (trunk, sent) = bench.send(HOPS[0], &outbound("")).unwrap();
    let (_, down) = bench.send(&trunk.to_string(), &answer(&sent)).unwrap();
    assert!(down.starts_with("SIP/2.0 200") && header(&down, "P-Asserted-Identity").is_empty());
}

#[test]
fn a_label_stands_in_from_where_that_is_agreed() {
    let asserted = "P-Asserted-Identity: <tel:+62811000000>\r\n";
    for (trusted, label_from) in [(true, true), (false, true), (true, false)] {
        let mut bench = Bench::new(|setup| {
            setup.trunks[0].terms.trusted = trusted;
            setup.trunks[0].manners.label_from = label_from;
        });
        let (_, text) = bench
            .send(TRUNK, &request("INVITE", "+62811000000", 1, asserted))
            .unwrap();
        let from = if label_from { "\"[Spam?]\" " } else { "" };
        assert_eq!(
            header(&text, "From"),
            [format!("{from}<sip:+62811000000@a.example>;tag=f1")]
        );
        let labelled: &[&str] = if trusted {
            &["\"[Spam?]\" <tel:+62811000000>"]
        } else {
            &[]
        };
        assert_eq!(header(&text, "P-Asserted-Identity"), labelled);
        assert_eq!(bench.tally("labelled"), 1);
    }
}

#[test]
fn isup_bodies_are_counted_for_their_trunk() {
    let mut bench = Bench::new(|_| {});
    for call in [1, 1, 2] {
        bench.status(&request(
            "INVITE",
            "+62812000000",
            call,
            "Content-Type: application/ISUP;version=itu-t92+\r\n",
        ));
    }
    bench.status(&request("INVITE", "+62812000000", 3, ""));
    assert_eq!(bench.tally("isup"), 2, "each call once");
}
