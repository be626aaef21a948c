"""`palang rule`: the NOC's own rules, from proposal or idea to enforcement and back."""

import re
from typing import Annotated, Any

import typer

from agent.cli.asking import AgentSocket, ask_agent
from agent.cli.output import FAILED, Json, fail, say, show, stdin_or, table

app = typer.Typer(no_args_is_help=True, help="Rules: list, add, enable, shadow, disable, remove, show.")

_UNITS = {"m": 60, "h": 3600, "d": 86_400}
_BY_HAND = "toggled by hand"
_SPAN = re.compile(r"([1-9][0-9]{0,4})([mhd])")

Rule = Annotated[str, typer.Argument(metavar="RULE", help="The rule's id, such as r17.")]
Subject = Annotated[str, typer.Argument(metavar="SUBJECT", help="A prefix (+77) or number; - reads it from stdin.")]
Why = Annotated[str, typer.Option("--reason", help="Why; it goes into the journal.")]


@app.command("list")
def list_rules(as_json: Json = False, socket: AgentSocket = None) -> None:
    """List the live rules that are not an order's own."""
    show(ask_agent(socket, lambda api: api.get("/v1/rules", limit=1000))["items"], as_json, _list)


@app.command()
def add(
    subject: Subject,
    reason: Annotated[str, typer.Option("--reason", help="Why; it goes into the journal.")],
    action: Annotated[str, typer.Option("--action", help="reject, allow or label.")] = "reject",
    mode: Annotated[str, typer.Option("--mode", help="enforce, or shadow to count only.")] = "shadow",
    expires: Annotated[str, typer.Option("--expires", help="When it ends: 30m, 12h, 7d (at most 30d).")] = "7d",
    trunk: Annotated[list[str] | None, typer.Option("--trunk", help="Only on this trunk; may be repeated.")] = None,
    kinds: Annotated[str, typer.Option("--kinds", help="call, message or both.")] = "both",
    as_json: Json = False,
    socket: AgentSocket = None,
) -> None:
    """Add a rule; it is published at once."""
    body = {
        "subject": stdin_or(subject),
        "action": action,
        "mode": mode,
        "kinds": kinds,
        "trunks": trunk or [],
        "expires_s": _seconds(expires),
        "reason": reason,
    }
    show(ask_agent(socket, lambda api: api.post("/v1/rules", body)), as_json, _line)


@app.command()
def enable(rule: Rule, reason: Why = _BY_HAND, as_json: Json = False, socket: AgentSocket = None) -> None:
    """Enforce a rule."""
    _mode(rule, "enforce", reason, as_json, socket)


@app.command()
def shadow(rule: Rule, reason: Why = _BY_HAND, as_json: Json = False, socket: AgentSocket = None) -> None:
    """Count what a rule would do, and do nothing else."""
    _mode(rule, "shadow", reason, as_json, socket)


@app.command()
def disable(rule: Rule, reason: Why = _BY_HAND, as_json: Json = False, socket: AgentSocket = None) -> None:
    """Switch a rule off and keep it."""
    _mode(rule, "disabled", reason, as_json, socket)


@app.command()
def remove(rule: Rule, reason: Why = _BY_HAND, as_json: Json = False, socket: AgentSocket = None) -> None:
    """End a rule for good; its history stays."""
    show(ask_agent(socket, lambda api: api.delete(f"/v1/rules/{rule}", {"reason": reason})), as_json, _line)


@app.command("show")
def show_rule(rule: Rule, as_json: Json = False, socket: AgentSocket = None) -> None:
    """Show one rule with its hits."""
    show(ask_agent(socket, lambda api: api.get(f"/v1/rules/{rule}")), as_json, _page)


def _mode(rule: str, mode: str, reason: str, as_json: bool, socket: AgentSocket) -> None:
    body = {"mode": mode, "reason": reason}
    show(ask_agent(socket, lambda api: api.post(f"/v1/rules/{rule}/mode", body)), as_json, _line)


def _seconds(text: str) -> int:
    span = _SPAN.fullmatch(text)
    if span is None:
        fail(f"--expires {text!r} is no time: write 30m, 12h or 7d", FAILED)
    return int(span[1]) * _UNITS[span[2]]


def _list(rules: list[dict[str, Any]]) -> None:
    table(
        ("rule", "subject", "action", "mode", "trunks", "origin", "ends", "hits"),
        (
            (
                *(r["id"], r["subject"], r["action"], r["mode"], ", ".join(r["trunks"]) or "all"),
                *(r["origin"], r["expires_at"], sum(r["hits"].values())),
            )
            for r in rules
        ),
        "no rules",
    )


def _line(rule: dict[str, Any]) -> None:
    say(f"{rule['id']}  {rule['action']} {rule['subject']}  {rule['mode'] if rule['live'] else 'removed'}")


def _page(rule: dict[str, Any]) -> None:
    _line(rule)
    say(f"{rule['origin']}, by {rule['actor']}: {rule['reason']}")
    say(f"for {rule['kinds']} on {', '.join(rule['trunks']) or 'all trunks'}; ends {rule['expires_at'] or 'never'}")
    say(f"since revision {rule['since'] or '—'}; hits: {_hits(rule['hits'])}")


def _hits(hits: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {effect}" for effect, count in hits.items() if count) or "none"
