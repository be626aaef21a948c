//! What the reader of settings takes, and the one line it says about what it does not.

use super::*;

const GOOD: &str = r#"{"listen":["udp:127.0.0.1:0"],"workers":2,"node":"gw1",
    "key":"0101010101010101010101010101010101010101010101010101010101010101","protected":["112"],
    "trunks":[{"name":"a","sources":["127.0.0.2/32"],"port":null,"plan":"international","trusted":true,
               "mode":"shadow","response":"403","rpid":false,"message":true}],
    "next_hops":[{"name":"s","address":"127.0.0.1:5080","networks":["127.0.0.1/32"]}],
    "record_route":false,"label":"[!]","bypass":false}"#;

#[test]
fn a_whole_example_reads() {
    let settings = Settings::parse(GOOD).unwrap();
    let setup = settings.setup(vec![], vec![]);
    assert_eq!(
        (settings.workers, setup.trunks[0].mode, setup.trunks[0].response),
        (2, TrunkMode::Shadow, Response::Forbidden)
    );
    assert_eq!(
        (&*setup.label, setup.hops.len(), setup.protected.len()),
        (&b"[!]"[..], 1, 1)
    );
}

#[test]
fn errors_name_key_and_value() {
    for (from, to, error) in [
        (
            "\"workers\":2",
            "\"workers\":\"two\"",
            "workers: \"two\" is not a whole number from 1 to 64",
        ),
        (
            "\"node\"",
            "\"nod\"",
            "nod: unknown key (value \"gw1\"); known: node, listen, plans, tls, next_hops, streams, workers",
        ),
        (
            "\"mode\":\"shadow\"",
            "\"mode\":\"on\"",
            "trunks[0].mode: \"on\" is none of enforce, shadow, off",
        ),
        ("\"rpid\"", "\"rpids\"", "trunks[0].rpids: unknown key"),
        (
            "\"403\"",
            "\"603+\"",
            "trunks[0].response: 603+ needs redress.url, .tel or .email",
        ),
        (
            "\"403\"",
            "\"608\"",
            "trunks[0].response: 608 needs redress.card_url",
        ),
        (
            "\"rpid\"",
            "\"max_per_s\":0,\"rpid\"",
            "trunks[0].max_per_s: 0 is not a whole number from 1",
        ),
        (
            "\"node\"",
            "\"redress\":{\"url\":\"a\\\"b\"},\"node\"",
            "redress.url: \"a\\\"b\" can't stand",
        ),
        (
            "\"node\"",
            "\"redress\":{\"url\":\"a\",\"tel\":\"1\"},\"node\"",
            "redress.tel: url is set too",
        ),
        (
            "\"node\"",
            "\"redress\":{\"id\":\"a.b\"},\"node\"",
            "redress.id: \"a.b\" is not up to 48",
        ),
        (
            "\"node\"",
            "\"checks\":{\"misses\":0},\"node\"",
            "checks.misses: 0 is not a whole number",
        ),
        (
            "127.0.0.2/32",
            "127.0.0.2/33",
            "trunks[0].sources[0]: \"127.0.0.2/33\" is not a network",
        ),
        (
            "\"international\"",
            "\"mars\"",
            "trunks[0].plan: \"mars\" is not a dial plan (known: international, id-national)",
        ),
        (
            "127.0.0.1:5080",
            "127.0.0.1",
            "next_hops[0].address: \"127.0.0.1\" is not an address and port",
        ),
        (
            "udp:127.0.0.1:0",
            "udp:0.0.0.0:0",
            "listen[0]: \"udp:0.0.0.0:0\" is no address that a Via can name",
        ),
        ("\"0101", "\"01", "key[0]: 62 characters"),
        ("[!]", "\\\"", "label: \"\\\"\" can't stand"),
        ("\"112\"", "112", "protected[0]: 112 is not a string"),
        ("\"name\":\"s\",", "", "next_hops[0].name: missing"),
        (
            "\"name\":\"a\"",
            "\"name\":\"A\"",
            "trunks[0].name: \"A\" is not a trunk name",
        ),
    ] {
        let wrong = Settings::parse(&GOOD.replace(from, to)).err().unwrap();
        assert!(wrong.starts_with(error), "{wrong}");
    }
    assert!(Settings::parse("[")
        .err()
        .unwrap()
        .starts_with("settings are not JSON"));
    assert!(Settings::parse("[]")
        .err()
        .unwrap()
        .starts_with("settings: [] is not an object"));
}
