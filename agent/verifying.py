"""Verifying the journal beside everything else: in a thread and on a connection of its own, with progress to look at.

One at a time: who asks meanwhile is shown the one that runs. What came of it is in the journal too.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from agent.ledger_thread import LedgerThread
from sync.journal import Checkpoint
from sync.jws import Keyring
from sync.ledger import Ledger, LedgerError, LedgerUnavailable, Verification, verify_file


@dataclass(frozen=True)
class Run:
    """One verification: running, done with what it found, or failed with why. Times are aware UTC."""

    state: Literal["running", "done", "failed"]
    by: str
    started_at: datetime
    elsewhere: int
    checked: int = 0
    of: int = 0
    ended_at: datetime | None = None
    found: Verification | None = None
    why: str | None = None

    def record(self) -> dict[str, Any]:
        """As the API shows it."""
        shown = {**asdict(self), "whole": self.found.whole if self.found else None}
        for name in ("started_at", "ended_at"):
            shown[name] = shown[name] and shown[name].isoformat().replace("+00:00", "Z")
        return shown


class Verifier:
    """The verifications of one agent's journal; the newest is kept."""

    def __init__(
        self,
        ledger: LedgerThread,
        path: Path,
        signers: Callable[[], Keyring],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`signers` gives the keys that may have signed checkpoints."""
        self._ledger, self._path, self._clock = ledger, path, clock
        self.signers = signers
        self._task: asyncio.Task[None] | None = None
        self.run: Run | None = None

    def start(self, by: str, elsewhere: Sequence[Checkpoint] = ()) -> Run:
        """Begin to verify, also against checkpoints kept elsewhere; the answer is the one that runs already, if any."""
        if self.run is not None and self.run.state == "running":
            return self.run
        self.run = Run("running", by, self._clock(), len(elsewhere))
        self._task = asyncio.create_task(self._verify(elsewhere))
        return self.run

    async def _verify(self, elsewhere: Sequence[Checkpoint]) -> None:
        assert self.run is not None
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Verification | str] = loop.create_future()

        def told(came: Verification | str) -> None:
            if not answer.done():
                answer.set_result(came)

        def walk() -> None:
            try:
                came: Verification | str = verify_file(self._path, self.signers(), None, elsewhere, self._progress)
            except (LedgerError, OSError) as error:
                came = str(error)
            if not loop.is_closed():
                loop.call_soon_threadsafe(told, came)

        # A thread that the agent's end does not wait for: it only reads.
        threading.Thread(target=walk, name="verify", daemon=True).start()
        came = await answer
        ended = self._clock()
        if isinstance(came, str):
            self.run = replace(self.run, state="failed", ended_at=ended, why=came)
            return
        self.run = replace(self.run, state="done", ended_at=ended, found=came, checked=came.records)
        body = {**asdict(came), "whole": came.whole, "elsewhere": len(elsewhere)}
        try:
            await self._ledger.change(Ledger.record, "journal.verify", self.run.by, None, body, ended)
        except LedgerUnavailable as error:
            self.run = replace(self.run, why=f"this could not be written into the journal: {error}")

    def _progress(self, checked: int, of: int) -> None:
        if self.run is not None:
            self.run = replace(self.run, checked=checked, of=of)
