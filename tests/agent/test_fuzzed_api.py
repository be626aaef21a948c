"""Schemathesis over the whole description of the API: whatever is sent, no 5xx, and each refusal in the one shape.

Who asks may everything and has just shown the second factor, so that requests get behind the guards. The API runs in
this process, on a loop of its own beside the tests.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from starlette.types import Receive, Scope, Send

from agent import web
from agent.access import Role, Viewer
from agent.access.people_door import VIEWER
from agent.access.roles import EVERYTHING
from agent.children import free_port
from agent.status import report
from tests.agent.front_door import front_door
from tests.book import eventually

EXAMPLES = 5
WITHOUT_END = "/v1/events"
EVERYBODY = replace(
    Viewer.of("sri", frozenset({Role.ADMIN, Role.SUPERVISOR}), "session", session="of-this-test"),
    permissions=EVERYTHING,
    stepped_up_until=datetime.now(UTC) + timedelta(hours=1),
)

described = schemathesis.openapi.from_path(Path(__file__).parents[2] / "docs" / "api" / "openapi.json")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port, ready, over = free_port(socket.SOCK_STREAM), threading.Event(), threading.Event()

    async def serve() -> None:
        async with front_door(tmp_path_factory.mktemp("fuzzed")) as door:

            async def known(scope: Scope, receive: Receive, send: Send) -> None:
                await door.app({**scope, VIEWER: EVERYBODY}, receive, send)

            console = door.parts.settings.console.model_copy(update={"listen": f"127.0.0.1:{port}"})
            server = web.WebServer(known, console)
            served = asyncio.create_task(server.serve(sockets=[web.listen(console)]))
            looking = asyncio.create_task(door.parts.wall.run(door.parts, report))
            await eventually(lambda: server.started, "the server has started")
            ready.set()
            await asyncio.to_thread(over.wait)
            server.should_exit = True
            await served
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(60)
    yield f"http://127.0.0.1:{port}"
    over.set()
    thread.join(60)


@pytest.mark.slow
@described.exclude(path=WITHOUT_END).parametrize()
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
def test_whatever_is_sent_the_answer_has_one_of_our_shapes(case: schemathesis.Case, address: str) -> None:
    answer = case.call(base_url=address, timeout=20)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert set(answer.json()["error"]) == {"code", "message"}, answer.text
