"""Responses, the dip role, shedding and privacy on the wire; and the card of a 608 as its receiver reads it."""

import json
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey
from pydantic import ValidationError

from sip_filter import settings
from sip_filter._core import Gateway
from sip_filter.jcard import Card
from tests.sip_filter.peers import KEY, Bench, Message, Peer, headers, respond, status

REJECT = "+77*\torder reject enforce both"
REDRESS = {"url": "https://redress.example/why", "id": "op-", "card_url": "https://redress.example/card.jws"}
FREE = "<sip:+62811000000@a.example>"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, [REJECT], redress=REDRESS)
    yield bench
    bench.close()


def change(bench: Bench, **first: Any) -> None:
    """Give the first trunk other settings."""
    trunk, *others = bench.settings["trunks"]
    bench.configure(trunks=[trunk | first, *others])


def reply(bench: Bench, call: Message) -> bytes:
    """The one answer to a call that reaches nobody else."""
    got = bench.send(call.sender, call.bytes())
    (answer,) = got.pop(call.sender)
    assert not any(got.values())
    return answer


def test_603_plus_is_written_as_its_standard_says(bench: Bench) -> None:
    change(bench, response="603+")
    call = Message(bench.trunk)
    answer = reply(bench, call)
    assert answer.startswith(b"SIP/2.0 603 Network Blocked\r\n")
    (hit,) = bench.writer.drain_hits()[0]
    (reason,) = headers(answer, "Reason")
    head, _, rest = reason.partition(";id=op-")
    assert head == 'SIP;cause=603;text="v=analytics1;url=https://redress.example/why'
    assert rest[16:] == '";location=RLN' and int(rest[:16], 16) in hit
    assert reply(bench, call) == answer, "copies get the same"


def test_608_goes_to_calls_whose_way_can_show_it(bench: Bench) -> None:
    change(bench, response="608")
    bench.gateway.card_signed(60)
    call = Message(bench.trunk)
    call.headers = ["Feature-Caps: *;+sip.608"]
    answer = reply(bench, call)
    assert answer.startswith(b"SIP/2.0 608 Rejected\r\n")
    assert headers(answer, "Call-Info") == ["<https://redress.example/card.jws>;purpose=jwscard"]
    assert status(reply(bench, Message(bench.trunk))) == 603
    assert bench.gateway.counters()["cards_stale"] == 0


def test_608_points_to_no_card_that_is_stale(bench: Bench) -> None:
    change(bench, response="608")

    def call() -> Message:
        message = Message(bench.trunk)
        message.headers = ["Feature-Caps: *;+sip.608"]
        return message

    first = call()
    assert status(reply(bench, first)) == 603, "none was signed yet"
    bench.gateway.card_signed(60)
    change(bench, label_from=True)
    second = call()
    assert status(reply(bench, second)) == 608, "it outlives a change of settings"
    assert status(reply(bench, first)) == 603 and status(reply(bench, second)) == 608, "copies get the same"
    bench.gateway.card_signed(0)
    assert status(reply(bench, call())) == 603
    assert bench.gateway.counters()["cards_stale"] == 2
    with pytest.raises(ValueError, match="seconds -1 must be 0 or more"):
        bench.gateway.card_signed(-1.0)


@pytest.mark.parametrize(("dip_pass", "expected"), [("404", 404), ("302", 302)])
def test_a_dip_is_answered_and_rings_nobody(bench: Bench, dip_pass: str, expected: int) -> None:
    change(bench, role="dip", dip_pass=dip_pass)
    assert status(reply(bench, Message(bench.trunk))) == 603
    free = Message(bench.trunk, caller=FREE)
    answer = reply(bench, free)
    assert status(answer) == expected and reply(bench, free) == answer
    assert headers(answer, "Contact") == ([f"<{free.target}>"] if expected == 302 else [])
    assert bench.gateway.synthetic("intl-a", ["+77012345678", "+62811000000"]) == [
        ("+77012345678", 603),
        ("+62811000000", 0),
    ]
    assert bench.gateway.counters()["dip_passed"] == 1 and bench.gateway.counters()["forwarded"] == 0


