"""Who calls: evasions that must not get through, decoys that must not stop the innocent, on the wire of a real gateway.

+77… is blocked, the callee is not. "603" is refused, "pass" reaches the switch, "400" is refused as ambiguous.
"""

from collections.abc import Iterator

import pytest

from sip_filter._core import read_message
from tests.sip_filter.peers import Bench, Message, status

BAD, GOOD = "+77012345678", "+6281100000001"
INTERNATIONAL, NATIONAL = "international", "id-national"
PAI = "P-Asserted-Identity"

# what it is, From's value, further header lines, expected; on the international, trusted trunk
CALLS: list[tuple[str, str, list[str], str]] = [
    # The plain cases.
    ("From", f"<sip:{BAD}@a>", [], "603"),
    ("From of a good caller", f"<sip:{GOOD}@a>", [], "pass"),
    ("addr-spec", f"sip:{BAD}@a", [], "603"),
    ("sips", f"<sips:{BAD}@a>", [], "603"),
    ("tel", f"<tel:{BAD}>", [], "603"),
    ("tel without brackets", f"tel:{BAD}", [], "603"),
    ("scheme in capitals", f"<SIP:{BAD}@a>", [], "603"),
    ("tel in capitals", f"<TEL:{BAD}>", [], "603"),
    ("user=phone", f"<sip:{BAD}@a;user=phone>", [], "603"),
    # P-Asserted-Identity: every value, in every clothing.
    ("PAI", f"<sip:{GOOD}@a>", [f"{PAI}: <sip:{BAD}@a>"], "603"),
    ("PAI tel", f"<sip:{GOOD}@a>", [f"{PAI}: <tel:{BAD}>"], "603"),
    ("PAI lower case", f"<sip:{GOOD}@a>", [f"{PAI.lower()}: <tel:{BAD}>"], "603"),
    ("PAI with space before the colon", f"<sip:{GOOD}@a>", [f"{PAI} : <tel:{BAD}>"], "603"),
    ("PAI with tab before the colon", f"<sip:{GOOD}@a>", [f"{PAI}\t:<tel:{BAD}>"], "603"),
    ("PAI folded", f"<sip:{GOOD}@a>", [f"{PAI}:\r\n <tel:{BAD}>"], "603"),
    (
        "PAI folded by tabs after an empty line of white space",
        f"<sip:{GOOD}@a>",
        [f"{PAI}:\r\n \t\r\n\t<tel:{BAD}>"],
        "603",
    ),
    ("second value", f"<sip:{GOOD}@a>", [f"{PAI}: <sip:{GOOD}@a>, <tel:{BAD}>"], "603"),
    ("second header", f"<sip:{GOOD}@a>", [f"{PAI}: <sip:{GOOD}@a>", f"{PAI}: <tel:{BAD}>"], "603"),
    ("second value on a folded line", f"<sip:{GOOD}@a>", [f"{PAI}: <sip:{GOOD}@a>,\r\n\t<tel:{BAD}>"], "603"),
    ("fourth value", f"<sip:{GOOD}@a>", [f"{PAI}: <sip:{GOOD}@a>, , <sip:a@b>,, <tel:{BAD}>"], "603"),
    ("headers apart", f"<sip:{GOOD}@a>", [f"{PAI}: <sip:{GOOD}@a>", "X: y", f"p-asserted-identity:<tel:{BAD}>"], "603"),
    ("From bad, PAI good", f"<sip:{BAD}@a>", [f"{PAI}: <sip:{GOOD}@a>"], "603"),
    ("anonymous From, PAI bad", "<sip:anonymous@anonymous.invalid>", [f"{PAI}: <tel:{BAD}>"], "603"),
    ("PAI without brackets", f"<sip:{GOOD}@a>", [f"{PAI}: tel:{BAD}"], "603"),
    ("PAI whose quotes never close", f"<sip:{GOOD}@a>", [f'{PAI}: "x <tel:{BAD}>'], "603"),
    (
        "PAI whose quotes never close, first of two",
        f"<sip:{GOOD}@a>",
        [f'{PAI}: "x <tel:{BAD}>, <sip:{GOOD}@a>'],
        "603",
    ),
    ("PAI with a dangling backslash", f"<sip:{GOOD}@a>", [f'{PAI}: "x\\" <tel:{BAD}>'], "603"),
    ("PAI with an escaped backslash", f"<sip:{GOOD}@a>", [f'{PAI}: "x\\\\" <tel:{BAD}>'], "603"),
    ("too many values to judge", f"<sip:{GOOD}@a>", [f"{PAI}: " + ", ".join(["<sip:a@b>"] * 17)], "400"),
    # Display names that want to be addresses.
    ("comma in the name", f'"Bell, A" <sip:{BAD}@a>', [], "603"),
    ("bad address in the name", f'"<sip:{BAD}@a>" <sip:{GOOD}@a>', [], "pass"),
    ("good address in the name", f'"<sip:{GOOD}@a>" <sip:{BAD}@a>', [], "603"),
    ("bad number as the name", f'"{BAD}" <sip:{GOOD}@a>', [], "pass"),
    ("bad number as a plain name", f"{BAD} <sip:{GOOD}@a>", [], "pass"),
    ("escaped quote, then an address", f'"a\\" <sip:{BAD}@a>" <sip:{GOOD}@a>', [], "pass"),
    ("escaped backslash ends the name", f'"a\\\\" <sip:{BAD}@a>', [], "603"),
    ("semicolon and tag in the name", f'";tag=x" <sip:{BAD}@a>', [], "603"),
    ("no space before the bracket", f'"a"<sip:{BAD}@a>', [], "603"),
    ("spaces in the brackets", f"< sip:{BAD}@a >", [], "603"),
    ("name in PAI", f"<sip:{GOOD}@a>", [f'{PAI}: "x, <tel:{BAD}>" <sip:{GOOD}@a>'], "pass"),
    ("UTF-8 name", f'"Пётр" <sip:{BAD}@a>', [], "603"),
    # Parts of a URI that are not the user.
    ("password", f"<sip:{GOOD}:{BAD}@a>", [], "pass"),
    ("good password", f"<sip:{BAD}:{GOOD}@a>", [], "603"),
    ("bad number as host", f"<sip:{GOOD}@77012345678.example>", [], "pass"),
    ("rn names another", f"<sip:{GOOD};npdi;rn={BAD}@a;user=phone>", [], "pass"),
    ("good rn", f"<sip:{BAD};npdi;rn={GOOD}@a;user=phone>", [], "603"),
    ("tel with rn", f"<tel:{BAD};npdi;rn={GOOD}>", [], "603"),
    ("cic in the user part", f"<sip:{BAD};cic=+1-6789@a>", [], "603"),
    ("isub", f"<tel:{BAD};isub=1411>", [], "603"),
    ("ext", f"<tel:{BAD};ext=99>", [], "603"),
    ("URI parameter", f"<sip:{GOOD}@a;x={BAD}>", [], "pass"),
    ("URI header", f"<sip:{GOOD}@a?From={BAD}>", [], "pass"),
    ("header parameter", f"<sip:{GOOD}@a>;x={BAD}", [], "pass"),
    ("two at signs", f"<sip:{GOOD}@{BAD}@a>", [], "pass"),
    # Escapes, decoded once.
    ("escaped plus", f"<sip:%2B{BAD[1:]}@a>", [], "603"),
    ("escaped digits", "<sip:+%37%37012345678@a>", [], "603"),
    ("all escaped", "<sip:" + "".join(f"%{ord(c):02x}" for c in BAD) + "@a>", [], "603"),
    ("escaped twice", f"<sip:%252B{BAD[1:]}@a>", [], "pass"),
    ("escaped NUL behind", f"<sip:{BAD}%00@a>", [], "pass"),
    ("escaped NUL before", f"<sip:%00{BAD}@a>", [], "pass"),
    ("escaped line end", f"<sip:{BAD}%0d%0a@a>", [], "pass"),
    ("bad escape", f"<sip:{BAD}%zz@a>", [], "pass"),
    ("cut escape", f"<sip:{BAD}%2@a>", [], "pass"),
    ("escaped separators", "<sip:+7%2D701%2D2345678@a>", [], "603"),
    # Digits in other forms.
    ("separators", "<tel:+7-701-234-5678>", [], "603"),
    ("dots and brackets", "<tel:+7(701)234.56.78>", [], "603"),
    ("separators in a sip user", "<sip:+7-701-2345678@a>", [], "603"),
    ("00", "<sip:0077012345678@a>", [], "603"),
    ("001", "<sip:00177012345678@a>", [], "603"),
    ("007", "<sip:00777012345678@a>", [], "603"),
    ("01017", "<sip:0101777012345678@a>", [], "603"),
    ("bare", "<sip:77012345678@a>", [], "603"),
    ("a US number behind 00", "<sip:0017705551234@a>", [], "pass"),
    ("a US number", "<sip:+17705551234@a>", [], "pass"),
    ("77 inside", "<sip:+6277012345678@a>", [], "pass"),
    ("plus and zeros", "<sip:+0077012345678@a>", [], "pass"),
    ("two plus signs", f"<sip:+{BAD}@a>", [], "pass"),
    ("16 digits", "<sip:+7701234567890123@a>", [], "pass"),
    ("zero-width space", "<sip:+7701\u200b2345678@a>", [], "pass"),
    ("full-width digits", "<sip:+７７012345678@a>", [], "pass"),
    ("Arabic digits", "<sip:+٧٧012345678@a>", [], "pass"),
    ("letters behind", f"<sip:{BAD}x@a>", [], "pass"),
    ("phone-context with a prefix", "<tel:7012345678;phone-context=+7>", [], "603"),
    ("phone-context in a sip user", "<sip:7012345678;phone-context=+7@a;user=phone>", [], "603"),
    ("phone-context of home", "<tel:081100000001;phone-context=+62>", [], "pass"),
    ("phone-context with a domain", "<tel:77012345678;phone-context=a.example>", [], "603"),
    ("escaped phone-context", "<tel:7012345678;phone-context=%2B7>", [], "603"),
    ("phone-context can't move a global number", f"<tel:{BAD};phone-context=+62>", [], "603"),
    # Two From, and what looks like it.
    ("two From", f"<sip:{GOOD}@a>", [f"From: <sip:{BAD}@a>;tag=2"], "400"),
    ("two From, one compact", f"<sip:{GOOD}@a>", [f"f: <sip:{GOOD}@a>;tag=2"], "400"),
    ("two addresses in From", f"<sip:{GOOD}@a>, <sip:{BAD}@a>", [], "400"),
    ("quotes that never close in From", f'"x <sip:{BAD}@a>', [], "400"),
    ("header name with a space", f"<sip:{GOOD}@a>", [f"P-Asserted -Identity: <tel:{BAD}>"], "400"),
    ("bare carriage return hides a header", f"<sip:{GOOD}@a>", [f"X: y\rP-Asserted-Identity: <tel:{BAD}>"], "400"),
    ("bare line feed hides a header", f"<sip:{GOOD}@a>", [f"X: y\nP-Asserted-Identity: <tel:{BAD}>"], "400"),
    # Header fields that never name the caller.
    ("Contact", f"<sip:{GOOD}@a>", [f"Contact: <sip:{BAD}@a>"], "pass"),
    ("Diversion", f"<sip:{GOOD}@a>", [f"Diversion: <sip:{BAD}@a>;reason=unconditional"], "pass"),
    ("History-Info", f"<sip:{GOOD}@a>", [f"History-Info: <sip:{BAD}@a>;index=1"], "pass"),
    ("Referred-By", f"<sip:{GOOD}@a>", [f"Referred-By: <sip:{BAD}@a>"], "pass"),
    ("Reply-To", f"<sip:{GOOD}@a>", [f"Reply-To: <sip:{BAD}@a>"], "pass"),
    ("P-Preferred-Identity", f"<sip:{GOOD}@a>", [f"P-Preferred-Identity: <sip:{BAD}@a>"], "pass"),
    ("P-Called-Party-ID", f"<sip:{GOOD}@a>", [f"P-Called-Party-ID: <sip:{BAD}@a>"], "pass"),
    ("a name that begins like PAI", f"<sip:{GOOD}@a>", [f"P-Asserted-Identity-X: <sip:{BAD}@a>"], "pass"),
    ("Remote-Party-ID where it is not asked for", f"<sip:{GOOD}@a>", [f"Remote-Party-ID: <sip:{BAD}@a>"], "pass"),
    # Nobody.
    ("anonymous", '"Anonymous" <sip:anonymous@anonymous.invalid>', [], "pass"),
    ("no user part", "<sip:a.example>", [], "pass"),
    ("a name", "<sip:alice@a.example>", [], "pass"),
    ("another scheme", "<http://a.example>", [], "pass"),
    ("a URN", f"<urn:x:{BAD}>", [], "pass"),
    ("a short code", "<sip:112@a>", [], "pass"),
]

