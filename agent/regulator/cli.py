"""`palang regulator`: the stand-in's commands. All but `serve` talk to a running one over its socket.

Exit codes: 0 done, 1 refused or failed, 2 unreachable or used wrongly. `-` reads a number from stdin, so that it
does not stay in the shell's history; `--json` prints what the API answered.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import httpx
import typer

from agent.regulator.settings import RegulatorSettings
from sip_filter.number import parse_subject

app = typer.Typer(no_args_is_help=True, help="The regulator's stand-in: tickets, signed orders, receipts.")
ticket_app = typer.Typer(no_args_is_help=True, help="Open a ticket, or show one.")
order_app = typer.Typer(no_args_is_help=True, help="Send signed orders.")
app.add_typer(ticket_app, name="ticket")
app.add_typer(order_app, name="order")

_MAX_LINES = 100_000  # of one order: the contract's limit

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Socket = Annotated[
    Path, typer.Option("--socket", envvar="PALANG_REGULATOR_SOCKET", help="Unix socket of the running stand-in.")
]
Number = Annotated[str, typer.Argument(metavar="NUMBER", help="A number like +6281234567890; - reads it from stdin.")]
Ticket = Annotated[str | None, typer.Option("--ticket", help="Reference of an open ticket; without it one is opened.")]
Category = Annotated[str | None, typer.Option("--category", help="Kind of scam, as the regulator names it.")]

_SOCKET: Path = RegulatorSettings().socket


@app.command()
def serve(
    config: Annotated[
        Path | None, typer.Option("--config", help="Palang's settings file, table [regulator]; else $PALANG_CONFIG.")
    ] = None,
) -> None:
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
        _fail(str(error), 2)


@ticket_app.command("open")
def ticket_open(number: Number, category: Category = None, as_json: Json = False, socket: Socket = _SOCKET) -> None:
    """Open a ticket about a number."""
    opened = _post(socket, "/tickets", {"subject": _number(number), "category": category})
    _show(opened, as_json, lambda: [_ticket_line(opened)])


@ticket_app.command("show")
def ticket_show(
    ref: Annotated[str, typer.Argument(metavar="REF")], as_json: Json = False, socket: Socket = _SOCKET
) -> None:
    """Show one ticket: its orders, what the operator confirmed, and how long each step took."""
    story = _get(socket, f"/tickets/{ref}")
    _show(story, as_json, lambda: _story_lines(story))


@app.command()
def tickets(as_json: Json = False, socket: Socket = _SOCKET) -> None:
    """List the tickets, the newest first."""
    found = _get(socket, "/tickets")
    _show(found, as_json, lambda: [_ticket_line(ticket) for ticket in found] or ["no tickets"])


@order_app.command("block")
def order_block(
    number: Number,
    ticket: Ticket = None,
    category: Category = None,
    as_json: Json = False,
    socket: Socket = _SOCKET,
) -> None:
    """Order that a number be blocked."""
    _order(socket, "block", [_number(number)], ticket, category, as_json)


@order_app.command("unblock")
def order_unblock(
    number: Number,
    ticket: Ticket = None,
    category: Category = None,
    as_json: Json = False,
    socket: Socket = _SOCKET,
) -> None:
    """Order that a number be unblocked."""
    _order(socket, "unblock", [_number(number)], ticket, category, as_json)


@order_app.command("list")
def order_list(
    file: Annotated[typer.FileText, typer.Argument(help="One number a line, # comments; - reads stdin.")],
    unblock: Annotated[bool, typer.Option("--unblock", help="Unblock them instead of blocking.")] = False,
    ticket: Ticket = None,
    category: Category = None,
    as_json: Json = False,
    socket: Socket = _SOCKET,
) -> None:
    """Order that all numbers of a list be blocked, in one signed message."""
    _order(socket, "unblock" if unblock else "block", _read_list(file, file.name), ticket, category, as_json)


@app.command()
def advisory(
    prefix: Annotated[str, typer.Argument(metavar="PREFIX", help="A prefix like +77.")],
    reason: Annotated[str | None, typer.Option("--reason", help="Why the regulator advises it.")] = None,
    as_json: Json = False,
    socket: Socket = _SOCKET,
) -> None:
    """Send the regulator's advice about a prefix."""
    sent = _post(socket, "/advisories", {"prefix": prefix, "reason": reason})
    _show(sent, as_json, lambda: [f"advisory {sent['serial']} about {sent['subjects'][0]}"])


def _order(
    socket: Path,
    kind: Literal["block", "unblock"],
    subjects: list[str],
    ticket: str | None,
    category: str | None,
    as_json: bool,
) -> None:
    body = {"kind": kind, "subjects": subjects, "ticket": ticket, "category": category}
    sent = _post(socket, "/orders", body)
    _show(sent, as_json, lambda: [f"order {sent['serial']} {kind} {_about(sent)} on ticket {sent['ticket']}"])


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
            _fail(f"{name}:{number}: {error}", 1)
        if len(subjects) > _MAX_LINES:
            _fail(f"{name}:{number}: more than {_MAX_LINES} numbers; the limit of one order is {_MAX_LINES}", 1)
    if not subjects:
        _fail(f"{name}: holds no number", 1)
    return subjects


def _number(text: str) -> str:
    return sys.stdin.readline(256).strip() if text == "-" else text


def _get(socket: Path, path: str) -> Any:
    return _ask(socket, "GET", path, None)


def _post(socket: Path, path: str, body: dict[str, Any]) -> Any:
    return _ask(socket, "POST", path, body)


def _ask(socket: Path, method: str, path: str, body: dict[str, Any] | None) -> Any:
    try:
        with httpx.Client(
            transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://regulator", timeout=60
        ) as http:
            answer = http.request(method, path, json=body)
    except httpx.TransportError as error:
        _fail(f"nobody answers at {socket}: {error or type(error).__name__}", 2)
    if not answer.is_success:
        try:
            message = str(answer.json()["error"]["message"])
        except (ValueError, KeyError, TypeError):
            message = f"{answer.status_code} {answer.text[:200]}"
        _fail(message, 1)
    return answer.json()


def _show(record: Any, as_json: bool, people: Callable[[], Iterable[str]]) -> None:
    if as_json:
        typer.echo(json.dumps(record, ensure_ascii=False, indent=2))
    else:
        for line in people():
            typer.echo(line)


def _fail(line: str, code: int) -> NoReturn:
    typer.echo(f"palang: {line}", err=True)
    raise typer.Exit(code)


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
            for gap in (said["coverage"] or {"not_covered": ()})["not_covered"][:10]:
                yield f"      not covered: {gap['what']}: {gap['why']}"


def _about(order: dict[str, Any]) -> str:
    return str(order["subjects"][0]) if order["count"] == 1 else f"{order['count']} numbers"
