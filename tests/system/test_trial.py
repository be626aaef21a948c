"""A trial as SIPp sees it: the gateway between two foreign user agents, rules in a text file, nothing else running."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent import children
from sip_filter.trial import (
    MOST_TOLD,
    RulesError,
    RulesFile,
    read_options,
    read_rules,
    tell_calls,
    tell_growth,
    tell_next_hops,
)
from tests.system.conversation import PALANG

if TYPE_CHECKING:
    from sip_filter._core import HopState, Sight

SCENARIOS = Path(__file__).parent / "sipp"
CALLER = "127.0.0.2"
WANGIRI, EXCEPTION, SCAMMER, FRIEND = "+77012345678", "+77017654321", "+6281234567890", "+6281234567891"
RULES = f"# one-ring calls\nreject +77\n\nallow {EXCEPTION}  # known\nreject {SCAMMER}\n"
CALLS = 5


def wait_for(what: str, holds: Callable[[], bool]) -> None:
    """Until `holds()` is true."""
    deadline = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < deadline, f"not within 15 s: {what}"
        time.sleep(0.01)


class Trial:
    """A running `palang gateway` with its rules file, and SIPp on both sides."""

    def __init__(self, folder: Path, switch: tuple[str, int], *more: str) -> None:
        self.folder, self.rules, self._log = folder, folder / "rules.txt", folder / "trial.log"
        self.switch = switch
        self.rules.write_text(RULES)
        words = ("--listen", "udp:127.0.0.1:0", "--listen", "tcp:127.0.0.1:0")
        words += ("--trunk", f"{CALLER}/32=international")
        peers = ("--next-hop", f"{switch[0]}:{switch[1]}", "--rules", str(self.rules))
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [PALANG, "gateway", *words, *peers, *more], stdout=log, stderr=subprocess.STDOUT, cwd=folder
            )
        self.says("3 rules in force")
        self.ports = {
            mode: int(self.said().partition(f"listening on {transport}:127.0.0.1:")[2].split()[0])
            for mode, transport in (("u1", "udp"), ("t1", "tcp"))
        }

    def said(self) -> str:
        return self._log.read_text()

    def says(self, text: str) -> None:
        wait_for(f"{text!r} in {self._log}", lambda: text in self.said())

    def call(self, scenario: str, number: str, mode: str = "u1") -> None:
        """Place calls as `number`, by UDP (u1) or TCP (t1); SIPp's exit code says whether each went as it should."""
        (self.folder / "numbers.csv").write_text(f"SEQUENTIAL\n{number}\n")
        done = subprocess.run(
            [
                *(children.program("sipp"), f"127.0.0.1:{self.ports[mode]}", "-i", CALLER, "-t", mode),
                *("-sf", SCENARIOS / f"{scenario}.xml", "-inf", self.folder / "numbers.csv"),
                *("-m", str(CALLS), "-r", "50", "-timeout", "20", "-nostdin"),
            ],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{scenario} as {number}: {done.stdout[-3000:]}"

    def end(self, number: signal.Signals) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(10)


@pytest.fixture
def switch(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """SIPp's own answering scenario."""
    port = children.free_port(socket.SOCK_DGRAM)
    command = [children.program("sipp"), "-sn", "uas", "-i", "127.0.0.1", "-p", str(port), "-nostdin"]
    with (tmp_path / "switch.log").open("wb") as log:
        answering = subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path)
    yield "127.0.0.1", port
    answering.kill()
    answering.wait()


@pytest.fixture
def trial(tmp_path: Path, switch: tuple[str, int]) -> Iterator[Trial]:
    started = Trial(tmp_path, switch)
    yield started
    started.end(signal.SIGTERM)


def _folders(pid: int) -> list[str]:
    return [name for name in os.listdir("/dev/shm") if name.startswith(f"palang-trial-{pid}-")]


@pytest.mark.parametrize("mode", ["u1", "t1"])
def test_calls_go_on_to_a_callee_over_tcp(tmp_path: Path, mode: str) -> None:
    port = children.free_port(socket.SOCK_STREAM)
    command = [children.program("sipp"), "-sn", "uas", "-t", "t1", "-i", "127.0.0.1", "-p", str(port), "-nostdin"]
    with (tmp_path / "switch.log").open("wb") as log:
        answering = subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path)
    started = Trial(tmp_path, ("tcp:127.0.0.1", port))
    try:
        wait_for("a listening callee", lambda: _listens(port))
        started.call("answered", FRIEND, mode)
        started.call("refused", WANGIRI, mode)
        started.call("answered", EXCEPTION, mode)
        assert f": on to 127.0.0.1:{port}\n" in started.said()
    finally:
        started.end(signal.SIGTERM)
        answering.kill()
        answering.wait()


