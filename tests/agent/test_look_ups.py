"""Look-ups: a person's pace, whatever the session; bulk is refused and alarmed; the local socket has its own row."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from agent.access import Role, Viewer
from agent.look_ups import LookUpSettings, Pace
from tests.agent.inside import Inside, inside, later, person
from tests.sync.house import NOON

SRI = person("sri", Role.OPERATOR)


def _pace(**rows: int) -> Pace:
    return Pace(LookUpSettings.model_validate(rows))


def test_the_twentieth_in_a_minute_is_bulk() -> None:
    pace = _pace()
    for second in range(19):
        assert pace.take("sri", NOON + timedelta(seconds=second), local=False) is None
    refused = pace.take("sri", NOON + timedelta(seconds=19), local=False)
    assert refused is not None and refused.wait_s == 42
    assert refused.why == "20 look-ups within a minute are bulk (look_ups.bulk_per_minute)"
    assert pace.take("budi", NOON + timedelta(seconds=19), local=False) is None
    assert pace.take("SRI", NOON + timedelta(seconds=20), local=False) is not None, "one person, however written"


def test_who_waits_as_told_is_answered() -> None:
    pace, now = _pace(), NOON
    for _ in range(19):
        pace.take("sri", now, local=False)
    refused = pace.take("sri", now, local=False)
    assert refused is not None
    assert pace.take("sri", now + timedelta(seconds=refused.wait_s), local=False) is None


def test_who_goes_on_asking_goes_on_waiting() -> None:
    pace = _pace()
    answers = [pace.take("sri", NOON + timedelta(seconds=n), local=False) for n in range(600)]
    assert sum(answer is None for answer in answers) == 19


def test_nineteen_a_minute_end_with_the_days_most() -> None:
    pace = _pace(most_per_day=100)
    answers = [pace.take("sri", NOON + timedelta(seconds=4 * n), local=False) for n in range(400)]
    assert sum(answer is None for answer in answers) == 100
    last = answers[-1]
    assert last is not None and "look_ups.most_per_day" in last.why
    assert pace.take("sri", NOON + timedelta(hours=25), local=False) is None


def test_the_local_socket_is_one_person_with_its_own_limits() -> None:
    pace = _pace(local_bulk_per_minute=30)
    answers = [pace.take(f"local:{n}", NOON, local=True) for n in range(40)]
    assert sum(answer is None for answer in answers) == 29
    refused = answers[-1]
    assert refused is not None and "look_ups.local_bulk_per_minute" in refused.why


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Inside]:
    async with inside(tmp_path, look_ups={"bulk_per_minute": 5, "local_bulk_per_minute": 9}) as agent:
        yield agent


async def test_bulk_is_refused_with_a_time_and_alarmed_without_a_number(agent: Inside) -> None:
    statuses = []
    for n in range(6):
        client = agent.http(later(SRI, f"session-{n}"))
        answer = await client.post("/v1/explain", json={"text": f"+62812345600{n:02d}"})
        statuses.append(answer.status_code)
    assert statuses == [200] * 4 + [429] * 2
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert answer.json()["error"]["code"] == "bulk_look_up" and "look_ups.bulk_per_minute" in answer.text
    assert agent.parts.alarms.raised["look_up_bulk"] == 1
    assert (await agent.http(person("budi", Role.OPERATOR)).post("/v1/explain", json={"text": "1"})).status_code == 200
    local = agent.http(Viewer.local("root"))
    statuses = [(await local.post("/v1/explain", json={"text": "1"})).status_code for _ in range(10)]
    assert statuses == [200] * 8 + [429] * 2


async def test_the_permission_comes_first(agent: Inside) -> None:
    tia = agent.http(person("tia", Role.VIEWER))
    statuses = {(await tia.post("/v1/explain", json={"text": "1"})).status_code for _ in range(10)}
    assert statuses == {403}
    assert agent.parts.alarms.raised["look_up_bulk"] == 0
