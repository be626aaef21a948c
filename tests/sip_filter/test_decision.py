"""The decision against the twin, over random rules, identities, trunks, kinds and trust."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sip_filter import List, Writer
from tests.sip_filter import rules
from tests.sip_filter.twin import Twin

ATTRIBUTES = (
    "verdict",
    "subject",
    "authority",
    "action",
    "identity",
    "shadow",
    "shadow_authority",
    "shadow_action",
    "shadow_identity",
)


class Pair:
    """The core and its twin, given the same lists."""

    def __init__(self, folder: Path) -> None:
        self.writer = Writer(folder / "live", folder / "state")
        self.list = List(folder / "live")
        self.twin = Twin()

    def load(self, lines: list[str], now: int) -> None:
        self.twin.load(lines, now)
        self.twin.n += 1
        self.writer.load(1, self.twin.n, lines, self.twin.digest(), now)

    def compare(self, identities: list[tuple[str, bool]], trunk: str, kind: str, trunk_mode: str) -> None:
        judgement = self.list.judge(identities, trunk, kind, trunk_mode)  # type: ignore[arg-type]
        told = {name: getattr(judgement, name) for name in ATTRIBUTES}
        assert told == self.twin.judge(identities, trunk, kind, trunk_mode)
        assert judgement.revision == (1, self.twin.n)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with tempfile.TemporaryDirectory() as folder:
        yield Pair(Path(folder))


questions = st.lists(
    st.tuples(rules.identities, st.sampled_from(rules.TRUNKS), rules.kinds, rules.trunk_modes), min_size=1, max_size=8
)


@settings(max_examples=150)
@given(rules.lists, st.integers(1, 100), questions)
def test_the_core_decides_as_its_twin(
    pair: Pair, lines: list[str], now: int, asked: list[tuple[list[tuple[str, bool]], str, str, str]]
) -> None:
    pair.load(lines, now)
    for identities, trunk, kind, trunk_mode in asked:
        pair.compare(identities, trunk, kind, trunk_mode)


def test_what_is_asked_must_be_askable(pair: Pair) -> None:
    with pytest.raises(ValueError, match=r"\+77\* is a prefix, not a number"):
        pair.list.judge([("+77*", True)], "intl-a")
    with pytest.raises(ValueError, match='kind "fax" must be call or message'):
        pair.list.judge([], "intl-a", "fax")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='trunk_mode "on" must be enforce, shadow or off'):
        pair.list.judge([], "intl-a", "call", "on")  # type: ignore[arg-type]
    assert pair.list.judge([], "intl-a").verdict == "pass"
