"""The canary walk: numbers everywhere inside, and none in what leaves, whoever asks, but in an allowed reveal."""

import asyncio
import io
import logging
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from starlette.types import ASGIApp

from agent import api, logs
from agent.access import Role, Viewer
from agent.access.secrets import digest
from agent.console import face
from agent.status import report
from agent.watching import watchers
from sync.ledger import Ledger
from sync.ledger.views import LedgerHit
from tests.agent.canaries import Canaries, forms_of
from tests.agent.inside import As, Inside, inside, person
from tests.agent.walk import Asked, Told, Walk, api_routes, ask, page_routes, walk
from tests.sync.house import advisory, order, reading

TELLER = person("teller", Role.OPERATOR)
VIEWERS = {
    **{role.value: person(f"{role.value}-1", role) for role in Role},
    "everything": person("all-of-it", *Role),
    "local": Viewer.local("root"),
    "token": Viewer.of("prog", frozenset(Role), "token"),
}
ROOMY = {"per_hour": 100_000, "per_day": 100_000, "night_from": 0, "night_until": 0}
LOOKING = ("viewer", "auditor", "everything")
ACTING = ("everything",)


@dataclass
class World:
    """One agent full of canaries, and everything that has left it."""

    agent: Inside
    canaries: Canaries
    known: dict[str, str]
    log: io.StringIO
    seen: int = 0
    leaks: list[str] = field(default_factory=list)
    clean: set[str | bytes] = field(default_factory=set, repr=False)

    def app(self, viewer: Viewer) -> ASGIApp:
        """Pages and API, as this viewer."""
        return face(api.app(self.agent.parts, As(viewer)))

    def walk(self, app: ASGIApp) -> Walk:
        """The walk."""
        return Walk(self.agent_schema(), self.canaries, self.known)

    def agent_schema(self) -> dict[str, Any]:
        """The API's own description."""
        return api.app(self.agent.parts, As(TELLER)).openapi()

    def check(self, told: Told, who: str) -> None:
        """Note what of a canary is in this response."""
        self.seen += 1
        parts = {"body": told.body, **{f"header {name}": value for name, value in told.headers}}
        for place, content in parts.items():
            if content in self.clean:
                continue
            found = self.canaries.found(content)
            if found:
                where = f"{who}: {told.asked.method} {told.asked.path} -> {told.status}, {place}: {found}"
                self.leaks.append(where)
            else:
                self.clean.add(content)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What is logged, written as the agent writes it."""
    written = io.StringIO()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            logs.blot,
            structlog.processors.JSONRenderer(ensure_ascii=True),
        ],
        logger_factory=structlog.PrintLoggerFactory(written),
        cache_logger_on_first_use=False,
    )
    handler = logs._Bridge()
    logging.getLogger().addHandler(handler)
    yield written
    logging.getLogger().removeHandler(handler)
    structlog.reset_defaults()


@pytest.fixture
async def world(tmp_path: Path, log: io.StringIO) -> AsyncIterator[World]:
    canaries = Canaries()
    held, honey, probe = canaries.take(), canaries.take(), canaries.take()
    async with inside(
        tmp_path,
        gate={"protected": [held]},
        reveal={"honey": [honey], **ROOMY},
        look_ups={"bulk_per_minute": 10**6, "most_per_day": 10**6, "local_bulk_per_minute": 10**6},
        probe={"to": probe},
        gateway={
            "trunks": [{"name": "intl-a", "sources": ["127.0.0.2/32"], "plan": "international", "trusted": True}],
            "next_hops": [{"name": "switch-1", "address": "127.0.0.1:5090", "networks": ["127.0.0.1/32"]}],
            "listen": ["udp:127.0.0.1:5060"],
        },
    ) as agent:
        known = await _seed(agent, canaries, held)
        looking = asyncio.create_task(agent.parts.wall.run(agent.parts, report))
        writing = asyncio.create_task(agent.parts.alarms.run())
        yield World(agent, canaries, known, log)
        for task in (looking, writing):
            task.cancel()
        await asyncio.gather(looking, writing, return_exceptions=True)


async def _seed(agent: Inside, canaries: Canaries, held: str) -> dict[str, str]:
    """Canaries in every place that the ledger has; what is there, by the names that paths and bodies give it."""
    now, take, said = datetime.now(UTC), canaries.take, canaries.said
    blocked = take()
    first = order(1, blocked, at=now, office=said()[:64], legal_basis=said(), ticket=said()[:64], category=said()[:64])
    waits = order(2, held, take(), at=now)
    odd = order(3, take() + "9999", "+62112", take(), at=now)
    await agent.take(first, waits, odd)
    raw = f'{{"subjects": ["{take()}"]}}'.encode()
    await agent.take(advisory(4, f"{canaries.foreign()[:6]}*").model_copy(update={"reason": said()}))  # type: ignore[arg-type]
    await agent.parts.ledger.change(Ledger.take, [reading(raw), reading(b"\xff" + raw)], now)
    local = agent.http(Viewer.local("root"))

    async def post(path: str, **body: Any) -> dict[str, Any]:
        answer = await local.post(f"/v1{path}", json=body)
        assert answer.status_code < 300, (path, answer.text)
        made: dict[str, Any] = answer.json()
        return made

    rule = await post("/rules", subject=take(), action="allow", reason=said())
    await post(f"/rules/{rule['id']}/shadow", reason=said())
    gone = await post("/rules", subject=take(), action="reject", reason=said())
    await local.request("DELETE", f"/v1/rules/{gone['id']}", json={"reason": said()})
    cleared = await post(
        "/clearances", number=blocked, reference="CLR-a", document="ab" * 32, reason=said(), exception=True
    )
    await post("/clearances/reassigned", numbers=[blocked, take(), f"{take()} # {said()}"], reason=said(), commit=True)
    asked = await post(f"/orders/{waits.id}/approve", reason=said())
    invited = await post("/people", name="sri", display=said()[:64], roles=["operator"], reason=said())
    word = digest(invited["invitation"])
    await agent.parts.ledger.change(Ledger.enrol, word, "$", "A" * 32, now)
    await agent.parts.ledger.change(Ledger.confirm, word, 1, now)
    token = await post("/tokens", name=said()[:64], scopes=["see"], person="sri")
    await agent.parts.ledger.change(
        Ledger.record, "node.drain", "sri", "gw1", {take(): [said(), int(take()[1:])], "reason": said()}, now
    )
    alarm = agent.parts.alarms.raise_("list_differs", said(), "gw1")
    hit = LedgerHit(blocked, "order", "reject", "reject", 1, 1, round(now.timestamp() * 1000), take()[1:])
    await agent.parts.ledger.change(Ledger.count_hits, [hit], now)
    reveal = await agent.http(TELLER).post(
        "/v1/reveals",
        json={"about": first.id, "code": "complaint", "reason": said(), "ticket": f"T {take()[1:]}"},
    )
    assert reveal.status_code == 201, reveal.text
    return {
        "order": first.id,
        "rule": rule["id"],
        "clearance": cleared["id"],
        "alarm": alarm.id,
        "approval": asked["approval"]["id"],
        "reveal": reveal.json()["id"],
        "name": "sri",
        "person": "sri",
        "token": str(token["id"]),
        "about": first.id,
        "trunk": "intl-a",
        "code": "complaint",
        "state": "open",
        "until": (now + timedelta(days=1)).isoformat().replace("+00:00", "Z"),
    }


@pytest.mark.parametrize("form", range(len(forms_of("+6281299887766"))))
def test_a_canary_is_seen_in_every_form(form: int) -> None:
    canaries = Canaries()
    number = canaries.take()
    written = forms_of(number)[form]
    assert canaries.found(f"a {written} b") == [number], written
    assert canaries.found(f"+62 812-••••-•{number[-3:]} {number[:5]}••••• 2026-11-22T15:00:00Z") == []


def test_no_moment_and_no_digest_is_taken_for_a_canary() -> None:
    canaries = Canaries()
    digits = canaries.take()[-8:]
    digest = f"a{digits}".ljust(64, "c")
    of_ours = (
        f"2026-11-22T15:00:{digits[:2]}.{digits[2:]}Z",
        f"17{digits}",
        f"[1799999,17{digits}.5,17{digits}000]",
        digest,
    )
    for known in of_ours:
        assert canaries.found(known) == [], known
    near = (f"15:00 {digits[:2]}.{digits[2:]}", f"17{digits}0", f"27{digits}", f"{digest}c", digest[:31])
    for other in near:
        assert canaries.found(other) != [], other


async def test_the_reveal_that_is_allowed_shows_it_and_the_search_sees_that(world: World) -> None:
    path = f"/v1/reveals/{world.known['reveal']}"
    shown = await world.agent.http(TELLER).get(path)
    assert world.canaries.found(shown.text) == [shown.json()["number"]]
    for who, viewer in VIEWERS.items():
        answer = await world.agent.http(viewer).get(path)
        assert answer.status_code in (403, 404), who


def test_the_walk_knows_every_route() -> None:
    assert len(api_routes()) > 40 and len(page_routes()) > 4
    served = {
        path
        for path, item in api.app(SimpleNamespace(figures=None), As(TELLER)).openapi()["paths"].items()
        for _ in item
    }  # type: ignore[arg-type]
    assert served <= {path for _, path, _ in api_routes()}


@pytest.mark.timeout(300)
async def test_nothing_that_leaves_has_a_number(world: World) -> None:
    await _whole_walk(world, LOOKING, ACTING)


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_nothing_that_leaves_has_a_number_whoever_asks(world: World) -> None:
    await _whole_walk(world, tuple(VIEWERS), tuple(VIEWERS))


_MEASURED = re.compile(r"^(\w+_(?:seconds|bytes)\w*(?:\{.*\})?) \S+$", re.MULTILINE)
"""A metric in seconds or bytes: what a clock or the system has measured has any digits."""


async def _whole_walk(world: World, looking: tuple[str, ...], acting: tuple[str, ...]) -> None:
    for who in looking:
        app, steps = world.app(VIEWERS[who]), world.walk(world.app(VIEWERS[who]))
        for requests in (steps.of_api(acts=False), steps.of_pages(acts=False), steps.of_nothing()):
            async for told in walk(app, requests, {"accept-language": "id" if who == "auditor" else "en"}):
                world.check(told, who)
    for who in acting:
        app, steps = world.app(VIEWERS[who]), world.walk(world.app(VIEWERS[who]))
        for requests in (steps.of_api(acts=True), steps.of_pages(acts=True, token=await _token(app))):
            async for told in walk(app, requests, {"sec-fetch-site": "same-origin"}):
                world.check(told, who)
    for who in acting:  # what the acts have left in lists and stories
        app, steps = world.app(VIEWERS[who]), world.walk(world.app(VIEWERS[who]))
        for requests in (steps.of_api(acts=False), steps.of_pages(acts=False)):
            async for told in walk(app, requests, {}):
                world.check(told, who)
    assert not world.leaks, "\n".join(world.leaks)
    listener = watchers(world.agent.parts)
    for path, answers in listener._routes.items():
        answer = await answers()
        assert world.canaries.found(_MEASURED.sub(r"\1", str(answer.body))) == [], path
    assert world.seen > 500
    assert world.log.getvalue() and world.canaries.found(world.log.getvalue()) == []


async def _token(app: ASGIApp) -> str:
    """What a form of this viewer's pages carries."""
    page = await ask(app, Asked("GET", "/wall"), {})
    found = re.search(rb'name="csrf" value="([^"]+)"', page.body)
    return found[1].decode() if found else ""
