"""The prover: puts synthetic requests to every node of the roster, and records what the answers prove.

Nothing is confirmed on our own word: an order is in force when each node says so on its control socket, by its own
list and its own policy. Orders that wait are asked about together, since many come at once.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog

from agent.ledger_thread import LedgerThread
from agent.proof import Answer, Sample, judge, sample
from agent.settings import ProofSettings
from sip_filter.control import AskError, ask
from sync.contract import NotCovered
from sync.ledger import AwaitingProof, Ledger
from sync.points import reach

_log = structlog.get_logger("palang.prover")

_FIRST_WAIT, _LONGEST_WAIT = 0.004, 1.0
_NUMBERS_AT_ONCE = 4_000


class Prover:
    """Proves orders. `run` is a task for as long as the agent lives."""

    def __init__(self, ledger: LedgerThread, settings: ProofSettings) -> None:
        self._ledger = ledger
        self._settings = settings
        self._awake = asyncio.Event()
        self._beyond = tuple(
            NotCovered(what=what, why=why or "not on this path")
            for what, _, why in (line.partition(": ") for line in settings.beyond)
        )

    def wake(self) -> None:
        """Look at once: an order may have to be proved."""
        self._awake.set()

    async def run(self) -> None:
        """Prove for ever. Returns only when cancelled."""
        wait = _FIRST_WAIT
        while True:
            self._awake.clear()
            waiting = await self._ledger.read(Ledger.awaiting_proof)
            proved = 0
            for group in _groups(waiting):
                proved += await self._prove(group)
            wait = _FIRST_WAIT if proved else min(wait * 2, _LONGEST_WAIT)
            if waiting:
                # A node applies a revision within milliseconds; one that is away is asked once a second.
                await self._sleep(wait)
            else:
                await self._awake.wait()
                wait = _FIRST_WAIT

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._awake.wait()

    async def _prove(self, group: Sequence[tuple[AwaitingProof, Sample]]) -> int:
        """Ask about a group of orders; how many of them were recorded."""
        numbers = tuple(dict.fromkeys(number for _, tried in group for number in tried.numbers))
        answers = await self._ask(numbers)
        digests = await self._digests({(a.epoch, a.n) for a in answers.values() if isinstance(a, Answer)})
        now = datetime.now(UTC)
        recorded = 0
        for order, tried in group:
            finding = judge(order, tried, answers, digests, self._beyond, now)
            if finding is None or finding.verdict == order.state:
                continue
            reach("proof.before_record")
            proof, coverage = finding.proof.model_dump(mode="json"), finding.coverage.model_dump(mode="json")
            await self._ledger.change(Ledger.record_proof, order.order, finding.verdict, proof, coverage, now)
            reach("proof.after_record")
            _log.info("proved", order=order.order, verdict=finding.verdict, nodes=len(finding.proof.nodes))
            recorded += 1
        return recorded

    async def _ask(self, numbers: Sequence[str]) -> dict[str, Answer | str]:
        names = [node.name for node in self._settings.roster]
        answers = await asyncio.gather(
            *(self._ask_one(node.name, node.control, numbers) for node in self._settings.roster)
        )
        return dict(zip(names, answers, strict=True))

    async def _ask_one(self, name: str, control: Path, numbers: Sequence[str]) -> Answer | str:
        try:
            reply = await ask(control, {"ask": "proof", "numbers": list(numbers)}, self._settings.timeout_s)
            if reply["node"] != name:
                return f"its control socket is that of node {reply['node']}"
            return Answer(
                node=name,
                epoch=int(reply["epoch"]),
                n=int(reply["n"]),
                digest=str(reply["digest"]),
                trunks={str(trunk): str(mode) for trunk, mode in reply["trunks"].items()},
                statuses={(a["trunk"], a["number"]): int(a["status"]) for a in reply["answers"]},
            )
        except (AskError, KeyError, TypeError, ValueError) as error:
            return f"no proof from it: {error}"

    async def _digests(self, revisions: set[tuple[int, int]]) -> Mapping[tuple[int, int], str]:
        """The ledger's digest of the list at each revision that a node reported, where the ledger knows it."""
        head = await self._ledger.read(Ledger.head)
        known = {(head.epoch, head.n): head.digest}
        for _, n in sorted(revisions - known.keys()):
            known |= {(row.epoch, row.n): row.digest for row in await self._ledger.read(Ledger.revisions, n - 1, 1)}
        return known


def _groups(waiting: Sequence[AwaitingProof]) -> list[list[tuple[AwaitingProof, Sample]]]:
    """The waiting orders with their samples, in groups of some thousand numbers: one question to each node."""
    groups: list[list[tuple[AwaitingProof, Sample]]] = [[]]
    size = 0
    for order in waiting:
        tried = sample(order)
        if size and size + len(tried.numbers) > _NUMBERS_AT_ONCE:
            groups.append([])
            size = 0
        groups[-1].append((order, tried))
        size += len(tried.numbers)
    return [group for group in groups if group]
