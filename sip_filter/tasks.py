"""Tasks that work until they are cancelled, and end then."""

import asyncio
from collections.abc import Awaitable, Callable, Collection

import structlog

_log = structlog.get_logger("sip_filter.tasks")


def heed_cancel() -> None:
    """Raise CancelledError if this task was cancelled and did not notice: once in every turn of an endless loop.

    redis-py sends through asyncio.wait_for, which before Python 3.12 swallows a cancellation that arrives in the
    moment when the send completes (bpo-37658); a task that only talks to Redis would then never end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def for_ever(work: Callable[[], Awaitable[None]]) -> None:
    """Run `work` until cancelled; when it fails, say so and begin again after a second."""
    while True:
        heed_cancel()
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - a fault beside the packets must not stop the packets
            name = getattr(work, "__qualname__", "?")
            _log.critical("node.task_failed", task=name, error=type(error).__name__)
        await asyncio.sleep(1.0)


async def cancel(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel until all have ended: a cancellation may be swallowed, see `heed_cancel`."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=0.05)
