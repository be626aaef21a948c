"""`palang gateway`: one node, or a trial of one.

It imports neither typer nor FastAPI, so that a killed gateway is back at once.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from agent import draining, logs
from agent.settings import read
from config import ConfigError
from sip_filter.node import run
from sync.points import reach

UNUSABLE = 2


_MORE = (
    "palang gateway drain|undrain [--hop NAME] takes the node that runs, or a next hop of it, out of service and back."
)

TRIAL = ("listen", "trunk", "next_hop", "rules")


def main(arguments: Sequence[str]) -> int:
    """Run the gateway until SIGTERM; returns its exit code. With the options of a trial, run that instead; with `drain`
    or `undrain`, ask the one that runs.
    """
    if arguments and arguments[0] in draining.WORDS:
        return draining.main(arguments[0], arguments[1:])
    parser = argparse.ArgumentParser(
        "palang gateway", epilog=_MORE, description="Run one node: the SIP gateway and its list."
    )
    parser.add_argument("--config", type=Path, help="The settings file.")
    parser.add_argument("--json", action="store_true", help="The log is JSON lines, with this option and without.")
    trial = parser.add_argument_group(
        "a trial, without settings file, Redis or agent", "All four are needed; all but --rules may be repeated."
    )
    trial.add_argument("--listen", action="append", metavar="udp:ADDRESS:PORT", help="Where to listen; tcp: too.")
    trial.add_argument("--trunk", action="append", metavar="NETWORK=PLAN", help="Where calls come from; dial plan.")
    trial.add_argument("--next-hop", action="append", metavar="ADDRESS:PORT", help="The switch behind; tcp: too.")
    trial.add_argument("--rules", type=Path, metavar="FILE", help="One rule a line, such as: reject +77")
    options = parser.parse_args(arguments)
    missing = [f"--{name.replace('_', '-')}" for name in TRIAL if not getattr(options, name)]
    if len(missing) == len(TRIAL):
        return _node(options.config)
    if missing or options.config:
        parser.error(f"a trial needs {', '.join(missing)} too" if missing else "a trial takes no --config")
    return _trial(options)


def _node(config: Path | None) -> int:
    logs.configure()
    try:
        settings = read(config)
        uvloop.run(run(settings.node, settings.redis, settings.gateway, lambda: read(config).gateway, reach))
    except (ConfigError, ValueError, OSError) as error:
        return _unusable(error)
    return 0


def _trial(given: argparse.Namespace) -> int:
    from sip_filter.trial import Trial, read_options

    def say(line: str) -> None:
        print(line, flush=True)  # noqa: T201

    def warn(line: str) -> None:
        print(line, file=sys.stderr, flush=True)  # noqa: T201

    try:
        Trial(read_options(given.listen, given.trunk, given.next_hop, given.rules), say, warn).run()
    except BrokenPipeError:
        # Whoever read our lines has gone; Python must not fail at its own last flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError) as error:
        return _unusable(error)
    return 0


def _unusable(error: Exception) -> int:
    print(f"palang gateway: {error}", file=sys.stderr)  # noqa: T201
    return UNUSABLE
