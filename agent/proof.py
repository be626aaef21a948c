"""Proof, judged: what the nodes answered, held against what the order demands. Pure: values in, a verdict out.

A node proves an order when its list carries the order's revision, has the digest that the ledger computed for it, and
each trunk that enforces answered every synthetic request as the order demands: a final response for a block, nothing
(the call would go on) for an unblock. A node that is away, behind, different, or that enforces nowhere proves nothing.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sip_filter.number import Number, parse_subject
from sync.contract import Coverage, CoveredPath, NodeProof, NotCovered, Proof, TrunkProof
from sync.ledger import AwaitingProof

SAMPLE = 1_000
"""Subjects tried on each node; an order with more has a random sample of so many."""

Verdict = Literal["in_force", "in_force_partial", "lifted", "still_blocked_by"]


@dataclass(frozen=True)
class Answer:
    """What one node said: where its list stands, how its trunks are set, and a status for each trunk and number."""

    node: str
    epoch: int
    n: int
    digest: str
    trunks: Mapping[str, str]
    statuses: Mapping[tuple[str, str], int]


@dataclass(frozen=True)
class Sample:
    """The numbers that stand for an order's subjects, and how many subjects they were drawn from."""

    numbers: tuple[str, ...]
    subjects: int
    drawn_from: int


@dataclass(frozen=True)
class Finding:
    """What the answers amount to."""

    verdict: Verdict
    proof: Proof
    coverage: Coverage


def sample(order: AwaitingProof) -> Sample:
    """All subjects of an order up to `SAMPLE`, else a random sample; a prefix is tried by numbers inside it.

    The sample is drawn by the order's id, so that it can be drawn again from the ledger and is the same on each node.
    """
    subjects: Sequence[str] = order.subjects
    if len(subjects) > SAMPLE:
        subjects = sorted(random.Random(order.order).sample(sorted(subjects), SAMPLE))  # noqa: S311  not a secret
    return Sample(tuple(n for text in subjects for n in _numbers(text)), len(subjects), len(order.subjects))


def judge(
    order: AwaitingProof,
    tried: Sample,
    answers: Mapping[str, Answer | str],
    digests: Mapping[tuple[int, int], str],
    beyond: Sequence[NotCovered],
    now: datetime,
) -> Finding | None:
    """The verdict on one order, or None while there is not enough to say anything.

    `answers` has each node of the roster, with its answer or with why there is none; `digests` the ledger's digest of
    the list at each revision that a node reported; `beyond` the paths that no node sits on.
    """
    good: list[tuple[Answer, NodeProof]] = []
    missing: list[NotCovered] = []
    caught = False
    for name, answer in answers.items():
        if isinstance(answer, str):
            missing.append(NotCovered(what=f"node {name}", why=answer))
            continue
        if why := _not_in_place(order, tried, answer, digests):
            missing.append(NotCovered(what=f"node {name}", why=why))
            continue
        proof = _node(order, tried, answer)
        if proof.held == proof.asked or order.kind == "unblock":
            caught = caught or proof.held < proof.asked
            good.append((answer, proof))
        else:
            why = f"{proof.asked - proof.held} of {proof.asked} synthetic requests were not refused"
            missing.append(NotCovered(what=f"node {name}", why=why))
    verdict = _verdict(order, whole=not missing and order.held == 0, caught=caught, any_node=bool(good), now=now)
    if verdict is None:
        return None
    covered, left_out = _paths(good)
    return Finding(
        verdict,
        Proof(nodes=tuple(proof for _, proof in good), sample=tried.subjects, sampled_of=tried.drawn_from, at=now),
        Coverage(covered=tuple(covered), not_covered=(*left_out, *missing, *beyond)),
    )


def _verdict(order: AwaitingProof, *, whole: bool, caught: bool, any_node: bool, now: datetime) -> Verdict | None:
    if caught:
        return "still_blocked_by"
    if whole and any_node:
        return "in_force" if order.kind == "block" else "lifted"
    # What is missing delays a block until a quarter of its time is left; half an unblock is never reported as done.
    waited = now - order.received_at
    if any_node and order.kind == "block" and waited >= (order.deadline - order.received_at) * 3 / 4:
        return "in_force_partial"
    return None


def _not_in_place(
    order: AwaitingProof, tried: Sample, answer: Answer, digests: Mapping[tuple[int, int], str]
) -> str | None:
    if (answer.epoch, answer.n) < (order.epoch, order.n):
        return f"its list is at revision {answer.epoch}.{answer.n}"
    if answer.digest != digests.get((answer.epoch, answer.n)):
        return f"the digest of its list at revision {answer.epoch}.{answer.n} differs from the ledger's"
    enforcing = [trunk for trunk, mode in answer.trunks.items() if mode == "enforce"]
    if not enforcing:
        return "none of its trunks enforces"
    if any((trunk, number) not in answer.statuses for trunk in enforcing for number in tried.numbers):
        return "it left synthetic requests unanswered"
    return None


def _node(order: AwaitingProof, tried: Sample, answer: Answer) -> NodeProof:
    trunks = []
    for trunk, mode in sorted(answer.trunks.items()):
        asked = tried.numbers if mode == "enforce" else ()
        held = sum(_as_ordered(order, answer.statuses.get((trunk, number), -1)) for number in asked)
        trunks.append(TrunkProof(trunk=trunk, mode=_mode(mode), asked=len(asked), held=held))
    return NodeProof(
        node=answer.node,
        revision=f"{answer.epoch}.{answer.n}",
        digest=answer.digest,
        trunks=tuple(trunks),
        asked=sum(trunk.asked for trunk in trunks),
        held=sum(trunk.held for trunk in trunks),
    )


def _as_ordered(order: AwaitingProof, status: int) -> bool:
    return status >= 300 if order.kind == "block" else status == 0


def _mode(text: str) -> Literal["enforce", "shadow", "off"]:
    return "enforce" if text == "enforce" else "shadow" if text == "shadow" else "off"


def _paths(good: Sequence[tuple[Answer, NodeProof]]) -> tuple[list[CoveredPath], list[NotCovered]]:
    covered, left_out = [], []
    for answer, proof in good:
        for trunk in proof.trunks:
            if trunk.mode == "enforce" and trunk.held == trunk.asked > 0:
                covered.append(CoveredPath(node=answer.node, trunk=trunk.trunk))
            elif trunk.mode != "enforce":
                state = "in shadow: counted, not refused" if trunk.mode == "shadow" else "off"
                left_out.append(NotCovered(what=f"trunk {trunk.trunk} on {answer.node}", why=state))
    return covered, left_out


def _numbers(subject: str) -> Iterator[str]:
    """The number itself, or three numbers spread over a prefix, of the most common length (E.164: at most 15)."""
    parsed = parse_subject(subject)
    if isinstance(parsed, Number):
        yield str(parsed)
        return
    rest = max(11 - len(parsed.digits), 1)
    for digit in "059":
        yield f"+{parsed.digits}{digit * rest}"
