"""One course per call, over real sockets: two nodes, a node started anew, and the shared key changing under calls."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sip_filter import settings
from sip_filter._core import Gateway
from tests.sip_filter.peers import KEY, Bench, Message, Peer, headers, respond, status

REJECT = "+77*\torder reject enforce both"
FREE = "<sip:+62811000000@a.example>"
OTHER = "3c" * 16 + KEY[32:]
STEPS = {
    "no change": ([KEY], [KEY]),
    "one node knows the next key": ([KEY], [KEY, OTHER]),
    "one node is swapped": ([OTHER, KEY], [KEY, OTHER]),
    "the other node is swapped": ([KEY, OTHER], [OTHER, KEY]),
    "both are swapped": ([OTHER, KEY], [OTHER, KEY]),
}


class Nodes:
    """Two gateways of one site: `bench` and another, between the same peers and two switches."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(folder, [REJECT])
        self.second = Peer("127.0.0.6")
        self.switches = (self.bench.switch, self.second)
        self.bench.configure(
            next_hops=[
                {"name": f"switch-{at}", "address": peer.address, "networks": [f"{peer.host}/32"]}
                for at, peer in enumerate(self.switches, 1)
            ]
        )
        self.one = self.bench.trunk.gateway
        self.gateway, self.two = self._start()

    def _start(self) -> tuple[Gateway, tuple[str, int]]:
        gateway = Gateway(str(self.bench.live), json.dumps(self.bench.settings))
        host, _, port = gateway.start()[0].removeprefix("udp:").rpartition(":")
        return gateway, (host, int(port))

    def restart(self) -> None:
        """The second node's process dies and comes again: nothing is remembered, and its address is another."""
        self.gateway.stop()
        self.gateway, self.two = self._start()

    def keys(self, one: list[str], two: list[str]) -> None:
        self.bench.configure(key=one)
        self.gateway.configure(json.dumps(self.bench.settings | {"key": two}))

    def send(self, message: bytes, to: tuple[str, int], sender: Peer | None = None) -> tuple[Peer, bytes] | None:
        """Who got what of it; None when nobody did before the node answered something later."""
        trunk = self.bench.trunk
        (sender or trunk).socket.sendto(message, to)
        fence = Message(trunk, method="OPTIONS", target=f"sip:{to[0]}:{to[1]}")
        trunk.socket.sendto(fence.bytes(), to)
        found: list[tuple[Peer, bytes]] = []
        while fence.call_id.encode() not in (reply := trunk.receive()):
            found.append((trunk, reply))
        found += [(peer, one) for peer in self.switches for one in peer.waiting()]
        assert len(found) <= 1, found
        return found[0] if found else None

    def close(self) -> None:
        self.gateway.stop()
        self.bench.close()
        self.second.socket.close()


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    nodes = Nodes(tmp_path)
    yield nodes
    nodes.close()


def branch(message: bytes) -> str:
    return headers(message, "Via")[0].partition(";branch=")[2].partition(";")[0]


@pytest.mark.parametrize("step", STEPS)
def test_a_call_of_one_node_goes_on_at_the_other(nodes: Nodes, step: str) -> None:
    one, two = STEPS[step]
    for _ in range(6):  # Both switches get some.
        call = Message(nodes.bench.trunk, caller=FREE)
        nodes.keys([KEY], [KEY])
        first = nodes.send(call.bytes(), nodes.one)
        assert first
        nodes.keys(one, two)
        for method in ("INVITE", "CANCEL", "ACK"):
            call.to_tag = "callee" if method == "ACK" else ""
            found = nodes.send(call.bytes(method), nodes.two)
            assert found and (found[0], branch(found[1])) == (first[0], branch(first[1])), method
        # The switch answers where our Via says; that address may have moved to the other node.
        answer = respond(first[1], "487 Request Terminated")
        moved = answer.replace(b":%d;branch" % nodes.one[1], b":%d;branch" % nodes.two[1])
        back = nodes.send(moved, nodes.two, first[0])
        assert back and back[0] is nodes.bench.trunk and status(back[1]) == 487
        back = nodes.send(answer, nodes.one, first[0])
        assert back and back[0] is nodes.bench.trunk


