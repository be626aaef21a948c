"""`palang status`: everything at a glance, and an exit code for monitoring."""

from typing import Any

import typer

from agent.cli.asking import AgentSocket, ask_agent
from agent.cli.output import FAILED, OK, UNUSABLE, Json, say, show, table

_EXIT = {"healthy": OK, "degraded": FAILED, "down": UNUSABLE}


def status(as_json: Json = False, socket: AgentSocket = None) -> None:
    """Feed, ledger, Redis, nodes, orders, deadlines, outbox. Exit 0 healthy, 1 degraded, 2 down."""
    found = ask_agent(socket, lambda api: api.get("/v1/status"))
    show(found, as_json, _page)
    raise typer.Exit(_EXIT[found["health"]])


def _page(status: dict[str, Any]) -> None:
    feed, ledger, redis, outbox = status["feed"], status["ledger"], status["redis"], status["outbox"]
    say(f"{status['health'].upper()}  at {status['at']}")
    for line in status["because"]:
        say(f"  ! {line}")
    say("")
    say(f"feed     {_since(feed['connected_since'])}, last message {feed['last_message_at'] or 'never'}")
    say(f"         last serial {feed['last_serial']}, missing {feed['missing_serials'] or 'none'}")
    say(f"ledger   revision {ledger['revision']}, {ledger['entries']:,} entries, {ledger['journal']:,} journal records"
        if ledger["writable"] else f"ledger   {ledger['error']}")  # fmt: skip
    say(f"redis    {'connected' if redis['connected'] else 'away'}, revision {redis['revision']}")
    say(f"outbox   {outbox['waiting']} without receipt, oldest {outbox['oldest'] or '—'}")
    orders = ", ".join(f"{count:,} {state}" for state, count in (status["orders"] or {}).items() if count)
    say(f"orders   {orders or 'none'}")
    say("")
    table(
        ("node", "revision", "lag", "entries", "trunks", "next hops", "state"),
        (
            (n["node"], n.get("revision"), n["lag"], n.get("entries"), _trunks(n), _hops(n), _node(n))
            for n in status["nodes"]
        ),
        "the roster has no node",
    )
    if status["deadlines"]:
        say("")
        table(
            ("next deadline", "order", "ticket", "state"),
            ((d["deadline"], d["order"], d["ticket"], d["state"]) for d in status["deadlines"][:5]),
            "",
        )


def _since(moment: str | None) -> str:
    return f"connected since {moment}" if moment else "not connected"


def _trunks(node: dict[str, Any]) -> str:
    return ", ".join(f"{trunk} {mode}" for trunk, mode in node.get("trunks", {}).items())


def _hops(node: dict[str, Any]) -> str:
    """Each next hop and whether new calls go there."""
    return ", ".join(
        f"{hop['name']} {'silent' if not hop['healthy'] else 'drained' if hop['drain'] else 'takes calls'}"
        for hop in node.get("next_hops", [])
    )


def _node(node: dict[str, Any]) -> str:
    if not node["answers"]:
        return str(node["error"])
    state = f"stale: {node['why']}" if node["stale"] else "in step"
    return f"drained, {state}" if node["drained"] else state
