"""`palang rule`: the NOC's own rules, from proposal or idea to enforcement, and back with one command."""

import re
from typing import Annotated, Any

import typer

from agent.cli import previews
from agent.cli.asking import AgentSocket, Yes, ask_agent, sure
from agent.cli.output import FAILED, Json, fail, say, show, stdin_or, table

app = typer.Typer(
    no_args_is_help=True,
    help="Rules: propose, preview, shadow, enforce, renew, disable, roll back, remove; list, show, history.",
)

_UNITS = {"m": 60, "h": 3600, "d": 86_400}
_BY_HAND = "by hand"
_SPAN = re.compile(r"([1-9][0-9]{0,4})([mhd])")

Rule = Annotated[str, typer.Argument(metavar="RULE", help="The rule's id, such as r17.")]
Subject = Annotated[str, typer.Argument(metavar="SUBJECT", help="A prefix (+77) or number; - reads it from stdin.")]
Why = Annotated[str, typer.Option("--reason", help="Why; it goes into the journal.")]
Expires = Annotated[str | None, typer.Option("--expires", help="When it ends: 30m, 12h, 7d (at most 30d).")]
Action = Annotated[str, typer.Option("--action", help="reject, allow or label.")]
Trunks = Annotated[list[str] | None, typer.Option("--trunk", help="Only on this trunk; may be repeated.")]
Kinds = Annotated[str, typer.Option("--kinds", help="call, message or both.")]
Alone = Annotated[
    bool, typer.Option("--alone", help="At night: a wide rule for an hour, longer when somebody countersigns.")
]


@app.command("list")
def list_rules(as_json: Json = False, socket: AgentSocket = None) -> None:
    """List the live rules that are not an order's own."""
    show(ask_agent(socket, lambda api: api.get("/v1/rules", limit=1000))["items"], as_json, _list)


@app.command("show")
def show_rule(rule: Rule, as_json: Json = False, socket: AgentSocket = None) -> None:
    """Show one rule with its hits."""
    show(ask_agent(socket, lambda api: api.get(f"/v1/rules/{rule}")), as_json, _page)


@app.command()
def history(rule: Rule, as_json: Json = False, socket: AgentSocket = None) -> None:
    """Show a rule's steps: who took each, why, and how it stood before and after."""
    found = ask_agent(socket, lambda api: api.get(f"/v1/rules/{rule}/transitions", limit=1000))["items"]
    show(found, as_json, _history)


@app.command()
def propose(
    subject: Subject,
    reason: Annotated[str, typer.Option("--reason", help="Why; it goes into the journal.")],
    action: Action = "reject",
    trunk: Trunks = None,
    kinds: Kinds = "both",
    expires: Expires = None,
    as_json: Json = False,
    socket: AgentSocket = None,
) -> None:
    """Propose a rule: it does nothing, and its preview begins to fill."""
    show(_propose(stdin_or(subject), reason, action, trunk, kinds, expires, socket), as_json, _line)


@app.command()
def add(
    subject: Subject,
    reason: Annotated[str, typer.Option("--reason", help="Why; it goes into the journal.")],
    action: Action = "reject",
    mode: Annotated[str, typer.Option("--mode", help="enforce, or shadow to count only.")] = "shadow",
    expires: Expires = None,
    trunk: Trunks = None,
    kinds: Kinds = "both",
    alone: Alone = False,
    yes: Yes = False,
    as_json: Json = False,
    socket: AgentSocket = None,
) -> None:
    """Propose a rule, and put it into shadow or enforce it at once."""
    if mode not in ("shadow", "enforce"):
        fail(f"--mode {mode!r} is neither shadow nor enforce", FAILED)
    text = stdin_or(subject)
    if mode == "enforce":
        sure(f"calls and messages that it matches get its action at once: {action}", yes)
    made = _propose(text, reason, action, trunk, kinds, expires, socket)
    show(_step(made["id"], mode, reason, expires, socket, alone=alone), as_json, _line)


app.command("preview")(previews.preview)


@app.command()
def shadow(
    rule: Rule, reason: Why = _BY_HAND, expires: Expires = None, as_json: Json = False, socket: AgentSocket = None
) -> None:
    """Count what a rule would do, and do nothing else."""
    show(_step(rule, "shadow", reason, expires, socket), as_json, _line)


@app.command()
def enforce(
    rule: Rule,
    reason: Why = _BY_HAND,
    expires: Expires = None,
    alone: Alone = False,
    yes: Yes = False,
    as_json: Json = False,
    socket: AgentSocket = None,
) -> None:
    """Enforce a rule. A wide one waits for a second person."""
    found = ask_agent(socket, lambda api: api.get(f"/v1/rules/{rule}"))
    sure(_effect(found), yes)
    show(_step(rule, "enforce", reason, expires, socket, alone=alone), as_json, _line)


