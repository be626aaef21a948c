"""The role matrix: every request of the API for every role, nobody, and a token that opens one thing.

What is expected is said twice: by the table of roles and each route's guard, and by hand in roles.toml. A change of
either alone is noticed. What a request then answers is its own matter, as long as it is not the guard's answer.
"""

import asyncio
import contextlib
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from agent.access import TABLE, Permission, Role
from agent.status import report
from tests.agent.front_door import FrontDoor, Signed, front_door
from tests.agent.routes import Endpoint, endpoints

BY_HAND = tomllib.loads((Path(__file__).parent / "roles.toml").read_text())
ROLES = list(Role)
STREAMS = {"/v1/events"}
"""Answers without an end: that they begin is enough."""

together = pytest.mark.asyncio(loop_scope="module")
shared = pytest_asyncio.fixture(scope="module", loop_scope="module")


@shared
async def door(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FrontDoor]:
    async with front_door(tmp_path_factory.mktemp("roles")) as opened:
        looking = asyncio.create_task(opened.parts.wall.run(opened.parts, report))
        yield opened
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking


@shared
async def people(door: FrontDoor) -> dict[Role, Signed]:
    return {role: await door.session_of(role.value, role) for role in ROLES}


def test_every_route_has_a_guard() -> None:
    assert [str(endpoint) for endpoint in endpoints() if not endpoint.guarded] == []


def test_the_table_by_hand_has_every_request_and_no_other() -> None:
    assert {str(endpoint) for endpoint in endpoints()} == set(BY_HAND["requests"]), "tests/agent/roles.toml"


@pytest.mark.parametrize("endpoint", endpoints(), ids=str)
def test_the_table_by_hand_and_the_guards_say_the_same(endpoint: Endpoint) -> None:
    by_guard = {role.value for role in ROLES if _may(endpoint, TABLE[role])}
    said = BY_HAND["requests"][str(endpoint)]
    by_hand = {role.value for role in ROLES} if said in ("anybody", "known") else set(said)
    assert by_hand == by_guard
    assert (said == "anybody") is (endpoint.permissions is None)


def test_the_roles_by_hand_are_the_roles() -> None:
    assert BY_HAND["roles"] == {role.value: sorted(map(str, TABLE[role])) for role in ROLES}


@together
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("endpoint", endpoints(), ids=str)
async def test_a_role_may_what_its_table_says(
    door: FrontDoor, people: dict[Role, Signed], endpoint: Endpoint, role: Role
) -> None:
    if endpoint.path.startswith("/v1/sessions/current") and endpoint.method != "GET":
        signed = await door.session_of(role.value)  # it ends, or is throttled: the others go on with theirs
    else:
        signed = people[role]
    answer = await _ask(door, endpoint, signed.headers)
    assert _refused(answer) is not _may(endpoint, TABLE[role]), answer.text


@together
@pytest.mark.parametrize("endpoint", endpoints(), ids=str)
async def test_nobody_may_what_is_not_for_everybody(door: FrontDoor, endpoint: Endpoint) -> None:
    answer = await _ask(door, endpoint, {})
    if endpoint.permissions is None:
        assert answer.status_code == 422, "there is nothing in it"
    else:
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "not_signed_in")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@together
@pytest.mark.parametrize("role", ROLES)
async def test_a_token_opens_its_one_scope_and_nothing_else(
    door: FrontDoor, people: dict[Role, Signed], role: Role
) -> None:
    for scope in sorted({Permission.SEE, min(TABLE[role] - {Permission.SEE}, default=Permission.SEE)}):
        body = {"name": f"only {scope}", "scopes": [scope]}
        made = await door.ask("POST", "/v1/tokens", body, people[role])
        assert made.status_code == 200, made.text
        bearer = {"Authorization": f"Bearer {made.json()['token']}"}
        wrong = [
            f"{endpoint} {answer.status_code}"
            for endpoint in endpoints()
            if endpoint.known and endpoint.path not in STREAMS | {"/v1/tokens/{token}"}
            for answer in [await _ask(door, endpoint, bearer)]
            if _refused(answer) is _may(endpoint, frozenset({scope}))
        ]
        assert wrong == []


def _may(endpoint: Endpoint, permissions: frozenset[Permission]) -> bool:
    return not endpoint.permissions or any(permission in permissions for permission in endpoint.permissions)


def _refused(answer: httpx.Response) -> bool:
    """Whether it is the guard that said no; the second factor, or nothing there, are told otherwise."""
    assert answer.status_code < 500 or answer.status_code == 503, answer.text
    return answer.status_code in (401, 403) and answer.json()["error"]["code"] in ("not_signed_in", "forbidden")


async def _ask(door: FrontDoor, endpoint: Endpoint, headers: dict[str, str]) -> httpx.Response:
    body = None if endpoint.method == "GET" else {}
    if endpoint.path in STREAMS:
        return await _beginning(door, endpoint.sample, headers)
    return await door.http.request(endpoint.method, endpoint.sample, json=body, headers=headers)


async def _beginning(door: FrontDoor, path: str, headers: dict[str, str]) -> httpx.Response:
    """The answer's head: the body of a stream has no end, so the connection ends with the first bytes."""
    told: dict[str, Any] = {}
    heads: list[tuple[bytes, bytes]] = [(b"host", door.http.base_url.netloc)]
    heads += [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "https",
        "headers": heads,
        "client": ("192.0.2.7", 1),
        "server": ("127.0.0.1", 8443),
    }
    pieces: list[bytes] = []
    began, asked = asyncio.Event(), False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await began.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            told.update(message)
            began.set()
        else:
            pieces.append(message.get("body", b""))

    transport = door.http._transport
    await transport.app(scope, receive, send)  # type: ignore[attr-defined]
    return httpx.Response(told["status"], headers=told["headers"], content=b"".join(pieces))
