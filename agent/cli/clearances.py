"""`palang clearance`: the unblock desk. One person opens, another approves; the nodes prove, the regulator is told."""

import hashlib
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli.asking import AgentSocket, Reason, Yes, ask_agent, sure
from agent.cli.output import FAILED, Json, Number, fail, say, show, stdin_or, table

app = typer.Typer(
    no_args_is_help=True,
    help="Clearances: open, list, show, lift, approve, refuse or keep what a number is blocked by.",
)

Clearance = Annotated[str, typer.Argument(metavar="CLEARANCE", help="The clearance's id, such as c3.")]
Reference = Annotated[str, typer.Option("--reference", help="The clarification's reference, such as KL-2026-7.")]
Document = Annotated[
    str | None, typer.Option("--document", metavar="SHA256", help="The document's hash; the document stays outside.")
]
DocumentFile = Annotated[
    Path | None, typer.Option("--document-file", help="The document: its hash is computed here, nothing is sent.")
]
Exception_ = Annotated[
    bool, typer.Option(help="Where a prefix rule of the NOC catches the number too, make an exception for it.")
]
State = Annotated[
    str | None, typer.Option("--state", help="Only those in this state; `all` for every one. Else those that wait.")
]

_HASHED_AT_ONCE = 1 << 20


@app.command("open")
def open_clearance(
    number: Number,
    reference: Reference,
    reason: Reason,
    document: Document = None,
    document_file: DocumentFile = None,
    exception: Exception_ = True,
    as_json: Json = False,
    socket: AgentSocket = None,
) -> None:
    """Open a clearance for a number that is blocked wrongly; a second person decides on the lift."""
    body = {"number": stdin_or(number), **_evidence(reference, reason, document, document_file, exception)}
    show(ask_agent(socket, lambda api: api.post("/v1/clearances", body)), as_json, _asked)


@app.command("list")
def list_clearances(
    state: State = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most clearances to list.")] = 50,
    as_json: Json = False,
    socket: AgentSocket = None,
) -> None:
    """List clearances whose deadline runs, the nearest first; or with --state the newest first."""
    wanted = None if state == "all" else state
    waiting = None if state else "true"
    query = {"state": wanted, "waiting": waiting, "limit": limit}
    show(ask_agent(socket, lambda api: api.get("/v1/clearances", **query))["items"], as_json, _list)


@app.command("show")
def show_clearance(clearance: Clearance, as_json: Json = False, socket: AgentSocket = None) -> None:
    """Show one: what blocks the number, whose order, who asked and approved, proof, confirmation, receipt."""
    show(ask_agent(socket, lambda api: api.get(f"/v1/clearances/{clearance}")), as_json, _story)


@app.command()
def lift(
    clearance: Clearance,
    reference: Reference,
    reason: Reason,
    document: Document = None,
    document_file: DocumentFile = None,
    exception: Exception_ = True,
    as_json: Json = False,
    socket: AgentSocket = None,
) -> None:
    """Ask for the lift that a review is about; a second person decides on it."""
    body = _evidence(reference, reason, document, document_file, exception)
    show(ask_agent(socket, lambda api: api.post(f"/v1/clearances/{clearance}/lift", body)), as_json, _asked)


@app.command()
def approve(
    clearance: Clearance, reason: Reason, yes: Yes = False, as_json: Json = False, socket: AgentSocket = None
) -> None:
    """Approve the lift that somebody else asked for: the block ends at once."""
    found = ask_agent(socket, lambda api: api.get(f"/v1/clearances/{clearance}"))
    request = _request(found)
    sure(f"{clearance}: {found['subject']} will pass, as {request['author']} asked: {request['reason']}", yes)
    _decide(clearance, request["id"], "approve", reason, as_json, socket)


@app.command()
def refuse(clearance: Clearance, reason: Reason, as_json: Json = False, socket: AgentSocket = None) -> None:
    """Refuse the lift that somebody else asked for: the block stays."""
    request = _request(ask_agent(socket, lambda api: api.get(f"/v1/clearances/{clearance}")))
    _decide(clearance, request["id"], "refuse", reason, as_json, socket)


@app.command()
def keep(clearance: Clearance, reason: Reason, as_json: Json = False, socket: AgentSocket = None) -> None:
    """Decide in a review that the block stays."""
    done = ask_agent(socket, lambda api: api.post(f"/v1/clearances/{clearance}/keep", {"reason": reason}))
    show(done, as_json, _line)