def _listens(port: int) -> bool:
    with socket.socket() as knock:
        return knock.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("mode", ["u1", "t1"])
def test_calls_are_refused_excepted_and_told(trial: Trial, mode: str) -> None:
    trial.call("refused", WANGIRI, mode)
    trial.call("refused", SCAMMER, mode)
    trial.call("answered", EXCEPTION, mode)
    trial.call("answered", FRIEND, mode)
    refused, passed = f"  refused   a call from {CALLER}/32, ", f"  passed    a call from {CALLER}/32, "
    on = f": on to {trial.switch[0]}:{trial.switch[1]}\n"
    for line in (
        f"{refused}+77•••••••78: reject +77*, 603 Decline\n",
        f"{refused}+62 812-••••-•890: reject +62 812-••••-•890, 603 Decline\n",
        f"{passed}+77•••••••21{on}",
        f"{passed}+62 812-••••-•891{on}",
    ):
        wait_for(f"{CALLS} times {line!r}", lambda line=line: trial.said().count(line) == CALLS)  # type: ignore[misc]
    for number in (WANGIRI, EXCEPTION, SCAMMER, FRIEND):
        assert number[3:] not in trial.said(), "a number in clear"


def test_rules_change_while_it_runs(trial: Trial) -> None:
    trial.call("answered", FRIEND)
    trial.rules.write_text(RULES + f"reject {FRIEND}\n")
    trial.says("4 rules in force")
    trial.call("refused", FRIEND)

    trial.rules.write_text(f"reject {FRIEND}\nblock +86\n")
    trial.says("rules.txt:2: action 'block' must be one of reject, allow, label; the 4 rules before stay in force")
    trial.call("refused", FRIEND)
    trial.call("refused", WANGIRI)
    trial.rules.unlink()
    trial.says("rules.txt: No such file or directory; the 4 rules before stay in force")
    trial.call("refused", WANGIRI)

    (trial.folder / "next.txt").write_text("# nothing today\n")
    (trial.folder / "next.txt").replace(trial.rules)
    trial.says("0 rules in force")
    trial.call("answered", FRIEND)
    trial.call("answered", WANGIRI)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_ends_cleanly_and_leaves_nothing(tmp_path: Path, switch: tuple[str, int], number: signal.Signals) -> None:
    trial = Trial(tmp_path, switch, "--trunk", "127.0.0.3/32=id-national", "--listen", "udp:127.0.0.1:0")
    assert len(_folders(trial.process.pid)) == 1
    assert trial.said().count("listening on udp:127.0.0.1:") == 2
    assert "calls from 127.0.0.3/32 are read by the plan id-national" in trial.said()
    assert trial.end(number) == 0
    assert _folders(trial.process.pid) == []
    assert "Traceback" not in trial.said()


