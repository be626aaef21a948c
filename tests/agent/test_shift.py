"""The hand-over: what a shift did, what fell back by itself, what is open; no number in record or letter."""

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from agent.alarms import Alarms
from agent.shift_text import letter
from sync.ledger import Ledger
from tests.agent.api_house import ApiHouse, api_house
from tests.sync.house import order

NUMBER = "+6281234567890"


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[ApiHouse]:
    """An API whose parts have alarms."""
    async with api_house(tmp_path) as house:
        house.parts.alarms = Alarms(house.ledger)  # type: ignore[misc]  # a namespace, in this house
        yield house


async def _rule(house: ApiHouse, subject: str, reason: str) -> str:
    status, rule = await house.ask("POST", "/rules", {"subject": subject, "action": "reject", "reason": reason})
    assert status in {200, 201}, rule
    return str(rule["id"])


async def _shift(house: ApiHouse, by: str = "sri supervisor", hours: int = 8) -> dict[str, Any]:
    status, record = await house.ask("GET", f"/shift?hours={hours}", by=by)
    assert status == 200, record
    found: dict[str, Any] = record
    return found


async def test_a_quiet_shift_says_so(house: ApiHouse) -> None:
    record = await _shift(house)
    assert record["by"] == "sri" and record["hours"] == 8
    text = letter(record)
    for line in ("ALARMS: none", "BRAKED OR LAPSED: none", "RULES CHANGED: none", "ORDERS THAT CAME: none"):
        assert line in text


async def test_a_shift_hands_over_what_was_done_and_what_is_open(house: ApiHouse) -> None:
    rule = await _rule(house, "+99977", "wangiri since nine")
    await house.ask("POST", f"/rules/{rule}/shadow", {"reason": "to see what it stops", "expires_s": 3600})
    await house.take(order(1, NUMBER, at=datetime.now(UTC)), order(2, "+6281234500000", at=datetime.now(UTC)))
    house.parts.alarms.raise_("traffic_lost", f"minutes of {NUMBER} are missing", "gateway-1")

    record = await _shift(house)
    assert [(s["rule"], s["to_mode"]) for s in record["changed"]["rules"]["items"]] == [
        (rule, "shadow"),
        (rule, "disabled"),
    ]
    assert [o["ticket"] for o in record["changed"]["orders"]["items"]] == ["T-2", "T-1"]
    assert [r["id"] for r in record["ends"]["items"]] == [rule]
    assert [(a["kind"], a["open"]) for a in record["alarms"]["items"]] == [("traffic_lost", True)]
    text = letter(record)
    for part in (f"{rule} +99977*", "wangiri since nine", "T-1", "traffic_lost", "docs/runbooks/traffic-lost.md"):
        assert part in text
    assert max(map(len, text.splitlines())) <= 100


async def test_no_number_is_in_the_record_or_the_letter(house: ApiHouse) -> None:
    await house.take(order(1, NUMBER, at=datetime.now(UTC)))
    rule = await _rule(house, "+99977", f"{NUMBER} called about it")
    await house.ask("POST", f"/rules/{rule}/shadow", {"reason": f"as {NUMBER} said"})
    house.parts.alarms.raise_("brake", f"r1 stopped {NUMBER}", "r1")
    await house.ledger.change(
        Ledger.record, "node.drain", "sri", "gateway-1", {"reason": f"{NUMBER} asked"}, datetime.now(UTC)
    )
    record = await _shift(house)
    for said in (json.dumps(record), letter(record)):
        assert NUMBER[1:] not in said
        assert not re.search(r"\+?62812345\d{3,}", said)


@pytest.mark.parametrize("hours", [0, 169, "x"])
async def test_a_length_that_is_none_is_refused(house: ApiHouse, hours: object) -> None:
    assert (await house.ask("GET", f"/shift?hours={hours}"))[0] == 422


async def test_what_was_before_the_shift_is_not_in_it(house: ApiHouse) -> None:
    old = datetime(2020, 1, 1, tzinfo=UTC)
    await house.ledger.change(Ledger.record, "node.drain", "sri", "gateway-1", {"reason": "long ago"}, old)
    await house.ledger.change(Ledger.record, "node.undrain", "sri", "gateway-1", {"reason": "now"}, datetime.now(UTC))
    acts = (await _shift(house))["changed"]["acts"]["items"]
    assert [act["kind"] for act in acts] == ["node.undrain"]
