"""Why a number is blocked, or not: how it was read, the rules that touch it, which wins and why, since when, where."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from agent.settings import RosterNode, Settings
from agent.views import mask, mask_digits, rule_record
from agent.wiring import Parts
from sip_filter import judge, read_number
from sip_filter.control import AskError, ask
from sip_filter.settings import Trunk
from sync.ledger import Ledger, RuleView

_NODE_SECONDS = 2.0
_NO_TRUNK = "any"
"""Stands for a trunk that no rule names, where none is given."""


async def explain(parts: Parts, text: str, trunk: str | None) -> dict[str, Any]:
    """One number explained. `trunk` names the dial plan that reads it; without one the international plan does.

    Raises ValueError when the trunk is unknown.
    """
    plan = plan_of(parts.settings, trunk)
    reading = read_number(text, plan, parts.settings.gateway.plans_json)
    number = reading["number"]
    record: dict[str, Any] = {
        "plan": plan,
        "trunk": trunk,
        "steps": [mask_digits(s) for s in reading["steps"]],
        "number": number and mask(number),
    }
    if number is None:
        return {**record, "verdict": "pass", "why": "it can't be read as a number, so no rule matches", "rules": []}
    rules = await parts.ledger.read(Ledger.rules_touching, number)
    lines = await parts.ledger.read(Ledger.entries_touching, number)
    outcome = decide([rules], lines, [(number, True)], trunk or _NO_TRUNK)
    nodes = await asyncio.gather(*(_on_node(node, number) for node in parts.settings.proof.roster))
    return {
        **record,
        "verdict": outcome.verdict,
        "why": outcome.why,
        "rules": [{**rule_record(rule), "wins": rule is outcome.winner} for rule in rules],
        "nodes": nodes,
    }


@dataclass(frozen=True)
class Outcome:
    """What the decision says, in words, and on which of the identities it rests."""

    verdict: str
    why: str
    winner: RuleView | None
    identity: int | None


def decide(
    rules: Sequence[list[RuleView]],
    lines: Sequence[str],
    identities: Sequence[tuple[str, bool]],
    trunk: str,
    kind: Literal["call", "message"] = "call",
    mode: Literal["enforce", "shadow"] = "enforce",
) -> Outcome:
    """Ask the filter's own decision, on the ledger's list, and find the rule behind its answer.

    `rules` has, for each of `identities`, those that touch it.
    """
    found = judge(lines, identities, trunk, kind, mode)
    subject, authority, action, identity = found.subject, found.authority, found.action, found.identity
    shadowed = found.shadow is not None and found.subject is None
    if shadowed:
        subject, authority, action = found.shadow, found.shadow_authority, found.shadow_action
        identity = found.shadow_identity
    touching = rules[identity] if identity is not None else [rule for some in rules for rule in some]
    winner = next(
        (
            r
            for r in touching
            if (r.subject, r.authority, r.action) == (subject, authority, action) and _active(r, shadowed, mode)
        ),
        None,
    )
    if shadowed and winner and winner.mode == "enforce":
        return Outcome(found.verdict, f"{winner.id} is only counted: the trunk is in shadow", winner, identity)
    return Outcome(found.verdict, _why(touching, winner, shadowed=shadowed), winner, identity)


def _active(rule: RuleView, shadowed: bool, mode: str) -> bool:
    return rule.mode == "enforce" if not shadowed else rule.mode == "shadow" or mode == "shadow"


def _why(rules: list[RuleView], winner: RuleView | None, *, shadowed: bool) -> str:
    """The clause of the precedence that decided."""
    if winner is None:
        return "no rule in force touches it" if rules else "no rule touches it"
    if shadowed:
        return f"{winner.id} is in shadow: counted, not enforced"
    others = [rule for rule in rules if rule is not winner and rule.mode == "enforce"]
    if not others:
        return f"{winner.id} is the only rule in force that touches it"
    if winner.authority == "order":
        return f"{winner.id} is a regulator's order, which beats every NOC rule"
    if any(rule.subject == winner.subject for rule in others):
        return f"{winner.id} wins among rules on one subject: allow, then reject, then label"
    return f"{winner.id} has the longest subject"


async def _on_node(node: RosterNode, number: str) -> dict[str, Any]:
    """What one node's own list holds on the number, and what its trunks would answer."""
    try:
        held = await ask(node.control, {"ask": "touching", "number": number}, _NODE_SECONDS)
        tried = await ask(node.control, {"ask": "proof", "numbers": [number]}, _NODE_SECONDS)
    except AskError as error:
        return {"node": node.name, "error": str(error)}
    return {
        "node": node.name,
        "revision": f"{tried['epoch']}.{tried['n']}",
        "entries": len(held["lines"]),
        "answers": {answer["trunk"]: answer["status"] for answer in tried["answers"]},
    }


def plan_of(settings: Settings, trunk: str | None) -> str:
    """The dial plan of a trunk, or the international one. Raises ValueError for an unknown trunk."""
    return "international" if trunk is None else trunk_of(settings, trunk).plan


def trunk_of(settings: Settings, trunk: str) -> Trunk:
    """The settings of a trunk. Raises ValueError for an unknown one."""
    for known in settings.gateway.trunks:
        if known.name == trunk:
            return known
    names = ", ".join(known.name for known in settings.gateway.trunks) or "none"
    raise ValueError(f"trunk {trunk!r} is not in the settings; the trunks are: {names}")
