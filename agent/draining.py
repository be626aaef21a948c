"""`palang gateway drain` and `undrain`: takes this node, or one of its next hops, out of service and back.

It asks the running node on its control socket. Like the gateway itself it starts without typer.
"""

import argparse
import asyncio
import getpass
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.settings import read
from config import ConfigError
from sip_filter.control import AskError, ask

WORDS = ("drain", "undrain")

_OK, _REFUSED, _UNREACHABLE = 0, 1, 2
_SECONDS = 5.0


def main(word: str, arguments: Sequence[str]) -> int:
    """Ask the node; returns the exit code: 0 done, 1 refused, 2 unreachable."""
    what = {
        "drain": "Take this node out of service: OPTIONS gets 503. Or a next hop: no new calls go there.",
        "undrain": "Put this node, or one of its next hops, back into service.",
    }[word]
    parser = argparse.ArgumentParser(f"palang gateway {word}", description=what)
    parser.add_argument("--hop", metavar="NAME", help="The next hop; without, the node itself.")
    parser.add_argument("--config", type=Path, help="The settings file, which names the node's control socket.")
    parser.add_argument("--json", action="store_true", help="Print JSON, for scripts.")
    given = parser.parse_args(arguments)
    try:
        path = read(given.config).node.control
        answer = asyncio.run(ask(path, {"ask": word, "hop": given.hop, "by": getpass.getuser()}, _SECONDS))
    except ConfigError as error:
        return _fail(str(error), _UNREACHABLE)
    except AskError as error:
        return _fail(error.message, _UNREACHABLE if error.code in ("unreachable", "timeout") else _REFUSED)
    print(json.dumps(answer, indent=2) if given.json else "\n".join(_lines(answer)))  # noqa: T201
    return _OK


def _lines(answer: Mapping[str, Any]) -> list[str]:
    """The node's state after it, for people."""
    node, hops = answer["node"], answer["next_hops"]
    state = "drained: OPTIONS gets 503, what still comes is served" if answer["drained"] else "in service"
    lines = [f"node {node} is {state}"]
    lines += [f"next hop {hop['name']} {_state(hop)}" for hop in hops]
    if not any(_takes_calls(hop) for hop in hops):
        lines.append("no next hop takes calls: new ones get 500, OPTIONS gets 503")
    return lines


def _state(hop: Mapping[str, Any]) -> str:
    return "is drained" if hop["drain"] else "takes calls" if hop["healthy"] else "is silent"


def _takes_calls(hop: Mapping[str, Any]) -> bool:
    return bool(hop["healthy"] and not hop["drain"])


def _fail(line: str, code: int) -> int:
    print(f"palang gateway: {line}", file=sys.stderr)  # noqa: T201
    return code
