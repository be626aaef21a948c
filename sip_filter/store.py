"""How Palang reaches Redis: short timeouts, no hidden retries, bounded backoff.

redis-py retries a failing command ten times by itself; here a command fails once and its caller decides. No Redis error
ends a publisher or a node: a server that is away, loading, read-only, out of memory or out of disk is one
that does not answer rightly yet, so `UNAVAILABLE` is all of them.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from sip_filter.keys import Head, Keys

UNAVAILABLE = (RedisError, OSError)

_random = random.SystemRandom()


def connect(url: str, timeout: float = 0.2) -> Redis:
    """A client for `url` (`unix:///run/palang/redis.sock`, `redis://host:6379/0`); no connection is made yet.

    `timeout` in seconds bounds connecting and each answer. A client for blocking reads needs one longer than its block.
    """
    return Redis.from_url(
        url,
        decode_responses=True,
        protocol=3,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        max_connections=8,
    )


async def read_head(redis: Redis, keys: Keys) -> Head | None:
    return Head.read(cast("dict[str, str]", await redis.hgetall(keys.head)))


async def scan(redis: Redis, key: str, count: int = 1_000) -> AsyncIterator[dict[str, str]]:
    """The hash `key` in pieces of about `count`. Entries may come twice; what changes meanwhile may or may not."""
    cursor = 0
    while True:
        cursor, piece = await redis.hscan(key, cursor, count=count)
        yield cast("dict[str, str]", piece)
        if not cursor:
            return


def describe(error: BaseException) -> str:
    """One line for a log or `palang status`: redis-py puts server and reason in it, never a list's entry."""
    return f"{type(error).__name__}: {error}" if isinstance(error, RedisError) else type(error).__name__


class Backoff:
    """Waits that grow from `first` to `cap` seconds, each cut by up to half at random so that nodes spread out."""

    def __init__(self, first: float = 0.05, cap: float = 2.0) -> None:
        self._first, self._cap, self._next = first, cap, first

    def reset(self) -> None:
        self._next = self._first

    def delay(self) -> float:
        wait, self._next = self._next, min(self._next * 2, self._cap)
        return wait * _random.uniform(0.5, 1.0)

    async def sleep(self) -> None:
        await asyncio.sleep(self.delay())
