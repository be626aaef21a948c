"""What comes by real packets is counted: each thing once, by minute, trunk, prefix and watch; numbers are sketched."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sip_filter import traffic
from sip_filter._core import Sketch
from sip_filter.control import AskError
from tests.sip_filter.peers import Bench, Message, Peer, respond, status

RULES = (
    "+7701*\tnoc reject enforce both",
    "+7702*\tnoc reject shadow both",
    "+77020000009\tnoc allow enforce both",
)
WATCHES = [
    {"id": "r1", "subject": "+77*", "except": ["+77020000009"]},
    {"id": "p2", "subject": "+77030000002", "trunks": ["intl-b"], "kinds": "message"},
]
CALLS, MESSAGES, REJECTED, SHADOWED, RANG, ANSWERED, BRIEF = range(7)
Figures = dict[tuple[str, str], tuple[int, ...]]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, RULES)
    yield bench
    bench.close()


def counted(bench: Bench) -> Figures:
    """All that was counted, over the minutes: a test may run into the next one."""
    told = bench.gateway.traffic()
    assert told["next"] is None and not any(told["lost"].values())
    assert told["columns"] == [
        "minute", "trunk", "key", "calls", "messages", "rejected", "shadowed", "rang", "answered", "brief"
    ]  # fmt: skip
    sums: Figures = {}
    for _, trunk, key, *figures in (*told["rows"], *told["open"]):
        before = sums.get((trunk, key), (0,) * 7)
        sums[trunk, key] = tuple(a + b for a, b in zip(before, figures, strict=True))
    return sums


def until(bench: Bench, expected: Figures) -> None:
    """Wait until just this was counted."""
    deadline = time.monotonic() + 10
    while (found := counted(bench)) != expected:
        assert time.monotonic() < deadline, found


def figures(**columns: int) -> tuple[int, ...]:
    names = ("calls", "messages", "rejected", "shadowed", "rang", "answered", "brief")
    assert set(columns) <= set(names)
    return tuple(columns.get(name, 0) for name in names)


def call(bench: Bench, caller: str, sender: Peer | None = None, **more: str) -> Message:
    return Message(sender or bench.trunk, caller=f"<sip:{caller}@a.example>", **more)


def forwarded(bench: Bench, message: Message) -> bytes:
    """The request as it came to the switch."""
    [request] = bench.send(message.sender, message.bytes())[bench.switch]
    return request


def say(bench: Bench, request: bytes, code: str) -> None:
    """The switch says something about a call, and the caller's side has it."""
    [response] = bench.send(bench.switch, respond(request, code))[bench.trunk]
    assert str(status(response)) == code.split()[0]


