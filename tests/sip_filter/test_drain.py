"""A node and its next hops are taken out of service while they run, and calls on course stay there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sip_filter.peers import Message, status
from tests.sip_filter.test_next_hops import FREE, Hops


@pytest.fixture
def hops(tmp_path: Path) -> Iterator[Hops]:
    hops = Hops(tmp_path, seconds=0)
    yield hops
    hops.bench.close()
    hops.second.socket.close()


def fresh(hops: Hops) -> str:
    """Which switch gets a new call."""
    return hops.hop_of(Message(hops.bench.trunk, caller=FREE))


def test_a_drained_node_tells_peers_and_serves_what_comes(hops: Hops) -> None:
    gateway = hops.bench.gateway
    assert hops.options() == 200 and not gateway.drained
    gateway.drain()
    assert hops.options() == 503 and gateway.drained
    assert fresh(hops), "a call that comes all the same is served"
    hops.bench.rule(["+62811*\torder reject enforce both"])
    assert fresh(hops) == "", "or refused"
    hops.configure(seconds=0)
    assert hops.options() == 503, "settings don't end it"
    trunk, *others = hops.bench.settings["trunks"]
    hops.bench.configure(trunks=[trunk | {"role": "dip"}, *others])
    assert hops.options() == 503, "who only asks goes around too"
    gateway.undrain()
    assert hops.options() == 200 and not gateway.drained


def test_a_drained_hop_keeps_its_calls_and_gets_no_new_ones(hops: Hops) -> None:
    gateway = hops.bench.gateway
    calls = [Message(hops.bench.trunk, caller=FREE) for _ in range(30)]
    before = [hops.hop_of(call) for call in calls]
    assert set(before) == {"one", "two"}
    gateway.drain("one")
    assert [hop["drain"] for hop in gateway.next_hops()] == [True, False]
    assert [hops.hop_of(call) for call in calls] == before
    ringing = calls[before.index("one")]
    ringing.sender.send(ringing.bytes("CANCEL"))
    hops.until(lambda: any(message.startswith(b"CANCEL ") for message in hops.calls["one"]))
    assert {fresh(hops) for _ in range(30)} == {"two"}
    hops.configure(seconds=0)
    assert {fresh(hops) for _ in range(30)} == {"two"}, "settings don't end it"
    gateway.drain("two")
    assert fresh(hops) == "" and hops.options() == 503
    gateway.undrain("one")
    gateway.undrain("two")
    assert {fresh(hops) for _ in range(30)} == {"one", "two"} and hops.options() == 200


def test_a_hop_that_left_the_settings_comes_back_in_service(hops: Hops) -> None:
    gateway, rows = hops.bench.gateway, hops.bench.settings["next_hops"]
    gateway.drain("one")
    hops.bench.configure(next_hops=rows[1:])
    hops.bench.configure(next_hops=rows)
    assert [hop["drain"] for hop in gateway.next_hops()] == [False, False]


def test_what_can_not_be_drained_is_said(hops: Hops) -> None:
    gateway = hops.bench.gateway
    for act in (gateway.drain, gateway.undrain):
        with pytest.raises(ValueError, match=r'next hop "three" is not configured \(known: one, two\)'):
            act("three")
    hops.configure(seconds=0, drain="one")
    gateway.drain("one")
    with pytest.raises(ValueError, match='next hop "one" is drained by the settings'):
        gateway.undrain("one")
    answer = Message(hops.bench.trunk, method="OPTIONS", target=f"sip:{hops.bench.address}")
    hops.bench.trunk.send(answer.bytes())
    assert status(hops.bench.trunk.receive()) == 200
