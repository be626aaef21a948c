"""`palang gateway`: one node. It imports neither typer nor FastAPI, so that a killed gateway is back at once."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from agent import logs
from agent.settings import read
from config import ConfigError
from sip_filter.node import run
from sync.points import reach

UNUSABLE = 2


def main(arguments: Sequence[str]) -> int:
    """Run the gateway until SIGTERM; returns its exit code."""
    parser = argparse.ArgumentParser("palang gateway", description="Run one node: the SIP gateway and its list.")
    parser.add_argument("--config", type=Path, help="The settings file.")
    parser.add_argument("--json", action="store_true", help="The log is JSON lines, with this option and without.")
    options = parser.parse_args(arguments)
    logs.configure()
    try:
        settings = read(options.config)
        uvloop.run(run(settings.node, settings.redis, settings.gateway, lambda: read(options.config).gateway, reach))
    except (ConfigError, ValueError, OSError) as error:
        print(f"palang gateway: {error}", file=sys.stderr)  # noqa: T201
        return UNUSABLE
    return 0
