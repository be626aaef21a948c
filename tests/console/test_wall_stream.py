"""The wall's stream: what changed and no more, for all who look; and it ends with the session of who looks."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request

from agent import api
from agent.access import PeopleDoor, Role
from agent.access.people_door import COOKIE
from agent.api import wall as wall_api
from agent.console import look
from agent.console.page import House, Page
from agent.console.static_files import Static
from agent.console.wall_stream import PIECES, STILL_IN_SECONDS, WallStream
from agent.wall import board
from agent.wall.rates import Course
from agent.wall.wall import Look, Wall
from sync.ledger import Ledger
from tests.agent.front_door import Signed, front_door
from tests.sync.house import NOON


def a_look(n: int, held: int = 0) -> Look:
    at = board.text(NOON + timedelta(seconds=n))
    node = {
        "node": "gw1",
        "answers": True,
        "revision": "1.7",
        "lag": 0,
        "stale": False,
        "why": "",
        "error": "",
        "trunks": {},
        "bypass": False,
        "drained": False,
        "list": "equal",
        "hops_away": [],
        "seen_at": at,
    }
    record: dict[str, Any] = {
        "at": at,
        "health": "healthy",
        "because": [],
        "ledger_error": "",
        "calls": {"at": at, "total": None, "nodes": 0, "of": 1, "trunks": []},
        "broker": {"at": at, "tone": "good", "connected_since": board.text(NOON), "error": ""},
        "redis": {"at": at, "tone": "good", "revision": "1.7", "rebuilds": 0, "error": ""},
        "nodes": {"at": at, "tone": "good", "items": [node]},
        "orders": {"at": at, "tone": "good", "by_state": {"held": held}, "overdue": 0, "deadlines": []},
        **{name: {"at": at, "items": []} for name in ("deadlines", "changes", "alarms")},
    }
    return Look(n, record, {"at": NOON.timestamp() + n}, Course())


class Looks(Wall):
    """A wall whose looks the test gives."""

    def __init__(self, *looks: Look) -> None:
        super().__init__()
        self._looks = looks

    async def follow(self) -> AsyncIterator[Look]:
        for one in self._looks:
            yield one


def a_house(of: FastAPI | None = None) -> House:
    static = Static.read()
    return House(of or FastAPI(), look.templates(static), static, b"key", frozenset())


async def yes() -> bool:
    return True


async def pieces(stream: WallStream, *looks: Look, language: str = "en") -> list[list[str]]:
    """The names of the events that one viewer gets, look by look."""
    got = [blob.decode() async for blob in stream.pieces(Looks(*looks), language, yes)]
    return [[line[7:] for line in blob.splitlines() if line.startswith("event: ")] for blob in got]


async def test_who_begins_gets_everything_and_then_only_what_changed() -> None:
    stream = WallStream(a_house())
    got = await pieces(stream, a_look(1), a_look(2), a_look(3, held=1), a_look(4, held=1))
    assert got == [[*PIECES, "beat"], ["beat"], ["figures", "orders", "beat"], ["beat"]]


async def test_who_comes_later_or_missed_a_look_gets_everything() -> None:
    stream = WallStream(a_house())
    await pieces(stream, a_look(1), a_look(2, held=5))
    assert await pieces(stream, a_look(2, held=5)) == [[*PIECES, "beat"]]
    first = stream.pieces(Looks(a_look(3, held=5), a_look(6, held=7)), "en", yes)
    await anext(first)
    await pieces(stream, a_look(4, held=6), a_look(5, held=6))
    assert b"event: nodes" in await anext(first)


async def test_two_languages_are_rendered_apart_and_the_ages_are_told() -> None:
    stream = WallStream(a_house())
    (english,) = [blob.decode() async for blob in stream.pieces(Looks(a_look(1)), "en", yes)]
    (other,) = [blob.decode() async for blob in stream.pieces(Looks(a_look(1)), "id", yes)]
    assert "Orders held" in english and "Perintah ditahan" in other
    beat = json.loads(english.split("event: beat\ndata: ")[1])
    assert beat["ages"]["redis"] == beat["ages"]["node-gw1"] == a_look(1).record["at"]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
async def test_the_stream_ends_with_the_session(tmp_path: Path, role: Role) -> None:
    async with front_door(tmp_path) as door:
        served = api.app(door.parts, PeopleDoor(door.parts.entrance))
        signed = await door.session_of("vina", role)
        page = await a_page(served, signed)
        looks = [a_look(n) for n in range(1, 3 * STILL_IN_SECONDS)]
        got = 0
        async for _blob in WallStream(page.house).pieces(Looks(*looks), "en", page.still_in):
            got += 1
            if got == STILL_IN_SECONDS + 2:
                await door.ledger.change(Ledger.end_session, page.viewer.session, "signed out", datetime.now(UTC))
        assert STILL_IN_SECONDS + 2 <= got < 2 * STILL_IN_SECONDS


@pytest.mark.parametrize(("role", "kept"), [(Role.VIEWER, True), (Role.OPERATOR, False)])
async def test_to_look_on_keeps_only_those_signed_in_who_can_do_nothing_else(
    tmp_path: Path, role: Role, kept: bool
) -> None:
    async with front_door(tmp_path) as door:
        served = api.app(door.parts, PeopleDoor(door.parts.entrance))
        page = await a_page(served, await door.session_of("vina", role))
        long_ago = datetime.now(UTC) - door.parts.entrance.idle + timedelta(seconds=30)
        await door.ledger.change(Ledger.session_seen, page.viewer.session, long_ago)
        assert await page.still_in()
        later = datetime.now(UTC) + timedelta(minutes=1)
        found = await door.ledger.read(Ledger.session, page.viewer.session, later, door.parts.entrance.idle)
        assert (found is not None) is kept


async def a_page(served: FastAPI, signed: Signed) -> Page:
    """A page that this session asked for."""
    headers = [(b"cookie", f"{COOKIE}={signed.cookie}".encode()), (b"host", b"palang")]
    scope = {"type": "http", "method": "GET", "path": "/wall/events", "headers": headers, "query_string": b""}
    request = Request({**scope, "app": served, "state": {}})
    viewer = await served.state.door.identify(request)
    return Page(request, a_house(served), viewer, "session", "", datetime.now(UTC))


async def test_a_silent_wall_lets_its_viewers_go_at_the_end() -> None:
    wall = Wall()
    stream = WallStream(a_house()).pieces(wall, "en", yes)
    waiting = asyncio.ensure_future(anext(stream, None))
    wall._look = a_look(1)
    wall._next.set()
    assert await waiting is not None
    ending = asyncio.ensure_future(anext(stream, None))
    wall.close()
    assert await asyncio.wait_for(ending, 5) is None


async def test_the_apis_stream_ends_so_that_an_ended_session_can_t_look_on() -> None:
    looks = [a_look(n) for n in range(1, wall_api.LOOKS + 50)]
    got = [blob async for blob in wall_api._events(Looks(*looks))]
    assert len(got) == wall_api.LOOKS
    assert json.loads(got[0].split(b"data: ")[1])["nodes"]["items"][0]["node"] == "gw1"