def _evidence(
    reference: str, reason: str, document: str | None, document_file: Path | None, exception: bool
) -> dict[str, Any]:
    if (document is None) == (document_file is None):
        fail("give the document's hash (--document) or the document (--document-file), and not both", FAILED)
    return {
        "reference": reference,
        "document": document if document_file is None else _hash(document_file),
        "reason": reason,
        "exception": exception,
    }


def _hash(path: Path) -> str:
    found = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while some := file.read(_HASHED_AT_ONCE):
                found.update(some)
    except OSError as error:
        fail(f"{path}: {error.strerror}", FAILED)
    return found.hexdigest()


def _request(clearance: dict[str, Any]) -> dict[str, Any]:
    """What waits for a second person, else the command ends."""
    waits: dict[str, Any] | None = next(
        (approval for approval in clearance["approvals"] if approval["state"] == "open"), None
    )
    if waits is None:
        fail(f"clearance {clearance['id']} is {clearance['state']}; nothing of it waits for a second person", FAILED)
    return waits


def _decide(clearance: str, request: str, word: str, reason: str, as_json: bool, socket: AgentSocket) -> None:
    async def decide(api: Any) -> Any:
        await api.post(f"/v1/approvals/{request}/{word}", {"reason": reason})
        return await api.get(f"/v1/clearances/{clearance}")

    show(ask_agent(socket, decide), as_json, _line)


def _list(found: list[dict[str, Any]]) -> None:
    table(
        ("clearance", "state", "kind", "number", "reference", "opened by", "deadline", "left"),
        (
            (
                *(c["id"], c["state"], c["kind"], c["subject"], c["reference"]),
                *(c["opened_by"], c["deadline"], _left(c)),
            )
            for c in found
        ),
        "no clearances",
    )


def _asked(clearance: dict[str, Any]) -> None:
    _line(clearance)
    waits = clearance.get("approval")
    if waits:
        say(f"waits for a second person as {waits['id']}: palang clearance approve {clearance['id']} --reason …")


def _line(clearance: dict[str, Any]) -> None:
    left = _left(clearance)
    say(f"{clearance['id']}  {clearance['subject']}  {clearance['state']}{f'  {left}' if left else ''}")


def _left(clearance: dict[str, Any]) -> str | None:
    """How long the deadline still is."""
    seconds = clearance["left_s"]
    if seconds is None:
        return None
    hours, minutes = divmod(abs(seconds) // 60, 60)
    return f"{hours} h {minutes:02} min {'left' if seconds >= 0 else 'overdue'}"


def _story(c: dict[str, Any]) -> None:
    _line(c)
    say(f"{c['kind']}, opened by {c['opened_by']} at {c['opened_at']}: {c['reason']}")
    say(f"deadline {c['deadline']}; reference {c['reference'] or '—'}, document {c['document'] or '—'}")
    for order in c["orders"]:
        number = order["number_is"] or "caught by its prefix"
        say(f"order {order['id']} ({order['kind']}, ticket {order['ticket']}): {order['state']}; the number: {number}")
        say(f"  {order['office']}, {order['legal_basis']}, issued {order['issued_at']}")
        say(f"  its message: {order['message_sha256']}")
    for asked in c["approvals"]:
        say(f"{asked['id']} asked by {asked['author']} at {asked['asked_at']}: {asked['reason']}")
        if asked["decided_at"]:
            by = f"{asked['state']} by {asked['decided_by']} at {asked['decided_at']}"
            say(f"  {by}: {asked['decision_reason']}")
    for rule in c["blocking"]:
        say(f"blocked by {rule['id']} on {rule['subject']}: {_REMEDIES[rule['remedy']]}")
    _after_approval(c)


def _after_approval(c: dict[str, Any]) -> None:
    if c["revision"]:
        say(f"approved at {c['approved_at']}, lifted with revision {c['revision']}")
    if c["exception"]:
        say(f"exception {c['exception']} from the NOC's prefix rules")
    for node in c["proof"]["proof"]["nodes"] if c["proof"] else ():
        say(f"node {node['node']} at {node['revision']}: {node['held']} of {node['asked']} synthetic requests pass")
    for told in c["confirmations"]:
        say(f"confirmation {told['id']}: {told['status']}")
        say(f"  sent {told['sent_at'] or '—'}, receipt {told['receipt_at'] or '—'}")
    if c["again_by"]:
        say(f"blocked again by the later order {c['again_by']} at {c['again_at']}")


_REMEDIES = {
    "lift": "ends with the lift",
    "exception": "a prefix rule of the NOC; an exception for the number lets it pass",
    "regulator": "a prefix of the regulator's order; only the regulator lifts it",
}