def test_each_thing_that_happens_is_counted_once(bench: Bench) -> None:
    assert bench.gateway.traffic(0, json.dumps(WATCHES))["watching"].keys() == {"r1", "p2"}

    # It will be given up late; the five seconds pass while the rest happens.
    late = call(bench, "+77030000001")
    say(bench, forwarded(bench, late), "180 Ringing")
    ringing_since = time.monotonic()

    refused = call(bench, "+77010000001")
    for _ in range(3):
        [answer] = bench.send(bench.trunk, refused.bytes())[bench.trunk]
        assert status(answer) == 603
    bench.send(bench.trunk, refused.bytes("ACK"))

    answered = call(bench, "+77020000001")
    request = forwarded(bench, answered)
    assert forwarded(bench, answered) == request
    for code in ("100 Trying", "183 Session Progress", "180 Ringing", "200 OK", "200 OK"):
        say(bench, request, code)

    brief = call(bench, "+77020000009")
    request = forwarded(bench, brief)
    say(bench, request, "180 Ringing")
    for _ in range(2):
        assert len(bench.send(bench.trunk, brief.bytes("CANCEL"))[bench.switch]) == 1
    say(bench, request, "487 Request Terminated")

    unheard = call(bench, "+77040000001")
    forwarded(bench, unheard)
    bench.send(bench.trunk, unheard.bytes("CANCEL"))

    # An allow excuses nobody on a trunk whose identities are not believed: there the watch counts him.
    forwarded(bench, call(bench, "+77020000009", bench.other))
    forwarded(bench, call(bench, "+77030000002", bench.other, method="MESSAGE"))
    forwarded(bench, call(bench, "anonymous"))
    two = call(bench, "+77050000001")
    two.headers.append("P-Asserted-Identity: <sip:+628110000001@a.example>")
    forwarded(bench, two)

    # None of these is judged: to an emergency number, inside a dialog, malformed, from nobody that we know.
    forwarded(bench, call(bench, "+77060000001", target="sip:112@b.example"))
    inside = call(bench, "+77060000001")
    inside.to_tag = "switch1"
    say(bench, forwarded(bench, inside), "200 OK")
    bad = call(bench, "+77060000001")
    bad.headers.append("CSeq: 2 INVITE")
    bench.send(bench.trunk, bad.bytes())
    bench.send(bench.stranger, call(bench, "+77060000001", bench.stranger).bytes())

    deadline = ringing_since + 5.1
    while time.monotonic() < deadline:
        counted(bench)
    bench.send(bench.trunk, late.bytes("CANCEL"))
    until(
        bench,
        {
            ("intl-a", ""): figures(calls=1),
            ("intl-a", "6281"): figures(calls=1),
            ("intl-a", "7701"): figures(calls=1, rejected=1),
            ("intl-a", "7702"): figures(calls=2, shadowed=1, rang=2, answered=1, brief=1),
            ("intl-a", "7703"): figures(calls=1, rang=1),
            ("intl-a", "7704"): figures(calls=1),
            ("intl-b", "7702"): figures(calls=1, shadowed=1),
            ("intl-b", "7703"): figures(messages=1),
            ("intl-a", "r1"): figures(calls=5, rejected=1, shadowed=1, rang=2, answered=1),
            ("intl-b", "r1"): figures(calls=1, messages=1, shadowed=1),
            ("intl-b", "p2"): figures(messages=1),
        },
    )


def test_sketches_tell_how_many_different_numbers_there_were(bench: Bench) -> None:
    bench.gateway.traffic(0, json.dumps(WATCHES))
    for i in range(400):
        caller, target = f"+7705{i % 100:07}", f"sip:+6221555{i % 50:04}@b.example"
        bench.trunk.send(call(bench, caller, target=target).bytes())
        bench.other.send(call(bench, caller, bench.other, target="sip:021@b.example").bytes())
    until(
        bench,
        {(trunk, key): figures(calls=400) for trunk in ("intl-a", "intl-b") for key in ("7705", "r1")},
    )
    hour = int(time.time() / 3600)
    told = [bench.gateway.sketches(hour - back) for back in (0, 1)]  # The hour may have turned.
    assert told[0]["open"] and told[0]["next"] is None and told[0]["run"] == bench.gateway.traffic()["run"]
    unions: dict[tuple[str, str], list[Sketch]] = {}
    for trunk, key, *pair in (row for answer in told for row in answer["sketches"]):
        for union, text in zip(unions.setdefault((trunk, key), [Sketch(), Sketch()]), pair, strict=True):
            union.merge(Sketch(text))
    estimates = {at: tuple(round(sketch.estimate()) for sketch in pair) for at, pair in unions.items()}
    near = {99, 100, 101}
    assert estimates.keys() == {(trunk, key) for trunk in ("intl-a", "intl-b") for key in ("7705", "r1")}
    assert all(callers in near for callers, _ in estimates.values())
    assert {callees for (trunk, _), (_, callees) in estimates.items() if trunk == "intl-a"} <= {49, 50, 51}
    assert {callees for (trunk, _), (_, callees) in estimates.items() if trunk == "intl-b"} == {1}
    # The same callers on both trunks are no more than on one: nothing of a union is counted twice.
    assert unions["intl-a", "7705"][0] == unions["intl-b", "r1"][0]


