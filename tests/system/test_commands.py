"""The commands, as people and scripts run them, against the running set."""

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from agent.stage import NODE, TRUNK, Stage
from tests.book import eventually
from tests.system.conversation import Conversation
from tests.system.palang import Palang

pytestmark = pytest.mark.asyncio(loop_scope="module")

BLOCKED = "+6281377700001"
FREE = "+6281377700002"
CANARY = "81377700001"


async def test_from_ticket_to_closed(conversation: Conversation, palang: Palang) -> None:
    ticket = await palang.json("regulator", "ticket", "open", "-", "--category", "vishing", stdin=f"{BLOCKED}\n")
    order = await palang.json("regulator", "order", "block", "-", "--ticket", ticket["ref"], stdin=f"{BLOCKED}\n")

    async def closed() -> bool:
        return bool((await palang.json("regulator", "ticket", "show", ticket["ref"]))["state"] == "closed")

    await eventually(closed, "the ticket closed")
    story = await palang("regulator", "ticket", "show", ticket["ref"])
    assert "in force after" in story
    assert f"proved on {NODE}" in story
    assert ticket["ref"] in await palang("regulator", "tickets")

    async def receipted() -> bool:
        return bool((await palang.json("order", "show", order["id"]))["state"] == "closed")

    await eventually(receipted, "the order closed")
    for words in (("order", "list"), ("order", "show", order["id"]), ("order", "list", "--json")):
        said = await palang(*words)
        assert order["id"] in said
        assert CANARY not in said, "a number in clear"
    assert (await palang.json("order", "list", "--state", "closed"))[0]["state"] == "closed"
    assert "no order has the id nothing" in await palang("order", "show", "nothing", exit_code=1)


async def test_a_list_from_a_file_and_a_line_that_is_wrong(
    conversation: Conversation, palang: Palang, tmp_path: Path
) -> None:
    file = tmp_path / "monthly.txt"
    file.write_text("# June\n+6281377711111\n+6281377711112 # prize scam\n\n")
    sent = await palang.json("regulator", "order", "list", str(file))
    assert sent["count"] == 2
    file.write_text("+6281377711111\n+62813777111119999\n")
    said = await palang("regulator", "order", "list", str(file), exit_code=1)
    assert "monthly.txt:2" in said
    assert "17 digits" in said
    assert "15" in said


async def test_a_held_order_is_approved_and_another_refused(conversation: Conversation, palang: Palang) -> None:
    for word, state in (("approve", "closed"), ("refuse", "refused")):
        order = (await palang.json("regulator", "order", "block", "+96*"))["id"]

        async def in_state(wanted: str, order: str = order) -> bool:
            return any(o["id"] == order for o in await palang.json("order", "list", "--state", wanted))

        await eventually(lambda held=in_state: held("held"), "held")  # type: ignore[misc]
        await palang("order", word, order, "--reason", "looked at by two of us")
        await eventually(lambda ended=in_state, state=state: ended(state), state)  # type: ignore[misc]
        assert "nothing of it is held" in await palang("order", word, order, "--reason", "again", exit_code=1)


