"""What every test may lean on: uvloop as the event loop, and a real Redis server of its own.

No test is skipped for want of a server: without one it fails and says what to install.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import pytest
import uvloop
from hypothesis import settings
from redis.asyncio import Redis
from redis.exceptions import RedisError

from sip_filter.store import connect
from tests.book import Book, equals, eventually
from tests.redis_server import RedisServer

# In CI the same examples each time: what lands is judged by itself, not by luck. Everywhere else they are drawn anew.
# No example has a time of its own: on a busy machine any may be late.
settings.register_profile("palang", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("palang")


class Equal(Protocol):
    async def __call__(self, book: Book) -> None: ...


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], Any]]:
    return {"uvloop": uvloop.new_event_loop}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Schemathesis builds its requests when its file is found, for ten seconds: not where all of it is left out."""
    quick = config.option.markexpr == "not slow"
    return True if quick and collection_path.name == "test_fuzzed_api.py" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest first: begun last, one of them would be waited for alone."""
    items.sort(key=lambda item: "system" not in item.path.parts)


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    client = connect(redis_server.url, 5.0)
    yield client
    await client.aclose()


@pytest.fixture
def equal(redis: Redis) -> Equal:
    """`await equal(book)`: until Redis holds exactly what the book says."""

    async def wait(book: Book) -> None:
        async def settled() -> bool:
            with suppress(RedisError):
                return await equals(redis, book)
            return False

        await eventually(settled, "redis equals the book")

    return wait
