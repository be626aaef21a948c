"""The command line: every command prints tables for people or, with `--json`, records for scripts.

Exit codes: 0 done or healthy, 1 refused, failed or degraded, 2 unusable, unreachable or down.
"""

from importlib import import_module
from typing import Final

import typer

from agent.cli import remote

_COMMANDS: Final = {
    "order": "agent.cli.orders:app",
    "rule": "agent.cli.rules:app",
    "approval": "agent.cli.approvals:app",
    "clearance": "agent.cli.clearances:app",
    "numbers": "agent.cli.numbers:app",
    "admin": "agent.cli.people:admin",
    "people": "agent.cli.people:app",
    "token": "agent.cli.people:token",
    "roles": "agent.cli.people:roles",
    "completion": "agent.cli.completion:completion",
    "keys": "agent.cli.keys:app",
    "store": "agent.cli.audit:store",
    "audit": "agent.cli.audit:app",
    "regulator": "agent.regulator.cli:app",
    "demo": "agent.cli.processes:demo",
    "up": "agent.cli.processes:up",
    "agent": "agent.cli.processes:agent",
    "gateway": "agent.cli.processes:gateway",
    "check-config": "agent.cli.processes:check_config",
    "explain": "agent.cli.explain:explain",
    "probe": "agent.cli.explain:probe",
    "status": "agent.cli.status:status",
    "shift": "agent.cli.shift:shift",
}
"""Each first word, and the group or function that it stands for."""


def app(word: str | None = None) -> typer.Typer:
    """The program: with the command of this first word alone, which starts sooner, or else with all."""
    made = typer.Typer(
        no_args_is_help=True,
        callback=remote.choose,
        pretty_exceptions_enable=False,
        help="Palang enforces the regulator's block orders at the SIP edge, and proves it.",
    )
    for name in [word] if word in _COMMANDS else _COMMANDS:
        module, _, attribute = _COMMANDS[name].partition(":")
        found = getattr(import_module(module), attribute)
        if isinstance(found, typer.Typer):
            made.add_typer(found, name=name)
        else:
            made.command(name)(found)
    return made