GOOD = {"--listen": "udp:127.0.0.1:0", "--trunk": "127.0.0.2/32=international", "--next-hop": "127.0.0.1:5080"}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"--listen": "sctp:127.0.0.1:0"}, "--listen: listen 'sctp:127.0.0.1:0' must begin with udp:"),
        ({"--listen": "udp:0.0.0.0:5060"}, "must name one address of this machine"),
        ({"--listen": "udp:192.0.2.77:5060"}, "--listen udp:192.0.2.77:5060: Cannot assign requested address"),
        ({"--next-hop": "127.0.0.1:5079", "--listen": "udp:127.0.0.1:5079"}, "that is an address of --listen"),
        ({"--trunk": "127.0.0.2/32"}, "--trunk 127.0.0.2/32: must be NETWORK=PLAN"),
        ({"--trunk": "127.0.0.2/8=international"}, "--trunk 127.0.0.2/8=international: network '127.0.0.2/8'"),
        ({"--trunk": "127.0.0.2/32=mars"}, "--trunk 127.0.0.2/32=mars:"),
        ({"--next-hop": "127.0.0.1"}, "--next-hop 127.0.0.1: address '127.0.0.1' must be"),
        ({"--next-hop": "127.0.0.1:0"}, "port 0 is no destination"),
        ({"--rules": "none.txt"}, "none.txt: No such file"),
        ({"--rules": "/dev/null"}, "/dev/null: not a regular file"),
        ({"--rules": ""}, "a trial needs --rules too"),
        ({"--config": "palang.toml"}, "a trial takes no --config"),
    ],
)
def test_bad_arguments_end_with_2(tmp_path: Path, changed: dict[str, str], says: str) -> None:
    (tmp_path / "rules.txt").write_text(RULES)
    given = {**GOOD, "--rules": "rules.txt", **changed}
    words = [word for option, value in given.items() if value for word in (option, value)]
    pipe = subprocess.PIPE
    trial = subprocess.Popen([PALANG, "gateway", *words], cwd=tmp_path, stdout=pipe, stderr=pipe, text=True)
    out, err = trial.communicate(timeout=60)
    assert (trial.returncode, out) == (2, "")
    assert says in err
    assert "Traceback" not in err
    assert _folders(trial.pid) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("reject", "rules.txt:1: 1 words; a rule has 2"),
        ("\n\nreject +62 812", "rules.txt:3: 3 words; a rule has 2"),
        ("reject +7", 'prefix "7" has 1 digits; the fewest allowed are 2'),
        ("reject +1234567890123456", "has 16 digits; the most allowed are 15"),
        ("reject 081234567890", "begins with 0"),
        ("reject +62x", "not made of the digits"),
        ("REJECT +77", "action 'REJECT' must be one of reject, allow, label"),
        ("reject +77\nallow 77*", "rules.txt:2: +77* is there with reject on line 1; a subject has one action"),
    ],
)
def test_a_line_that_is_no_rule(text: str, says: str) -> None:
    with pytest.raises(RulesError) as caught:
        read_rules(text, "rules.txt")
    assert says in str(caught.value)


def test_rules_come_to_entry_lines() -> None:
    text = "label 62215550100 # ours\r\nreject +77*\nreject 77\nallow +77017654321"
    assert read_rules(text, "x") == [
        "+62215550100\tnoc label enforce both",
        "+77*\tnoc reject enforce both",
        "+77017654321\tnoc allow enforce both",
    ]


def test_a_file_is_taken_once_its_writer_has_finished(tmp_path: Path) -> None:
    path = tmp_path / "rules.txt"
    path.write_text("reject +77\n")
    file = RulesFile(path)
    assert len(file.read()) == 1
    assert not file.changed()
    path.write_text("reject +77\nreject +628")
    assert not file.changed(), "seen for the first time: it may be half written"
    path.write_text("reject +77\nreject +6281234567890\n")
    assert not file.changed()
    assert file.changed()
    assert "+6281234567890\tnoc reject enforce both" in file.read()
    assert not file.changed()
    path.write_bytes(b"reject +77 # caf\xe9")
    with pytest.raises(RulesError, match="not UTF-8 at byte 16"):
        file.read()