def test_counts_outlive_settings_and_end_with_the_key(bench: Bench) -> None:
    forwarded(bench, call(bench, "+77050000001"))
    until(bench, {("intl-a", "7705"): figures(calls=1)})
    run = bench.gateway.traffic()["run"]
    trunks = bench.settings["trunks"]
    bench.configure(trunks=[bench.trunk_row("intl-c", "127.0.0.3/32"), trunks[0]])
    forwarded(bench, call(bench, "+77050000001", bench.other))
    forwarded(bench, call(bench, "+77050000001"))
    until(bench, {("intl-a", "7705"): figures(calls=2), ("intl-c", "7705"): figures(calls=1)})
    # Another secret half makes the same sketches; another naming half does not.
    bench.configure(key="5b" * 16 + "5a" * 16)
    assert bench.gateway.traffic()["run"] == run
    bench.configure(key="5b" * 32)
    assert bench.gateway.traffic()["run"] != run and counted(bench) == {}


def test_nothing_is_counted_where_that_is_not_wanted(bench: Bench) -> None:
    bench.configure(count_traffic=False)
    forwarded(bench, call(bench, "+77050000001"))
    bench.configure(count_traffic=True)
    forwarded(bench, call(bench, "+77060000001"))
    until(bench, {("intl-a", "7706"): figures(calls=1)})


@pytest.mark.parametrize(
    ("watches", "names"),
    [
        ("{}", "invalid type: map"),
        ('[{"id": "r1"}]', "missing field `subject`"),
        ('[{"id": "r1", "subject": "+77*", "mode": "enforce"}]', "unknown field `mode`"),
        ('[{"id": "r1", "subject": "77"}]', 'watch "r1": subject "77" does not begin with +'),
        ('[{"id": "7701", "subject": "+77*"}]', 'watch "7701": a name is a letter'),
        ('[{"id": "r1", "subject": "+77*", "kinds": "fax"}]', 'kinds "fax" is none of call, message, both'),
        ('[{"id": "r1", "subject": "+77*"}, {"id": "r1", "subject": "+78*"}]', 'watch "r1" is there twice'),
    ],
)
def test_watches_that_make_no_sense_change_nothing(bench: Bench, watches: str, names: str) -> None:
    bench.gateway.traffic(0, json.dumps(WATCHES))
    with pytest.raises(ValueError, match=re.escape(names)):
        bench.gateway.traffic(0, watches)
    assert bench.gateway.traffic()["watching"].keys() == {"r1", "p2"}


def test_a_sketch_is_read_as_it_was_written_or_not_at_all() -> None:
    one, other = Sketch(), Sketch()
    for i in range(1_000):
        one.add(i * 0x9E3779B97F4A7C15 % 2**64)
        other.add((i + 500) * 0x9E3779B97F4A7C15 % 2**64)
    assert Sketch(one.to_bytes()) == one and one != other
    one.merge(other)
    one.merge(one)
    assert abs(one.estimate() / 1_500 - 1) < 0.05 and Sketch().estimate() == 0
    assert Sketch.error * 1.96 < 0.03
    for text in (b"", b"P", one.to_bytes()[:-1], one.to_bytes() + b"\0", b"Q" + one.to_bytes()[1:]):
        with pytest.raises(ValueError, match="not a sketch"):
            Sketch(text)


async def test_a_node_that_counts_nothing_says_so_instead_of_zero(bench: Bench) -> None:
    counting = True
    asked = traffic.handlers(bench.gateway, "gw1", counts=lambda: counting)
    assert (await asked["traffic"]({"ask": "traffic"}))["node"] == "gw1"
    counting = False
    for question in ({"ask": "traffic"}, {"ask": "sketches", "hour": 1}):
        with pytest.raises(AskError, match="count_traffic is off"):
            await asked[str(question["ask"])](question)
