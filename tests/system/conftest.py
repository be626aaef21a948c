"""The set of real processes that the tests of one module share, and a conversation on it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from agent.demo.phones import Caller, Switch
from agent.stage import Stage
from tests.system.conversation import ALWAYS_BLOCKED, Conversation
from tests.system.palang import Palang

_NO_BURST = "\n[gate]\nburst_floor = 1000000\nsecond_person = []\n"
"""The tests order more within an hour than the gate takes for ordinary, and come by the socket, which is one person."""

shared = pytest_asyncio.fixture(scope="module", loop_scope="module")


@shared
async def switch() -> AsyncIterator[Switch]:
    """A switch that answers every call."""
    answering = Switch()
    await answering.listen(("127.0.0.1", 0))
    yield answering
    answering.close()


@shared
async def stage(tmp_path_factory: pytest.TempPathFactory, switch: Switch) -> AsyncIterator[Stage]:
    """The whole set, healthy."""
    stage = Stage(tmp_path_factory.mktemp("stage"), switch.address, more_settings=_NO_BURST)
    async with stage as started:
        yield started


@shared
async def conversation(stage: Stage) -> AsyncIterator[Conversation]:
    """A conversation whose sentinels are called throughout."""
    caller = Caller(stage.gateway)
    await caller.listen((stage.caller, 0))
    talking = Conversation(stage, caller)
    await talking.block(ALWAYS_BLOCKED)
    talking.blocked.remove(ALWAYS_BLOCKED)
    await talking.ended()
    watching = asyncio.create_task(talking.watch_sentinels())
    yield talking
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    caller.close()


@shared
async def palang(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Palang]:
    """The command line, with the settings of this set."""
    async with Palang(tmp_path_factory.mktemp("palang"), {"PALANG_CONFIG": str(stage.settings)}) as loaded:
        yield loaded
