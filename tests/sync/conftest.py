"""Fixtures of sync's tests: a private broker, links to it, and waiting for a condition."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from sync.mqtt import Link, MqttSettings
from tests.mosquitto_server import Mosquitto

Connect = Callable[..., AbstractAsyncContextManager[Link]]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A running Mosquitto that keeps what it acknowledged."""
    server = Mosquitto(tmp_path / "mosquitto").start()
    yield server
    server.kill()


@pytest.fixture
def connect(broker: Mosquitto) -> Connect:
    """`async with connect("name", ["topic"], timeout_s=2) as link`: a link that runs, and is up at the start."""

    @contextlib.asynccontextmanager
    async def connected(client_id: str, topics: list[str] | None = None, **rows: object) -> AsyncIterator[Link]:
        quick = {"port": broker.port, "client_id": client_id, "backoff_first_s": 0.02, "backoff_cap_s": 0.2}
        link = Link(MqttSettings.model_validate({**quick, **rows}), topics or [])
        task = asyncio.create_task(link.run())
        try:
            await asyncio.wait_for(link.connected(), 10)
            yield link
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return connected
