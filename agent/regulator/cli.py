"""`palang regulator`: the stand-in's commands. All but `serve` talk to a running one over its socket.

Exit codes: 0 done, 1 refused or failed, 2 unreachable or used wrongly. `-` reads a number from stdin, so that it
does not stay in the shell's history; `--json` prints what the API answered.
"""

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from agent.cli.asking import RegulatorSocket, ask_regulator
from agent.cli.output import FAILED, UNUSABLE, Json, Number, fail, say, show, stdin_or
from sip_filter.number import parse_subject
from sync.contract import MAX_SUBJECTS

app = typer.Typer(no_args_is_help=True, help="The regulator's stand-in: tickets, signed orders, receipts.")
ticket_app = typer.Typer(no_args_is_help=True, help="Open a ticket, or show one.")
order_app = typer.Typer(no_args_is_help=True, help="Send signed orders.")
app.add_typer(ticket_app, name="ticket")
app.add_typer(order_app, name="order")

Ticket = Annotated[str | None, typer.Option("--ticket", help="Reference of an open ticket; without it one is opened.")]
Category = Annotated[str | None, typer.Option("--category", help="Kind of scam, as the regulator names it.")]
JsonLog = Annotated[bool, typer.Option("--json", help="The log is JSON lines, with this option and without.")]
Config = Annotated[
    Path | None, typer.Option("--config", help="Palang's settings file, table [regulator]; else $PALANG_CONFIG.")
]


@app.command()
def serve(config: Config = None, as_json: JsonLog = False) -> None:
    """Run the stand-in until SIGTERM or Ctrl-C."""
    import uvloop

    from agent import logs
    from agent.children import stop_signals
    from agent.local_http import AddressInUse
    from agent.regulator.service import serve as run
    from agent.regulator.state import StateError
    from agent.settings import read
    from config import ConfigError
    from sync.jws import KeyFileError

    async def main() -> None:
        stop = asyncio.Event()
        stop_signals(stop.set)
        await run(settings.regulator, stop)

    logs.configure()
    try:
        settings = read(config)
        uvloop.run(main())
    except (ConfigError, KeyFileError, AddressInUse, StateError, OSError) as error:
        fail(str(error), UNUSABLE)


@ticket_app.command("open")
def ticket_open(
    number: Number, category: Category = None, as_json: Json = False, socket: RegulatorSocket = None
) -> None:
    """Open a ticket about a number."""
    body = {"subject": stdin_or(number), "category": category}
    show(ask_regulator(socket, lambda api: api.post("/tickets", body)), as_json, lambda t: say(_ticket_line(t)))


@ticket_app.command("show")
def ticket_show(
    ref: Annotated[str, typer.Argument(metavar="REF")], as_json: Json = False, socket: RegulatorSocket = None
) -> None:
    """Show one ticket: its orders, what the operator confirmed, and how long each step took."""
    show(ask_regulator(socket, lambda api: api.get(f"/tickets/{ref}")), as_json, _story)


@app.command()
def tickets(as_json: Json = False, socket: RegulatorSocket = None) -> None:
    """List the tickets, the newest first."""
    show(ask_regulator(socket, lambda api: api.get("/tickets")), as_json, _tickets)


@order_app.command("block")
def order_block(
    number: Number,
    ticket: Ticket = None,
    category: Category = None,
    as_json: Json = False,
    socket: RegulatorSocket = None,
) -> None:
    """Order that a number be blocked."""
    _order(socket, "block", [stdin_or(number)], ticket, category, as_json)


@order_app.command("unblock")
def order_unblock(
    number: Number,
    ticket: Ticket = None,
    category: Category = None,
    as_json: Json = False,
    socket: RegulatorSocket = None,
) -> None:
    """Order that a number be unblocked."""
    _order(socket, "unblock", [stdin_or(number)], ticket, category, as_json)


