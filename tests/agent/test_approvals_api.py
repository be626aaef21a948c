"""Approvals over the API: 202 and what waits, decided on by another person who may, and no number in any answer."""

from pathlib import Path

import pytest

from agent.access import Permission
from sync.ledger.acts import TABLE
from tests.agent.api_house import api_house
from tests.sync.house import order

REASON = {"reason": "read the letter"}
CANARY = "+622150000123"


def test_who_decides_is_a_permission_of_the_table() -> None:
    for act in TABLE.values():
        assert Permission(act.permission)


async def test_an_order_waits_for_a_second_person(tmp_path: Path) -> None:
    async with api_house(tmp_path) as house:
        wide = order(1, "+77*")
        await house.take(wide)
        status, asked = await house.ask("POST", f"/orders/{wide.id}/approve", {"reason": "the office called"})
        assert (status, asked["state"], asked["approval"]["id"]) == (202, "held", "a1")
        status, found = await house.ask("GET", "/approvals?state=open", by="wati viewer")
        assert status == 200 and [one["id"] for one in found["items"]] == ["a1"]
        assert (found["items"][0]["author"], found["items"][0]["act"]) == ("sri", "order.approve")
        status, told = await house.ask("POST", "/approvals/a1/approve", REASON)
        assert (status, told["error"]["code"]) == (409, "refused") and "by its author" in told["error"]["message"]
        status, done = await house.ask("POST", "/approvals/a1/approve", REASON, by="budi supervisor")
        assert (status, done["state"], done["decided_by"]) == (200, "approved", "budi")
        status, story = await house.ask("GET", f"/orders/{wide.id}")
        assert story["state"] == "applying"
        assert (await house.ask("GET", "/approvals?state=open"))[1]["items"] == []


@pytest.mark.parametrize("by", ["wati viewer", "budi operator", "adi admin", "ari auditor"])
async def test_who_may_not_decide_on_an_order_may_not_countersign_it(tmp_path: Path, by: str) -> None:
    async with api_house(tmp_path) as house:
        wide = order(1, "+77*")
        await house.take(wide)
        await house.ask("POST", f"/orders/{wide.id}/approve", {"reason": "the office called"})
        for word in ("approve", "refuse"):
            status, told = await house.ask("POST", f"/approvals/a1/{word}", REASON, by=by)
            assert (status, told["error"]["code"]) == (403, "forbidden"), word
        assert (await house.ask("GET", "/approvals/a1"))[1]["state"] == "open"


async def test_all_who_hold_the_socket_are_one_person(tmp_path: Path) -> None:
    async with api_house(tmp_path) as house:
        wide = order(1, "+77*")
        await house.take(wide)
        assert (await house.ask("POST", f"/orders/{wide.id}/approve", REASON, by="root"))[0] == 202
        status, told = await house.ask("POST", "/approvals/a1/approve", REASON, by="deploy")
        assert status == 409 and "count as one" in told["error"]["message"]
        assert (await house.ask("POST", "/approvals/a1/withdraw", REASON, by="deploy"))[1]["state"] == "withdrawn"


async def test_no_number_comes_out(tmp_path: Path) -> None:
    async with api_house(tmp_path) as house:
        impossible = order(1, "+77*", CANARY)
        await house.take(impossible)
        await house.ask("POST", f"/orders/{impossible.id}/approve", {"reason": f"they say {CANARY} is theirs"})
        await house.ask("POST", "/approvals/a1/refuse", {"reason": f"{CANARY} is ours"}, by="budi supervisor")
        for path in ("/approvals", "/approvals/a1"):
            answer = await house.http.get(f"/v1{path}", headers={"X-Test-Viewer": "wati viewer"})
            assert CANARY[5:] not in answer.text and "they say" in answer.text


async def test_no_such_approval(tmp_path: Path) -> None:
    async with api_house(tmp_path) as house:
        for method, path, body in (("GET", "/approvals/a9", None), ("POST", "/approvals/x/approve", REASON)):
            status, told = await house.ask(method, path, body)
            assert (status, told["error"]["code"]) == (404, "not_found")