# The same on the national trunk that reads Remote-Party-ID.
NATIONAL_CALLS: list[tuple[str, str, list[str], str]] = [
    ("RPID", f"<sip:{GOOD}@a>", [f"Remote-Party-ID: <sip:{BAD}@a>;party=calling;screen=yes"], "603"),
    ("RPID in quotes", f"<sip:{GOOD}@a>", [f'Remote-Party-ID: "x" <sip:{BAD}@a>'], "603"),
    ("RPID of the callee", f"<sip:{GOOD}@a>", [f"Remote-Party-ID: <sip:{BAD}@a>;party=called"], "pass"),
    ("00", "<sip:0077012345678@a>", [], "603"),
    ("national mobile", "<sip:081100000001@a>", [], "pass"),
    ("national area code 077", "<sip:0770123456@a>", [], "pass"),
    ("bare", "<sip:77012345678@a>", [], "603"),
    ("bare national mobile", "<sip:81100000001@a>", [], "pass"),
]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    trunks = [
        Bench.trunk_row("intl-a", "127.0.0.2/32", trusted=True),
        Bench.trunk_row("domestic", "127.0.0.3/32", plan=NATIONAL, rpid=True),
    ]
    bench = Bench(tmp_path_factory.mktemp("identity"), ["+77*\torder reject enforce both"], trunks=trunks)
    yield bench
    bench.close()


