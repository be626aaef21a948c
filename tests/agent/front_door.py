"""The address where people sign in, in one process: a real ledger, real secrets (hashed cheaply), the edge around it.

`sign_in` goes through the door as a person does; `session_of` puts a session straight into the ledger, for tests of
what comes behind.
"""

import contextlib
import hashlib
import json
import secrets as random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from argon2 import PasswordHasher
from fastapi import FastAPI

from agent import web
from agent.access import Entrance, Role
from agent.access.edge import Edge
from agent.access.people_door import COOKIE
from agent.access.secrets import Passwords
from agent.console import face
from agent.keys import make_keys
from agent.ledger_thread import LedgerThread
from agent.settings import Settings
from agent.wiring import Parts, assemble
from sync.ledger import Ledger
from tests.authenticator import Authenticator
from tests.sync.house import OPERATOR

HOST = "127.0.0.1:8443"
ORIGIN = f"https://{HOST}"
PASSWORD = "correct horse battery"
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@dataclass
class Signed:
    """A session as its browser has it."""

    cookie: str
    csrf: str

    @property
    def headers(self) -> dict[str, str]:
        """What a page of ours sends with a request that changes something."""
        return {
            "Cookie": f"{COOKIE}={self.cookie}",
            "X-Palang-CSRF": self.csrf,
            "Origin": ORIGIN,
            "Sec-Fetch-Site": "same-origin",
        }


@dataclass
class FrontDoor:
    """One agent's address, its ledger, and the phones of those who have enrolled."""

    app: FastAPI
    http: httpx.AsyncClient
    parts: Parts
    ledger: LedgerThread
    path: Path
    alarms: list[str] = field(default_factory=list)
    phones: dict[str, Authenticator] = field(default_factory=dict)

    async def ask(
        self, method: str, path: str, body: Any = None, signed: Signed | None = None, **headers: str
    ) -> httpx.Response:
        """One request, with a session's headers if there is one."""
        return await self.http.request(
            method, path, json=body, headers={**(signed.headers if signed else {}), **headers}
        )

    async def person(self, name: str, *roles: Role) -> None:
        """A person who has enrolled, password and second factor."""
        now = datetime.now(UTC)
        _, word = await self.parts.entrance.invite(name, name.title(), frozenset(roles), "local:test", "a test", now)
        made = await self.parts.entrance.enrol(word, PASSWORD, None, now)
        self.phones[name] = Authenticator(made.key)
        await self.parts.entrance.confirm(word, self.code(name), None, now)

    def code(self, name: str) -> str:
        """A code of this person that was not used."""
        return self.phones[name].code()

    async def sign_in(self, name: str) -> Signed:
        """Come in as a person does."""
        body = {"name": name, "password": PASSWORD, "code": self.code(name)}
        answer = await self.ask("POST", "/v1/sessions", body)
        assert answer.status_code == 200, answer.text
        cookie = answer.cookies[COOKIE]
        self.http.cookies.clear()
        return Signed(cookie, answer.json()["csrf"])

    async def session_of(self, name: str, *roles: Role, stepped_up: bool = True) -> Signed:
        """A session of a person who is made when there is none, without a look at secrets."""
        now = datetime.now(UTC)
        if roles:
            texts = [str(role) for role in roles]
            word, ends = random.token_hex(), now + timedelta(hours=1)
            await self.ledger.change(Ledger.invite, name, name, texts, word, ends, "local:test", "a test", now)
            await self.ledger.change(Ledger.enrol, word, "$", "A" * 32, now)
            self.phones[name] = Authenticator("A" * 32)
            await self.ledger.change(Ledger.confirm, word, self.phones[name].skip(), now)
        phone = self.phones[name]
        signed = Signed(random.token_urlsafe(), random.token_urlsafe())
        session = hashlib.sha256(signed.cookie.encode()).hexdigest()
        ends = now + timedelta(hours=8)
        await self.ledger.change(Ledger.begin_session, name, session, signed.csrf, ends, phone.skip(), None, now)
        if stepped_up:
            await self.ledger.change(Ledger.step_up, session, phone.skip(), ends, now)
        return signed

    def forget_codes(self, name: str) -> None:
        """As if none of this person's codes had been used: a test has no half minutes to wait for."""
        with contextlib.closing(sqlite3.connect(self.path)) as ledger, ledger:
            ledger.execute("UPDATE people SET totp_step = 0 WHERE name = ?", [name])
        self.phones[name].step = 0

    def journal(self, *kinds: str) -> list[tuple[str, str, str | None, dict[str, Any]]]:
        """Kind, actor, about and body of the journal's records, of these kinds if any are named."""
        with contextlib.closing(sqlite3.connect(self.path)) as ledger:
            rows = ledger.execute("SELECT kind, actor, about, body FROM journal ORDER BY seq").fetchall()
        return [(*row[:3], json.loads(row[3])) for row in rows if not kinds or row[0] in kinds]


@asynccontextmanager
async def front_door(folder: Path) -> AsyncIterator[FrontDoor]:
    """The address of an agent whose ledger lies in `folder`; broker, Redis and nodes are away."""
    make_keys(folder / "keys", "operator")
    settings = Settings.model_validate(
        {
            "contract": {
                "operator": OPERATOR,
                "signing_key": folder / "keys" / "operator.jwk",
                "regulator_keys": [folder / "keys" / "operator.pub.jwk"],
            },
            "ledger": {"path": folder / "ledger.sqlite"},
            "redis": {"url": f"unix://{folder}/redis.sock"},
            "node": {"live": folder / "live", "state": folder / "node", "control": folder / "gateway.sock"},
        }
    )
    alarms: list[str] = []
    parts = assemble(settings)
    entrance = Entrance(parts.ledger, settings.access, Passwords(CHEAP), alarms.append)
    parts = replace(parts, entrance=entrance)
    app = web.app(parts)
    edge = Edge(face(app), web.hosts_of(settings.console), tls=True)
    transport = httpx.ASGITransport(app=edge, client=("192.0.2.7", 40000))
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as http:
        yield FrontDoor(app, http, parts, parts.ledger, settings.ledger.path, alarms)
    await parts.redis.aclose()
    parts.ledger.close()