@app.command()
def renew(
    rule: Rule, reason: Why = _BY_HAND, expires: Expires = None, as_json: Json = False, socket: AgentSocket = None
) -> None:
    """Give a rule a new end. A wide one that is enforced waits for a second person."""
    show(_step(rule, "renew", reason, expires, socket), as_json, _line)


@app.command()
def disable(rule: Rule, reason: Why = _BY_HAND, as_json: Json = False, socket: AgentSocket = None) -> None:
    """Switch a rule off and keep it."""
    show(_step(rule, "disable", reason, None, socket), as_json, _line)


@app.command("roll-back")
def roll_back(rule: Rule, reason: Why = _BY_HAND, as_json: Json = False, socket: AgentSocket = None) -> None:
    """Return a rule to how it stood before its last step; doing it again undoes it. Nothing is asked."""
    show(_step(rule, "roll-back", reason, None, socket), as_json, _rolled_back)


@app.command()
def remove(
    rule: Rule, reason: Why = _BY_HAND, yes: Yes = False, as_json: Json = False, socket: AgentSocket = None
) -> None:
    """End a rule for good; its history stays. It can't be rolled back."""
    found = ask_agent(socket, lambda api: api.get(f"/v1/rules/{rule}"))
    sure(f"{found['id']} ({found['action']} {found['subject']}, {found['mode']}) ends for good: no roll back", yes)
    show(ask_agent(socket, lambda api: api.delete(f"/v1/rules/{rule}", {"reason": reason})), as_json, _line)


def _propose(
    subject: str,
    reason: str,
    action: str,
    trunks: list[str] | None,
    kinds: str,
    expires: str | None,
    socket: AgentSocket,
) -> dict[str, Any]:
    body = {"subject": subject, "action": action, "kinds": kinds, "trunks": trunks or [], "reason": reason}
    made: dict[str, Any] = ask_agent(socket, lambda api: api.post("/v1/rules", {**body, **_ends(expires)}))
    return made


def _step(
    rule: str, step: str, reason: str, expires: str | None, socket: AgentSocket, *, alone: bool = False
) -> dict[str, Any]:
    body = {"reason": reason, **_ends(expires), **({"alone": True} if alone else {})}
    done: dict[str, Any] = ask_agent(socket, lambda api: api.post(f"/v1/rules/{rule}/{step}", body))
    return done


def _ends(text: str | None) -> dict[str, int]:
    if text is None:
        return {}
    span = _SPAN.fullmatch(text)
    if span is None:
        fail(f"--expires {text!r} is no time: write 30m, 12h or 7d", FAILED)
    return {"expires_s": int(span[1]) * _UNITS[span[2]]}


def _effect(rule: dict[str, Any]) -> str:
    kinds = "calls and messages" if rule["kinds"] == "both" else f"{rule['kinds']}s"
    where = ", ".join(rule["trunks"]) or "all trunks"
    return f"{rule['id']} will {rule['action']} {kinds} from {rule['subject']} on {where} (see `rule preview`)"


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
    state = rule["mode"] if rule["live"] else "removed"
    say(f"{rule['id']}  {rule['action']} {rule['subject']}  {state}")
    if waits := rule.get("approval"):
        say(f"{waits['id']} waits for a second person until {waits['until']}: {waits['why']}")


def _page(rule: dict[str, Any]) -> None:
    _line(rule)
    say(f"{rule['origin']}, by {rule['actor']}: {rule['reason']}")
    say(f"for {rule['kinds']} on {', '.join(rule['trunks']) or 'all trunks'}; ends {rule['expires_at'] or 'never'}")
    say(f"since revision {rule['since'] or '—'}, version {rule['version']}; hits: {_hits(rule['hits'])}")


def _history(steps: list[dict[str, Any]]) -> None:
    table(
        ("step", "at", "cause", "by", "before", "after", "why"),
        (
            (
                *(s["id"], s["at"], s["cause"], s["actor"]),
                *(_state(s["from_mode"], s["from_expires_at"], "new"), _state(s["to_mode"], s["to_expires_at"], "—")),
                s["reason"],
            )
            for s in steps
        ),
        "no steps are known",
    )


def _rolled_back(rule: dict[str, Any]) -> None:
    _line(rule)
    for word in ("before", "after"):
        say(f"{word}: {_state(rule[word]['mode'], rule[word]['expires_at'], 'new')}")
    say(f"undo: palang rule roll-back {rule['id']}")


def _state(mode: str | None, expires_at: str | None, none: str) -> str:
    if mode is None:
        return none
    return f"{mode} until {expires_at}" if expires_at else mode


def _hits(hits: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {effect}" for effect, count in hits.items() if count) or "none"
