"""`palang explain --raw`: a SIP message explained on a trunk of the running set."""

import base64
from pathlib import Path

import pytest

from agent.client import ApiError
from agent.raw_message import MOST_RAW, mask_written
from agent.stage import TRUNK, Stage
from tests.system.conversation import Conversation
from tests.system.palang import Palang

pytestmark = pytest.mark.asyncio(loop_scope="module")

BLOCKED, FREE = "+6281377744444", "+6281377744445"


def message(caller: str, *more: str, method: str = "INVITE", to: str = "+622150001234", tag: str = "") -> bytes:
    """A request with `caller` as its From."""
    lines = [
        f"{method} sip:{to}@192.0.2.1 SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK1",
        f"From: {caller};tag=1",
        f"To: <sip:{to}@192.0.2.1>{tag}",
        "Call-ID: one",
        f"CSeq: 1 {method}",
        *more,
        "Content-Length: 0",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


async def test_a_message_is_explained(conversation: Conversation, palang: Palang, tmp_path: Path) -> None:
    await conversation.block(BLOCKED)
    await conversation.ended()
    file = tmp_path / "invite.txt"
    file.write_bytes(
        message(
            '"+62 813 7774 4445" <sip:anonymous@anonymous.invalid>',
            f"P-Asserted-Identity: <sip:%2B62-813-777-44444@a.example>, <tel:{FREE}>",
        )
    )
    found = await palang.json("explain", "--raw", str(file), "--trunk", TRUNK)
    assert (found["verdict"], found["kind"], found["fault"], found["plan"]) == ("reject", "call", None, "international")
    assert [i["number"] for i in found["identities"]] == ["+62 813-••••-•444", "+62 813-••••-•445"]
    assert found["identity"] == "+62 813-••••-•444"
    (rule,) = found["rules"]
    assert rule["wins"] and rule["ticket"]
    people = await palang("explain", "--raw", str(file), "--trunk", TRUNK)
    for word in ("REJECT", "the only rule in force", "P-Asserted-Identity", "trusted", "mode enforce", "E.164", "wins"):
        assert word in people
    for clear in ("77744444", "777-44444", "7774 4445", "77744445", "377744"):
        assert clear not in people, "a number in clear"

    file.write_bytes(message(f"<sip:{FREE}@a.example>"))
    passed = await palang.json("explain", "--raw", str(file), "--trunk", TRUNK)
    assert (passed["verdict"], passed["rules"], passed["why"]) == ("pass", [], "no rule touches it")


@pytest.mark.parametrize(
    ("raw", "verdict", "why"),
    [
        (b"hello", "drop", "no answer"),
        (b"\r\n\r\n", "drop", "no answer"),
        (message("<sip:a@b>").replace(b"CSeq: 1", b"CSeq: x"), "refuse", "malformed and gets 400"),
        (message(f"<sip:{FREE}@b>", method="OPTIONS"), "unjudged", "only a call or message"),
        (message(f"<sip:{FREE}@b>", tag=";tag=2"), "unjudged", "outside a dialog"),
        (message(f"<sip:{FREE}@b>", to="112"), "pass", "protected number"),
        (message("<sip:anonymous@b>"), "pass", "no identity yields a number"),
        (message(f"<sip:{FREE}@b>", method="MESSAGE"), "pass", "no rule touches it"),
    ],
    ids=lambda value: (
        value[:12].decode(errors="replace").split()[0] if isinstance(value, bytes) and value.strip() else "-"
    ),
)
async def test_what_no_rule_decides(stage: Stage, raw: bytes, verdict: str, why: str) -> None:
    async with stage.agent() as agent:
        body = {"raw": base64.b64encode(raw).decode(), "trunk": TRUNK}
        found = await agent.post("/v1/explain/message", body)
    assert found["verdict"] == verdict
    assert why in found["why"]
    assert FREE[4:] not in str(found)


async def test_a_rule_and_its_exception(stage: Stage) -> None:
    async with stage.agent() as agent:
        made = []
        for subject, action, step in (
            ("+77", "reject", "enforce"),
            ("+77017654321", "allow", "enforce"),
            ("+86", "reject", "shadow"),
        ):
            made.append(await agent.post("/v1/rules", {"subject": subject, "action": action, "reason": "test"}))
            await agent.post(f"/v1/rules/{made[-1]['id']}/{step}", {"reason": "test"})

        async def explained(caller: str) -> tuple[str, str]:
            raw = base64.b64encode(message(f"<sip:{caller}@b>")).decode()
            found = await agent.post("/v1/explain/message", {"raw": raw, "trunk": TRUNK})
            return found["verdict"], found["why"]

        assert await explained("0077012345678") == (
            "reject",
            f"{made[0]['id']} is the only rule in force that touches it",
        )
        assert await explained("+77017654321") == ("pass", f"{made[1]['id']} has the longest subject")
        assert await explained("+8613812345678") == ("pass", f"{made[2]['id']} is in shadow: counted, not enforced")
        for rule in made:
            await agent.delete(f"/v1/rules/{rule['id']}", {"reason": "over"})


async def test_wrong_questions(palang: Palang, stage: Stage, tmp_path: Path) -> None:
    file = tmp_path / "message.txt"
    file.write_bytes(b"x" * (MOST_RAW + 1))
    both = "a NUMBER or --raw FILE, and not both"
    assert both in await palang("explain", exit_code=2)
    assert both in await palang("explain", FREE, "--raw", str(file), "--trunk", TRUNK, exit_code=2)
    assert "needs --trunk" in await palang("explain", "--raw", str(file), exit_code=2)
    assert "No such file" in await palang("explain", "--raw", str(tmp_path / "none"), "--trunk", TRUNK, exit_code=2)
    assert f"more than {MOST_RAW} bytes" in await palang("explain", "--raw", str(file), "--trunk", TRUNK, exit_code=2)
    assert "not in the settings" in await palang("explain", "--raw", "-", "--trunk", "mars", stdin="x", exit_code=1)
    assert "DROP" in await palang("explain", "--raw", "-", "--trunk", TRUNK, stdin="x")
    async with stage.agent() as agent:
        for raw in ("not base64!", "QQ==" * 60_000):
            with pytest.raises(ApiError) as refused:
                await agent.post("/v1/explain/message", {"raw": raw, "trunk": TRUNK})
            assert (refused.value.status, refused.value.code) == (422, "invalid")


@pytest.mark.parametrize(
    "written",
    [
        "+6281377744444",
        "+62-813.777(44444)",
        "%2B62%38137774%34444",
        "%36%32%38%31%33%37%37%37%34%34",
        "62 813 777 44444",
        r"62813\xe2\x80\x8b77744444",
        "0x 6281377744444",
    ],
)
async def test_a_number_in_any_form_is_masked(written: str) -> None:
    shown = mask_written(f"From: <sip:{written}@a.example>")
    assert "•••••" in shown
    assert "744" not in shown.replace("-", "") and "%37%34" not in shown
    assert mask_written("digits 81 in plan x of 2004-03-11") == "digits 81 in plan x of 2004-03-11"