def outcome(bench: Bench, plan: str, message: Message) -> str:
    sender = bench.trunk if plan == INTERNATIONAL else bench.other
    got = bench.send(sender, message.bytes())
    replies, forwarded = got[sender], got[bench.switch]
    assert len(replies) + len(forwarded) == 1
    return str(status(replies[0])) if replies else "pass"


@pytest.mark.parametrize(
    ("plan", "caller", "lines", "expected"),
    [pytest.param(INTERNATIONAL, *row[1:], id=row[0]) for row in CALLS]
    + [pytest.param(NATIONAL, *row[1:], id=f"national: {row[0]}") for row in NATIONAL_CALLS],
)
def test_call(bench: Bench, plan: str, caller: str, lines: list[str], expected: str) -> None:
    call = Message(bench.trunk if plan == INTERNATIONAL else bench.other, caller=caller)
    call.headers = lines
    assert outcome(bench, plan, call) == expected


def test_there_are_enough_of_them() -> None:
    assert len(CALLS) + len(NATIONAL_CALLS) >= 80
    assert len({row[0] for row in CALLS}) == len(CALLS)


def deliver(digits: str, kind: int = 0x91, pad: str = "f") -> bytes:
    """An SMS-DELIVER in RP-DATA from the network (3GPP TS 24.011, TS 23.040), sent by `digits`."""
    swapped = digits + (pad if len(digits) % 2 else "")
    address = bytes.fromhex("".join(swapped[i + 1] + swapped[i] for i in range(0, len(swapped), 2)))
    tpdu = bytes([0x04, len(digits), kind]) + address + b"\0\0" + bytes(7) + b"\x02hi"
    return bytes([1, 7, 5, 0x91, 0x26, 0x18, 0x01, 0x10, 0, len(tpdu)]) + tpdu


