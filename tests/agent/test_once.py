"""Idempotency keys: done once, told again; never done blindly."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.access import Role
from sync.ledger import Ledger
from tests.agent.front_door import FrontDoor, Signed, front_door

KEY = "Idempotency-Key"
BODY = {"reason": "left us"}


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[FrontDoor]:
    async with front_door(tmp_path) as opened:
        yield opened


@pytest.fixture
async def admin(door: FrontDoor) -> Signed:
    await door.session_of("sri", Role.OPERATOR)
    return await door.session_of("admin", Role.ADMIN)


async def _disable(door: FrontDoor, signed: Signed, key: str, body: Any = None, path: str = "sri") -> httpx.Response:
    return await door.ask("POST", f"/v1/people/{path}/disable", body or BODY, signed, **{KEY: key})


async def test_a_request_that_is_sent_twice_is_done_once_and_told_twice(door: FrontDoor, admin: Signed) -> None:
    first, second = [await _disable(door, admin, "key-00000001") for _ in range(2)]
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json() == second.json()
    assert ("Idempotency-Replayed" in first.headers, second.headers["Idempotency-Replayed"]) == (False, "true")
    assert second.headers["Content-Type"] == "application/json"
    assert len(door.journal("person.disable")) == 1
    assert (await door.ask("POST", "/v1/people/sri/disable", BODY, admin)).status_code == 409, "without a key: refused"


async def test_a_key_is_for_one_request(door: FrontDoor, admin: Signed) -> None:
    await _disable(door, admin, "key-00000001")
    other = await _disable(door, admin, "key-00000001", {"reason": "another one"})
    assert (other.status_code, other.json()["error"]["code"]) == (422, "key_reused")


async def test_a_key_belongs_to_who_sent_it(door: FrontDoor, admin: Signed) -> None:
    await _disable(door, admin, "key-00000001")
    boss = await door.session_of("boss", Role.ADMIN)
    answer = await _disable(door, boss, "key-00000001")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "refused"), "its own answer, not another's"


async def test_a_refusal_gives_the_key_back(door: FrontDoor, admin: Signed) -> None:
    assert (await _disable(door, admin, "key-00000001", path="nobody")).status_code == 404
    assert (await _disable(door, admin, "key-00000001")).status_code == 200


async def test_a_request_that_was_cut_off_is_not_done_blindly(
    door: FrontDoor, admin: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object, **more: object) -> None:
        raise RuntimeError("the power went")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "keep_reply", broken)
        with pytest.raises(RuntimeError):
            await _disable(door, admin, "key-00000001")
    again = await _disable(door, admin, "key-00000001")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "cut_off")
    assert len(door.journal("person.disable")) == 1


async def test_two_at_once_are_one(door: FrontDoor, admin: Signed) -> None:
    answers = await asyncio.gather(*(_disable(door, admin, "key-00000001") for _ in range(10)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert sum(answer.status_code == 200 for answer in answers) >= 1
    assert {a.json()["error"]["code"] for a in answers if a.status_code == 409} <= {"under_way"}
    assert len(door.journal("person.disable")) == 1


async def test_a_secret_is_told_once_and_not_kept(door: FrontDoor, admin: Signed) -> None:
    body = {"name": "budi", "display": "Budi", "roles": ["viewer"], "reason": "new"}
    first, second = [await door.ask("POST", "/v1/people", body, admin, **{KEY: "key-00000001"}) for _ in range(2)]
    assert first.status_code == 200
    assert (second.status_code, second.json()["error"]["code"]) == (409, "told_once")
    files = b"".join(path.read_bytes() for path in door.path.parent.glob("ledger.sqlite*"))
    assert b"key-00000001" in files, "the search looks in the right place"
    assert first.json()["invitation"].encode() not in files


async def test_a_key_is_forgotten_after_a_day(door: FrontDoor) -> None:
    now = datetime.now(UTC)
    ledger = door.ledger
    assert (await ledger.read(Ledger.take_key, "sri", "key-00000001", "x", now)).state == "new"
    later = now + timedelta(hours=23)
    assert (await ledger.read(Ledger.take_key, "sri", "key-00000001", "x", later)).state == "cut_off"
    later = now + timedelta(hours=25)
    assert (await ledger.read(Ledger.take_key, "sri", "key-00000001", "x", later)).state == "new"


@pytest.mark.parametrize("key", ["short", "x" * 65, "with space", "né-néné-né"])
async def test_what_is_no_key_is_refused(door: FrontDoor, admin: Signed, key: str) -> None:
    headers = [*admin.headers.items(), (KEY, key.encode("latin-1"))]
    answer = await door.http.post("/v1/people/sri/disable", json=BODY, headers=dict(headers))
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid")


async def test_without_a_session_a_key_changes_nothing(door: FrontDoor) -> None:
    answer = await door.ask("POST", "/v1/people/sri/disable", BODY, None, **{KEY: "key-00000001"})
    assert answer.status_code == 401
