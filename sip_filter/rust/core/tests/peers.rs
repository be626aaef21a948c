//! Who a message is from: by network, port and the names that a certificate shows.

use std::net::SocketAddr;

use palang_core::clause::trunk_key;
use palang_core::decision::TrunkMode;
use palang_core::health::Checks;
use palang_core::identity::Terms;
use palang_core::keys::Keys;
use palang_core::manners::Manners;
use palang_core::plan::Plan;
use palang_core::refusal::Redress;
use palang_core::setup::{Network, Peer, Response, Setup, Trunk, Way};
use palang_core::tls_name::TlsName;
use palang_core::transport::Transport;

fn trunk(name: &str, network: &str, port: Option<u16>, tls_names: &[&str]) -> Trunk {
    Trunk {
        name: name.into(),
        key: trunk_key(name),
        sources: vec![Network::parse(network).unwrap()],
        port,
        tls_names: tls_names
            .iter()
            .map(|name| TlsName::parse(name).unwrap())
            .collect(),
        terms: Terms {
            plan: Plan::International,
            trusted: name.starts_with("trusted"),
            rpid: false,
        },
        mode: TrunkMode::Enforce,
        response: Response::Decline,
        messages: true,
        manners: Manners::default(),
    }
}

fn setup(trunks: Vec<Trunk>) -> Setup {
    Setup {
        locals: vec!["192.0.2.1:5060".parse().unwrap()],
        keys: Keys::new(&[7; 32]),
        trunks,
        hops: vec![],
        retired: vec![],
        protected: vec![],
        record_route: false,
        label: b""[..].into(),
        bypass: false,
        count_traffic: true,
        drain: false,
        redress: Redress::default(),
        checks: Checks::default(),
    }
}

/// All kinds of trunks in one network, the wide and vague ones first.
fn hub() -> Setup {
    setup(vec![
        trunk("trusted-wide", "198.51.100.0/24", None, &[]),
        trunk(
            "wide-named",
            "198.51.100.0/24",
            None,
            &["wide.example", "both.example"],
        ),
        trunk("any-port", "198.51.100.7", None, &[]),
        trunk("port-a", "198.51.100.7", Some(5060), &[]),
        trunk("port-b", "198.51.100.7", Some(5070), &[]),
        trunk(
            "named",
            "198.51.100.7",
            None,
            &["sip:a.example", "203.0.113.9", "both.example"],
        ),
        trunk("other-named", "198.51.100.7", None, &["b.example"]),
    ])
}

fn name(setup: &Setup, peer: Peer) -> &str {
    match peer {
        Peer::Trunk(i) => &setup.trunks[i].name,
        Peer::Hop => "hop",
        Peer::Unknown => "unknown",
    }
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn a_datagram_is_known_by_port_then_network() {
    let setup = hub();
    for (source, expected) in [
        ("198.51.100.7:5060", "port-a"),
        ("198.51.100.7:5070", "port-b"),
        ("198.51.100.7:9", "any-port"),
        ("198.51.100.8:5060", "trusted-wide"),
        ("[::ffff:198.51.100.8]:5060", "trusted-wide"),
        ("203.0.113.9:5060", "unknown"),
    ] {
        assert_eq!(
            name(&setup, setup.peer(at(source), Way::Datagram)),
            expected,
            "{source}"
        );
    }
    let named = setup
        .trunks
        .into_iter()
        .filter(|trunk| !trunk.tls_names.is_empty());
    let named = self::setup(named.collect());
    let stranger = named.peer(at("198.51.100.7:5060"), Way::Datagram);
    assert_eq!(
        (stranger, named.may_connect(at("198.51.100.7:1"))),
        (Peer::Unknown, true)
    );
    assert!(!named.may_connect(at("203.0.113.9:1")));
}

#[test]
fn a_connection_is_known_by_name_then_network() {
    let setup = hub();
    for (source, shown, expected) in [
        ("198.51.100.7:40000", &[][..], "any-port"),
        ("198.51.100.7:5060", &[], "any-port"),
        ("198.51.100.8:5060", &[], "trusted-wide"),
        ("198.51.100.7:40000", &["A.EXAMPLE"], "named"),
        ("198.51.100.7:40000", &["203.0.113.9"], "named"),
        ("198.51.100.7:40000", &["b.example"], "other-named"),
        ("198.51.100.7:40000", &["wide.example"], "wide-named"),
        ("198.51.100.7:40000", &["both.example"], "named"),
        ("198.51.100.8:40000", &["both.example"], "wide-named"),
        ("198.51.100.7:40000", &["x.a.example", "example"], "any-port"),
        // One peer with the names of two trunks: the first of the settings.
        ("198.51.100.7:40000", &["b.example", "a.example"], "named"),
        ("203.0.113.9:40000", &["a.example", "203.0.113.9"], "unknown"),
    ] {
        let shown: Vec<_> = shown.iter().map(|name| TlsName::parse(name).unwrap()).collect();
        let peer = setup.peer(at(source), Way::Connection(&shown));
        assert_eq!(name(&setup, peer), expected, "{source} {shown:?}");
    }
    let ports = self::setup(vec![trunk("port-a", "198.51.100.7", Some(5060), &[])]);
    let peer = ports.peer(at("198.51.100.7:40000"), Way::Connection(&[]));
    assert_eq!(peer, Peer::Trunk(0), "a port binds datagrams only");
}

#[test]
fn a_request_towards_trunks_that_look_alike_is_the_less_trusted_ones() {
    let mut setup = hub();
    let towards = |setup: &Setup, address: &str, transport| {
        let found = setup.trunk_towards(at(address), transport);
        found.map_or("none".to_owned(), |i| setup.trunks[i].name.to_string())
    };
    assert_eq!(towards(&setup, "198.51.100.7:5060", Transport::Udp), "port-a");
    assert_eq!(towards(&setup, "198.51.100.7:9", Transport::Udp), "any-port");
    assert_eq!(towards(&setup, "198.51.100.8:9", Transport::Udp), "trusted-wide");
    assert_eq!(towards(&setup, "198.51.100.8:9", Transport::Tcp), "trusted-wide");
    assert_eq!(towards(&setup, "198.51.100.8:9", Transport::Tls), "wide-named");
    setup.trunks.retain(|trunk| !trunk.tls_names.is_empty());
    assert_eq!(towards(&setup, "198.51.100.7:5060", Transport::Udp), "none");
    assert_eq!(towards(&setup, "198.51.100.7:5060", Transport::Tcp), "none");
    assert_eq!(towards(&setup, "198.51.100.7:5060", Transport::Tls), "named");
}
