"""`palang rule preview`: what a rule would have matched in the last hour, day and week, as nodes counted it."""

import re
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from agent.cli.asking import AgentSocket, ask_agent
from agent.cli.output import Json, say, show, stdin_or, table

_RULE = re.compile(r"r\d{1,18}", re.ASCII)


def preview(
    what: Annotated[
        str, typer.Argument(metavar="RULE|PREFIX", help="A rule's id, or a prefix; - reads it from stdin.")
    ],
    action: Annotated[str, typer.Option("--action", help="For a prefix: reject, allow or label.")] = "reject",
    trunk: Annotated[list[str] | None, typer.Option("--trunk", help="For a prefix: only on this trunk.")] = None,
    kinds: Annotated[str, typer.Option("--kinds", help="For a prefix: call, message or both.")] = "both",
    as_json: Json = False,
    socket: AgentSocket = None,
) -> None:
    """Show what a rule would have matched: calls, callers, subscribers reached, by trunk, and what it also covers."""
    text = stdin_or(what)
    if _RULE.fullmatch(text):
        found = ask_agent(socket, lambda api: api.get(f"/v1/rules/{text}/preview"))
    else:
        body = {"subject": text, "action": action, "trunks": trunk or [], "kinds": kinds, "except": []}
        found = ask_agent(socket, lambda api: api.post("/v1/previews", body))
    show(found, as_json, _page)


def _page(preview: dict[str, Any]) -> None:
    age = preview["fresh_s"]
    say(f"{preview['subject']}  counted since {preview['watched_since'] or '—'}; newest figures {_age(age)}")
    table(
        ("", "counted", "calls", "messages", "callers", "subscribers", "of all traffic", "answered", "cut off < 5 s"),
        (_window(name, preview["windows"][name]) for name in ("hour", "day", "week")),
        "no figures yet",
    )
    trunks = preview["windows"]["day"].get("by_trunk") or []
    if trunks:
        say("")
        table(("trunk, last day", "calls", "callers", "subscribers"), map(_trunk, trunks), "")
    for line in _notes(preview):
        say(line)


def _window(name: str, window: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"last {name}",
        _share(window["covered"]),
        _count(window["calls"]),
        _count(window["messages"]),
        _bounds(window["callers"]),
        _bounds(window["subscribers"]),
        _share(window["traffic_share"]),
        _share(window["answered_share"]),
        _share(window["brief_share"]),
    )


def _trunk(row: dict[str, Any]) -> tuple[str, ...]:
    return (row["trunk"], _count(row["calls"]), _bounds(row.get("callers")), _bounds(row.get("subscribers")))


def _notes(preview: dict[str, Any]) -> Iterable[str]:
    for other in preview["also_covers"]:
        yield f"also: {other['text']}"
    for rule in preview["exceptions"]:
        yield f"exception: {rule['id']} {rule['action']} {rule['subject']}"
    for why in preview["wide"]:
        yield f"wide: {why}"


def _count(value: int | None) -> str:
    return "—" if value is None else f"{value:,}"


def _share(value: float | None) -> str:
    return "—" if value is None else f"{value:.1%}"


def _bounds(value: dict[str, float] | None) -> str:
    if value is None:
        return "—"
    return f"{value['estimate']:,.0f} ({value['low']:,.0f} to {value['high']:,.0f})"


def _age(seconds: float | None) -> str:
    return "none yet" if seconds is None else f"{seconds:.0f} s old"
