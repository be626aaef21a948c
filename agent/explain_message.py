"""What a SIP message would get on a trunk: how it is read, step by step, who it says it comes from, which rule decides.

The filter's own reader and decision answer, on the ledger's list; only the words are made here. Numbers are masked in
whatever form a message writes them.
"""

from typing import Any, Literal, cast

from agent.explain import decide, trunk_of
from agent.raw_message import MOST_RAW, mask_written
from agent.views import mask, rule_record
from agent.wiring import Parts
from sip_filter import read_message
from sip_filter.settings import Gateway, Trunk
from sync.ledger import Ledger


async def explain_message(parts: Parts, raw: bytes, trunk: str) -> dict[str, Any]:
    """One message explained as it would fare on `trunk`. Raises ValueError for an unknown trunk or too many bytes."""
    if len(raw) > MOST_RAW:
        raise ValueError(f"a message of {len(raw)} bytes; the most that a datagram carries are {MOST_RAW}")
    gateway = parts.settings.gateway
    known = trunk_of(parts.settings, trunk)
    reading = read_message(raw, known.plan, known.trusted, known.rpid, gateway.protected, gateway.plans_json)
    identities = reading["identities"]
    record: dict[str, Any] = {
        "trunk": trunk,
        "plan": known.plan,
        "trusted": known.trusted,
        "mode": gateway.modes[trunk],
        "kind": reading["kind"],
        "fault": reading["fault"],
        "steps": [mask_written(step) for step in reading["steps"]],
        "identities": [{"number": mask(number), "trusted": trusted} for number, trusted in identities],
        "unreadable": reading["unreadable"],
        "identity": None,
        "rules": [],
    }
    if ended := _without_rules(reading, known, gateway):
        verdict, why = ended
        return {**record, "verdict": verdict, "why": why}
    rules = [await parts.ledger.read(Ledger.rules_touching, number) for number, _ in identities]
    lines = [await parts.ledger.read(Ledger.entries_touching, number) for number, _ in identities]
    outcome = decide(
        rules,
        sorted({line for some in lines for line in some}),
        identities,
        trunk,
        reading["kind"] or "call",
        cast(Literal["enforce", "shadow"], gateway.modes[trunk]),
    )
    every = {rule.id: rule for some in rules for rule in some}.values()
    winner = outcome.winner and outcome.winner.id
    return {
        **record,
        "verdict": outcome.verdict,
        "why": outcome.why,
        "identity": None if outcome.identity is None else mask(identities[outcome.identity][0]),
        "rules": [{**rule_record(rule), "wins": rule.id == winner} for rule in every],
    }


def _without_rules(reading: Any, trunk: Trunk, gateway: Gateway) -> tuple[str, str] | None:
    """Verdict and reason of what no rule decides; None when the rules are asked. The order is the gateway's."""
    status, phrase = reading["fault"] or (0, "")
    rows = (
        (reading["dropped"], "drop", "it gets no answer"),
        (status, "refuse", f"it is malformed and gets {status} {phrase}, whatever the rules say"),
        (reading["kind"] is None, "unjudged", "only a call or message outside a dialog is judged"),
        (reading["kind"] == "message" and not trunk.message, "pass", "the trunk's messages are not judged"),
        (gateway.bypass, "pass", "the gateway is bypassed: nothing is judged"),
        (reading["protected"], "pass", "it goes to a protected number, which is never judged"),
        (not reading["identities"], "pass", "no identity yields a number, so no rule matches"),
        (trunk.mode == "off", "pass", "the trunk is off: nothing on it is judged"),
    )
    return next(((verdict, why) for holds, verdict, why in rows if holds), None)
