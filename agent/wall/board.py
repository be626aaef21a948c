"""The wall's record, put together from what the parts said; nothing here asks anybody.

Each part has `at`, the moment its figures were taken, and `tone`: good, warn or bad. A part that can't be read keeps
its last figures and their age.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from agent.views import mask, mask_digits
from agent.wall.rates import Course
from sync.ledger.lately import Act

LATEST: Final = 12
"""Acts, alarms and deadlines that are shown."""
_TOLD: Final = ("from", "to", "reason", "mode", "action", "request", "act", "to_mode", "from_mode", "cause")
"""Fields of a journal record's body that the wall shows."""

Record = dict[str, Any]


def from_status(status: Record, at: str) -> Record:
    """The parts that the status record knows. A part of the ledger is absent while the ledger can't be used."""
    feed, ledger, store, outbox = (status[name] for name in ("feed", "ledger", "redis", "outbox"))
    parts = {
        "broker": {
            "at": at,
            "tone": "good" if feed["connected_since"] else "bad",
            "connected_since": feed["connected_since"],
            "error": feed["error"],
        },
        "redis": {
            "at": at,
            "tone": "good" if store["connected"] else "bad",
            "revision": store["revision"],
            "rebuilds": store["rebuilds"],
            "error": store["error"],
        },
        "nodes": {"at": at, "tone": _worst(node_tone(n) for n in status["nodes"]), "items": status["nodes"]},
    }
    if not ledger["writable"]:
        return parts
    return parts | {
        "feed": {
            "at": at,
            "tone": "warn" if feed["missing_serials"] else "good",
            "last_message_at": feed["last_message_at"],
            "last_serial": feed["last_serial"],
            "missing": sum(last - first + 1 for first, last in feed["missing_serials"]),
            "refused": feed["refused_messages"],
        },
        "ledger": {"at": at, "tone": "good", **{k: ledger[k] for k in ("revision", "entries", "journal", "rules")}},
        "outbox": {
            "at": at,
            "tone": "bad" if outbox["error"] else "good",
            **outbox,
        },
        "orders": {
            "at": at,
            "tone": "bad" if status["overdue"] else "good",
            "by_state": status["orders"],
            "overdue": status["overdue"],
            "deadlines": status["deadlines"],
        },
    }


def node(said: Record, head: str | None, digest: str | None, at: str, before: Record | None) -> Record:
    """One node: what it says now, or what it said when it last answered, with the age of that."""
    if not said["answers"]:
        kept = before or {"node": said["node"], "revision": None, "lag": None, "list": "unknown", "trunks": {}}
        return {**kept, "answers": False, "error": said["error"], "seen_at": before and before["seen_at"]}
    same = None if digest is None or said["revision"] != head else said["digest"] == digest
    shown = {name: said[name] for name in ("node", "revision", "lag", "stale", "why", "trunks", "bypass", "drained")}
    hops = [hop["name"] for hop in said["next_hops"] if not hop.get("healthy", True)]
    listed = "equal" if same else "differs" if same is False else "behind"
    return {**shown, "answers": True, "error": "", "list": listed, "hops_away": hops, "seen_at": at}


def node_tone(node: Record) -> str:
    """How a node stands."""
    if not node["answers"] or node.get("bypass") or node.get("list") == "differs":
        return "bad"
    return "warn" if node["stale"] or node["drained"] or node.get("hops_away") or node["lag"] else "good"


def calls(course: Course, nodes: Sequence[Record], modes: Mapping[str, str], at: str) -> Record:
    """Calls per second, in all and by trunk; `nodes` of how many the figures are."""
    rounded = {t: {name: round(rate, 2) for name, rate in rates.items()} for t, rates in course.trunks.items()}
    return {
        "at": at,
        "total": course.total and {name: round(rate, 2) for name, rate in course.total.items()},
        "nodes": course.nodes,
        "of": len(nodes),
        "trunks": [{"trunk": t, "mode": modes.get(t), **rounded[t]} for t in sorted(rounded)],
    }


def act(act: Act) -> Record:
    """One act as the wall shows it; numbers that people wrote are masked."""
    told = {name: mask_digits(_word(act.body[name])) for name in _TOLD if act.body.get(name) is not None}
    subject = act.body.get("subject")
    return {
        "at": text(act.at),
        "kind": act.kind,
        "actor": act.actor,
        "about": act.about,
        "subject": _masked(subject) if isinstance(subject, str) else None,
        **told,
    }


def deadlines(
    orders: Sequence[Record], requests: Iterable[Any], clearances: Iterable[Any] = (), limit: int = LATEST
) -> list[Record]:
    """What is due next, the nearest first: orders to be in force, wrong blocks to end, acts that wait for two."""
    found = [
        {"what": "order", "about": due["order"], "ticket": due["ticket"], "state": due["state"], "at": due["deadline"]}
        for due in orders
    ]
    found += [
        {"what": "approval", "about": r.id, "ticket": None, "state": r.act, "at": text(r.until)} for r in requests
    ]
    found += [
        {"what": "clearance", "about": c.id, "ticket": c.reference, "state": c.state, "at": text(c.deadline)}
        for c in clearances
    ]
    return sorted(found, key=lambda due: str(due["at"]))[:limit]


def text(moment: datetime) -> str:
    """A moment as the API writes it."""
    return moment.isoformat().replace("+00:00", "Z")


def _word(told: Any) -> str:
    """A field in a word: a rule's state before or after is told by its mode."""
    return str(told.get("mode") or "") if isinstance(told, dict) else str(told)


def _masked(subject: str) -> str:
    try:
        return mask(subject)
    except ValueError:
        return "•••"


def _worst(tones: Iterable[str]) -> str:
    order = ("good", "warn", "bad")
    return max(tones, key=order.index, default="bad")
