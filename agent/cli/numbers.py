"""`palang numbers`: lists of numbers that people hand in."""

from typing import Annotated, Any

import typer

from agent.cli.asking import AgentSocket, Reason, Yes, ask_agent, sure
from agent.cli.output import FAILED, Json, fail, say, show

app = typer.Typer(no_args_is_help=True, help="Numbers: which were given to new subscribers.")

MOST_BYTES = 8 * 1024 * 1024


@app.command()
def reassigned(
    file: Annotated[typer.FileText, typer.Argument(help="One number a line, # comments; - reads stdin.")],
    reason: Reason,
    yes: Yes = False,
    as_json: Json = False,
    socket: AgentSocket = None,
) -> None:
    """Open a review for each of these numbers that is blocked: they have new subscribers. All lines or none."""
    try:
        text = file.read(MOST_BYTES + 1)
    except UnicodeDecodeError as error:
        fail(f"{file.name}: is not UTF-8 text, at byte {error.start}", FAILED)
    if len(text) > MOST_BYTES:
        fail(f"{file.name}: more than {MOST_BYTES // 1024**2} MiB", FAILED)
    body: dict[str, Any] = {"numbers": text.splitlines(), "reason": reason}
    found = ask_agent(socket, lambda api: api.post("/v1/clearances/reassigned", body))
    if found["new"]:
        sure(f"{_counted(found)}; {found['new']:,} reviews will be opened", yes)
        body["commit"] = True
        found = ask_agent(socket, lambda api: api.post("/v1/clearances/reassigned", body))
    show(found, as_json, lambda done: say(f"{_counted(done)}; {len(done['opened']):,} reviews opened"))


def _counted(found: dict[str, Any]) -> str:
    return (
        f"{found['numbers']:,} numbers, {found['blocked']:,} blocked, {found['open_already']:,} with an open clearance"
    )
