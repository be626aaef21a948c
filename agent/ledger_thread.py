"""The ledger as asyncio sees it: one thread, so one transaction at a time, and the loop never waits for a disk."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from sync.ledger import Ledger

P = ParamSpec("P")
R = TypeVar("R")


class LedgerThread:
    """Calls the ledger's methods in its one thread and tells watchers when one of them may have changed it."""

    def __init__(self, open_ledger: Callable[[], Ledger]) -> None:
        """`open_ledger` runs in the thread too: SQLite binds a connection to the thread that opened it."""
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._ledger = self._executor.submit(open_ledger).result()
        self._watchers: list[Callable[[], None]] = []

    def watch(self, wake: Callable[[], None]) -> None:
        """Have `wake` called after each change."""
        self._watchers.append(wake)

    async def read(self, method: Callable[Concatenate[Ledger, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Ask the ledger something: `await ledger.read(Ledger.head)`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: method(self._ledger, *args, **kwargs))

    async def change(self, method: Callable[Concatenate[Ledger, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Change the ledger in one transaction, then wake the watchers."""
        answer = await self.read(method, *args, **kwargs)
        for wake in self._watchers:
            wake()
        return answer

    def close(self) -> None:
        """Close the ledger and end its thread, after what is under way."""
        self._executor.submit(self._ledger.close).result()
        self._executor.shutdown()