def parts(*bodies: tuple[str, bytes], mark: str = "b") -> bytes:
    """A multipart body (RFC 2046): content types with their bytes."""
    begin = f"--{mark}\r\n".encode()
    found = [begin + f"Content-Type: {content}\r\n\r\n".encode() + body + b"\r\n" for content, body in bodies]
    return b"".join(found) + f"--{mark}--\r\n".encode()


SMS, CPIM = "application/vnd.3gpp.sms", "message/cpim"
MIXED, INNER = 'multipart/mixed; boundary="b"', "multipart/mixed;boundary=i"

# what it is, From, Content-Type, body, expected
MESSAGES: list[tuple[str, str, str, bytes, str]] = [
    ("text, sender in From", BAD, "text/plain", b"hi", "603"),
    ("text about a number", GOOD, "text/plain", f"call {BAD}".encode(), "pass"),
    ("TP originator", GOOD, SMS, deliver("77012345678"), "603"),
    (
        "TP originator, type with parameters and capitals",
        GOOD,
        "Application/VND.3gpp.SMS ; x=y",
        deliver("77012345678"),
        "603",
    ),
    ("a good TP originator behind a service centre", BAD, SMS, deliver("6281100000001"), "pass"),
    ("TP originator without type of number", GOOD, SMS, deliver("77012345678", 0x81), "603"),
    ("TP originator with 00", GOOD, SMS, deliver("0077012345678", 0x81), "603"),
    ("alphanumeric TP originator", GOOD, SMS, deliver("4b5a", 0xD0), "pass"),
    ("alphanumeric TP originator, sender in From", BAD, SMS, deliver("4b5a", 0xD0), "603"),
    ("SMS-SUBMIT names no sender inside", BAD, SMS, b"\0" + deliver("6281100000001")[1:], "603"),
    ("cut TPDU, sender in From", BAD, SMS, deliver("6281100000001")[:14], "603"),
    ("empty body, sender in From", BAD, SMS, b"", "603"),
    (
        "CPIM",
        GOOD,
        CPIM,
        f"From: <im:{BAD}@a>\r\nTo: <im:x@b>\r\n\r\nContent-Type: text/plain\r\n\r\nhi".encode(),
        "603",
    ),
    ("CPIM with a name", GOOD, CPIM, f'To: <im:x@b>\r\nFrom: "x" <sip:{BAD}@a>\r\n\r\n'.encode(), "603"),
    ("CPIM tel", GOOD, CPIM, f"From: <tel:{BAD}>\n\n".encode(), "603"),
    ("CPIM, a From in the content only", GOOD, CPIM, f"To: <im:x@b>\r\n\r\nFrom: <im:{BAD}@a>\r\n".encode(), "pass"),
    ("CPIM good, From bad", BAD, CPIM, f"From: <im:{GOOD}@a>\r\n\r\n".encode(), "pass"),
    ("CPIM without From", BAD, CPIM, b"To: <im:x@b>\r\n\r\n", "603"),
    ("SMS in a part", GOOD, MIXED, parts((SMS, deliver("77012345678"))), "603"),
    ("SMS behind a text", GOOD, MIXED, parts(("text/plain", b"hi"), (SMS, deliver("77012345678"))), "603"),
    ("a good SMS in a part, From bad", BAD, MIXED, parts((SMS, deliver("6281100000001"))), "pass"),
    (
        "a good SMS, then a bad one",
        GOOD,
        MIXED,
        parts((SMS, deliver("6281100000001")), (SMS, deliver("77012345678"))),
        "603",
    ),
    (
        "CPIM in a part",
        GOOD,
        "multipart/related; boundary=b",
        parts((CPIM, f"From: <im:{BAD}@a>\r\n\r\nhi".encode())),
        "603",
    ),
    ("a part in a part", GOOD, MIXED, parts((INNER, parts((SMS, deliver("77012345678")), mark="i"))), "603"),
    ("parts of text, sender in From", BAD, MIXED, parts(("text/plain", f"From: <im:{GOOD}@a>".encode())), "603"),
    ("parts of text about a number", GOOD, MIXED, parts(("text/plain", f"From: <im:{BAD}@a>".encode())), "pass"),
    ("parts that never begin, sender in From", BAD, MIXED, deliver("6281100000001"), "603"),
    ("more parts than are read", GOOD, MIXED, parts(*[("text/plain", b"")] * 33), "400"),
]