@pytest.mark.parametrize("step", STEPS)
def test_a_refusal_of_one_node_is_acknowledged_at_the_other(nodes: Nodes, step: str) -> None:
    call = Message(nodes.bench.trunk)
    first = nodes.send(call.bytes(), nodes.one)
    assert first and status(first[1]) == 603
    nodes.keys(*STEPS[step])
    assert nodes.send(call.bytes(), nodes.two) == first, "the same answer, tag and all"
    call.to_tag = headers(first[1], "To")[0].partition(";tag=")[2]
    assert nodes.send(call.bytes("ACK"), nodes.two) is None
    assert nodes.gateway.counters()["acks_absorbed"] == 1


def test_a_node_started_anew_follows_the_calls_of_the_one_before(nodes: Nodes) -> None:
    for _ in range(6):
        call, blocked = Message(nodes.bench.trunk, caller=FREE), Message(nodes.bench.trunk)
        first, refusal = nodes.send(call.bytes(), nodes.two), nodes.send(blocked.bytes(), nodes.two)
        assert first and refusal
        nodes.restart()
        found = nodes.send(call.bytes("CANCEL"), nodes.two)
        assert found and (found[0], branch(found[1])) == (first[0], branch(first[1]))
        blocked.to_tag = headers(refusal[1], "To")[0].partition(";tag=")[2]
        assert nodes.send(blocked.bytes("ACK"), nodes.two) is None


def test_a_key_with_other_names_turns_no_call_of_its_own_node(nodes: Nodes) -> None:
    calls = [Message(nodes.bench.trunk, caller=FREE) for _ in range(6)]
    first = [nodes.send(call.bytes(), nodes.one) for call in calls]
    strange = "77" * 32
    nodes.keys([strange, KEY], [KEY, strange])
    for call, sent in zip(calls, first, strict=True):
        found = nodes.send(call.bytes("CANCEL"), nodes.one)
        assert found and sent and (found[0], branch(found[1])) == (sent[0], branch(sent[1]))


def test_dropped_keys_vouch_for_nothing(nodes: Nodes) -> None:
    call = Message(nodes.bench.trunk, caller=FREE)
    first = nodes.send(call.bytes(), nodes.one)
    assert first
    nodes.keys([OTHER], [KEY])
    assert nodes.send(respond(first[1], "200 OK"), nodes.one, first[0]) is None
    nodes.keys([OTHER, KEY], [KEY])
    assert nodes.send(respond(first[1], "200 OK"), nodes.one, first[0])


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "holds 0 keys; 1 to 3"),
        ("\n".join(["ab" * 32, "cd" * 32, "ef" * 32, "01" * 32]), "holds 4 keys; 1 to 3"),
        ("ab" * 31, "key 1 must be 64 hex digits, it has 62 characters"),
        ("ab" * 32 + "\nxy" * 32, "must be 64 hex digits|holds 33 keys"),
        (f"{KEY}\n{KEY}", "key 2 is there before"),
    ],
)
def test_a_key_file_that_can_not_be_used(tmp_path: Path, text: str, error: str) -> None:
    (tmp_path / "gateway.key").write_text(text)
    with pytest.raises(ValueError, match=error) as caught:
        settings.read_keys(tmp_path / "gateway.key")
    assert "abab" not in str(caught.value)


def test_the_core_says_which_keys_it_takes(nodes: Nodes) -> None:
    for value, error in (
        ([], r"key: 0 keys; 1 to 3 are possible"),
        ([KEY] * 2, r"key\[1\]: the same key is there before"),
        ([KEY, "ab"], r"key\[1\]: 2 characters, or not hex"),
        ([KEY, 7], r"key\[1\]: 7 is not a string"),
    ):
        with pytest.raises(ValueError, match=error):
            nodes.bench.gateway.configure(json.dumps(nodes.bench.settings | {"key": value}))
