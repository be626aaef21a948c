"""The store as asyncio sees it: one thread of its own, so that neither the loop nor the ledger waits for figures."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from agent.traffic.store import Broken, TrafficStore

P = ParamSpec("P")
R = TypeVar("R")


class TrafficUnavailable(Exception):
    """The counts of calls can't be read or kept now. Its text says why; it may be asked again later."""


class TrafficThread:
    """Calls the store's methods in its one thread: `await thread.ask(TrafficStore.after, node)`.

    A file that can't be opened now is tried again at the next question: the agent's start does not hang on it.
    """

    def __init__(self, open_store: Callable[[], TrafficStore]) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="traffic")
        self._open = open_store
        self._store: TrafficStore | None = None

    async def ask(self, method: Callable[Concatenate[TrafficStore, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The method's answer. Raises TrafficUnavailable, ValueError."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._executor, lambda: method(self._opened(), *args, **kwargs))
        except (sqlite3.Error, Broken) as error:
            raise TrafficUnavailable(f"the counts of calls can't be read or kept now: {error}") from error

    def close(self) -> None:
        """Close the file and end the thread, after what is under way."""
        self._executor.submit(self._close).result()
        self._executor.shutdown()

    def _opened(self) -> TrafficStore:
        if self._store is None:
            self._store = self._open()
        return self._store

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()
