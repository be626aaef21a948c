"""The API over a real ledger in one process: each request names its viewer.

Time is the wall's, but for what is told of traffic: that is as of the moment when the house was opened.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
from fastapi import FastAPI, Request

from agent import api
from agent.access import Role, Viewer
from agent.alarms import Alarms
from agent.figures import Figures
from agent.ledger_thread import LedgerThread
from agent.look_ups import Pace
from agent.settings import Settings
from agent.traffic.collector import Collector
from agent.traffic.previews import Previews
from agent.traffic.store import TrafficStore
from agent.traffic.thread import TrafficThread
from agent.wiring import Parts
from sip_filter import _core
from sync.gate import Gate
from sync.ledger import Ledger
from tests.sync.house import OPERATOR, OURS, reading


class NamedDoor:
    """Lets in whoever the header `X-Test-Viewer: name role` names."""

    async def identify(self, request: Request) -> Viewer:
        """Who asks."""
        if isinstance(known := request.scope.get("palang.viewer"), Viewer):  # a page asks as its viewer
            return known
        name, _, role = request.headers.get("X-Test-Viewer", "local").partition(" ")
        return Viewer.of(name, frozenset({Role(role)}), "session") if role else Viewer.local(name)


@dataclass
class ApiHouse:
    """One API, its ledger and its settings."""

    api: FastAPI
    http: httpx.AsyncClient
    ledger: LedgerThread
    parts: Parts
    opened: float
    """Seconds since the epoch: what previews take for now."""

    async def ask(
        self, method: str, path: str, body: Any = None, by: str = "sri supervisor", **headers: str
    ) -> tuple[int, Any]:
        """Status and record of one request by `name role`; a name without a role came by the agent's own socket."""
        answer = await self.http.request(method, f"/v1{path}", json=body, headers={"X-Test-Viewer": by, **headers})
        return answer.status_code, answer.json()

    async def take(self, *messages: Any) -> None:
        """Let the ledger take what the regulator sent."""
        readings = [reading(message) for message in messages]
        await self.ledger.change(Ledger.take, readings, datetime.now(UTC))


@asynccontextmanager
async def api_house(folder: Path, settings: Settings | None = None, **more: Any) -> AsyncIterator[ApiHouse]:
    """The API with a ledger in `folder`; `more` are parts that a test needs beside it."""
    chosen = settings or Settings()
    ledger = LedgerThread(
        lambda: Ledger.open(
            folder / "ledger.sqlite", gate=Gate(chosen.gate), operator=OPERATOR, signer=OURS, settings=chosen.ledger
        )
    )
    traffic = TrafficThread(lambda: TrafficStore(folder / "traffic.sqlite", _core.Sketch))
    opened = time.time()
    collector = Collector(ledger, traffic, chosen, clock=lambda: opened)
    usual = {
        "alarms": Alarms(ledger),
        "figures": Figures(),
        "pace": Pace(chosen.look_ups),
        "traffic": traffic,
        "collector": collector,
        "previews": Previews(traffic, collector, chosen, _core.Sketch, clock=lambda: opened),
    }
    parts = cast(Parts, SimpleNamespace(settings=chosen, ledger=ledger, **{**usual, **more}))
    made = api.app(parts, NamedDoor())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=made), base_url="http://test") as http:
        yield ApiHouse(made, http, ledger, parts, opened)
    traffic.close()
    ledger.close()
