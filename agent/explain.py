"""Why a number is blocked, or not: how it was read, the rules that touch it, which wins and why, since when, where."""

import asyncio
from dataclasses import dataclass
from typing import Any

from agent.settings import RosterNode, Settings
from agent.views import mask, mask_digits, rule_record
from agent.wiring import Parts
from sip_filter import judge, read_number
from sip_filter.control import AskError, ask
from sync.ledger import Ledger, RuleView

_NODE_SECONDS = 2.0
_NO_TRUNK = "any"
"""Stands for a trunk that no rule names, where none is given."""


async def explain(parts: Parts, text: str, trunk: str | None) -> dict[str, Any]:
    """One number explained. `trunk` names the dial plan that reads it; without one the international plan does.

    Raises ValueError when the trunk is unknown.
    """
    plan = plan_of(parts.settings, trunk)
    reading = read_number(text, plan)
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
    outcome = _outcome(rules, lines, number, trunk or _NO_TRUNK)
    nodes = await asyncio.gather(*(_on_node(node, number) for node in parts.settings.proof.roster))
    return {
        **record,
        "verdict": outcome.verdict,
        "why": outcome.why,
        "rules": [{**rule_record(rule), "wins": rule is outcome.winner} for rule in rules],
        "nodes": nodes,
    }


@dataclass(frozen=True)
class _Outcome:
    """What the decision says, in words."""

    verdict: str
    why: str
    winner: RuleView | None


def _outcome(rules: list[RuleView], lines: list[str], number: str, trunk: str) -> _Outcome:
    """Ask the filter's own decision, on the ledger's list, and find the rule behind its answer."""
    found = judge(lines, [(number, True)], trunk)
    subject, authority, action = found.subject, found.authority, found.action
    shadowed = found.shadow is not None and found.subject is None
    if shadowed:
        subject, authority, action = found.shadow, found.shadow_authority, found.shadow_action
    winner = next(
        (
            r
            for r in rules
            if (r.subject, r.authority, r.action) == (subject, authority, action) and _active(r, shadowed)
        ),
        None,
    )
    return _Outcome(found.verdict, _why(rules, winner, shadowed=shadowed), winner)


def _active(rule: RuleView, shadowed: bool) -> bool:
    return rule.mode == ("shadow" if shadowed else "enforce")


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
    if trunk is None:
        return "international"
    for known in settings.gateway.trunks:
        if known.name == trunk:
            return known.plan
    names = ", ".join(known.name for known in settings.gateway.trunks) or "none"
    raise ValueError(f"trunk {trunk!r} is not in the settings; the trunks are: {names}")