@order_app.command("list")
def order_list(
    file: Annotated[typer.FileText, typer.Argument(help="One number a line, # comments; - reads stdin.")],
    unblock: Annotated[bool, typer.Option("--unblock", help="Unblock them instead of blocking.")] = False,
    ticket: Ticket = None,
    category: Category = None,
    as_json: Json = False,
    socket: RegulatorSocket = None,
) -> None:
    """Order that all numbers of a list be blocked, in one signed message."""
    _order(socket, "unblock" if unblock else "block", _read_list(file, file.name), ticket, category, as_json)


@app.command()
def advisory(
    prefix: Annotated[str, typer.Argument(metavar="PREFIX", help="A prefix like +77.")],
    reason: Annotated[str | None, typer.Option("--reason", help="Why the regulator advises it.")] = None,
    as_json: Json = False,
    socket: RegulatorSocket = None,
) -> None:
    """Send the regulator's advice about a prefix."""
    sent = ask_regulator(socket, lambda api: api.post("/advisories", {"prefix": prefix, "reason": reason}))
    show(sent, as_json, lambda s: say(f"advisory {s['serial']} about {s['subjects'][0]}"))


def _order(
    socket: Path | None,
    kind: Literal["block", "unblock"],
    subjects: list[str],
    ticket: str | None,
    category: str | None,
    as_json: bool,
) -> None:
    body = {"kind": kind, "subjects": subjects, "ticket": ticket, "category": category}
    sent = ask_regulator(socket, lambda api: api.post("/orders", body))
    show(sent, as_json, lambda s: say(f"order {s['serial']} {kind} {_about(s)} on ticket {s['ticket']}"))


def _read_list(lines: Iterable[str], name: str) -> list[str]:
    """The subjects of a list file. Ends the command when one can't be read, or there is none, or there are too many."""
    subjects = []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            subjects.append(str(parse_subject(text)))
        except ValueError as error:
            fail(f"{name}:{number}: {error}", FAILED)
        if len(subjects) > MAX_SUBJECTS:
            fail(f"{name}:{number}: one order holds at most {MAX_SUBJECTS:,} numbers", FAILED)
    if not subjects:
        fail(f"{name}: holds no number", FAILED)
    return subjects


def _tickets(found: list[dict[str, Any]]) -> None:
    for ticket in found:
        say(_ticket_line(ticket))
    if not found:
        say("no tickets")


def _story(story: dict[str, Any]) -> None:
    for line in _story_lines(story):
        say(line)


def _ticket_line(ticket: dict[str, Any]) -> str:
    return f"{ticket['ref']}  {ticket['state']:7}  {ticket['subject']}  {ticket['category'] or '—'}"


def _story_lines(story: dict[str, Any]) -> Iterator[str]:
    yield _ticket_line(story)
    yield f"  opened {story['opened_at']}, ordered {story['ordered_at'] or '—'}, closed {story['closed_at'] or '—'}"
    for order in story["orders"]:
        yield f"  order {order['serial']} {order['kind']} {_about(order)}: {order['status'] or 'not confirmed yet'}"
        steps = (("in force", "effective"), ("confirmed", "confirmed"), ("closed", "done"))
        after = (
            f"{name} after {order[f'{key}_after_s']:.3f} s"
            for name, key in steps
            if order[f"{key}_after_s"] is not None
        )
        yield f"    {', '.join(after) or 'nothing has come back'}"
        for said in order["confirmations"]:
            why = f" ({said['code']}: {said['detail']})" if said["code"] else ""
            nodes = ", ".join(node["node"] for node in (said["proof"] or {"nodes": ()})["nodes"])
            proof = f", proved on {nodes} at {said['revision']}" if nodes else ""
            yield f"    {said['arrived_at']} {said['status']}{why}{proof}"
            if cleared := said.get("clearance"):
                document = cleared["document"][:12]
                yield f"      one number, after clarification {cleared['reference']} (document {document}…)"
            for gap in (said["coverage"] or {"not_covered": ()})["not_covered"][:10]:
                yield f"      not covered: {gap['what']}: {gap['why']}"


def _about(order: dict[str, Any]) -> str:
    return str(order["subjects"][0]) if order["count"] == 1 else f"{order['count']} numbers"
