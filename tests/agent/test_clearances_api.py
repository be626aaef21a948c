"""The unblock desk over the API: who may, what is asked and decided, numbers masked, bad input told with its limit."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.access import Role
from agent.overdue import tell_overdue
from sync.contract import Order
from sync.ledger import Ledger
from tests.agent.inside import Inside, inside, person
from tests.sync.house import order

A, B = "+6281234567890", "+6281234567891"
CANARY = "81234567"
SRI, BUDI = person("sri", Role.OPERATOR), person("budi", Role.SUPERVISOR)
EVIDENCE = {"reference": "KL-2026-7", "document": "ab" * 32, "reason": "the holder came with a passport"}


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Inside]:
    async with inside(tmp_path, clearance={"most_numbers": 3}) as agent:
        yield agent


async def _block(agent: Inside, *numbers: str, serial: int = 1) -> Order:
    block = order(serial, *numbers, at=datetime.now(UTC))
    await agent.take(block)
    return block


async def test_one_asks_another_approves_and_no_answer_holds_the_number(agent: Inside) -> None:
    block = await _block(agent, A, B)
    sri, budi = agent.http(SRI), agent.http(BUDI)
    answers = [await sri.post("/v1/clearances", json={"number": A, **EVIDENCE})]
    assert answers[0].status_code == 202
    opened = answers[0].json()
    waits = opened["approval"]["id"]
    assert (opened["id"], opened["state"], opened["request"], opened["subject"]) == (
        *("c1", "asked", waits), "+62 812-••••-•890",
    )  # fmt: skip
    assert 86_000 < opened["left_s"] <= 86_400 and not opened["overdue"]
    own = await agent.http(person("sri", Role.SUPERVISOR)).post(f"/v1/approvals/{waits}/approve", json={"reason": "me"})
    assert own.status_code in (409, 422)
    adi = agent.http(person("adi", Role.OPERATOR))
    other = await adi.post(f"/v1/approvals/{waits}/approve", json={"reason": "yes"})
    assert other.status_code == 403, "countersigning is a supervisor's"
    answers.append(await budi.post(f"/v1/approvals/{waits}/approve", json={"reason": "letter read"}))
    answers += [await sri.get("/v1/clearances/c1"), await sri.get("/v1/clearances", params={"waiting": True})]
    story = answers[2].json()
    assert (story["state"], story["revision"]) == ("applying", "1.2")
    assert [(named["id"], named["number_is"], named["state"]) for named in story["orders"]] == [
        (block.id, "ended", "applying")
    ]
    assert story["approvals"][0]["decided_by"] == "budi" and story["blocking"] == []
    assert answers[3].json()["items"][0]["id"] == "c1"
    assert all(answer.is_success and CANARY not in answer.text for answer in answers)


@pytest.mark.parametrize(
    ("role", "opens"),
    [
        (Role.VIEWER, False), (Role.OPERATOR, True), (Role.SUPERVISOR, True), (Role.AUDITOR, False),
        (Role.ADMIN, False), (Role.LIAISON, True),
    ],
)  # fmt: skip
async def test_who_opens(agent: Inside, role: Role, opens: bool) -> None:
    await _block(agent, A)
    http = agent.http(person("x", role))
    assert (await http.post("/v1/clearances", json={"number": A, **EVIDENCE})).status_code == (202 if opens else 403)
    for path in ("/v1/clearances/reassigned", "/v1/clearances/c1/keep", "/v1/clearances/c1/lift"):
        answer = await http.post(path, json={})
        assert answer.status_code == (422 if opens else 403), path
    assert (await http.get("/v1/clearances")).status_code == 200


@pytest.mark.parametrize(
    ("wrong", "status", "why"),
    [
        ({"number": "6,28E+12"}, 422, "shortened by a spreadsheet"),
        ({"number": "081234567890"}, 422, "does not begin with + and a country code"),
        ({"number": "+628"}, 422, "3 digits; the fewest allowed are 7"),
        ({"number": "1" * 65}, 422, "number: "),
        ({"document": "AB" * 32}, 422, "document: "),
        ({"document": "ab"}, 422, "document: "),
        ({"reference": "7"}, 422, "reference: "),
        ({"reference": "KL-1234567"}, 422, "reference: "),
        ({"reference": "KL 7\r\nX"}, 422, "reference: "),
        ({"reason": "x"}, 422, "reason: "),
        ({"more": 1}, 422, "more: "),
        ({"number": B}, 409, "nothing blocks this number"),
        ({"reason": "call 0812 3456 7890 back"}, 409, "must not hold the number"),
    ],
)
async def test_bad_input_is_named_with_its_limit(agent: Inside, wrong: dict[str, Any], status: int, why: str) -> None:
    await _block(agent, A)
    answer = await agent.http(SRI).post("/v1/clearances", json={"number": A, **EVIDENCE, **wrong})
    assert answer.status_code == status and why in answer.json()["error"]["message"]
    assert CANARY not in answer.text
    assert (await agent.http(SRI).get("/v1/clearances")).json()["items"] == []


async def test_a_list_of_new_subscribers_is_counted_then_opened_and_one_review_is_kept(agent: Inside) -> None:
    await _block(agent, A, B)
    sri = agent.http(SRI)
    body = {"numbers": ["# June", A, B, "+6281100000000"], "reason": "sold again in June"}
    preview = (await sri.post("/v1/clearances/reassigned", json=body)).json()
    assert preview == {"numbers": 3, "blocked": 2, "open_already": 0, "new": 2, "opened": []}
    for numbers, why in (
        ([A, "6,28E+12", "0812"], 'line 2: "6,28E+12" was shortened'),
        ([A, B, A, B], "the list has 4 numbers; the most at once are 3 (clearance.most_numbers)"),
        (["#"], "holds no number"),
    ):
        refused = await sri.post("/v1/clearances/reassigned", json={**body, "numbers": numbers, "commit": True})
        assert refused.status_code == 422 and why in refused.json()["error"]["message"]
    done = (await sri.post("/v1/clearances/reassigned", json={**body, "commit": True})).json()
    assert done["opened"] == ["c1", "c2"]
    kept = (await sri.post("/v1/clearances/c1/keep", json={"reason": "the scam goes on"})).json()
    assert (kept["state"], kept["left_s"], kept["open"]) == ("kept", None, False)
    asked = await sri.post("/v1/clearances/c2/lift", json=EVIDENCE)
    assert asked.status_code == 202 and asked.json()["state"] == "asked"
    assert (await sri.post("/v1/clearances/c1/lift", json=EVIDENCE)).status_code == 409
    assert (await sri.get("/v1/clearances/c9")).status_code == 404


async def test_an_overdue_clearance_raises_an_alarm_once(agent: Inside) -> None:
    await _block(agent, A)
    await agent.http(SRI).post("/v1/clearances", json={"number": A, **EVIDENCE})
    ledger, alarms = agent.parts.ledger, agent.parts.alarms
    now = datetime.now(UTC)
    assert await tell_overdue(ledger, alarms, now) == 0
    assert alarms.raised["clearance_overdue"] == 0
    for _ in range(2):
        assert await tell_overdue(ledger, alarms, now + timedelta(hours=25.5)) == 1
    assert alarms.raised["clearance_overdue"] == 1
    (alarm,) = alarms.lately(now)
    assert alarm.about == "c1" and "1.5 h past its deadline" in alarm.text
    assert (await agent.parts.ledger.read(Ledger.clearances_overdue, now)) == []
