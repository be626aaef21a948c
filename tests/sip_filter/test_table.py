"""The list against the twin: random changes, expiries, growth, checkpoints and restarts."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sip_filter import List, Writer, list_digest
from tests.sip_filter import rules
from tests.sip_filter.twin import Twin


class Lists(RuleBasedStateMachine):
    """A writer, a reader that was there from the start, and the twin."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.now = 1
        self.twin = Twin()

    @initialize()
    def open(self) -> None:
        self.writer = Writer(self.folder / "live", self.folder / "state")
        self.list = List(self.folder / "live")
        assert self.writer.origin == "empty"

    @rule(changes=rules.changes)
    def apply(self, changes: list[str]) -> None:
        self.twin.change(changes, self.now)
        self.twin.n += 1
        self.writer.apply(self.twin.epoch, self.twin.n, changes, self.twin.digest(), self.now)

    @rule(lines=rules.lists, epochs=st.integers(0, 1))
    def load(self, lines: list[str], epochs: int) -> None:
        self.twin.load(lines, self.now)
        self.twin.epoch += epochs
        self.twin.n += 3
        self.writer.load(self.twin.epoch, self.twin.n, lines, self.twin.digest(), self.now)

    @rule(first=st.integers(10**9, 10**9 + 500), count=st.integers(300, 900))
    def grow(self, first: int, count: int) -> None:
        self.apply([f"+{value}\tnoc reject enforce both" for value in range(first, first + count)])

    @rule()
    def shrink(self) -> None:
        grown = [subject for subject in self.twin.published if subject.startswith("+1")]
        self.apply([f"{subject}\t" for subject in grown[:1000]])

    @rule(seconds=st.integers(0, 40))
    def expire(self, seconds: int) -> None:
        self.now += seconds
        assert self.writer.expire(self.now) == self.twin.expire(self.now)

    @rule()
    def checkpoint(self) -> None:
        self.writer.checkpoint()

    @rule(lost=st.sampled_from(["nothing", "live", "ctl"]))
    def restart(self, lost: str) -> None:
        self.writer.close()
        if lost == "live":
            shutil.rmtree(self.folder / "live")
        elif lost == "ctl":
            (self.folder / "live" / "ctl").write_bytes(b"\xff" * 100)
        self.writer = Writer(self.folder / "live", self.folder / "state")
        assert self.writer.origin == "snapshot"

    @precondition(lambda self: hasattr(self, "writer"))
    @invariant()
    def agree(self) -> None:
        writer, twin = self.writer, self.twin
        assert writer.revision == self.list.revision == (twin.epoch, twin.n)
        assert writer.digest == self.list.digest == twin.digest()
        assert writer.next_expiry() == twin.next_expiry()
        entries = writer.entries()
        assert entries == twin.lines()
        assert list_digest(entries) == twin.digest()
        sizes = writer.sizes()
        in_force = [subject for subject, clauses in twin.in_force.items() if clauses]
        assert sizes["prefixes"] == sum(subject.endswith("*") for subject in in_force)
        assert sizes["numbers"] == len(in_force) - sizes["prefixes"]
        assert sizes["used"] <= 0.8 * sizes["capacity"]
        for number in ("+770123400", "+770123405", "+1000000000"):
            assert writer.touching(number) == twin.touching(number)
            judgement = self.list.judge([(number, True)], "intl-a")
            assert judgement.verdict == twin.judge([(number, True)], "intl-a")["verdict"]

    def teardown(self) -> None:
        self.writer.close()
        shutil.rmtree(self.folder, ignore_errors=True)


TestLists = Lists.TestCase
TestLists.settings = settings(max_examples=30, stateful_step_count=20, suppress_health_check=list(HealthCheck))


def test_what_was_loaded_is_what_changes_come_to(tmp_path: Path) -> None:
    """Applying deltas equals loading the snapshot."""
    twin = Twin()
    changed, loaded = (Writer(tmp_path / name / "live", tmp_path / name / "state") for name in ("changed", "loaded"))
    for n in range(1, 30):
        lines = [f"+7701234{n * k % 97:03}\tnoc reject enforce both until={n + k}" for k in range(1, 9)]
        twin.change([*lines, f"+7701234{n:03}\t"] if f"+7701234{n:03}" not in str(lines) else lines, 5)
        twin.n = n
    for line in twin.lines():
        changed.apply(1, changed.revision[1] + 1, [line], list_digest([*changed.entries(), line]), 5)
    loaded.load(1, 29, twin.lines(), twin.digest(), 5)
    assert changed.entries() == loaded.entries() == twin.lines()
    assert changed.digest == loaded.digest == twin.digest()
    assert changed.sizes()["numbers"] == loaded.sizes()["numbers"]


def test_more_policies_than_fit_are_refused_and_unused_ones_make_room(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "live", tmp_path / "state")
    trunks = [f"t{value}" for value in range(200)]
    stacks = [f"noc reject enforce both @{one},{other}" for one in trunks for other in trunks if one < other][:16_384]
    lines = [f"+{10**9 + index}\t{stack}" for index, stack in enumerate(stacks)]
    most = lines[:16_383]
    with pytest.raises(ValueError, match="16384 distinct policies are needed; one list can hold 16383"):
        writer.load(1, 1, lines, list_digest(lines), 0)
    assert writer.revision == (1, 0)
    writer.load(1, 1, most, list_digest(most), 0)
    with pytest.raises(ValueError, match="16384 distinct policies are needed; one list can hold 16383"):
        writer.apply(1, 2, lines[16_383:], list_digest(lines), 0)
    assert (writer.revision, writer.digest) == ((1, 1), list_digest(most))
    generation = writer.sizes()["generation"]
    fewer = [f"{most[0].split(chr(9))[0]}\t"]
    writer.apply(1, 2, fewer, list_digest(most[1:]), 0)
    writer.apply(1, 3, lines[16_383:], list_digest(lines[1:]), 0)
    assert writer.sizes()["policies"] == 16_383
    assert writer.sizes()["generation"] > generation
    assert writer.entries() == sorted(lines[1:])