@pytest.mark.parametrize(
    ("caller", "content", "body", "expected"), [pytest.param(*row[1:], id=row[0]) for row in MESSAGES]
)
def test_message(bench: Bench, caller: str, content: str, body: bytes, expected: str) -> None:
    message = Message(bench.trunk, caller=f"<sip:{caller}@a>", method="MESSAGE")
    message.headers = [f"Content-Type: {content}"]
    message.body = body
    assert outcome(bench, INTERNATIONAL, message) == expected


def test_two_content_types_are_one_too_many(bench: Bench) -> None:
    message = Message(bench.trunk, caller=f"<sip:{GOOD}@a>", method="MESSAGE")
    message.headers = ["Content-Type: text/plain", f"c: {SMS}"]
    message.body = deliver("77012345678")
    assert outcome(bench, INTERNATIONAL, message) == "400"


def test_what_is_unreadable_and_who_is_nobody_is_counted(bench: Bench) -> None:
    for counter, caller, more in (
        ("unreadable", "<sip:+0077012345678@a>", 1),
        ("unreadable", "<sip:+7701\u200b2345678@a>", 1),
        ("anonymous", "<sip:anonymous@anonymous.invalid>", 1),
        ("repeated_from", f"<sip:{GOOD}@a>;tag=1\r\nFrom: <sip:{GOOD}@a>", 1),
    ):
        before = bench.gateway.counters()[counter]
        outcome(bench, INTERNATIONAL, Message(bench.trunk, caller=caller))
        assert bench.gateway.counters()[counter] == before + more


def test_trust_is_the_trunks(bench: Bench) -> None:
    call = Message(bench.trunk, caller=f"<sip:{GOOD}@a>")
    call.headers = [f"{PAI}: <tel:{BAD}>"]
    for trusted in (True, False):
        reading = read_message(call.bytes(), INTERNATIONAL, trusted)
        assert reading["identities"] == [(BAD, trusted), (GOOD, trusted)]
        assert f"{PAI}: <tel:{BAD}>" in reading["steps"]


def test_a_number_named_twice_is_one_identity(bench: Bench) -> None:
    call = Message(bench.trunk, caller=f"<sip:{GOOD}@a>")
    call.headers = [f"{PAI}: <sip:{GOOD}@a>, <tel:+62-811-0000-0001>", f"{PAI}: <sip:00{GOOD[1:]}@a>"]
    assert read_message(call.bytes(), INTERNATIONAL, False)["identities"] == [("+6281100000001", False)]
