"""`make bench`: every figure that the README quotes, with its bar.

All rivals stand side by side for the whole run, and each row goes round them `--rounds` times after a first, short
round that isn't counted; see README.md in this folder. `--rows` takes some rows only.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from perf import load, report
from perf.load import Measured
from perf.parts import PARTS
from perf.processes import BenchError, Server
from perf.rivals import CALLEE_HOST, STARTS, Stand, free_port, load_list, started
from perf.rows import CURVE, EVERYBODY, ROWS, Row

Rounds = list[dict[str, Measured]]
BEGAN = time.monotonic()


@dataclass(frozen=True)
class Length:
    """How long a run is, and how many rounds."""

    rounds: int
    seconds: float
    calls: int | None = None
    """Begin no more calls than this in a run."""


def measure(rows: Sequence[Row], programs: dict[str, str], numbers: int, length: Length) -> dict[str, Rounds]:
    """Start what the rows need, and measure each row; by row the runs of each round."""
    if not rows:
        return {}
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory, prefix="palang-bench-") as folder, ExitStack() as stack:
        stand = Stand(Path(folder), numbers, f"{CALLEE_HOST}:{free_port()}", programs)
        _say(f"loading {numbers:,} numbers")
        load_list(stand)
        servers: dict[str, Server] = {}
        rivals = ["palang", *(rival for row in rows for rival in row.rivals)]
        for start in dict.fromkeys(STARTS[name] for name in rivals):
            _say(f"starting {start.__name__}")
            for server in stack.enter_context(started(start, stand)):
                servers[server.name] = server
                answer_bytes = _prove(programs["load"], server, stand)
                if server.name == "palang":
                    stand = replace(stand, echo_bytes=answer_bytes)
        found = {row.name: _go_round(row, servers, stand, length) for row in rows}
        _say("stopping the servers")
        return found


def _prove(program: str, server: Server, stand: Stand) -> int:
    """Have a server answer everybody, blocked or good; the mean length of what the blocked ones get."""
    asked = {"numbers": stand.numbers, "seconds": 5, "window": 16, "most": 400}
    if server.name in ("palang", "kamailio", "hook"):
        load.run(program, server, {**asked, "callers": EVERYBODY, "callee": stand.callee})
    if server.name == "direct":
        return 0
    refused = load.run(program, server, {**asked, "callers": EVERYBODY[:3]})
    return int(refused.outcome["answer_bytes"])


def _go_round(row: Row, servers: dict[str, Server], stand: Stand, length: Length) -> Rounds:
    scenario = {**row.scenario, "numbers": stand.numbers, "most": length.calls}
    if row.needs_callee:
        scenario["callee"] = stand.callee
    rounds: Rounds = []
    turns, seconds = length.rounds * row.pieces, length.seconds / row.pieces
    for turn in range(turns + 1):
        shift = turn % len(row.rivals)
        order = row.rivals[shift:] + row.rivals[:shift]
        asked = {**scenario, "seconds": seconds if turn else length.seconds / 5}
        one = {name: load.run(stand.programs["load"], servers[name], asked, row.most_lost) for name in order}
        if turn:
            rounds.append(one)
            told = ", ".join(f"{name} {one[name].cpu_us:.2f} µs, p99 {one[name].p99_us:.0f} µs" for name in row.rivals)
            _say(f"{row.name} {turn}/{turns}: {told}")
    return rounds


def _say(line: str) -> None:
    print(f"{time.monotonic() - BEGAN:5.0f} s  {line}", file=sys.stderr, flush=True)


def main() -> int:
    every = [row.name for row in (*ROWS, *CURVE)]
    arguments = argparse.ArgumentParser(description="Measure Palang beside its rivals.")
    arguments.add_argument("--rows", default="", help=f"some of {','.join([*every, *PARTS])}")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=float, default=1.5, help="how long each run is")
    arguments.add_argument("--calls", type=int, help="at most so many calls a run")
    arguments.add_argument("--numbers", type=int, default=1_000_000, help="on the list of the rows beside rivals")
    arguments.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    chosen = arguments.parse_args()
    names = chosen.rows.split(",") if chosen.rows else [*every, *PARTS]
    if unknown := set(names) - {*every, *PARTS}:
        arguments.error(f"no such row: {', '.join(sorted(unknown))}")
    rows = [row for row in (*ROWS, *CURVE) if row.name in names]
    try:
        programs = load.build()
        found = measure(rows, programs, chosen.numbers, Length(chosen.rounds, chosen.seconds, chosen.calls))
        parts: dict[str, Any] = {}
        report.write(chosen.results, rows, found, parts)
        for name in (name for name in PARTS if name in names):
            _say(f"measuring {name}")
            parts[name] = PARTS[name](programs)
            report.write(chosen.results, rows, found, parts)
    except BenchError as error:
        _say(f"bench: {error}")
        return 1
    print(report.table(rows, found, parts), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
