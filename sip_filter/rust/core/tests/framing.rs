//! The framing of streams: every split of one, and the laws of the fuzz target on stable Rust.

use palang_core::frame::Step;
use palang_core::message::MAX_HEAD;
use proptest::prelude::*;

#[path = "../../fuzz/framing.rs"]
mod framing;
use framing::framed;

fn message_with(length: &str, body: &str) -> String {
    format!("OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/TCP a\r\n{length}\r\nTo: <sip:x>\r\n\r\n{body}")
}

#[test]
fn every_split_offset_gives_the_same_messages() {
    let stream = [
        "\r\n\r\n",
        &message_with("Content-Length: 5", "a\r\n\r\n"),
        &message_with("l :\r\n 007", "INVITE "),
        "\r\n\r\n\r\n",
        &message_with("CONTENT-LENGTH:0", "").replace("\r\n", "\n"),
        "\r",
        &message_with("Content-Length: 3", "abc"),
        &message_with("Content-Length: -1", ""),
    ]
    .concat();
    let stream = stream.as_bytes();
    let expected = framed([stream].into_iter());
    let kinds: String = expected
        .iter()
        .map(|(step, _)| match step {
            Step::Message(_) => 'm',
            Step::Broken(_) => 'b',
            Step::Ping(_) => 'p',
            _ => 's',
        })
        .collect();
    assert_eq!(kinds, "pmmpssmsmb");
    for first in 0..=stream.len() {
        let (a, b) = stream.split_at(first);
        assert_eq!(framed([a, b].into_iter()), expected, "{first}");
    }
    for size in 1..40 {
        assert_eq!(framed(stream.chunks(size)), expected, "{size}");
    }
}

#[test]
fn what_has_no_length_is_broken() {
    for length in [
        "X: y",
        "Content-Length: -1",
        "Content-Length: +1",
        "Content-Length: 4294967301",
        "Content-Length: 18446744073709551617",
        "Content-Length:",
        "Content-Length: 1 1",
        "Content-Length: 1, 1",
        "Content-Length: 0x1",
        "Content-Length: 1\r\nContent-Length: 1",
        "Content-Length: 0\r\nl: 1",
        "Content-Length: 65500",
    ] {
        let text = message_with(length, "a");
        let head = text.len() - 1;
        assert_eq!(
            framed([text.as_bytes()].into_iter())[0].0,
            Step::Broken(head),
            "{length}"
        );
    }
    let long = format!("INVITE sip:x SIP/2.0\r\nX: {}", "y".repeat(MAX_HEAD));
    assert_eq!(
        framed([long.as_bytes()].into_iter())[0].0,
        Step::Broken(MAX_HEAD + 1)
    );
    assert_eq!(framed([&long.as_bytes()[..MAX_HEAD]].into_iter()), []);
}

fn part() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "INVITE sip:x SIP/2.0\r\n",
        "Via: SIP/2.0/TCP a;branch=z9hG4bK1\r\n",
        "From: <sip:a@b>;tag=1\r\nTo: <sip:x>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n",
        "Content-Length: 2\r\n",
        "Content-Length:\r\n\t0\r\n",
        "l: 1\r\n",
        "L: 1\n",
        " folded\r\n",
        "Contact: <sip:a>\r\n",
        "\r\n",
        "\n",
        "\r",
        "ab",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn streams_of_parts(parts in prop::collection::vec(part(), 0..24), size in 1usize..40) {
        framing::check(parts.concat().as_bytes(), size);
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 1usize..40) {
        framing::check(&bytes, size);
    }
}
