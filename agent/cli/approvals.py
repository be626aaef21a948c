"""`palang approval`: what waits for a second person, and that person's decision."""

from typing import Annotated, Any

import typer

from agent.cli.asking import AgentSocket, Reason, Yes, ask_agent, sure
from agent.cli.output import Json, say, show, table

app = typer.Typer(no_args_is_help=True, help="Approvals: list, show, approve, refuse or withdraw what waits for two.")

Approval = Annotated[str, typer.Argument(metavar="APPROVAL", help="The approval's id, such as a12.")]
State = Annotated[str, typer.Option("--state", help="open, approved, refused, lapsed or withdrawn; all for any.")]


@app.command("list")
def list_approvals(state: State = "open", as_json: Json = False, socket: AgentSocket = None) -> None:
    """List what waits for a second person."""
    wanted = None if state == "all" else state
    show(ask_agent(socket, lambda api: api.get("/v1/approvals", state=wanted, limit=1000))["items"], as_json, _list)


@app.command("show")
def show_approval(approval: Approval, as_json: Json = False, socket: AgentSocket = None) -> None:
    """Show one: who asked for what, why one person is not enough, and what became of it."""
    show(ask_agent(socket, lambda api: api.get(f"/v1/approvals/{approval}")), as_json, _page)


@app.command()
def approve(
    approval: Approval, reason: Reason, yes: Yes = False, as_json: Json = False, socket: AgentSocket = None
) -> None:
    """Approve what somebody else asked for; it is done at once."""
    found = ask_agent(socket, lambda api: api.get(f"/v1/approvals/{approval}"))
    sure(f"{found['id']}: {found['act']} on {found['about']} is done at once, as {found['author']} asked", yes)
    _decide(approval, "approve", reason, as_json, socket)


@app.command()
def refuse(approval: Approval, reason: Reason, as_json: Json = False, socket: AgentSocket = None) -> None:
    """Refuse what somebody else asked for."""
    _decide(approval, "refuse", reason, as_json, socket)


@app.command()
def withdraw(approval: Approval, reason: Reason, as_json: Json = False, socket: AgentSocket = None) -> None:
    """Take back what you asked for yourself."""
    _decide(approval, "withdraw", reason, as_json, socket)


def _decide(approval: str, word: str, reason: str, as_json: bool, socket: AgentSocket) -> None:
    done = ask_agent(socket, lambda api: api.post(f"/v1/approvals/{approval}/{word}", {"reason": reason}))
    show(done, as_json, _line)


def _list(found: list[dict[str, Any]]) -> None:
    table(
        ("approval", "state", "act", "about", "asked by", "until", "why two"),
        ((a["id"], a["state"], a["act"], a["about"], a["author"], a["until"], a["why"]) for a in found),
        "nothing waits for a second person",
    )


def _line(one: dict[str, Any]) -> None:
    say(f"{one['id']}  {one['act']} {one['about']}  {one['state']}")


def _page(one: dict[str, Any]) -> None:
    _line(one)
    say(f"asked by {one['author']} at {one['asked_at']}: {one['reason']}")
    say(f"two are needed: {one['why']}")
    if one["decided_at"]:
        say(f"{one['state']} by {one['decided_by']} at {one['decided_at']}: {one['decision_reason']}")
    else:
        say(f"lapses at {one['until']}")