async def test_a_rule_from_idea_to_removal(conversation: Conversation, palang: Palang) -> None:
    rule = await palang.json(
        *("rule", "add", "+77", "--action", "reject", "--mode", "shadow", "--expires", "7d", "--reason", "one-ring")
    )
    assert (rule["subject"], rule["mode"]) == ("+77*", "shadow")
    assert rule["id"] in await palang("rule", "list")

    async def status(number: str, wanted: int) -> None:
        async def look() -> bool:
            return (await conversation.caller.call(number)).status == wanted

        await eventually(look, f"{wanted}")

    await status("+77012345678", 200)
    for words, wanted in ((("enforce", "--yes"), 603), (("shadow",), 200), (("roll-back",), 603), (("disable",), 200)):
        word, *options = words
        await palang("rule", word, rule["id"], *options)
        await status("+77012345678", wanted)
    rolled = await palang("rule", "roll-back", rule["id"])
    assert "before: disabled until" in rolled and "after: enforce until" in rolled
    assert f"undo: palang rule roll-back {rule['id']}" in rolled
    exception = await palang.json(
        *("rule", "add", "-", "--action", "allow", "--mode", "enforce", "--reason", "known", "--yes"),
        stdin="+77017654321",
    )
    await status("+77017654321", 200)
    await status("+77012345678", 603)
    assert "nobody can be asked here" in await palang("rule", "remove", rule["id"], exit_code=1)
    for one in (rule, exception):
        await palang("rule", "remove", one["id"], "--reason", "over", "--yes")
    await status("+77012345678", 200)
    assert "removed" in await palang("rule", "show", rule["id"])
    steps = await palang.json("rule", "history", rule["id"])
    assert [step["cause"] for step in steps] == [
        "remove", "roll_back", "person", "roll_back", "person", "person", "person", "propose",
    ]  # fmt: skip
    assert "roll_back" in await palang("rule", "history", rule["id"])
    assert "can't be rolled back" in await palang("rule", "roll-back", rule["id"], exit_code=1)
    assert "an id looks like r17" in await palang("rule", "show", "seventeen", exit_code=1)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("+7",), "1 digit"),
        (("+77", "--expires", "31d"), "at most 30"),
        (("+77", "--expires", "soon"), "write 30m, 12h or 7d"),
        (("+77", "--action", "explode"), "action"),
        (("+77", "--mode", "maybe"), "mode"),
        (("+77", "--trunk", "No Such"), "trunk"),
        (("+62112", "--mode", "enforce"), "mergency"),
    ],
)
async def test_a_rule_that_can_not_be(palang: Palang, words: tuple[str, ...], says: str) -> None:
    assert says in await palang("rule", "add", *words, "--reason", "a mistake", "--yes", exit_code=1)


async def test_explain(conversation: Conversation, palang: Palang) -> None:
    await conversation.block("+6281377722222")
    await conversation.ended()
    blocked = await palang.json("explain", "-", stdin="+6281377722222")
    assert blocked["verdict"] == "reject"
    (rule,) = blocked["rules"]
    assert rule["wins"]
    assert rule["ticket"]
    assert rule["since"].startswith("1.")
    assert blocked["nodes"][0]["answers"] == {TRUNK: 603}
    people = await palang("explain", "+6281377722222", "--trunk", TRUNK)
    for word in ("REJECT", "wins", "the only rule in force", NODE, "603", rule["ticket"], "+62 813-••••-•222"):
        assert word in people
    assert "1377722222" not in people
    passed = await palang.json("explain", FREE)
    assert (passed["verdict"], passed["rules"], passed["why"]) == ("pass", [], "no rule touches it")
    assert passed["nodes"][0]["answers"] == {TRUNK: 0}
    unread = await palang.json("explain", "++1")
    assert unread["number"] is None
    assert "not in the settings" in await palang("explain", FREE, "--trunk", "nowhere", exit_code=1)


async def test_probe_places_a_real_call(conversation: Conversation, palang: Palang) -> None:
    await conversation.block("+6281377733333")
    await conversation.ended()
    assert (await palang.json("probe", "-", stdin="+6281377733333"))["status"] == 603
    answered = await palang.json("probe", FREE, "--to", "+622150009999")
    assert (answered["status"], answered["reason"]) == (200, "OK")


async def test_the_journal_listed_verified_and_exported(
    conversation: Conversation, palang: Palang, tmp_path: Path
) -> None:
    order = await conversation.block("+6281377744444")
    await conversation.ended()
    told = await palang("audit", "list", "--about", order)
    assert "message.order" in told and "1377744444" not in told
    (newest,) = await palang.json("audit", "list", "--limit", "1", "--kind", "order.state")
    assert newest["kind"] == "order.state" and newest["actor"] == "palang"
    assert "no record fits" in await palang("audit", "list", "--actor", "nobody")
    assert "since" in await palang("audit", "list", "--since", "yesterday", exit_code=1)
    for form in ("jsonl", "csv"):
        done = await palang.json("audit", "export", "--format", form, "--into", str(tmp_path), "--about", order)
        assert "as it left us" in await palang("audit", "check", done["file"])
        content = Path(done["file"]).read_bytes()
        assert b"1377744444" not in content and order.encode() in content
        Path(done["file"]).write_bytes(content.replace(b"palang", b"gnalap", 1))
        assert "changed" in await palang("audit", "check", done["file"], exit_code=1)
    (tmp_path / "kept").write_text("# nothing yet\n")
    assert "whole" in await palang("audit", "verify", "--checkpoints", str(tmp_path / "kept"))
    (tmp_path / "kept").write_text("nonsense\n")
    assert "line 1 is no checkpoint" in await palang(
        "audit", "verify", "--checkpoints", str(tmp_path / "kept"), exit_code=2
    )


