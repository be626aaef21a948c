"""Proof, judged: what the nodes must say before an order may be called in force."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agent.proof import SAMPLE, Answer, judge, sample
from sync.contract import NotCovered
from sync.ledger import AwaitingProof
from sync.order_life import State

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NUMBER = "+6281234567890"
DIGEST = "ab" * 16
BEYOND = (NotCovered(what="SMS", why="no node sits on this path"),)
BLOCK = AwaitingProof(
    order="11111111-1111-4111-8111-111111111111",
    kind="block",
    state=State.APPLYING,
    subjects=(NUMBER,),
    epoch=1,
    n=7,
    received_at=NOW,
    deadline=NOW + timedelta(hours=24),
    held=0,
    partial_since=None,
)
UNBLOCK = replace(BLOCK, kind="unblock")
LATE = NOW + timedelta(hours=18)


def answer(status: int = 603, **changes: Any) -> Answer:
    numbers = sample(BLOCK).numbers
    given = Answer(
        node="gw1",
        epoch=1,
        n=7,
        digest=DIGEST,
        trunks={"intl-a": "enforce"},
        statuses={("intl-a", number): status for number in numbers},
    )
    return replace(given, **changes)


def verdict(order: AwaitingProof, now: datetime = NOW, **answers: Answer | str) -> str | None:
    found = judge(order, sample(order), answers, {(1, 7): DIGEST, (1, 8): "cd" * 16}, BEYOND, now)
    return found.verdict if found else None


@pytest.mark.parametrize(
    ("order", "now", "answers", "expected"),
    [
        (BLOCK, NOW, {"gw1": answer()}, "in_force"),
        (BLOCK, NOW, {"gw1": answer(403)}, "in_force"),
        (BLOCK, NOW, {"gw1": answer(0)}, None),
        (BLOCK, LATE, {"gw1": answer(0)}, None),
        (BLOCK, NOW, {"gw1": answer(n=6)}, None),
        (BLOCK, NOW, {"gw1": answer(epoch=0)}, None),
        (BLOCK, NOW, {"gw1": answer(digest="00" * 16)}, None),
        (BLOCK, NOW, {"gw1": answer(n=8)}, None),
        (BLOCK, NOW, {"gw1": answer(n=8, digest="cd" * 16)}, "in_force"),
        (BLOCK, NOW, {"gw1": answer(epoch=2)}, None),
        (BLOCK, NOW, {"gw1": answer(trunks={"intl-a": "shadow"})}, None),
        (BLOCK, LATE, {"gw1": answer(trunks={"intl-a": "off"})}, None),
        (BLOCK, NOW, {"gw1": answer(statuses={})}, None),
        (BLOCK, NOW, {}, None),
        (BLOCK, LATE, {}, None),
        (BLOCK, LATE, {"gw1": "no answer"}, None),
        (BLOCK, NOW, {"gw1": answer(), "gw2": "no answer"}, None),
        (BLOCK, LATE - timedelta(seconds=1), {"gw1": answer(), "gw2": "no answer"}, None),
        (BLOCK, LATE, {"gw1": answer(), "gw2": "no answer"}, "in_force_partial"),
        (BLOCK, LATE, {"gw1": answer(), "gw2": answer(0, node="gw2")}, "in_force_partial"),
        (replace(BLOCK, held=1), NOW, {"gw1": answer()}, None),
        (replace(BLOCK, held=1), LATE, {"gw1": answer()}, "in_force_partial"),
        (UNBLOCK, NOW, {"gw1": answer(0)}, "lifted"),
        (UNBLOCK, NOW, {"gw1": answer(603)}, "still_blocked_by"),
        (UNBLOCK, NOW, {"gw1": answer(603, n=6)}, None),
        (UNBLOCK, NOW, {"gw1": answer(0), "gw2": answer(603, node="gw2")}, "still_blocked_by"),
        (UNBLOCK, LATE, {"gw1": answer(0), "gw2": "no answer"}, None),
        (UNBLOCK, NOW, {"gw1": answer(0, statuses={})}, None),
    ],
)
def test_verdicts(order: AwaitingProof, now: datetime, answers: dict[str, Answer | str], expected: str | None) -> None:
    assert verdict(order, now, **answers) == expected


def test_the_confirmation_says_what_is_covered_and_what_is_not() -> None:
    trunks = {"intl-a": "enforce", "intl-b": "shadow", "intl-c": "off"}
    found = judge(BLOCK, sample(BLOCK), {"gw1": answer(trunks=trunks), "gw2": "gone"}, {(1, 7): DIGEST}, BEYOND, LATE)
    assert found is not None
    assert [(path.node, path.trunk) for path in found.coverage.covered] == [("gw1", "intl-a")]
    assert [left.what for left in found.coverage.not_covered] == [
        "trunk intl-b on gw1",
        "trunk intl-c on gw1",
        "node gw2",
        "SMS",
    ]
    assert [(node.node, node.asked, node.held) for node in found.proof.nodes] == [("gw1", 1, 1)]


def test_a_long_list_is_sampled_and_the_sample_can_be_drawn_again() -> None:
    order = replace(BLOCK, subjects=tuple(f"+62812{number:08d}" for number in range(5_000)))
    drawn = sample(order)
    assert len(set(drawn.numbers)) == drawn.subjects == SAMPLE
    assert drawn.drawn_from == 5_000
    assert drawn == sample(replace(order, subjects=order.subjects[::-1]))
    assert drawn != sample(replace(order, order="22222222-2222-4222-8222-222222222222"))


def test_a_prefix_is_tried_by_numbers_inside_it() -> None:
    for prefix in ("+77*", "+6281234567890*", "+62812345678901*"):
        numbers = sample(replace(BLOCK, subjects=(prefix,))).numbers
        assert len(numbers) == 3
        assert all(number.startswith(prefix[:-1]) and 8 <= len(number) <= 16 for number in numbers)