def test_a_trunk_that_sends_too_much_is_shed_and_others_are_not(bench: Bench) -> None:
    change(bench, max_per_s=1, shed="480")
    calls = [Message(bench.trunk, caller=FREE) for _ in range(30)]
    for call in calls:
        bench.trunk.send(call.bytes())
    fence = bench.send(bench.other, Message(bench.other, caller=FREE).bytes())
    shed = [answer for answer in fence[bench.trunk] if status(answer) == 480]
    assert len(shed) >= 9 and all(headers(answer, "Retry-After") == ["5"] for answer in shed)
    assert len(fence[bench.switch]) == len(calls) - len(shed) + 1
    counts = bench.gateway.trunk_counters()
    assert counts["intl-a"]["shed"] == len(shed) == bench.gateway.counters()["shed"]
    assert counts["intl-b"]["shed"] == 0 and counts["intl-b"]["judged"] == 1
    emergency = Message(bench.trunk, target="sip:112@b.example")
    assert bench.send(bench.trunk, emergency.bytes())[bench.switch]
    change(bench, max_per_s=None)
    assert bench.gateway.trunk_counters()["intl-a"]["shed"] == len(shed), "counts outlive a change of settings"


def test_a_limit_holds_over_all_workers(tmp_path: Path) -> None:
    bench = Bench(tmp_path, workers=4)
    change(bench, max_per_s=20)
    senders = [Peer("127.0.0.2") for _ in range(16)]  # From many ports, so that the kernel spreads them over workers.
    began = time.monotonic()
    for _ in range(10):
        for sender in senders:
            sender.gateway = bench.trunk.gateway
            sender.send(Message(sender, caller=FREE).bytes())
    while (counts := bench.gateway.trunk_counters()["intl-a"])["judged"] + counts["shed"] < 160:
        assert time.monotonic() < began + 10
    change(bench, max_per_s=20)  # A change of settings gives nothing away.
    most = 20 + 20 * (time.monotonic() - began)
    assert 20 <= counts["judged"] <= most, counts
    senders[0].send(Message(senders[0], caller=FREE).bytes())
    while (later := bench.gateway.trunk_counters()["intl-a"])["judged"] + later["shed"] < 161:
        assert time.monotonic() < began + 10
    assert later["judged"] <= 20 + 20 * (time.monotonic() - began)
    for sender in senders:
        sender.socket.close()
    bench.close()


def test_privacy_labels_and_isup_per_trunk(bench: Bench) -> None:
    for trunk, kept in ((bench.trunk, True), (bench.other, False)):
        call = Message(bench.switch, caller="<sip:anonymous@x>", target=f"sip:1@{trunk.address}")
        call.headers = ["P-Asserted-Identity: <tel:+62215550100>", "Privacy: id"]
        (sent,) = bench.send(bench.switch, call.bytes())[trunk]
        assert bool(headers(sent, "P-Asserted-Identity")) == kept
    bench.rule(["+62811*\tnoc label enforce both"])
    change(bench, label_from=True)
    call = Message(bench.trunk, caller=FREE)
    call.headers = ["Content-Type: multipart/mixed;boundary=b"]
    call.body = b"--b\r\nContent-Type: application/ISUP;version=itu-t92+\r\n\r\n\x01\x00\r\n--b--\r\n"
    (sent,) = bench.send(bench.trunk, call.bytes())[bench.switch]
    assert headers(sent, "From") == [f'"[Spam?]" {FREE};tag=from1'] and sent.endswith(call.body)
    assert bench.gateway.trunk_counters()["intl-a"]["isup"] == 1
    (busy,) = bench.send(bench.switch, respond(sent, "503 Service Unavailable"))[bench.trunk]
    assert status(busy) == 500 and bench.gateway.counters()["next_hop_503"] == 1


