"""Rules over the API: four steps and back, each with its permission; wide ones by two persons, or alone at night."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent import rule_clock
from agent.alarms import Alarms
from agent.night import is_night
from agent.settings import Settings
from agent.settings_rules import RulesSettings
from agent.traffic.settings import WidthSettings
from sync.ledger import Ledger
from tests.agent.api_house import ApiHouse, api_house
from tests.agent.nights import at_night, by_day
from tests.sync.house import order

WHY = {"reason": "one-ring calls"}
NARROW = Settings(width=WidthSettings(unknown_is_wide=False))
OPERATOR, SECOND = "budi operator", "sri operator"


async def propose(house: ApiHouse, subject: str = "+7701", **more: Any) -> str:
    status, made = await house.ask("POST", "/rules", {"subject": subject, "action": "reject", **WHY, **more}, OPERATOR)
    assert (status, made["mode"], made["version"]) == (200, "disabled", 1), made
    return str(made["id"])


async def step(house: ApiHouse, rule: str, word: str, by: str = OPERATOR, **body: Any) -> tuple[int, Any]:
    return await house.ask("POST", f"/rules/{rule}/{word}", {**WHY, **body}, by)


async def test_from_idea_to_enforcement_and_back(tmp_path: Path) -> None:
    async with api_house(tmp_path, NARROW) as house:
        rule = await propose(house)
        for word, mode in (
            ("shadow", "shadow"), ("enforce", "enforce"), ("renew", "enforce"), ("roll-back", "enforce"),
            ("disable", "disabled"), ("roll-back", "enforce"), ("roll-back", "disabled"),
        ):  # fmt: skip
            status, done = await step(house, rule, word)
            assert (status, done["mode"]) == (200, mode), (word, done)
        assert done["before"]["mode"] == "enforce" and done["after"]["mode"] == "disabled" and done["undone"] == 7
        status, found = await house.ask("GET", f"/rules/{rule}/transitions?limit=3")
        assert [one["cause"] for one in found["items"]] == ["roll_back", "roll_back", "person"]
        status, older = await house.ask("GET", f"/rules/{rule}/transitions?after={found['next']}")
        assert [one["to_mode"] for one in older["items"]] == ["enforce", "enforce", "enforce", "shadow", "disabled"]
        assert older["next"] is None
        status, removed = await house.ask("DELETE", f"/rules/{rule}", WHY, OPERATOR)
        assert (status, removed["live"]) == (200, False)
        status, told = await step(house, rule, "roll-back")
        assert status == 409 and "can't be rolled back" in told["error"]["message"]


@pytest.mark.parametrize("by", ["wati viewer", "ari auditor", "adi admin", "lia regulator-liaison"])
async def test_who_may_not_change_a_rule_changes_none(tmp_path: Path, by: str) -> None:
    async with api_house(tmp_path, NARROW) as house:
        rule = await propose(house)
        asked = [(f"/rules/{rule}/{word}", "POST") for word in ("shadow", "enforce", "disable", "renew", "roll-back")]
        for path, method in (*asked, (f"/rules/{rule}", "DELETE")):
            status, told = await house.ask(method, path, WHY, by)
            assert (status, told["error"]["code"]) == (403, "forbidden"), path
        status, _ = await house.ask("POST", "/rules", {"subject": "+7702", "action": "reject", **WHY}, by)
        assert status == 403
        assert (await house.ask("GET", f"/rules/{rule}", by=by))[1]["version"] == 1


async def test_a_change_of_what_has_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    async with api_house(tmp_path, NARROW) as house:
        rule = await propose(house)
        answer = await house.http.get(f"/v1/rules/{rule}", headers={"X-Test-Viewer": OPERATOR})
        assert answer.headers["ETag"] == '"1"'
        await step(house, rule, "shadow")
        for word in ("enforce", "disable", "renew", "roll-back", "shadow"):
            status, told = await house.ask("POST", f"/rules/{rule}/{word}", WHY, OPERATOR, **{"If-Match": '"1"'})
            assert (status, told["error"]["code"]) == (412, "changed_meanwhile"), word
        status, _ = await house.ask("DELETE", f"/rules/{rule}", WHY, OPERATOR, **{"If-Match": '"2"'})
        assert status == 200


async def test_a_wide_rule_is_countersigned_by_another_person(tmp_path: Path) -> None:
    async with api_house(tmp_path, NARROW) as house:
        rule = await propose(house, "+77")
        status, done = await step(house, rule, "enforce", expires_s=86_400)
        assert (status, done["mode"], done["approval"]["act"]) == (202, "disabled", "rule.enforce")
        assert "2 digits" in done["wide"][0] and done["approval"]["why"] == done["wide"][0]
        for by, expected in ((OPERATOR, 409), ("wati viewer", 403), (SECOND, 200)):
            status, _ = await house.ask("POST", "/approvals/a1/approve", WHY, by)
            assert status == expected, by
        status, found = await house.ask("GET", f"/rules/{rule}")
        ends = datetime.fromisoformat(found["expires_at"]) - datetime.now(UTC)
        assert found["mode"] == "enforce" and timedelta(hours=23) < ends < timedelta(hours=24)


async def test_shadow_label_and_proposals_are_free_however_wide(tmp_path: Path) -> None:
    async with api_house(tmp_path, NARROW) as house:
        assert (await step(house, await propose(house, "+62"), "shadow"))[0] == 200
        assert (await step(house, await propose(house, "+77", action="label"), "enforce"))[0] == 200


async def test_alone_at_night_for_an_hour_and_by_day_not_at_all(tmp_path: Path) -> None:
    async with api_house(tmp_path, NARROW.model_copy(update={"rules": at_night()})) as house:
        rule = await propose(house, "+77")
        status, done = await step(house, rule, "enforce", alone=True)
        ends = datetime.fromisoformat(done["expires_at"]) - datetime.now(UTC)
        assert (status, done["mode"]) == (202, "enforce") and timedelta(minutes=59) < ends <= timedelta(minutes=60)
        assert done["approval"]["until"] == done["expires_at"]
    (tmp_path / "day").mkdir()
    async with api_house(tmp_path / "day", NARROW.model_copy(update={"rules": by_day()})) as house:
        rule = await propose(house, "+77")
        status, told = await step(house, rule, "enforce", alone=True)
        assert (
            status == 409 and "only at night" in told["error"]["message"] and "rules.night" in told["error"]["message"]
        )
        assert (await house.ask("GET", f"/rules/{rule}"))[1]["mode"] == "disabled"
        narrow = await propose(house, "+7701")  # what is not wide needs no night
        assert (await step(house, narrow, "enforce", alone=True))[1]["mode"] == "enforce"


async def test_an_orders_rule_is_nobodys_to_change(tmp_path: Path) -> None:
    async with api_house(tmp_path, NARROW) as house:
        await house.take(order(1, "+6281234567890"))
        for word in ("shadow", "enforce", "disable", "renew", "roll-back"):
            status, told = await step(house, "r1", word, by="sri supervisor")
            assert status == 409 and ("only an unblock order" in told["error"]["message"] or "already" in str(told)), (
                word
            )


@pytest.mark.parametrize(
    "body",
    [
        {"subject": "+7701", "action": "explode"}, {"subject": "+7701", "action": "reject", "mode": "enforce"},
        {"subject": "+7701", "action": "reject", "trunks": ["nowhere"]}, {"subject": "nothing", "action": "reject"},
        {"subject": "+7701", "action": "reject", "expires_s": 3},
    ],
)  # fmt: skip
async def test_what_is_no_rule_is_refused(tmp_path: Path, body: dict[str, Any]) -> None:
    async with api_house(tmp_path, NARROW) as house:
        status, told = await house.ask("POST", "/rules", {**WHY, **body}, OPERATOR)
        assert status in (409, 422) and told["error"]["message"]
        assert (await house.ask("GET", "/rules"))[1]["items"] == []


async def test_no_number_in_a_reason_comes_out(tmp_path: Path) -> None:
    async with api_house(tmp_path, NARROW) as house:
        rule = await propose(house, "+62811999000111", reason="+62811999000111 calls all night")
        await step(house, rule, "shadow", reason="asked +62811999000111")
        await house.ask("DELETE", f"/rules/{rule}", {"reason": "+62811999000111 said sorry"}, OPERATOR)
        for path in (f"/rules/{rule}", f"/rules/{rule}/transitions"):
            answer = await house.http.get(f"/v1{path}", headers={"X-Test-Viewer": OPERATOR})
            assert answer.status_code == 200 and "999000" not in answer.text


async def test_rules_are_listed_filtered_and_searched_a_page_at_a_time(tmp_path: Path) -> None:
    async with api_house(tmp_path, NARROW) as house:
        made = [await propose(house, f"+77{n:02d}") for n in range(5)]
        await step(house, made[1], "shadow")
        status, first = await house.ask("GET", "/rules?limit=2")
        assert [rule["id"] for rule in first["items"]] == [made[4], made[3]]
        status, rest = await house.ask("GET", f"/rules?after={first['next']}")
        assert [rule["id"] for rule in rest["items"]] == made[2::-1] and rest["next"] is None
        status, found = await house.ask("GET", "/rules?mode=shadow&action=reject&origin=noc")
        assert [rule["id"] for rule in found["items"]] == [made[1]]
        status, found = await house.ask("POST", "/rules/search", {"prefix": " +7703* "}, "wati viewer")
        assert (status, [rule["id"] for rule in found["items"]]) == (200, [made[3]])
        status, found = await house.ask("POST", "/rules/search", {"prefix": "77", "limit": 2})
        assert len(found["items"]) == 2 and found["next"] == int(made[3][1:])
        for wrong in ({"prefix": "abc"}, {"prefix": ""}, {"prefix": "77", "mode": "off"}, {}):
            assert (await house.ask("POST", "/rules/search", wrong))[0] == 422, wrong


# --- what happens by itself


async def test_people_are_told_of_what_ends_and_what_lapses(tmp_path: Path) -> None:
    async with api_house(tmp_path, NARROW.model_copy(update={"rules": at_night()})) as house:
        now = datetime.now(UTC)
        alarms = Alarms(house.ledger, lambda: now)
        wide, narrow = await propose(house, "+77"), await propose(house, "+7701")
        await step(house, wide, "enforce", alone=True)
        await step(house, narrow, "enforce", expires_s=2 * 86_400)
        await rule_clock.tick(house.ledger, alarms, now)
        assert not any(alarms.raised.values())
        await rule_clock.tick(house.ledger, alarms, now + timedelta(minutes=61))
        assert alarms.raised["rule_lapsed"] == 1 and (await house.ledger.read(Ledger.rule, wide)).mode == "shadow"
        await rule_clock.tick(house.ledger, alarms, now + timedelta(hours=25))
        await rule_clock.tick(house.ledger, alarms, now + timedelta(hours=26))
        await rule_clock.tick(house.ledger, alarms, now + timedelta(hours=47, minutes=30))
        assert alarms.raised["rule_expires"] == 2


@pytest.mark.parametrize(
    ("night", "at", "is_it"),
    [
        ("22:00-06:00", "2026-11-22T14:59:59Z", False),  # 21:59:59 in Jakarta
        ("22:00-06:00", "2026-11-22T15:00:00Z", True),
        ("22:00-06:00", "2026-11-22T22:59:59Z", True),
        ("22:00-06:00", "2026-11-22T23:00:00Z", False),  # 06:00
        ("00:30-05:00", "2026-11-22T17:29:00Z", False),
        ("00:30-05:00", "2026-11-22T17:30:00Z", True),
        ("00:30-05:00", "2026-11-22T22:00:00Z", False),
    ],
)
def test_the_night_is_the_nocs(night: str, at: str, is_it: bool) -> None:
    assert is_night(datetime.fromisoformat(at), RulesSettings(night=night)) is is_it


@pytest.mark.parametrize("wrong", [{"timezone": "Mars/Olympus"}, {"night": "22-6"}, {"night": "24:00-06:00"}])
def test_a_night_that_is_none_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RulesSettings.model_validate(wrong)