def test_a_port_in_use_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "rules.txt").write_text(RULES)
    for kind, transport in ((socket.SOCK_DGRAM, "udp"), (socket.SOCK_STREAM, "tcp")):
        with socket.socket(socket.AF_INET, kind) as taken:
            taken.bind(("127.0.0.1", 0))
            if transport == "tcp":
                taken.listen()
            address = f"{transport}:127.0.0.1:{taken.getsockname()[1]}"
            words = ("--listen", address, "--trunk", GOOD["--trunk"], "--next-hop", GOOD["--next-hop"])
            more = ("--listen", "udp:127.0.0.1:0") if transport == "tcp" else ()
            command = [PALANG, "gateway", *words, *more, "--rules", "rules.txt"]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"--listen {address}: Address already in use" in done.stderr
        assert "another program listens there: `ss -lnptu` names it" in done.stderr


SIGHT: "Sight" = {
    "at_ms": 0,
    "kind": "call",
    "trunk": 7,
    "callers": ["+6281234567890"],
    "rule": ("reject", "+6281234567890"),
    "answer": "603 Decline",
    "to": None,
}


def test_a_flood_is_told_as_a_count() -> None:
    lines = tell_calls([SIGHT] * (MOST_TOLD + 40), 2, lambda key: f"trunk {key}")
    assert len(lines) == MOST_TOLD + 1
    told = "refused   a call from trunk 7, +62 812-••••-•890: reject +62 812-••••-•890, 603 Decline"
    assert lines[0].endswith(told)
    assert "42 more" in lines[-1]
    assert tell_calls([], 0, str) == []


def test_each_fate_has_its_words() -> None:
    def told(**changed: Any) -> str:
        return tell_calls([SIGHT | changed], 0, lambda _: "T")[0].split("  ", 1)[1]  # type: ignore[list-item]

    on = {"answer": None, "to": "127.0.0.1:5080"}
    assert (
        told(rule=None, kind="message", **on) == "passed    a message from T, +62 812-••••-•890: on to 127.0.0.1:5080"
    )
    label = told(rule=("label", "+62*"), **on)
    assert label == "labelled  a call from T, +62 812-••••-•890: label +62*, on to 127.0.0.1:5080"
    nobody = told(callers=[], rule=None, answer="400 Malformed From or To")
    assert nobody == "refused   a call from T, a caller without a readable number: 400 Malformed From or To"
    assert told(rule=None, answer=None).endswith("dropped   a call from T, +62 812-••••-•890: no answer")


def test_growth_is_told_and_rest_is_silent() -> None:
    now = {"judged": 9, "not_allowed": 5, "unknown_source": 4, "hop_unreachable": 1}
    told = tell_growth({"not_allowed": 1}, now, 0.0)
    assert [line.split("  ", 1)[1] for line in told] == [
        "dropped   4 from an address that no --trunk and no --next-hop names",
        "refused   4 for its method (405)",
        "failed    1 to reach their next hop: sent to another, or answered 500",
    ]
    assert tell_growth(now, now, 0.0) == []


def test_a_silent_next_hop_is_told_once() -> None:
    hop: HopState = {"name": "a", "address": "127.0.0.1:5080", "healthy": True, "misses": 0, "drain": False}
    down: HopState = {**hop, "healthy": False}
    assert tell_next_hops([], [hop], 0.0) == tell_next_hops([down], [down], 0.0) == []
    assert "127.0.0.1:5080 does not answer" in tell_next_hops([], [down], 0.0)[0]
    assert "127.0.0.1:5080 answers again" in tell_next_hops([down], [hop], 0.0)[0]


def test_one_next_hop_is_not_checked() -> None:
    peers = (["udp:127.0.0.1:5060"], ["127.0.0.2/32=international"])
    for hops, seconds in ((["127.0.0.1:5080"], 0), (["127.0.0.1:5080", "127.0.0.1:5081"], 5)):
        assert read_options(*peers, hops, Path("rules.txt")).gateway(Path("key")).checks.seconds == seconds


def test_ipv6_peers() -> None:
    options = read_options(["udp:[::1]:5060"], ["2001:db8::/32=international"], ["[::1]:5080"], Path("rules.txt"))
    assert options.next_hops[0].networks == ("::1/128",)
