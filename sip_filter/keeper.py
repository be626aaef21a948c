"""The one thread that touches the list's Writer, so that neither a large list nor a slow disk stops the event loop.

Calls are done one after another in that thread. What others need at any time (revision, digest, number of entries) is
remembered here and can be read from the loop without waiting.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from sip_filter.keys import Change, Revision

if TYPE_CHECKING:
    from sip_filter._core import Hit, Writer

_T = TypeVar("_T")


class Keeper:
    """Owns `writer` from now on; `close` closes it. `reach` is told the points at which a test may end the process."""

    def __init__(
        self,
        writer: "Writer",
        clock: Callable[[], float] = time.time,
        reach: Callable[[str], None] = lambda point: None,
    ) -> None:
        self._writer, self._clock, self._reach = writer, clock, reach
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="list")
        self.revision, self.digest, self.count = Revision(0, 0), "", 0
        self._look()

    async def apply(self, change: Change) -> None:
        """One revision. GapError, DigestError and ValueError leave the list as it was."""

        def apply() -> None:
            self._reach("node.before_apply")
            revision = change.revision
            self._writer.apply(revision.epoch, revision.n, change.lines, change.digest, self._now())
            self._reach("node.after_apply")
            self._look()

        await self._do(apply)

    async def load(self, revision: Revision, lines: Sequence[str], digest: str) -> None:
        """A whole list. DigestError leaves the old one."""

        def load() -> None:
            self._writer.load(revision.epoch, revision.n, lines, digest, self._now())
            self._look()

        await self._do(load)

    async def expire(self) -> int:
        """End the clauses whose time has come; how many."""

        def expire() -> int:
            due = self._writer.next_expiry()
            return self._writer.expire(self._now()) if due is not None and due <= self._now() else 0

        return await self._do(expire)

    async def checkpoint(self, log_limit: int) -> bool:
        """Write a new snapshot when the log has more than `log_limit` bytes."""

        def checkpoint() -> bool:
            if self._writer.log_bytes() <= log_limit:
                return False
            self._writer.checkpoint()
            return True

        return await self._do(checkpoint)

    async def beat(self) -> None:
        """Tell the readers of the mapped files that a writer lives."""
        await self._do(lambda: self._writer.heartbeat(int(self._clock() * 1000)))

    async def drain_hits(self) -> tuple[list["Hit"], int]:
        return await self._do(self._writer.drain_hits)

    async def touching(self, number: str) -> list[str]:
        return await self._do(lambda: self._writer.touching(number))

    async def sizes(self) -> dict[str, int]:
        return await self._do(self._writer.sizes)

    async def at_rest(self, work: Callable[[], _T]) -> tuple[Revision, str, _T]:
        """What `work` returns, with the revision and digest that the list had from its start to its end."""
        return await self._do(lambda: (self.revision, self.digest, work()))

    async def close(self) -> None:
        await self._do(self._writer.close)
        self._thread.shutdown()

    async def _do(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _look(self) -> None:
        sizes = self._writer.sizes()
        self.revision, self.digest = Revision(*self._writer.revision), self._writer.digest
        self.count = sizes["numbers"] + sizes["prefixes"]

    def _now(self) -> int:
        return int(self._clock())
