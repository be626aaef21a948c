"""The pages of shift and settings: what is handed over and in force, without a number, a script or a secret."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.access import Role
from agent.alarms import Alarms
from tests.agent.api_house import ApiHouse
from tests.console.test_rules_pages import ATTACK, CANARY, SUPERVISOR, VIEWER, console
from tests.sync.house import order


async def _full(house: ApiHouse) -> None:
    """A shift in which something of everything was."""
    house.parts.alarms = Alarms(house.ledger)  # type: ignore[misc]  # a namespace, in this house
    await house.take(order(1, CANARY, at=datetime.now(UTC), ticket=ATTACK[:30]))
    _, rule = await house.ask(
        "POST", "/rules", {"subject": "+99977", "action": "reject", "reason": f"{ATTACK} {CANARY}"}
    )
    await house.ask("POST", f"/rules/{rule['id']}/shadow", {"reason": "to see", "expires_s": 3600})
    house.parts.alarms.raise_("brake", f"{ATTACK} {CANARY} 400 times", rule["id"])


async def test_the_hand_over_shows_all_and_an_alarm_is_looked_after(tmp_path: Path) -> None:
    async with console(tmp_path) as (house, browser):
        await _full(house)
        supervisor = await browser(SUPERVISOR)
        text = await supervisor.open("/shift?hours=12")
        for part in ("+99977*", "&lt;script&gt;", "brake.md", "palang shift --hours 12", "handed over by siti"):
            assert part in text
        [alarm] = house.parts.alarms.lately(datetime.now(UTC))
        text = await supervisor.send(f"/shift/alarms/{alarm.id}", reason="rolled it back")
        assert "You look after it." in text and "siti looks after it" in text
        assert f"/shift/alarms/{alarm.id}" not in text


async def test_who_only_sees_has_nothing_to_press_and_is_refused(tmp_path: Path) -> None:
    async with console(tmp_path) as (house, browser):
        await _full(house)
        viewer = await browser(VIEWER)
        text = await viewer.open("/shift")
        assert "+99977*" in text and "/shift/alarms/" not in text
        [alarm] = house.parts.alarms.lately(datetime.now(UTC))
        status, _ = await house.ask("POST", f"/alarms/{alarm.id}/acknowledge", {"reason": "me"}, by=VIEWER)
        assert status == 403 and alarm.open(datetime.now(UTC))


async def test_a_quiet_shift_is_a_page_too_and_a_wrong_length_says_so(tmp_path: Path) -> None:
    async with console(tmp_path) as (house, browser):
        house.parts.alarms = Alarms(house.ledger)  # type: ignore[misc]
        viewer = await browser(VIEWER)
        assert "No rule was changed." in await viewer.open("/shift")
        await viewer.open("/shift?hours=999", 422)


@pytest.mark.parametrize("role", list(Role))
async def test_settings_are_shown_to_those_who_may_read_them(role: Role, tmp_path: Path) -> None:
    may = role in {Role.SUPERVISOR, Role.AUDITOR, Role.ADMIN}
    async with console(tmp_path) as (_, browser):
        somebody = await browser(f"somebody {role}")
        text = await somebody.open("/settings", 200 if may else 403)
    if may:
        for part in ("[gateway.checks]", "sign", "numbers.reveal", "id-national"):
            assert part in text
        assert not re.search(r">\s*[0-9a-f]{64}\s*<", text)


async def test_they_speak_indonesian(tmp_path: Path) -> None:
    async with console(tmp_path) as (house, browser):
        house.parts.alarms = Alarms(house.ledger)  # type: ignore[misc]
        supervisor = await browser(SUPERVISOR)
        supervisor.http.cookies.set("palang_language", "id")
        assert "Serah terima jaga" in await supervisor.open("/shift")
        assert "Semua pengaturan" in await supervisor.open("/settings")
