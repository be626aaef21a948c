"""Where the running processes are, and how a command asks them."""

import getpass
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli import remote
from agent.cli.output import FAILED, fail, run
from agent.client import Api
from agent.settings import read

Question = Callable[[Api], Awaitable[Any]]
AgentSocket = Annotated[
    Path | None,
    typer.Option("--socket", envvar="PALANG_AGENT_SOCKET", help="The agent's unix socket; else the settings' one."),
]
RegulatorSocket = Annotated[
    Path | None,
    typer.Option("--socket", envvar="PALANG_REGULATOR_SOCKET", help="The stand-in's socket; else the settings' one."),
]
Reason = Annotated[str, typer.Option("--reason", help="Why; it goes into the journal.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]


def sure(effect: str, yes: bool) -> None:
    """Show what a destructive command would do, and go on only when it is wanted; without a terminal only `--yes` is.

    It speaks on stderr, so that `--json` stays one record.
    """
    print(effect, file=sys.stderr)  # noqa: T201
    if yes:
        return
    if not sys.stdin.isatty():
        fail("nobody can be asked here; with --yes it is done without asking", FAILED)
    if not typer.confirm("Do it?", err=True):
        fail("nothing was done", FAILED)


def ask_agent(socket: Path | None, question: Question) -> Any:
    """Put one question to the agent: at `socket` if one is named, at `--agent` elsewhere, else at the settings' socket.

    A refusal or an unreachable agent ends the command with its exit code.
    """
    elsewhere = None if socket else remote.chosen()
    if elsewhere is None:
        return run(_ask(lambda: socket or read().agent.socket, question))
    return run(_ask_elsewhere(elsewhere, question))


def ask_regulator(socket: Path | None, question: Question) -> Any:
    """Put one question to the stand-in, likewise."""
    return run(_ask(lambda: socket or read().regulator.socket, question))


async def _ask_elsewhere(elsewhere: remote.Remote, question: Question) -> Any:
    async with elsewhere.api() as api:
        return await question(api)


async def _ask(socket: Callable[[], Path], question: Question) -> Any:
    async with Api(socket(), {"X-Palang-Actor": getpass.getuser()}) as api:
        return await question(api)
