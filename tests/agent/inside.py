"""An agent in this process, not running: its parts over a real ledger, and its API as whoever the test says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from fastapi import Request

from agent import api
from agent.access import Role, Viewer
from agent.settings import Settings
from agent.wiring import Parts, assemble
from sync.contract import Order
from sync.jws import write_key
from sync.ledger import Ledger
from tests.sync.house import OURS, REGULATOR, reading


class As:
    """A door through which everybody is who the test says."""

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer

    async def identify(self, request: Request) -> Viewer:
        return self.viewer


def person(name: str, *roles: Role, stepped_up: bool = True, session: str | None = None) -> Viewer:
    """Somebody signed in, with their second factor shown: for the whole of a long run of tests."""
    until = datetime.now(UTC) + timedelta(days=1) if stepped_up else None
    return Viewer.of(name, frozenset(roles), "session", session=session or f"{name}-1", stepped_up_until=until)


@dataclass
class Inside:
    """The agent."""

    parts: Parts
    clients: list[httpx.AsyncClient] = field(default_factory=list)

    def http(self, viewer: Viewer) -> httpx.AsyncClient:
        """The API as this viewer."""
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=api.app(self.parts, As(viewer))), base_url="http://agent"
        )
        self.clients.append(client)
        return client

    async def take(self, *orders: Order) -> None:
        """Have these orders come from the regulator."""
        await self.parts.ledger.change(Ledger.take, [reading(order) for order in orders], datetime.now(UTC))

    async def journal(self) -> list[Any]:
        """The journal's records, oldest first."""
        return await self.parts.ledger.read(Ledger.journal, 0, 10_000)


@asynccontextmanager
async def inside(folder: Path, **sections: Any) -> AsyncIterator[Inside]:
    """An agent whose ledger lies in `folder`, with these sections of the settings."""
    for signer, name in ((OURS, "operator"), (REGULATOR, "regulator")):
        write_key(folder / f"{name}.jwk", signer._key, signer.kid, private=signer is OURS)
    given = {
        "agent": {"socket": str(folder / "agent.sock")},
        "contract": {
            "operator": "operator",
            "signing_key": str(folder / "operator.jwk"),
            "regulator_keys": [str(folder / "regulator.jwk")],
        },
        "ledger": {"path": str(folder / "ledger.sqlite")},
        "redis": {"url": f"unix://{folder}/redis.sock"},
        **sections,
    }
    agent = Inside(assemble(Settings.model_validate(given)))
    try:
        yield agent
    finally:
        for client in agent.clients:
            await client.aclose()
        await agent.parts.redis.aclose()
        agent.parts.traffic.close()
        agent.parts.ledger.close()


def later(viewer: Viewer, session: str) -> Viewer:
    """The same person, signed in once more."""
    return replace(viewer, session=session)
