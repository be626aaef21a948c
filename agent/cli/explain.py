"""`palang explain` and `palang probe`: why a number is treated as it is, and what a real call gets."""

import base64
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli.asking import AgentSocket, ask_agent
from agent.cli.output import FAILED, UNUSABLE, Json, Number, fail, say, show, stdin_or, table
from agent.raw_message import MOST_RAW
from agent.settings import read
from config import ConfigError

Trunk = Annotated[str | None, typer.Option("--trunk", help="Read it by this trunk's dial plan.")]


def explain(
    number: Annotated[str | None, typer.Argument(metavar="NUMBER", help="A number; - reads it from stdin.")] = None,
    raw: Annotated[Path | None, typer.Option("--raw", help="A SIP message instead, as it came; - is stdin.")] = None,
    trunk: Trunk = None,
    as_json: Json = False,
    socket: AgentSocket = None,
) -> None:
    """How a number or a SIP message is read, every rule that touches it, which wins and why, since when, where."""
    if (number is None) == (raw is None):
        fail("explain needs a NUMBER or --raw FILE, and not both", UNUSABLE)
    if number is not None:
        body = {"text": stdin_or(number), "trunk": trunk}
        show(ask_agent(socket, lambda api: api.post("/v1/explain", body)), as_json, _page)
    elif raw is not None:
        if trunk is None:
            fail("explain --raw needs --trunk: the trunk says how its messages are read", UNUSABLE)
        question = {"raw": base64.b64encode(_bytes(raw)).decode(), "trunk": trunk}
        show(ask_agent(socket, lambda api: api.post("/v1/explain/message", question)), as_json, _message_page)


def _bytes(path: Path) -> bytes:
    """The message in a file or on stdin."""
    try:
        with sys.stdin.buffer if str(path) == "-" else path.open("rb") as file:
            found = file.read(MOST_RAW + 1)
    except OSError as error:
        fail(f"{path}: {error.strerror}", UNUSABLE)
    if len(found) > MOST_RAW:
        fail(f"{path}: more than {MOST_RAW} bytes; that is the most that a datagram carries", UNUSABLE)
    return found


def probe(
    number: Number,
    to: Annotated[str | None, typer.Option("--to", help="Number to call; else the settings' one.")] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, max=60, help="Longest wait.")] = 5.0,
    config: Annotated[Path | None, typer.Option("--config", help="The settings file.")] = None,
    as_json: Json = False,
) -> None:
    """Place one call as a real user agent would, and say what came back. Exit 1 when nothing did."""
    try:
        settings = read(config)
    except ConfigError as error:
        fail(str(error), UNUSABLE)
    datagrams = next(address for address in settings.gateway.listen if address.startswith("udp:"))
    host, _, port = datagrams.removeprefix("udp:").rpartition(":")
    question = {
        "number": stdin_or(number),
        "to": to or settings.probe.to,
        "host": host,
        "port": int(port),
        "bind": settings.probe.bind,
        "seconds": seconds,
    }
    answer = _ask_probe(question, seconds)
    show(answer, as_json, lambda a: say(f"{a['status'] or '—'} {a['reason']}  {a['ms']} ms"))
    if not answer["status"]:
        raise typer.Exit(FAILED)


def _ask_probe(question: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Run the probe in a process of its own; numbers go over stdin, out of the process list."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "agent.probe"],
            input=json.dumps(question),
            capture_output=True,
            text=True,
            timeout=seconds + 20,
            check=False,
        )
    except subprocess.TimeoutExpired:
        fail("the probe did not end", UNUSABLE)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        missing = "pip install 'palang[probe]'; " if "pyVoIP" in last[0] else ""
        fail(f"the probe failed: {missing}{last[0]}", UNUSABLE)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _page(found: dict[str, Any]) -> None:
    say(f"{found['number'] or 'no number'}: {found['verdict'].upper()}, {found['why']}")
    say("")
    say(f"read by the plan {found['plan']}:")
    for step in found["steps"]:
        say(f"  {step}")
    _rules(found["rules"])
    if found.get("nodes"):
        say("")
        table(
            ("node", "revision", "would answer"),
            ((n["node"], n.get("revision"), n.get("error") or _answers(n["answers"])) for n in found["nodes"]),
            "",
        )


def _message_page(found: dict[str, Any]) -> None:
    by = f" (by {found['identity']})" if found["identity"] else ""
    say(f"{found['kind'] or 'no call or message'}: {found['verdict'].upper()}, {found['why']}{by}")
    say("")
    trust = "trusted" if found["trusted"] else "untrusted"
    say(f"read as on trunk {found['trunk']} (plan {found['plan']}, {trust}, mode {found['mode']}):")
    for step in found["steps"]:
        say(f"  {step}")
    say("")
    numbers = (f"{i['number']} ({'can' if i['trusted'] else 'can not'} earn an allow)" for i in found["identities"])
    say(f"identities: {', '.join(numbers) or 'none'}")
    _rules(found["rules"])


def _rules(rules: Sequence[dict[str, Any]]) -> None:
    if not rules:
        return
    say("")
    table(
        ("", "rule", "subject", "says", "mode", "origin", "order", "ticket", "since"),
        (
            (
                *("wins" if r["wins"] else "", r["id"], r["subject"], r["action"], r["mode"]),
                *(r["origin"], r["order"], r["ticket"], f"{r['since'] or '—'}  {r['created_at']}"),
            )
            for r in rules
        ),
        "",
    )


def _answers(answers: dict[str, int]) -> str:
    return ", ".join(f"{trunk}: {status or 'forward'}" for trunk, status in answers.items()) or "no trunk enforces"
