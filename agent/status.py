"""Everything at a glance: feed, ledger, Redis, nodes, orders, deadlines, outbox; and one word for all of it."""

import asyncio
from datetime import datetime
from typing import Any

from agent.settings import RosterNode
from agent.views import deadline_record
from agent.wiring import Parts
from sip_filter.control import AskError, ask
from sync.ledger import Head, Ledger, LedgerStatus, LedgerUnavailable

HEALTHY, DEGRADED, DOWN = "healthy", "degraded", "down"

_NODE_SECONDS = 0.5


async def report(parts: Parts, now: datetime, known: LedgerStatus | None = None) -> dict[str, Any]:
    """The status record. `health` is the worst of its parts; `because` has one line for each that is not well.

    `known` is the ledger's own status where it was asked a moment ago.
    """
    nodes = await asyncio.gather(*(_node(node) for node in parts.settings.proof.roster))
    try:
        ledger: LedgerStatus | None = known or await parts.ledger.read(Ledger.status, now)
        failure = ""
    except LedgerUnavailable as error:
        ledger, failure = None, str(error)
    for node in nodes:
        node["lag"] = _lag(node, ledger.head) if ledger and node["answers"] else None
    down, degraded = _complaints(parts, nodes, ledger, failure)
    store, link = parts.publisher.state, parts.link.state
    return {
        "health": DOWN if down else DEGRADED if degraded else HEALTHY,
        "because": [*down, *degraded],
        "at": _text(now),
        "feed": {
            "connected_since": _text(link.connected_since),
            "session_present": link.session_present,
            "last_message_at": _text(link.last_message_at),
            "error": link.last_error or parts.feed.state.last_error,
            "last_serial": ledger and ledger.last_serial,
            "missing_serials": ledger and [list(gap) for gap in ledger.gaps],
            "refused_messages": ledger and ledger.refused_messages,
        },
        "ledger": {
            "writable": ledger is not None,
            "revision": ledger and str(ledger.head),
            "entries": ledger and ledger.head.entries,
            "digest": ledger and ledger.head.digest,
            "journal": ledger and ledger.journal,
            "rules": ledger and ledger.rules,
            "error": failure,
        },
        "redis": {
            "connected": store.connected,
            "revision": store.published and str(store.published),
            "rebuilds": store.rebuilds,
            "error": store.last_error,
        },
        "nodes": nodes,
        "orders": ledger and ledger.orders,
        "overdue": ledger and ledger.overdue,
        "deadlines": ledger and [deadline_record(due) for due in ledger.deadlines],
        "outbox": {
            "waiting": ledger and ledger.outbox,
            "oldest": ledger and _text(ledger.oldest_unsent),
            "error": parts.outbox.state.last_error,
        },
    }


async def _node(node: RosterNode) -> dict[str, Any]:
    """What one node of the roster says of itself, or why it says nothing."""
    try:
        state = await ask(node.control, {"ask": "state"}, _NODE_SECONDS)
    except AskError as error:
        return {"node": node.name, "answers": False, "error": str(error)}
    return {
        "node": node.name,
        "answers": True,
        "revision": f"{state['epoch']}.{state['n']}",
        "digest": state["digest"],
        "stale": state["stale"],
        "why": state.get("why", ""),
        "trunks": state["trunks"],
        "bypass": state.get("bypass", False),
        "drained": state.get("drained", False),
        "next_hops": state.get("next_hops", []),
        "trunk_counters": state.get("trunk_counters", {}),
        "counters": state.get("counters", {}),
        "not_taken": state.get("not_taken", []),
        "card_error": state.get("card_error", ""),
        "entries": state.get("sizes", {}).get("numbers", 0) + state.get("sizes", {}).get("prefixes", 0),
        "error": "",
    }


def _lag(node: dict[str, Any], head: Head) -> int | None:
    """How many revisions a node is behind the ledger; None when it stands in another epoch."""
    epoch, n = map(int, node["revision"].split("."))
    return head.n - n if epoch == head.epoch else None


def _complaints(
    parts: Parts, nodes: list[dict[str, Any]], ledger: LedgerStatus | None, failure: str
) -> tuple[list[str], list[str]]:
    """What is down, and what is only degraded: a line each."""
    down, degraded = [], []
    if ledger is None:
        down.append(f"the ledger can't be used: {failure}")
    elif ledger.overdue:
        degraded.append(f"{ledger.overdue} orders are past their deadline")
    if ledger and ledger.gaps:
        degraded.append(f"{len(ledger.gaps)} gaps in the regulator's serials")
    if not parts.link.state.connected_since:
        degraded.append(f"the broker is away: {parts.link.state.last_error or 'not connected yet'}")
    if not parts.publisher.state.connected:
        degraded.append(f"Redis is away: {parts.publisher.state.last_error or 'not connected yet'}")
    away = [node for node in nodes if not node["answers"]]
    degraded += [f"node {node['node']} does not answer: {node['error']}" for node in away]
    if len(away) == len(nodes):
        down.append("no node of the roster answers" if nodes else "the roster has no node")
    for node in nodes:
        if node["answers"]:
            degraded += _node_complaints(node, ledger.head if ledger else None)
    return down, degraded


def _node_complaints(node: dict[str, Any], head: Head | None) -> list[str]:
    found = []
    if node["stale"]:
        found.append(f"node {node['node']} is stale: {node['why']}")
    if node["bypass"]:
        found.append(f"node {node['node']} is bypassed: nothing is enforced on it")
    if node["drained"]:
        found.append(f"node {node['node']} is drained: OPTIONS gets 503 there, so that peers go around it")
    found += [f"node {node['node']} keeps what it had; newer {why}" for why in node["not_taken"]]
    if node["card_error"]:
        found.append(f"node {node['node']} can't sign the card of a 608, and answers 603: {node['card_error']}")
    hops = node["next_hops"]
    found += [
        f"node {node['node']}: next hop {hop['name']} misses its checks; new calls go around it"
        for hop in hops
        if not hop.get("healthy", True)
    ]
    if hops and not any(hop.get("healthy", True) and not hop.get("drain", False) for hop in hops):
        found.append(f"node {node['node']}: no next hop takes calls; new ones get 500")
    if head and tuple(map(int, node["revision"].split("."))) > (head.epoch, head.n):
        found.append(
            f"node {node['node']} is at {node['revision']}, ahead of the ledger's {head}: after a restore, let the"
            " missing orders come again, then `palang store rebuild --new-epoch`"
        )
    if head and node["revision"] == str(head) and node["digest"] != head.digest:
        found.append(f"node {node['node']} holds another list than the ledger at {head}")
    return found


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat().replace("+00:00", "Z") if moment else None
