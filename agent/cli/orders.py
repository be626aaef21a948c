"""`palang order`: what the regulator ordered, where each order stands, and what the gate holds for a person."""

from typing import Annotated, Any

import typer

from agent.cli.asking import AgentSocket, Reason, ask_agent
from agent.cli.output import Json, say, show, table

app = typer.Typer(no_args_is_help=True, help="Orders: list, show, approve or refuse what is held.")

Order = Annotated[str, typer.Argument(metavar="ORDER", help="The order's id.")]
State = Annotated[str | None, typer.Option("--state", help="Only orders in this state.")]


@app.command("list")
def list_orders(
    state: State = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most orders to list.")] = 50,
    as_json: Json = False,
    socket: AgentSocket = None,
) -> None:
    """List orders, the newest first."""
    found = ask_agent(socket, lambda api: api.get("/v1/orders", state=state, limit=limit))["items"]
    show(found, as_json, _list)


@app.command("show")
def show_order(order: Order, as_json: Json = False, socket: AgentSocket = None) -> None:
    """Show one order: its subjects, what was confirmed and received, and its journal."""
    show(ask_agent(socket, lambda api: api.get(f"/v1/orders/{order}")), as_json, _story)


@app.command()
def approve(order: Order, reason: Reason, as_json: Json = False, socket: AgentSocket = None) -> None:
    """Apply what the gate held."""
    done = ask_agent(socket, lambda api: api.post(f"/v1/orders/{order}/approve", {"reason": reason}))
    show(done, as_json, _line)


@app.command()
def refuse(order: Order, reason: Reason, as_json: Json = False, socket: AgentSocket = None) -> None:
    """Refuse what the gate held; the regulator is told."""
    done = ask_agent(socket, lambda api: api.post(f"/v1/orders/{order}/refuse", {"reason": reason}))
    show(done, as_json, _line)


def _list(orders: list[dict[str, Any]]) -> None:
    table(
        ("order", "serial", "kind", "state", "subject", "ticket", "deadline"),
        ((o["id"], o["serial"], o["kind"], o["state"], _subject(o), o["ticket"], o["deadline"]) for o in orders),
        "no orders",
    )


def _line(order: dict[str, Any]) -> None:
    say(f"{order['id']}  {order['kind']} {_subject(order)}  {order['state']}")
    if waits := order.get("approval"):
        say(f"{waits['id']} waits for a second person until {waits['until']}: {waits['why']}")


def _story(order: dict[str, Any]) -> None:
    _line(order)
    say(f"ticket {order['ticket']}, serial {order['serial']}, {order['office']}, {order['legal_basis']}")
    say(f"issued {order['issued_at']}, received {order['received_at']}, deadline {order['deadline']}")
    if order["code"]:
        say(f"because: {order['code']}")
    say("")
    table(
        ("confirmation", "status", "code", "sent", "receipt"),
        ((c["id"], c["status"], c["code"], c["sent_at"], c["receipt_at"]) for c in order["confirmations"]),
        "nothing confirmed yet",
    )
    say("")
    table(
        ("journal", "at", "what", "by"),
        ((r["seq"], r["at"], r["kind"], r["actor"]) for r in order["journal"]),
        "no journal records",
    )


def _subject(order: dict[str, Any]) -> str:
    more = order["count"] - 1
    return f"{order['subject']} and {more:,} more" if more else str(order["subject"])
