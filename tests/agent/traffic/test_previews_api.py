"""Previews over the API: the record as promised, nothing of a number, and what an enforcement takes from it."""

from pathlib import Path

from agent.settings import ProofSettings, RosterNode, Settings
from agent.traffic.counts import Counts, Row, Told
from agent.traffic.store import TrafficStore
from sip_filter import _core
from sync.ledger import Ledger
from tests.agent.api_house import ApiHouse, api_house

WHY = {"reason": "one-ring calls"}
SETTINGS = Settings(proof=ProofSettings(roster=(RosterNode(name="gw1", control=Path("/nowhere.sock")),)))


async def tell(house: ApiHouse, calls_a_minute: int, hours: int, watching: dict[str, int] | None = None) -> None:
    """The node gw1 counted so many hours up to now; every tenth call is a watched one's."""
    now = int(house.opened) // 60
    first = now - hours * 60
    keys = {"7701": calls_a_minute, "6281": 1_000, **dict.fromkeys(watching or (), calls_a_minute // 10)}
    rows = tuple(
        Row(minute, "intl-a", key, Counts(calls=count, rang=count, brief=count // 2))
        for minute in range(first, now)
        for key, count in keys.items()
    )
    told = Told("gw1", "a", now * 60_000, first, now - 1, rows, watching or {})
    await house.parts.traffic.ask(TrafficStore.take, told)
    sketch = _core.Sketch()
    for number in range(300):
        sketch.add((number * 0x9E3779B97F4A7C15) % 2**64)
    pair = sketch.to_bytes(), sketch.to_bytes()
    for hour in range(first // 60, now // 60 + 1):
        await house.parts.traffic.ask(TrafficStore.unite, hour, "k", [("intl-a", "7701", *pair)])


async def propose(house: ApiHouse, subject: str) -> str:
    status, made = await house.ask("POST", "/rules", {"subject": subject, "action": "reject", **WHY}, "budi operator")
    assert status == 200
    await house.parts.collector.round()
    return str(made["id"])


async def test_an_ideas_preview_is_the_record(tmp_path: Path) -> None:
    async with api_house(tmp_path, SETTINGS) as house:
        await tell(house, 2, 25)
        status, record = await house.ask("POST", "/previews", {"subject": "+7701"}, "budi operator")
        assert status == 200, record
        assert {"subject", "watched_since", "fresh_s", "windows", "also_covers", "exceptions", "wide", "data"} <= set(
            record
        )
        assert (record["subject"], record["data"], record["fresh_s"]) == ("+7701*", "exact", None)
        day = record["windows"]["day"]
        assert day["calls"] == 2 * 24 * 60 and day["brief_share"] == 0.5 and day["covered"] == 1.0
        assert day["callers"]["low"] <= 300 <= day["callers"]["high"]
        assert record["expected"] == 120
        assert record["wide"] == []
        assert "not a scam range; +7 is Russia too" in record["also_covers"][0]["text"]
        assert record["nodes"] == [{"node": "gw1", "fresh_s": None, "error": "not asked yet"}]


async def test_a_rule_keeps_what_its_preview_promised_and_is_wide_by_it(tmp_path: Path) -> None:
    async with api_house(tmp_path, SETTINGS) as house:
        await tell(house, 2, 25)
        rule = await propose(house, "+7701")
        status, done = await house.ask("POST", f"/rules/{rule}/enforce", WHY, "budi operator")
        assert (status, done["mode"]) == (200, "enforce"), done
        assert (await house.ledger.read(Ledger.rule, rule)).expected == 120
    other = tmp_path / "other"
    other.mkdir()
    async with api_house(other, SETTINGS) as house:
        await tell(house, 9, 25)
        rule = await propose(house, "+7701")
        status, waits = await house.ask("POST", f"/rules/{rule}/enforce", WHY, "budi operator")
        assert status == 202 and waits["wide"] == ["0.89% of a day's calls; the limit is 0.50% (width.share)"]


async def test_without_figures_an_enforcement_is_wide_and_says_so(tmp_path: Path) -> None:
    async with api_house(tmp_path, SETTINGS) as house:
        rule = await propose(house, "+7701")
        status, waits = await house.ask("POST", f"/rules/{rule}/enforce", WHY, "budi operator")
        assert status == 202 and "width.unknown_is_wide" in waits["wide"][0]


async def test_the_course_of_a_rules_traffic(tmp_path: Path) -> None:
    async with api_house(tmp_path, SETTINGS) as house:
        await tell(house, 2, 1)
        rule = await propose(house, "+7701")
        for window, points in (("hour", 61), ("day", None), ("week", None)):
            status, drawn = await house.ask("GET", f"/rules/{rule}/traffic?window={window}", by="eka viewer")
            assert status == 200 and len(drawn["at"]) == len(drawn["calls"])
            assert points is None or len(drawn["at"]) == points
            assert sum(count or 0 for count in drawn["calls"]) == 120
        status, _ = await house.ask("GET", f"/rules/{rule}/traffic?window=year")
        assert status == 422


async def test_who_may_see_and_who_may_ask(tmp_path: Path) -> None:
    async with api_house(tmp_path, SETTINGS) as house:
        rule = await propose(house, "+7701")
        assert (await house.ask("GET", f"/rules/{rule}/preview", by="eka viewer"))[0] == 200
        assert (await house.ask("POST", "/previews", {"subject": "+7701"}, "eka viewer"))[0] == 403
        assert (await house.ask("GET", "/rules/r999/preview"))[0] == 404
        assert (await house.ask("POST", "/previews", {"subject": "seven"}))[0] == 422
        assert (await house.ask("POST", "/previews", {"subject": "+77", "trunks": ["none"]}))[0] == 422


async def test_no_answer_holds_a_number(tmp_path: Path) -> None:
    async with api_house(tmp_path, SETTINGS) as house:
        rule = await propose(house, "+77012345678")
        for answer in (
            await house.ask("GET", f"/rules/{rule}/preview"),
            await house.ask("GET", f"/rules/{rule}/traffic"),
            await house.ask("POST", "/previews", {"subject": "+77012345678", "except": ["+77012345679"]}),
        ):
            assert answer[0] == 200
            assert "7701234567" not in str(answer[1]), "a number is whole in an answer"


async def test_counts_that_can_not_be_read_are_told_and_enforcing_goes_on(tmp_path: Path) -> None:
    (tmp_path / "traffic.sqlite").mkdir()  # what SQLite can't open
    async with api_house(tmp_path, SETTINGS) as house:
        rule = await propose(house, "+7701")
        status, told = await house.ask("GET", f"/rules/{rule}/preview")
        assert (status, told["error"]["code"]) == (503, "traffic_unavailable")
        status, waits = await house.ask("POST", f"/rules/{rule}/enforce", WHY, "budi operator")
        assert status == 202 and "width.unknown_is_wide" in waits["wide"][0]