async def test_status_tells_healthy_degraded_and_down(conversation: Conversation, palang: Palang, stage: Stage) -> None:
    async def health(code: int, why: str = "") -> bool:
        found, said = await palang.run("status")
        return found == code and why in said

    await eventually(lambda: health(0, "HEALTHY"), "healthy")
    status = await palang.json("status")
    assert {"feed", "ledger", "redis", "nodes", "orders", "deadlines", "outbox"} <= set(status)
    await stage.children["redis"].kill()
    await eventually(lambda: health(1, "Redis is away"), "degraded without Redis")
    await stage.start_child("redis")
    await eventually(lambda: health(0), "healthy again")
    await stage.children["gateway"].kill()
    assert "no node of the roster answers" in await palang("status", exit_code=2)
    await stage.start_child("gateway")
    await eventually(lambda: health(0), "healthy with its gateway")
    await stage.children["agent"].stop()
    assert "nobody answers at" in await palang("status", exit_code=2)
    await stage.start_child("agent")
    await eventually(lambda: health(0), "healthy with its agent", 90)


async def test_a_second_agent_is_refused(palang: Palang, stage: Stage) -> None:
    assert "another agent has this ledger" in await palang("agent", exit_code=2)


async def test_store_rebuild_and_audit(
    conversation: Conversation, palang: Palang, stage: Stage, tmp_path: Path
) -> None:
    before = await palang.json("status")
    assert "rebuilding" in await palang("store", "rebuild")

    async def status() -> Any:
        _, said = await palang.run("status", "--json")  # it may be degraded for a moment
        return json.loads(said)

    async def rebuilt() -> bool:
        return bool((await status())["redis"]["rebuilds"] > before["redis"]["rebuilds"])

    await eventually(rebuilt, "rebuilt")
    await palang("store", "rebuild", "--new-epoch")

    async def new_epoch() -> bool:
        found = await status()
        return bool(found["nodes"][0]["revision"].startswith("2.") and found["health"] == "healthy")

    await eventually(new_epoch, "the node in the new epoch")
    assert "whole" in await palang("audit", "verify")
    for name in ("ledger.sqlite", "ledger.sqlite-wal"):
        if (stage.folder / name).exists():
            shutil.copy(stage.folder / name, tmp_path / name)
    copy = tmp_path / "ledger.sqlite"
    assert (await palang.json("audit", "verify", "--ledger", str(copy)))["whole"]
    with sqlite3.connect(copy) as ledger:
        ledger.execute("DROP TRIGGER IF EXISTS journal_no_update")
        ledger.execute("UPDATE journal SET actor = 'nobody' WHERE seq = 3")
    ledger.close()
    broken = await palang.json("audit", "verify", "--ledger", str(copy), exit_code=1)
    assert (broken["whole"], broken["first_bad"]) == (False, 3)
    assert "there is no ledger" in await palang("audit", "verify", "--ledger", str(tmp_path / "none"), exit_code=2)


async def test_keys_and_check_config(palang: Palang, tmp_path: Path, stage: Stage) -> None:
    made = await palang.json("keys", "new", str(tmp_path / "keys"), "--name", "op-1")
    assert Path(made["signing key"]).stat().st_mode & 0o077 == 0
    assert "never overwritten" in await palang("keys", "new", str(tmp_path / "keys"), "--name", "op-1", exit_code=1)
    shared = tmp_path / "keys" / "gateway.key"
    following = (await palang("keys", "next", str(shared))).strip()
    assert len(following) == 64 and following[32:] == shared.read_text().strip()[32:]
    assert (await palang.json("keys", "next", str(shared)))["key"] != following
    assert "No such file" in await palang("keys", "next", str(tmp_path / "none"), exit_code=1)
    assert "usable" in await palang("check-config", str(stage.settings))
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[redis]\nurll = 'x'\n")
    said = await palang("check-config", str(wrong), exit_code=2)
    assert said == "palang: wrong.toml:2: unknown key redis.urll; the nearest known key is url\n"
    for command in ("agent", "gateway"):
        said = await palang(command, "--config", str(wrong), exit_code=2)
        assert said.count("\n") == 1
        assert "nearest known key is url" in said
