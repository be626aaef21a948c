"""The command line: every command prints tables for people or, with `--json`, records for scripts.

Exit codes: 0 done or healthy, 1 refused, failed or degraded, 2 unusable, unreachable or down.
"""

import typer

from agent.cli import (
    approvals,
    audit,
    clearances,
    completion,
    explain,
    keys,
    numbers,
    orders,
    people,
    processes,
    remote,
    rules,
    shift,
    status,
)
from agent.regulator.cli import app as regulator

app = typer.Typer(
    no_args_is_help=True,
    callback=remote.choose,
    pretty_exceptions_enable=False,
    help="Palang enforces the regulator's block orders at the SIP edge, and proves it.",
)
app.add_typer(orders.app, name="order")
app.add_typer(rules.app, name="rule")
app.add_typer(approvals.app, name="approval")
app.add_typer(clearances.app, name="clearance")
app.add_typer(numbers.app, name="numbers")
app.add_typer(people.admin, name="admin")
app.add_typer(people.app, name="people")
app.add_typer(people.token, name="token")
app.command()(people.roles)
app.command()(completion.completion)
app.add_typer(keys.app, name="keys")
app.add_typer(audit.store, name="store")
app.add_typer(audit.app, name="audit")
app.add_typer(regulator, name="regulator")
app.command()(processes.demo)
app.command()(processes.up)
app.command()(processes.agent)
app.command()(processes.gateway)
app.command()(processes.check_config)
app.command()(explain.explain)
app.command()(explain.probe)
app.command()(status.status)
app.command()(shift.shift)
