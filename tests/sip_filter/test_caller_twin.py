"""Identity equals identity by the slow obvious twin, on messages put together from parts that meet badly."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sip_filter._core import read_message
from tests.sip_filter.caller_twin import Refused, callers

NUMBERS = ["77012345678", "77099999999", "6281234567890", "62811000001"]
names = st.sampled_from(
    ["", "Bob ", '"Bob" ', '"a, \\" <sip:+77099999999@x>" ', '"ends \\\\" ', '"open ', "Smith, Bob ", "O'Neil "]
)
users = st.builds(
    lambda prefix, number, dress, tail: prefix + dress(number) + tail,
    st.sampled_from(["+", "00", "", "%2B", "++", "+00", "(+)"]),
    st.sampled_from(NUMBERS),
    st.sampled_from(
        [
            str,
            lambda n: f"{n[:2]}-{n[2:5]}.{n[5:]}",
            lambda n: f"{n[:3]}%20{n[3:]}",
            lambda n: f"{n[:3]}%3{n[3]}{n[4:]}",
        ]
    ),
    st.sampled_from(["", ";npdi;rn=+6281234567890", ":pw", ";x:y", "x", "%00", "%zz", "%20", "@b.example"]),
)
hosts = st.sampled_from(
    ["@a.example", "@[::1]:5060", "@a.example:", "@", "", "@a.example;user=phone", "@a.example?x=y"]
)
tails = st.sampled_from(
    [
        "",
        ";tag=1",
        ";party=called",
        "; Party = CALLED ;x",
        ", <sip:+62811000001@x>",
        " junk",
        ';x="<,"',
        ";x=<",
        ">",
        ' ;x="open',
    ]
)
schemes = st.sampled_from(["sip:", "SIPS:", "tel:", "h323:", "urn:x:", "", "si p:"])


def _dress(name: str, scheme: str, user: str, host: str, tail: str, brackets: str) -> str:
    host = "" if scheme == "tel:" and host != "@a.example" else host
    return name + brackets.format(f"{scheme}{user}{host}") + tail


one = st.builds(
    _dress, names, schemes, users, hosts, tails, st.sampled_from(["<{}>", "<{}>", "{}", "< {} >", "<{}", "\r\n <{}>"])
)
several = st.lists(one, min_size=1, max_size=4).map(", ".join)
fields = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "P-Asserted-Identity",
                "p-asserted-identity ",
                "Remote-Party-ID",
                "Contact",
                "X-From",
                "P-Asserted-Identity-X",
                "F",
            ]
        ),
        several,
    ),
    max_size=4,
)


@settings(max_examples=500)
@given(st.one_of(st.just("<sip:alice@a.example>;tag=1"), st.just("<tel:+6281234567890>"), one), fields)
@example("<sip:alice@a.example>;tag=1", [("P-Asserted-Identity", "<tel:+77099999999:pw, <sip:1;npdi@a.example>")])
def test_identity_is_the_twins(sender: str, more: list[tuple[str, str]]) -> None:
    lines = [
        "INVITE sip:+62215550100@b.example SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1",
        f"From: {sender}",
        "To: <sip:+62215550100@b.example>",
        "Call-ID: 1@a.example",
        "CSeq: 1 INVITE",
        *(f"{name}: {value}" for name, value in more),
    ]
    message = "\r\n".join([*lines, "", ""])
    reading = read_message(message.encode(), "international", True, True)
    try:
        wanted = callers(message, True)
    except Refused:
        assert reading["fault"], message
        return
    assert reading["fault"] is None, (message, reading)
    if reading["kind"]:  # A tag of To is no caller's business, but a dialog's.
        assert [number for number, _ in reading["identities"]] == wanted, message
