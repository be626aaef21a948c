"""Reveals over the API: who may, why, for how long, how many; the journal first, alarms after, nothing in the list."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.access import Role, Viewer
from sync.ledger import LedgerUnavailable
from tests.agent.inside import Inside, inside, later, person
from tests.sync.house import order

NUMBERS = [f"+62812{n * 7919:08d}" for n in range(1, 40)]
HONEY = "+6281299990000"
SRI = person("sri", Role.OPERATOR)
DAY = {"night_from": 0, "night_until": 0}
WHY = {"code": "complaint", "reason": "the caller asks which of theirs", "ticket": "CASE-17"}


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Inside]:
    async with inside(tmp_path, reveal={"honey": [HONEY], **DAY}) as agent:
        yield agent


async def _block(agent: Inside, *numbers: str) -> str:
    block = order(1, *numbers, at=datetime.now(UTC))
    await agent.take(block)
    return block.id


async def test_a_number_is_shown_to_whom_it_was_revealed(agent: Inside) -> None:
    block = await _block(agent, *NUMBERS[:2])
    sri = agent.http(SRI)
    answer = await sri.post("/v1/reveals", json={"about": block, "position": 1, **WHY})
    assert answer.status_code == 201 and NUMBERS[1][1:] not in answer.text
    made = answer.json()
    shown = await sri.get(f"/v1/reveals/{made['id']}")
    assert shown.json()["number"] == NUMBERS[1] and 50 <= shown.json()["left_s"] <= 60
    assert shown.headers["Cache-Control"] == "no-store"
    for viewer in (later(SRI, "sri-2"), person("budi", Role.OPERATOR), person("adi", Role.SUPERVISOR)):
        assert (await agent.http(viewer).get(f"/v1/reveals/{made['id']}")).status_code == 404
    record = (await agent.journal())[-1]
    assert (record.kind, record.actor) == ("number.reveal", "sri")


async def test_its_time_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with inside(tmp_path, reveal=DAY) as agent:
        block = await _block(agent, *NUMBERS[:2])
        sri = agent.http(SRI)
        first = (await sri.post("/v1/reveals", json={"about": block, **WHY})).json()
        await sri.post("/v1/reveals", json={"about": block, "position": 1, **WHY})
        over = await sri.get(f"/v1/reveals/{first['id']}")
        assert (over.status_code, over.json()["error"]["code"]) == (410, "gone"), "one at a time"


@pytest.mark.parametrize(
    ("viewer", "status", "code"),
    [
        (person("tia", Role.VIEWER), 403, "forbidden"),
        (person("adi", Role.AUDITOR), 403, "forbidden"),
        (person("ros", Role.ADMIN), 403, "forbidden"),
        (person("sri", Role.OPERATOR, stepped_up=False), 403, "step_up_needed"),
        (Viewer.local("root"), 403, "forbidden"),
        (Viewer.of("sri", frozenset({Role.OPERATOR}), "token"), 403, "forbidden"),
        (person("sri", Role.SUPERVISOR), 201, None),
        (person("sri", Role.LIAISON), 201, None),
    ],
)
async def test_who_may(agent: Inside, viewer: Viewer, status: int, code: str | None) -> None:
    block = await _block(agent, NUMBERS[0])
    before = len(await agent.journal())
    answer = await agent.http(viewer).post("/v1/reveals", json={"about": block, **WHY})
    assert (answer.status_code, answer.json().get("error", {}).get("code")) == (status, code)
    assert len(await agent.journal()) == before + (status == 201)


@pytest.mark.parametrize(
    "change",
    [
        {"reason": "."},
        {"reason": ". . . . . . . . ."},
        {"reason": "aaaaaaaaaaaaaaaaa"},
        {"reason": "081234567890123"},
        {"reason": "          short   "},
        {"ticket": ""},
        {"ticket": "..."},
        {"ticket": "=cmd()"},
        {"code": "curious"},
        {"position": -1},
        {"position": 7},
        {"about": "r9"},
        {"about": "nothing at all"},
        {"more": 1},
    ],
)
async def test_without_an_account_nothing(agent: Inside, change: dict[str, Any]) -> None:
    block = await _block(agent, NUMBERS[0])
    before = len(await agent.journal())
    answer = await agent.http(SRI).post("/v1/reveals", json={"about": block, **WHY, **change})
    assert answer.status_code in (404, 409, 422), answer.text
    assert len(await agent.journal()) == before


async def test_when_the_journal_can_not_be_written_nothing_is_shown(
    agent: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = await _block(agent, NUMBERS[0])

    def full(name: str) -> None:
        if name == "ledger.before_commit":
            raise LedgerUnavailable("disk full")

    monkeypatch.setattr("sync.ledger.store.reach", full)
    sri = agent.http(SRI)
    answer = await sri.post("/v1/reveals", json={"about": block, **WHY})
    assert answer.status_code == 503 and NUMBERS[0][1:] not in answer.text
    monkeypatch.undo()
    assert (await sri.get("/v1/reveals/v1")).status_code == 404


async def test_unusual_reveals_alarm(agent: Inside) -> None:
    row = [f"+62812345600{n:02d}" for n in (1, 2, 3)]
    block = await _block(agent, *row, HONEY)
    sri = agent.http(SRI)
    for place in range(2):
        await sri.post("/v1/reveals", json={"about": block, "position": place, **WHY})
    assert sum(agent.parts.alarms.raised.values()) == 0
    third = (await sri.post("/v1/reveals", json={"about": block, "position": 2, **WHY})).json()
    assert third["unusual"] == ["sequential"]
    await sri.post("/v1/reveals", json={"about": block, "position": 3, **WHY})
    raised = agent.parts.alarms.raised
    assert (raised["reveal_unusual"], raised["reveal_honey"]) == (1, 1)
    told = agent.parts.alarms.lately(datetime.now(UTC))
    assert all("sri" in alarm.text and not any(n[1:] in alarm.text for n in (*row, HONEY)) for alarm in told)


async def test_the_quota_holds_whatever_the_session(agent: Inside) -> None:
    block = await _block(agent, *NUMBERS)
    for place in range(20):
        answer = await agent.http(later(SRI, f"s{place}")).post(
            "/v1/reveals", json={"about": block, "position": place, **WHY}
        )
        assert answer.status_code == 201
    answer = await agent.http(later(SRI, "s99")).post("/v1/reveals", json={"about": block, "position": 20, **WHY})
    waits = answer.json()["approval"]
    assert answer.status_code == 202 and "reveal.per_hour" in waits["why"]
    own = await agent.http(person("sri", Role.SUPERVISOR)).post(
        f"/v1/approvals/{waits['id']}/approve", json={"reason": "fine by me"}
    )
    assert own.status_code == 409
    peer = await agent.http(person("budi", Role.OPERATOR)).post(
        f"/v1/approvals/{waits['id']}/approve", json={"reason": "fine by me"}
    )
    assert peer.status_code == 403
    agreed = await agent.http(person("adi", Role.SUPERVISOR)).post(
        f"/v1/approvals/{waits['id']}/approve", json={"reason": "many complaints today"}
    )
    assert agreed.status_code == 200
    again = await agent.http(later(SRI, "s99")).post("/v1/reveals", json={"about": block, "position": 20, **WHY})
    assert again.status_code == 201


async def test_the_review_list_is_masked_and_others_see_their_own(agent: Inside) -> None:
    block = await _block(agent, NUMBERS[0])
    why = {**WHY, "reason": "they say it is 0812 3456 7890"}
    await agent.http(SRI).post("/v1/reveals", json={"about": block, **why})
    await agent.http(person("budi", Role.OPERATOR)).post("/v1/reveals", json={"about": block, **WHY})
    listed = await agent.http(person("adi", Role.AUDITOR)).get("/v1/reveals")
    assert [one["person"] for one in listed.json()["items"]] == ["budi", "sri"]
    assert listed.json()["items"][1]["reason"] == "they say it is 0812•••••"
    assert NUMBERS[0][1:] not in listed.text and "session" not in listed.text
    mine = await agent.http(SRI).get("/v1/reveals")
    assert [one["person"] for one in mine.json()["items"]] == ["sri"]
    assert (await agent.http(person("tia", Role.VIEWER)).get("/v1/reveals")).status_code == 403