# --- the card


def redress(folder: Path, key: str) -> settings.Redress:
    (folder / "card.key").write_text(key)
    return settings.Redress(
        name="Operator Redress",
        email="redress@operator.example",
        card_url="https://redress.example/card.jws",
        card_file=folder / "card.jws",
        card_key=folder / "card.key",
        card_x5u="https://redress.example/cert.pem",
    )


def jwk(key: ECKey | OKPKey) -> str:
    return json.dumps(key.as_dict(private=True))


def pem() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form).decode()


@pytest.mark.parametrize("text", [jwk(ECKey.generate_key("P-256")), pem()], ids=["jwk", "pem"])
def test_the_card_verifies_and_says_where_to_complain(tmp_path: Path, text: str) -> None:
    card = Card(redress(tmp_path, text))
    card.write(1_000.9)
    key = ECKey.import_key(text if text.startswith("-") else json.loads(text))
    token = (tmp_path / "card.jws").read_text()
    found = jws.deserialize_compact(token, key, algorithms=["ES256"])
    assert found.protected == {"alg": "ES256", "typ": "vcard+json", "x5u": "https://redress.example/cert.pem"}
    assert json.loads(found.payload or b"") == {
        "iat": 1000,
        "jcard": [
            "vcard",
            [
                ["version", {}, "text", "4.0"],
                ["fn", {}, "text", "Operator Redress"],
                ["email", {"type": "work"}, "text", "redress@operator.example"],
            ],
        ],
    }
    card.write(1_030.0)
    assert (tmp_path / "card.jws").read_text() != token
    assert stat.S_IMODE((tmp_path / "card.jws").stat().st_mode) == 0o644
    assert sorted(path.name for path in tmp_path.iterdir()) == ["card.jws", "card.key"]


@pytest.mark.parametrize(
    "text",
    ["", "{}", "no key", jwk(ECKey.generate_key("P-384")), jwk(OKPKey.generate_key("Ed25519"))],
    ids=["empty", "no members", "no key", "other curve", "other kind"],
)
def test_a_key_that_cannot_sign_a_card_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"card\.key"):
        Card(redress(tmp_path, text))


@pytest.mark.parametrize(
    ("part", "error"),
    [
        ({"trunks": [{"name": "a", "sources": ["127.0.0.2"], "response": "603+"}]}, "needs redress.url"),
        ({"trunks": [{"name": "a", "sources": ["127.0.0.2"], "response": "608"}]}, "needs redress.card_url"),
        ({"redress": {"url": "https://a", "tel": "+62"}}, "one contact"),
        ({"redress": {"url": 'https://a"b'}}, "must be 1 to 128 of ASCII"),
        ({"redress": {"card_url": "http://a"}}, "must begin with https"),
        ({"redress": {"card_url": "https://a"}}, "needs name, card_x5u"),
        ({"redress": {"id": "a b"}}, "up to 48"),
    ],
)
def test_settings_that_could_not_be_answered_by_are_refused(part: dict[str, Any], error: str) -> None:
    with pytest.raises(ValidationError, match=error):
        settings.Gateway.model_validate(part)


def test_python_hands_the_core_what_it_takes(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    peer = Peer("127.0.0.2")
    gateway = settings.Gateway.model_validate(
        {
            "listen": ["udp:127.0.0.1:0"],
            "key_file": tmp_path / "key",
            "redress": redress(tmp_path, "").model_dump(),
            "trunks": [{"name": "a", "sources": ["127.0.0.2"], "response": "608", "role": "dip", "max_per_s": 9}],
            "next_hops": [{"name": "s", "address": peer.address, "networks": ["127.0.0.4"], "drain": True}],
        }
    )
    core = Gateway(str(tmp_path / "live"), gateway.to_core_json("gw1"))
    assert core.next_hops() == [{"name": "s", "address": peer.address, "healthy": True, "misses": 0, "drain": True}]
    peer.socket.close()
