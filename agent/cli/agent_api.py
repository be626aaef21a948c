"""Where the local agent is, and how a command asks it."""

import getpass
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli.output import run
from agent.client import Api
from agent.settings import read

Socket = Annotated[
    Path | None,
    typer.Option("--socket", envvar="PALANG_AGENT_SOCKET", help="The agent's unix socket; else the settings' one."),
]
Reason = Annotated[str, typer.Option("--reason", help="Why; it goes into the journal.")]


def ask(socket: Path | None, question: Callable[[Api], Awaitable[Any]]) -> Any:
    """Put one question to the agent. A refusal or an unreachable agent ends the command with its exit code."""

    async def main() -> Any:
        async with Api(socket or read().agent.socket, {"X-Palang-Actor": getpass.getuser()}) as api:
            return await question(api)

    return run(main())
