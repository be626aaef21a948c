"""`make bench`, short: every rival gives the answers that its row expects, and a wrong answer ends the benchmark."""

import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from perf import load, report
from perf.load import Measured
from perf.processes import BenchError, Server
from perf.rivals import CALLEE_HOST, free_port
from perf.rows import ROWS, Bar
from perf.run import Length, measure
from tests.sip_filter.peers import respond

CALLS = 200
REFUSED, ANSWERED, ECHOED = {"603": CALLS}, {"180": CALLS, "200": CALLS}, {"0": CALLS}


@pytest.fixture(autouse=True)
def _beside_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALANG_BENCH_SHARED", "1")


@pytest.fixture(scope="module")
def programs() -> dict[str, str]:
    return load.build("dev")


def test_every_rival_gives_the_answers_that_are_expected(programs: dict[str, str], tmp_path: Path) -> None:
    found = measure(ROWS, programs, 2_000, Length(rounds=1, seconds=10, calls=CALLS))
    spent: Counter[str] = Counter()
    for row in ROWS:
        runs, *more = found[row.name]
        assert len(more) == row.pieces - 1
        for rival in row.rivals:
            expected = ECHOED if rival == "echo" else ANSWERED if row.needs_callee else REFUSED
            assert runs[rival].outcome["answers"] == expected, (row.name, rival)
            assert runs[rival].outcome["forwarded"] == (CALLS if row.needs_callee else 0)
            spent[rival] += runs[rival].cpu_us
    assert {rival for rival, cpu in spent.items() if not cpu} == {"direct"}
    report.write(tmp_path, ROWS, found, {})
    told = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert {bar["verdict"] for row in told.values() for bar in row["bars"]} <= {"met", "not met"}
    assert (tmp_path / "table.md").read_text().count("\n| reject, UDP, one busy peer, saturated |") == 5


def test_a_bar_compares_within_a_round_and_takes_the_median() -> None:
    def cost(right: int) -> Measured:
        return Measured("x", {"right": right, "latency_us": {"p99": 7.0}}, cpu_seconds=1.0)

    rounds = [{"palang": cost(4), "kamailio": cost(k)} for k in (1, 2, 4)]
    assert Bar("ratio", "cpu_us", "palang", "kamailio", 0.5).median(rounds) == 0.5
    assert Bar("added", "p99_us", "palang", "kamailio", 3).median(rounds) == 0.0
    assert Bar("count", "cpu_us", "palang", "kamailio", 3).median(rounds) == 250_000.0


Answer = Callable[[bytes], list[bytes]]


@pytest.fixture
def liar() -> Iterator[Callable[[Answer], Server]]:
    """A server that answers as it is told to."""
    over = threading.Event()
    threads = []

    def serve(server: socket.socket, answer: Answer) -> None:
        with server:
            while not over.is_set():
                with suppress(TimeoutError):
                    request, peer = server.recvfrom(65_536)
                    for each in answer(request):
                        server.sendto(each, peer)

    def start(answer: Answer) -> Server:
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.1)
        threads.append(threading.Thread(target=serve, args=(server, answer)))
        threads[-1].start()
        return Server("liar", {"udp": "{}:{}".format(*server.getsockname())})

    yield start
    over.set()
    for thread in threads:
        thread.join(5)


def _other_call(request: bytes) -> list[bytes]:
    answer = respond(request, "603 Decline")
    at = answer.index(b"Call-ID: ") + len(b"Call-ID: ")
    other = b"1" if answer[at : at + 1] == b"0" else b"0"
    return [answer[:at] + other + answer[at + 1 :]]


LIES: dict[str, tuple[Answer, str]] = {
    "another status": (lambda request: [respond(request, "200 OK")], "2 wrong"),
    "another call": (_other_call, "2 stray"),
    "twice": (lambda request: [respond(request, "603 Decline")] * 2, "stray"),
    "the request itself": (lambda request: [request], "2 wrong"),
    "nothing": (lambda request: [], "2 lost"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_wrong_answer_ends_the_benchmark(
    programs: dict[str, str], liar: Callable[[Answer], Server], lie: str
) -> None:
    answer, told = LIES[lie]
    asked = {"callers": [("number", 603)], "numbers": 10, "seconds": 5, "window": 1, "most": 2}
    honest = load.run(programs["load"], liar(lambda request: [respond(request, "603 Decline")]), asked)
    assert honest.outcome["right"] == 2
    with pytest.raises(BenchError, match=told):
        load.run(programs["load"], liar(answer), asked)


def test_a_call_that_is_not_forwarded_as_a_proxy_does_ends_the_benchmark(
    programs: dict[str, str], liar: Callable[[Answer], Server]
) -> None:
    callee = (CALLEE_HOST, free_port())
    onward = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def forward(request: bytes) -> list[bytes]:
        onward.sendto(request, callee)
        return [respond(request, "200 OK")]

    asked = {"callers": [("good", 200)], "numbers": 10, "seconds": 5, "window": 1, "most": 2}
    with onward, pytest.raises(BenchError, match="misforwarded"):
        load.run(programs["load"], liar(forward), {**asked, "callee": "{}:{}".format(*callee)})
