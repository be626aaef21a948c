//! The laws of the fuzz target, on stable Rust: every vector whole, cut at every byte, with trailing bytes, and
//! messages put together from parts that meet badly.

use std::path::Path;
use std::sync::OnceLock;

use proptest::prelude::*;

#[path = "../../fuzz/laws.rs"]
mod laws;
#[path = "../../fuzz/reading.rs"]
mod reading;

/// Every law of one message.
fn check(bytes: &[u8]) {
    world().check(bytes);
    reading::check_view(bytes);
    reading::check_identity(bytes);
}

fn world() -> &'static laws::World {
    static WORLD: OnceLock<laws::World> = OnceLock::new();
    WORLD.get_or_init(laws::World::new)
}

fn vectors() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/vectors");
    let mut found = Vec::new();
    for family in ["rfc4475", "rfc5118"] {
        let entries = std::fs::read_dir(folder.join(family)).expect("the vectors of this repository");
        for path in entries.map(|entry| entry.expect("a readable entry").path()) {
            if path.extension().is_some_and(|extension| extension == "dat") {
                found.push(std::fs::read(&path).expect("a readable vector"));
            }
        }
    }
    assert!(found.len() > 60, "{} vectors", found.len());
    found
}

#[test]
fn every_vector_whole_cut_and_extended() {
    for bytes in vectors() {
        for cut in 0..=bytes.len() {
            check(&bytes[..cut]);
        }
        for tail in [
            &b"\r\n"[..],
            b"\0",
            b"INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP x\r\n\r\n",
        ] {
            check(&[&bytes[..], tail].concat());
        }
    }
}

#[test]
fn every_vector_with_one_byte_changed() {
    for mut bytes in vectors().into_iter().filter(|bytes| bytes.len() < 700) {
        for at in 0..bytes.len() {
            let other = [b'\r', b'"', b';', 0xff, b' ', b'<', b'\\', b','][at % 8];
            let own = std::mem::replace(&mut bytes[at], other);
            check(&bytes);
            bytes[at] = own;
        }
    }
}

fn part() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "INVITE sip:0812@b SIP/2.0\r\n",
        "MESSAGE sip:0812@203.0.113.9 SIP/2.0\r\n",
        "ACK sip:x@198.51.100.7 SIP/2.0\r\n",
        "CANCEL sip:0812@b SIP/2.0\r\n",
        "BYE sip:x@198.51.100.8:99 SIP/2.0\r\n",
        "OPTIONS sip:192.0.2.1 SIP/2.0\r\n",
        "SIP/2.0 200 OK\r\n",
        "Via: SIP/2.0/UDP 198.51.100.7;rport;branch=z9hG4bK1\r\n",
        "v: SIP/2.0/UDP h.example:99;received=1.2.3.4;branch=z9hG4bK2,SIP/2.0/TCP [::1]\r\n",
        "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-palang0123456789abcdef01234567\r\n",
        "From: <sip:+77012345678@a>;tag=1\r\n",
        "From: \"x\" <sip:+62811000000@a>;tag=1\r\n",
        "To: <sip:0812@b>\r\n",
        "To: <sip:0812@b>;tag=2\r\n",
        "Call-ID: 1\r\n",
        "CSeq: 1 INVITE\r\n",
        "CSeq: 1 BYE\r\n",
        "CSeq: 1 ACK\r\n",
        "CSeq: 1 MESSAGE\r\n",
        "Max-Forwards: 3\r\n",
        "Max-Forwards: 0\r\n",
        "P-Asserted-Identity: <tel:+62811000001>, sip:+62811000002@x\r\n",
        "P-Asserted-Identity: \"open <tel:+7\r\n",
        "Remote-Party-ID: <sip:+77012345678@a>\r\n",
        "Route: <sip:192.0.2.1;lr>, <sip:203.0.113.6:5090;lr>\r\n",
        "Route: <sip:evil.example>\r\n",
        "Record-Route: <sip:a;lr>\r\n",
        "Proxy-Require: a,\r\n b\r\n",
        "Content-Type: message/cpim\r\n",
        "Content-Length: 3\r\n",
        " folded\r\n",
        "\r\n",
        "\n",
        "body",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn messages_of_parts(start in part(), parts in prop::collection::vec(part(), 0..14)) {
        let text = format!("{start}{}\r\n", parts.concat());
        check(text.as_bytes());
    }

    #[test]
    fn likely_messages(
        method in prop::sample::select(vec!["INVITE", "MESSAGE", "BYE", "ACK", "CANCEL", "OPTIONS", "X"]),
        target in prop::sample::select(vec!["sip:1@b", "sip:1@203.0.113.9:1", "sip:1@198.51.100.8", "tel:112", "sip:192.0.2.1"]),
        extra in prop::collection::vec(part(), 0..5),
        tag in prop::sample::select(vec!["", ";tag=x"]),
        end in prop::sample::select(vec!["\r\n", "\n"]),
        body in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let head = format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP h.example;branch=z9hG4bKx\r\nTo: <sip:1@b>{tag}\r\n\
             From: <sip:+62811000000@a>;tag=f\r\nCall-ID: c\r\nCSeq: 1 {method}\r\n{}\r\n",
            extra.iter().filter(|part| part.contains(": ")).copied().collect::<String>(),
        );
        check(&[head.replace("\r\n", end).as_bytes(), &body].concat());
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes);
    }

    #[test]
    fn any_text_as_a_number(text in "[-+.() ]{0,2}(00|001|007|0|62|\\+)?[-0-9().x ]{0,20}") {
        reading::check_number(text.as_bytes());
    }

    #[test]
    fn any_callers(
        from in caller(),
        asserted in prop::collection::vec(caller(), 0..4),
        party in prop::collection::vec(caller(), 0..2),
    ) {
        let lines: String = asserted
            .iter()
            .map(|value| format!("P-Asserted-Identity: {value}\r\n"))
            .chain(party.iter().map(|value| format!("Remote-Party-ID: {value}\r\n")))
            .collect();
        let text = format!(
            "INVITE sip:1@b SIP/2.0\r\nVia: SIP/2.0/UDP h.example;branch=z9hG4bKx\r\nTo: <sip:1@b>\r\nFrom: {from}\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\n{lines}Max-Forwards: 7\r\n\r\n"
        );
        check(text.as_bytes());
    }
}

/// Values of identity header fields, good and bad.
fn caller() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "",
        "Bob ",
        "\"Bob\" ",
        "\"a, \\\" <sip:+1@x>\" ",
        "\"open ",
        "a, b ",
    ]);
    let scheme = prop::sample::select(vec!["sip:", "SIPS:", "tel:", "h323:", "urn:", ""]);
    let user = "(\\+|00|%2B|)[0-9]{5,12}(;npdi|;phone-context=\\+7|:pw|%20|@b|)";
    let host = prop::sample::select(vec!["@a.example", "@[::1]:5060", "@", "@a:", "", "@a;x=y?z"]);
    let tail = prop::sample::select(vec![
        "",
        ";tag=1",
        ";party=called",
        ", <sip:+6281@x>",
        " junk",
        ";x=\"<,\"",
    ]);
    (name, scheme, user, host, tail, any::<bool>()).prop_map(|(name, scheme, user, host, tail, brackets)| {
        match brackets {
            true => format!("{name}<{scheme}{user}{host}>{tail}"),
            false => format!("{name}{scheme}{user}{host}{tail}"),
        }
    })
}
