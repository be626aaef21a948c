"""The gateway on the wire: scripted peers on loopback, one exchange per rule of RFC 3261 and of our own."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sip_filter import trunk_key
from sip_filter._core import Gateway, counter_meanings
from tests.sip_filter.peers import Bench, Message, Peer, headers, respond, status

REJECT = "+77*\torder reject enforce both"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, [REJECT])
    yield bench
    bench.close()


def only(got: dict[Peer, list[bytes]], peer: Peer) -> bytes:
    """The one datagram that came of it, which `peer` got."""
    (datagram,) = got[peer]
    assert not any(datagrams for other, datagrams in got.items() if other is not peer)
    return datagram


def silent(got: dict[Peer, list[bytes]]) -> bool:
    return not any(got.values())


def tag(datagram: bytes) -> str:
    return headers(datagram, "To")[0].partition(";tag=")[2]


def test_a_blocked_call_is_declined_with_a_reason_and_no_banner(bench: Bench) -> None:
    call = Message(bench.trunk)
    reply = only(bench.send(bench.trunk, call.bytes()), bench.trunk)
    assert reply.startswith(b"SIP/2.0 603 Decline\r\n")
    assert headers(reply, "Reason") == ['Q.850;cause=21;text="Call rejected"']
    assert headers(reply, "Via") == [
        f"SIP/2.0/UDP {bench.trunk.address};branch={call.branch};rport={bench.trunk.port};received=127.0.0.2"
    ]
    assert tag(reply) and not headers(reply, "Server") and not headers(reply, "User-Agent")
    assert len(reply) <= len(call.bytes()) + 400


def test_an_allowed_call_is_forwarded_answered_and_its_dialog_flows(bench: Bench) -> None:
    call = Message(bench.trunk, caller="<sip:+62811000000@a.example>")
    call.headers = ["X-Unknown:  kept as is", "Contact: <sip:c@127.0.0.2>"]
    call.body = b"v=0\r\n\x00\xff"
    forwarded = only(bench.send(bench.trunk, call.bytes()), bench.switch)
    assert forwarded.endswith(b"\r\n\r\n" + call.body) and b"\r\nX-Unknown:  kept as is\r\n" in forwarded
    ours, theirs = headers(forwarded, "Via")
    assert ours.startswith(f"SIP/2.0/UDP {bench.address};branch=z9hG4bK-palang")
    assert theirs.endswith(f";rport={bench.trunk.port};received=127.0.0.2")
    assert headers(forwarded, "Max-Forwards") == ["69"]
    for code in ("100 Trying", "180 Ringing", "200 OK"):
        back = only(bench.send(bench.switch, respond(forwarded, code)), bench.trunk)
        assert status(back) == int(code[:3]) and headers(back, "Via") == [theirs]
    call.to_tag = "switch1"
    call.branch = "z9hG4bK-ack"
    call.target = f"sip:b@{bench.switch.address}"
    assert only(bench.send(bench.trunk, call.bytes("ACK")), bench.switch).startswith(b"ACK ")
    call.branch, call.cseq = "z9hG4bK-bye", 2
    bye = only(bench.send(bench.trunk, call.bytes("BYE")), bench.switch)
    assert status(only(bench.send(bench.switch, respond(bye, "200 OK")), bench.trunk)) == 200


def test_the_callee_hangs_up(bench: Bench) -> None:
    bye = Message(bench.switch, method="BYE", target=f"sip:c@{bench.trunk.address}")
    bye.to_tag = "from1"
    forwarded = only(bench.send(bench.switch, bye.bytes()), bench.trunk)
    assert status(only(bench.send(bench.trunk, respond(forwarded, "200 OK")), bench.switch)) == 200


def test_calls_out_go_only_to_trunks(bench: Bench) -> None:
    out = Message(bench.switch, caller="<sip:+77012345678@x>", target=f"sip:+1@{bench.trunk.address}")
    assert only(bench.send(bench.switch, out.bytes()), bench.trunk).startswith(b"INVITE ")
    for target in (f"sip:+1@{bench.stranger.address}", "sip:+1@elsewhere.example", f"sip:+1@{bench.address}"):
        out = Message(bench.switch, target=target)
        assert status(only(bench.send(bench.switch, out.bytes()), bench.switch)) == 404


def test_a_trunk_reaches_nobody_but_the_switch(bench: Bench) -> None:
    for route in ([], [f"Route: <sip:{bench.stranger.address};lr>"], [f"Route: <sip:{bench.address};lr>"]):
        for to_tag in ("", "t1"):
            call = Message(bench.trunk, caller="<sip:+62811000000@x>", target=f"sip:x@{bench.stranger.address}")
            call.headers, call.to_tag = route, to_tag
            assert only(bench.send(bench.trunk, call.bytes()), bench.switch)


def test_the_ack_of_our_refusal_is_absorbed(bench: Bench) -> None:
    call = Message(bench.trunk)
    call.to_tag = tag(only(bench.send(bench.trunk, call.bytes()), bench.trunk))
    assert silent(bench.send(bench.trunk, call.bytes("ACK")))
    assert bench.gateway.counters()["acks_absorbed"] == 1
    assert silent(bench.send(bench.trunk, call.bytes("CANCEL")))
    call.to_tag = "stray"
    call.branch = "z9hG4bK-other"
    assert only(bench.send(bench.trunk, call.bytes("ACK")), bench.switch).startswith(b"ACK ")


def test_cancel_follows_its_invite(bench: Bench) -> None:
    call = Message(bench.trunk, caller="<sip:+62811000000@x>")
    forwarded = only(bench.send(bench.trunk, call.bytes()), bench.switch)
    bench.rule(["+62811*\torder reject enforce both"])
    cancel = only(bench.send(bench.trunk, call.bytes("CANCEL")), bench.switch)
    assert cancel.startswith(b"CANCEL ") and headers(cancel, "Via")[0] == headers(forwarded, "Via")[0]
    assert status(only(bench.send(bench.switch, respond(forwarded, "487 Terminated")), bench.trunk)) == 487
    call.to_tag = "switch1"
    ack = only(bench.send(bench.trunk, call.bytes("ACK")), bench.switch)
    assert headers(ack, "Via")[0] == headers(forwarded, "Via")[0]


def test_seven_copies_of_a_blocked_call_get_one_answer_and_count_once(bench: Bench) -> None:
    call = Message(bench.trunk).bytes()
    replies = {only(bench.send(bench.trunk, call), bench.trunk) for _ in range(7)}
    assert len(replies) == 1
    hits, lost = bench.writer.drain_hits()
    assert lost == 0
    assert [(hit[1:6], hit[6]) for hit in hits] == [
        (("+77*", "order", "reject", "reject", "call"), trunk_key("intl-a"))
    ]
    counters = bench.gateway.counters()
    assert (counters["rejected"], counters["refused_again"]) == (1, 6)


def test_seven_copies_of_an_allowed_call_take_one_branch(bench: Bench) -> None:
    call = Message(bench.trunk, caller="<sip:+62811000000@x>").bytes()
    assert len({only(bench.send(bench.trunk, call), bench.switch) for _ in range(7)}) == 1


def test_a_rule_that_changes_between_two_copies_does_not_turn_the_call(bench: Bench) -> None:
    blocked, passed = Message(bench.trunk), Message(bench.trunk, caller="<sip:+62811000000@x>")
    refusal = only(bench.send(bench.trunk, blocked.bytes()), bench.trunk)
    forwarded = only(bench.send(bench.trunk, passed.bytes()), bench.switch)
    bench.rule(["+62811*\torder reject enforce both"])
    assert only(bench.send(bench.trunk, blocked.bytes()), bench.trunk) == refusal
    assert only(bench.send(bench.trunk, passed.bytes()), bench.switch) == forwarded
    fresh = Message(bench.trunk, caller="<sip:+62811000000@x>")
    assert status(only(bench.send(bench.trunk, fresh.bytes()), bench.trunk)) == 603


def test_strangers_get_nothing(bench: Bench) -> None:
    for message in (Message(bench.stranger), Message(bench.stranger, method="OPTIONS", target=f"sip:{bench.address}")):
        assert silent(bench.send(bench.stranger, message.bytes()))
    assert silent(bench.send(bench.stranger, b"garbage"))
    assert bench.gateway.counters()["unknown_source"] == 3


def test_forged_responses_are_dropped(bench: Bench) -> None:
    call = Message(bench.trunk, caller="<sip:+62811000000@x>")
    forwarded = only(bench.send(bench.trunk, call.bytes()), bench.switch)
    good = respond(forwarded, "200 OK")
    victim = bench.stranger
    forged = [
        good.replace(b"received=127.0.0.2", b"received=127.0.0.5"),
        good.replace(f"rport={bench.trunk.port}".encode(), f"rport={victim.port}".encode()),
        f"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP {bench.address};branch=z9hG4bK-palang{'0' * 24}\r\n"
        f"Via: SIP/2.0/UDP {victim.address};branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\n"
        "Call-ID: x\r\nCSeq: 1 INVITE\r\n\r\n".encode(),
        f"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP {victim.address};branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n"
        "To: <sip:a@b>;tag=2\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n\r\n".encode(),
    ]
    for response in forged:
        assert silent(bench.send(bench.switch, response))
    assert silent(bench.send(bench.stranger, good))
    assert status(only(bench.send(bench.switch, good), bench.trunk)) == 200


def test_a_switch_that_is_down_stops_nothing(bench: Bench) -> None:
    bench.switch.socket.close()
    bench.peers = (bench.trunk, bench.other, bench.stranger)
    for _ in range(3):
        call = Message(bench.trunk, caller="<sip:+62811000000@x>")
        assert silent(bench.send(bench.trunk, call.bytes()))
        assert status(only(bench.send(bench.trunk, Message(bench.trunk).bytes()), bench.trunk)) == 603


def test_modes_labels_and_identities_per_trunk(bench: Bench) -> None:
    bench.rule([REJECT, "+62811*\tnoc label enforce both"])
    trunks = bench.settings["trunks"]
    bench.configure(trunks=[trunks[0] | {"mode": "shadow"}, trunks[1] | {"response": "403"}])
    assert only(bench.send(bench.trunk, Message(bench.trunk).bytes()), bench.switch)
    hits, _ = bench.writer.drain_hits()
    assert [hit[4] for hit in hits] == ["shadow"]
    assert status(only(bench.send(bench.other, Message(bench.other).bytes()), bench.other)) == 403
    bench.configure(trunks=trunks)
    call = Message(bench.trunk, caller="<sip:+62811000000@x>")
    call.headers = ['P-Asserted-Identity: "Bank" <sip:+62811000000@x>']
    labelled = only(bench.send(bench.trunk, call.bytes()), bench.switch)
    assert headers(labelled, "P-Asserted-Identity") == ['"[Spam?] Bank" <sip:+62811000000@x>']
    call = Message(bench.other, caller="<sip:+62822000000@x>")
    call.headers = ["P-Asserted-Identity: <tel:+62822000000>"]
    assert not headers(only(bench.send(bench.other, call.bytes()), bench.switch), "P-Asserted-Identity")


def test_emergencies_and_the_bypass_pass(bench: Bench) -> None:
    assert only(bench.send(bench.trunk, Message(bench.trunk, target="sip:112@b.example").bytes()), bench.switch)
    bench.configure(bypass=True)
    assert only(bench.send(bench.trunk, Message(bench.trunk).bytes()), bench.switch)
    assert bench.gateway.counters()["bypassed"] == 1
    assert bench.gateway.synthetic("intl-a", ["+77012345678"]) == [("+77012345678", 0)]


def test_synthetic_calls_say_what_real_ones_would_get_and_leave_no_trace(bench: Bench) -> None:
    before = bench.gateway.counters()
    numbers = ["+77012345678", "+62811000000"]
    assert bench.gateway.synthetic("intl-a", numbers) == list(zip(numbers, (603, 0), strict=True))
    assert bench.gateway.counters() == before
    assert bench.writer.drain_hits() == ([], 0)
    assert not bench.switch.waiting()
    with pytest.raises(ValueError, match='trunk "nowhere" is not configured \\(known: intl-a, intl-b\\)'):
        bench.gateway.synthetic("nowhere", numbers)
    with pytest.raises(ValueError, match="fewest allowed are 7"):
        bench.gateway.synthetic("intl-a", ["+112"])


def test_without_a_list_everything_passes(bench: Bench, tmp_path: Path) -> None:
    bench.gateway.stop()
    bench.start(Gateway(str(tmp_path / "empty"), json.dumps(bench.settings)))
    assert only(bench.send(bench.trunk, Message(bench.trunk).bytes()), bench.switch)
    assert bench.gateway.counters()["no_list"] == 1


def test_bad_settings_change_nothing(bench: Bench) -> None:
    for key, value, error in (
        ("listen", ["udp:127.0.0.1:1"], "listen: can't change while the gateway runs"),
        ("workers", 0, "workers: 0 is not a whole number from 1 to 64"),
        ("label", '"', "label: "),
        ("colour", "red", 'colour: unknown key \\(value "red"\\)'),
        ("next_hops", [{"name": "x", "address": "x:1"}], r'next_hops\[0\].address: "x:1" is not an address'),
    ):
        with pytest.raises(ValueError, match=error):
            bench.gateway.configure(json.dumps(bench.settings | {key: value}))
    assert status(only(bench.send(bench.trunk, Message(bench.trunk).bytes()), bench.trunk)) == 603


def test_a_drained_hop_keeps_its_calls(bench: Bench) -> None:
    call = Message(bench.trunk, caller="<sip:+62811000000@x>")
    only(bench.send(bench.trunk, call.bytes()), bench.switch)
    bench.configure(
        next_hops=[{"name": "other", "address": bench.other.address, "networks": []}],
        trunks=[bench.settings["trunks"][0]],
    )
    assert only(bench.send(bench.trunk, call.bytes("CANCEL")), bench.switch)
    assert only(bench.send(bench.trunk, Message(bench.trunk, caller="<sip:+62811000000@x>").bytes()), bench.other)


def test_an_address_in_use_is_named(bench: Bench) -> None:
    second = Gateway(str(bench.live), json.dumps(bench.settings | {"listen": [f"udp:{bench.address}"]}))
    with pytest.raises(OSError, match=f"udp:{bench.address}: "):
        second.start()


def test_two_workers_share_an_address_and_stop_twice(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [REJECT], workers=2)
    for _ in range(20):
        sender = Peer("127.0.0.2")  # Another port each time, so that the kernel spreads them.
        sender.gateway = bench.trunk.gateway
        sender.send(Message(sender).bytes())
        assert status(sender.receive()) == 603
        sender.socket.close()
    bench.gateway.stop()
    bench.gateway.stop()
    with pytest.raises(RuntimeError, match="was stopped"):
        bench.gateway.start()
    bench.close()


def test_a_peer_on_ipv6_and_a_switch_on_ipv4(bench: Bench) -> None:
    bench.gateway.stop()
    bench.settings["listen"] = ["udp:127.0.0.1:0", "udp:[::1]:0"]
    bench.settings["trunks"] = [*bench.settings["trunks"], Bench.trunk_row("six", "::1/128")]
    bench.start(Gateway(str(bench.live), json.dumps(bench.settings)))
    peer = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    peer.bind(("::1", 0))
    peer.settimeout(5)
    peer.connect(("::1", int(bench.bound[1].rpartition(":")[2])))
    blocked = Message(bench.trunk).bytes().replace(bench.trunk.address.encode(), b"[::1]:%d" % peer.getsockname()[1])
    peer.send(blocked)
    reply = peer.recv(65_536)
    assert status(reply) == 603 and b";received=::1" in reply
    peer.send(blocked.replace(b"+7701234", b"+6281234").replace(b"call-", b"other-"))
    forwarded = bench.switch.receive()
    assert headers(forwarded, "Via")[0].startswith(f"SIP/2.0/UDP {bench.address};")
    bench.switch.send(respond(forwarded, "486 Busy Here"))
    assert status(peer.recv(65_536)) == 486
    peer.close()


def test_every_counter_has_a_meaning(bench: Bench) -> None:
    meanings = counter_meanings()
    assert meanings.keys() == bench.gateway.counters().keys()
    assert all(meaning.endswith(".") and meaning[0].isupper() for meaning in meanings.values())
