"""`palang shift`: the hand-over as plain text, to read, print or pipe into a mail."""

from typing import Annotated

import typer

from agent.cli.asking import AgentSocket, ask_agent
from agent.cli.output import Json, show
from agent.shift_text import letter


def shift(
    hours: Annotated[int, typer.Option(min=1, max=168, help="How long the shift was.")] = 8,
    as_json: Json = False,
    socket: AgentSocket = None,
) -> None:
    """What the next shift has to know: what changed, was braked, ends soon, is open. Plain text, for a mail."""
    found = ask_agent(socket, lambda api: api.get("/v1/shift", hours=hours))
    show(found, as_json, lambda record: typer.echo(letter(record), nl=False))
