"""The hook: the gateway's own answers, in another process, with nothing but the standard library and the core."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sip_filter import Hook, List, Writer, list_digest, trunk_key
from sip_filter.hook import PROTECTED
from sip_filter.settings import Gateway
from tests.sip_filter import rules
from tests.sip_filter.peers import KEY, Bench, Message
from tests.sip_filter.test_identity import CALLS, INTERNATIONAL, MESSAGES, NATIONAL, NATIONAL_CALLS, outcome

BAD, GOOD = "+77012345678", "+6281100000001"
BLOCK_77 = "+77*\torder reject enforce both"
ANSWERS = {"reject": "603", "label": "pass", "pass": "pass", "malformed": "400"}


class Node:
    """A writer and the folder that hooks read."""

    def __init__(self, folder: Path, *lines: str) -> None:
        self.live = folder / "live"
        self.writer = Writer(self.live, folder / "state")
        self.n = 0
        self.load(*lines)

    def load(self, *lines: str) -> None:
        """Make these entry lines the whole list: a new generation."""
        self.n += 1
        self.writer.load(1, self.n, lines, list_digest(lines), 0)

    def apply(self, change: str) -> None:
        """Change one entry in place."""
        self.n += 1
        subject = change.split("\t")[0]
        lines = [line for line in self.writer.entries() if line.split("\t")[0] != subject]
        lines += [change] if not change.endswith("\t") else []
        self.writer.apply(1, self.n, [change], list_digest(lines), 0)

    def hits(self) -> list[tuple[Any, ...]]:
        found, lost = self.writer.drain_hits()
        assert lost == 0
        return found


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path, BLOCK_77)
    yield node
    node.writer.close()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    trunks = [
        Bench.trunk_row("intl-a", "127.0.0.2/32", trusted=True),
        Bench.trunk_row("domestic", "127.0.0.3/32", plan=NATIONAL, rpid=True),
    ]
    bench = Bench(tmp_path_factory.mktemp("hook"), [BLOCK_77], trunks=trunks)
    yield bench
    bench.close()


@pytest.fixture(scope="module")
def hooks(bench: Bench) -> dict[str, Hook]:
    """The bench's trunks, as hooks over the gateway's own list."""
    return {
        INTERNATIONAL: Hook(bench.live, "intl-a", trusted=True, key=bytes.fromhex(KEY)),
        NATIONAL: Hook(bench.live, "domestic", plan=NATIONAL, rpid=True),
    }


@pytest.mark.parametrize(
    ("plan", "caller", "lines", "expected"),
    [pytest.param(INTERNATIONAL, *row[1:], id=row[0]) for row in CALLS]
    + [pytest.param(NATIONAL, *row[1:], id=f"national: {row[0]}") for row in NATIONAL_CALLS],
)
def test_a_call_gets_the_gateways_answer(
    bench: Bench, hooks: dict[str, Hook], plan: str, caller: str, lines: list[str], expected: str
) -> None:
    call = Message(bench.trunk if plan == INTERNATIONAL else bench.other, caller=caller)
    call.headers = lines
    raw = call.bytes()
    decision = hooks[plan].judge_message(raw)
    assert ANSWERS[decision.verdict] == expected == outcome(bench, plan, call)
    assert hooks[plan].refusal(raw) == decision.status
    assert decision.status is None if expected == "pass" else decision.status and str(decision.status[0]) == expected


@pytest.mark.parametrize(
    ("caller", "content", "body", "expected"), [pytest.param(*row[1:], id=row[0]) for row in MESSAGES]
)
def test_a_message_gets_the_gateways_answer(
    bench: Bench, hooks: dict[str, Hook], caller: str, content: str, body: bytes, expected: str
) -> None:
    message = Message(bench.trunk, caller=f"<sip:{caller}@a>", method="MESSAGE")
    message.headers, message.body = [f"Content-Type: {content}"], body
    decision = hooks[INTERNATIONAL].judge_message(message.bytes())
    assert ANSWERS[decision.verdict] == expected
    assert hooks[INTERNATIONAL].refusal(message.bytes()) == decision.status


def test_a_refusal_is_asked_for_with_a_text_or_bytes(node: Node, bench: Bench) -> None:
    hook = Hook(node.live, "intl-a")
    call = Message(bench.trunk)
    call.headers = ["Subject: pénipu 💰"]
    raw = call.bytes()
    assert hook.refusal(raw) == hook.refusal(raw.decode()) == (603, "Decline")
    assert len(node.hits()) == 2
    assert hook.refusal(raw.replace(BAD.encode(), GOOD.encode()).decode()) is None
    call.headers = [f"P-Asserted-Identity: <tel:{BAD}>"] * 17
    assert hook.refusal(call.bytes().decode()) == (400, "Too Many Identities")
    assert hook.refusal("") is None
    with pytest.raises(UnicodeEncodeError):
        hook.refusal("INVITE \udcff")
    with pytest.raises(TypeError):
        hook.refusal(None)  # type: ignore[arg-type]
    assert node.hits() == []


@settings(max_examples=60)
@given(rules.lists, st.lists(rules.numbers, max_size=3, unique=True), st.booleans(), rules.kinds, rules.trunk_modes)
def test_numbers_get_the_lists_answer(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], numbers: list[str], trusted: bool, kind: Any, mode: Any
) -> None:
    node = Node(tmp_path_factory.mktemp("node"), *lines)
    hook = Hook(node.live, "intl-a", trusted=trusted, mode=mode)
    decision = hook.judge(numbers, kind=kind)
    wanted = List(node.live).judge([(number, trusted) for number in numbers], "intl-a", kind, mode)
    assert (decision.verdict, decision.subject, decision.shadow) == (wanted.verdict, wanted.subject, wanted.shadow)
    assert decision.number == (None if wanted.identity is None else numbers[wanted.identity])
    assert decision.revision == (wanted.revision if numbers else (0, 0))
    node.writer.close()


def test_only_new_calls_and_messages_are_judged(node: Node, bench: Bench) -> None:
    hook = Hook(node.live, "intl-a")
    call = Message(bench.trunk)
    assert hook.judge_message(call.bytes()).why == "judged"
    assert hook.judge_message(call.bytes("ACK")).why == "not_a_call"
    assert hook.judge_message(call.bytes("CANCEL")).why == "not_a_call"
    assert hook.judge_message(b"SIP/2.0 200 OK\r\n" + call.bytes().partition(b"\r\n")[2]).why == "not_a_call"
    call.to_tag = "switch1"
    assert hook.judge_message(call.bytes()).why == "in_dialog"
    assert [hook.judge_message(raw).why for raw in (b"", b"\r\n\r\n", b"\xff" * 99)] == ["not_sip"] * 3


def test_protected_callees_pass(node: Node, bench: Bench) -> None:
    hook = Hook(node.live, "intl-a")
    targets = ("sip:112@x", "sip:+62112@x;user=phone", "tel:113", "urn:service:sos", "URN:service:sos.fire")
    for target in targets:
        assert hook.judge_message(Message(bench.trunk, target=target).bytes()).why == "protected"
        assert hook.judge([BAD], target).why == "protected"
    assert hook.judge([BAD], "112").verdict == "pass"
    assert hook.judge([BAD], "1122").verdict == "reject"
    assert hook.judge([BAD], "tel:112;rn=+62811").verdict == "reject"
    assert Gateway.model_fields["protected"].default == PROTECTED


def test_a_revision_is_seen_at_once(node: Node) -> None:
    hook = Hook(node.live, "intl-a")
    for _ in range(50):
        node.apply(f"{GOOD}\torder reject enforce both")
        assert (hook.judge([GOOD]).verdict, hook.revision) == ("reject", (1, node.n))
        node.apply(f"{GOOD}\t")
        assert (hook.judge([GOOD]).verdict, hook.revision) == ("pass", (1, node.n))
        node.load(f"{GOOD}\torder reject enforce both")  # A new generation.
        assert (hook.judge([GOOD]).verdict, hook.judge([BAD]).verdict) == ("reject", "pass")
        node.load(BLOCK_77)
        assert (hook.judge([GOOD]).verdict, hook.judge([BAD]).verdict) == ("pass", "reject")


def test_without_a_list_everything_passes_until_there_is_one(tmp_path: Path) -> None:
    hook = Hook(tmp_path / "live", "intl-a")
    assert (hook.judge([BAD]).why, hook.revision) == ("no_list", (0, 0))
    node = Node(tmp_path, BLOCK_77)
    while hook.judge([BAD]).why == "no_list":
        pass
    assert hook.judge([BAD]).verdict == "reject"
    node.writer.close()
    for file in node.live.iterdir():
        file.unlink()
    assert hook.judge([BAD]).verdict == "reject"  # The last good list stays.


def test_hits_reach_the_writer_and_a_call_keeps_its_name(node: Node, bench: Bench) -> None:
    node.load(BLOCK_77, "+62*\tnoc label shadow both")
    hook = Hook(node.live, "intl-a", key=bytes.fromhex(KEY))
    call = Message(bench.trunk)
    assert [hook.judge_message(call.bytes()).verdict for _ in range(2)] == ["reject"] * 2
    decision = hook.judge([GOOD], kind="message")
    assert (decision.verdict, decision.shadow) == ("pass", "+62*")
    hook.judge([BAD])
    hits = node.hits()
    assert [hit[1:7] for hit in hits] == [
        *[("+77*", "order", "reject", "reject", "call", trunk_key("intl-a"))] * 2,
        ("+62*", "noc", "label", "shadow", "message", trunk_key("intl-a")),
        ("+77*", "order", "reject", "reject", "call", trunk_key("intl-a")),
    ]
    assert {hit[7] for hit in hits} == {(1, node.n)}
    calls = [hit[8] for hit in hits]
    assert calls[0] == calls[1] and len(set(calls)) == 3
    assert hook.lost_hits == 0


def test_a_fork_has_a_ring_of_its_own(node: Node) -> None:
    hook = Hook(node.live, "intl-a")
    assert hook.judge([BAD]).verdict == "reject"
    child = os.fork()
    if child == 0:
        os._exit(0 if hook.judge([BAD]).verdict == "reject" else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert hook.judge([BAD]).verdict == "reject"
    rings = {name.name.split(".")[1] for name in node.live.glob("hits.*")}
    assert rings == {str(os.getpid()), str(child)}
    assert len(node.hits()) == 3


OTHER_PROCESS = """
import json, sys
before = set(sys.modules)
from sip_filter import Hook
hook = Hook(sys.argv[1], "intl-a")
for line in sys.stdin:
    decision = hook.judge([line.strip()])
    print(json.dumps([decision.verdict, decision.subject, decision.revision]), flush=True)
names = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps(sorted(names - sys.stdlib_module_names)), json.dumps("asyncio" in sys.modules))
"""


def test_another_process_sees_each_revision_and_loads_only_the_core(node: Node) -> None:
    command = [sys.executable, "-P", "-c", OTHER_PROCESS, str(node.live)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin and other.stdout

        def ask(number: str) -> list[Any]:
            assert other.stdin and other.stdout
            other.stdin.write(f"{number}\n")
            other.stdin.flush()
            answer: list[Any] = json.loads(other.stdout.readline())
            return answer

        assert ask(BAD) == ["reject", "+77*", [1, 1]]
        node.apply("+77*\t")
        assert ask(BAD) == ["pass", None, [1, 2]]
        node.apply(f"{BAD}\torder reject enforce both")
        assert ask(BAD) == ["reject", BAD, [1, 3]]
        assert [hit[1] for hit in node.hits()] == ["+77*", BAD]
        other.stdin.close()
        assert other.stdout.read().split("\n")[0] == '["sip_filter"] false'
    assert node.hits() == []
    assert not list(node.live.glob("hits.*"))  # The ring went with its process.


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"plan": "x"}, "plan"),
        ({"mode": "x"}, "mode"),
        ({"protected": ["1a2"]}, "1a2"),
        ({"key": b"short"}, "32"),
    ],
)
def test_bad_arguments_are_refused_by_name(node: Node, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Hook(node.live, "intl-a", **wrong)
    with pytest.raises(ValueError, match="kind"):
        Hook(node.live, "intl-a").judge([BAD], kind="fax")  # type: ignore[arg-type]


def test_too_many_numbers_are_malformed(node: Node) -> None:
    assert Hook(node.live, "intl-a").judge([GOOD] * 17).status == (400, "Too Many Identities")
