"""How a datagram is read: what stands where, what is refused and why, and that nothing makes the reader fall over."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip_filter._core import read_message

if TYPE_CHECKING:
    from sip_filter._core import MessageReading

VECTORS = sorted((Path(__file__).parent.parent / "vectors").glob("rfc*/*.dat"))
CALLER = "+77012345678"
LINES = [
    "INVITE sip:+62215550100@b.example SIP/2.0",
    "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1",
    f"From: <sip:{CALLER}@a.example>;tag=1",
    "To: <sip:+62215550100@b.example>",
    "Call-ID: 1@a.example",
    "CSeq: 1 INVITE",
    "Max-Forwards: 70",
    "Content-Length: 0",
]


def read(*changes: tuple[str, str], end: str = "\r\n", body: bytes = b"") -> "MessageReading":
    """Read the message with lines changed: each change names a line by its beginning and says what stands there."""
    lines = list(LINES)
    for begin, line in changes:
        (at,) = (i for i, known in enumerate(lines) if known.startswith(begin))
        lines[at] = line
    return read_message(end.join([*lines, "", ""]).encode() + body, "international", True)


def test_a_plain_call() -> None:
    reading = read()
    assert (reading["kind"], reading["fault"], reading["identities"]) == ("call", None, [(CALLER, True)])


@pytest.mark.parametrize(
    "line",
    [
        f"f: <sip:{CALLER}@a>;tag=1",
        f"FROM:<sip:{CALLER}@a>;tag=1",
        f"from \t : <sip:{CALLER}@a>;tag=1",
        f"From:\r\n  <sip:{CALLER}@a>\r\n\t;tag=1",
        f"From: sip:{CALLER}@a;tag=1",
        f'From: "a\\"b, <sip:+999999999@x>" <sip:{CALLER}@a> ; tag = 1',
    ],
)
def test_the_same_field_in_other_clothes(line: str) -> None:
    reading = read(("From", line))
    assert (reading["fault"], reading["identities"]) == (None, [(CALLER, True)])


def test_line_feeds_alone_are_read_when_all_lines_end_so() -> None:
    assert read(end="\n")["identities"] == [(CALLER, True)]


@pytest.mark.parametrize(
    ("begin", "line", "fault"),
    [
        ("INVITE", "INVITE  sip:a@b SIP/2.0", (400, "Malformed Start Line")),
        ("INVITE", "INVITE sip:a@b SIP/2.0 ", (400, "Malformed Start Line")),
        ("INVITE", "INVITE <sip:a@b> SIP/2.0", (400, "Malformed Start Line")),
        ("INVITE", "INVITE sip:a@b", (400, "Malformed Start Line")),
        ("INVITE", "INVITE sip:a@b SIP/7.0", (505, "Version Not Supported")),
        ("INVITE", "INVITE sip:a@b?Route=x SIP/2.0", (400, "Malformed Request-URI")),
        ("INVITE", "INVITE sip:a@b@c SIP/2.0", (400, "Malformed Request-URI")),
        ("INVITE", "INVITE http://a SIP/2.0", (416, "Unsupported URI Scheme")),
        ("INVITE", "invite sip:a@b SIP/2.0", (400, "Malformed Method")),
        ("Via", "Via: SIP/2.0/UDP 192.0.2.1;;", (400, "Malformed Via")),
        ("From", "From: <sip:a@b>;tag=1\r\nFrom: <sip:c@d>;tag=1", (400, "Repeated From")),
        ("From", "From: <sip:a@b>;tag=1\r\nf: <sip:a@b>;tag=1", (400, "Repeated From")),
        ("From", "From: <sip:a@b>, <sip:c@d>", (400, "Malformed From or To")),
        ("From", 'From: "a <sip:a@b>', (400, "Malformed From or To")),
        ("From", "X: y", (400, "Missing Header Field")),
        ("To", 'To: "a\\" <sip:a@b>', (400, "Malformed From or To")),
        ("Call-ID", "Call-ID:", (400, "Missing Header Field")),
        ("Call-ID", "Call-ID: 1\r\ni: 1", (400, "Repeated Header Field")),
        ("Call-ID", "Call-ID: 1\r\nno colon", (400, "Malformed Header Field")),
        ("Call-ID", "Call-ID: 1\r\nP-Asserted -Identity: x", (400, "Malformed Header Field")),
        ("Call-ID", "Call-ID: 1\nX: y", (400, "Mixed Line Ends")),
        ("Call-ID", "Call-ID: 1\r\nX: y\rFrom: <sip:a@b>", (400, "Mixed Line Ends")),
        ("CSeq", "CSeq: 1 BYE", (400, "Malformed CSeq")),
        ("CSeq", "CSeq: 2147483648 INVITE", (400, "Malformed CSeq")),
        ("CSeq", "CSeq: 1INVITE", (400, "Malformed CSeq")),
        ("Max", "Max-Forwards: 256", (400, "Malformed Max-Forwards")),
        ("Max", "Max-Forwards: 7 0", (400, "Malformed Max-Forwards")),
        ("Content", "Content-Length: 1", (400, "Malformed Content-Length")),
        ("Content", "Content-Length: -1", (400, "Malformed Content-Length")),
        ("Content", "Content-Length: 4294967296", (400, "Malformed Content-Length")),
        ("Content", "Content-Length: 0\r\nl: 0", (400, "Repeated Header Field")),
        ("Content", "X: " + "y" * 17_000, (513, "Message Too Large")),
        ("Content", "\r\n".join(["X: y"] * 260), (513, "Message Too Large")),
        ("Content", "\r\n".join(["Via: SIP/2.0/UDP x"] * 70), (400, "Too Many Via Values")),
        ("Content", "\r\n".join(["P-Asserted-Identity: <tel:+62811000000>"] * 17), (400, "Too Many Identities")),
    ],
)
def test_what_is_refused(begin: str, line: str, fault: tuple[int, str]) -> None:
    assert read((begin, line))["fault"] == fault


@pytest.mark.parametrize(
    "raw", [b"", b"\r\n\r\n", b"\0\1", b"INVITE", b"SIP/2.0 200 OK\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"]
)
def test_what_no_answer_is_possible_to(raw: bytes) -> None:
    reading = read_message(raw, "international", True)
    assert (reading["kind"], reading["identities"], len(reading["steps"])) == (None, [], 1)


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_vectors_cut_and_extended_never_fall_over(path: Path) -> None:
    raw = path.read_bytes()
    for cut in range(0, len(raw) + 1, 1 if len(raw) < 1000 else 7):
        read_message(raw[:cut], "id-national", False)
    for tail in (b"\r\n", b"\0", b"INVITE sip:a@b SIP/2.0\r\n\r\n"):
        read_message(raw + tail, "international", True)


@given(
    st.lists(st.sampled_from([*LINES, "P-Asserted-Identity: ", "<sip:", '"', "\\", ">", ",", ";", "%", "\r\n ", "\0"]))
)
def test_shuffled_pieces_never_fall_over(pieces: list[str]) -> None:
    for glue in ("\r\n", "", "\n"):
        read_message((glue.join(pieces) + "\r\n\r\n").encode(), "international", True)
