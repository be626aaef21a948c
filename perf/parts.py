"""What is measured without a rival: the decision by itself, the list, an order from the regulator until it is in force.

Each part is a benchmark of its own (their heads tell the methods); its bars are limits on single figures.
"""

import asyncio
import json
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perf import list_bench, orders_bench
from perf.processes import BenchError

NUMBERS = 10_000_000
"""On the list of these benchmarks; the rows beside rivals have their own."""

Part = Callable[[Mapping[str, str]], dict[str, Any]]


@dataclass(frozen=True)
class Limit:
    """A bar on one figure, named by its path of keys."""

    title: str
    path: str
    unit: str
    most: float | None = None
    least: float | None = None

    def value(self, figures: Mapping[str, Any]) -> float:
        found: Any = figures
        for key in self.path.split("/"):
            found = found[key]
        return float(found)

    def is_met(self, value: float) -> bool:
        return (self.most is None or value <= self.most) and (self.least is None or value >= self.least)

    def __str__(self) -> str:
        bound = f"≤ {self.most:,g}" if self.most is not None else f"≥ {self.least:,g}"
        return f"{bound} {self.unit}"


def decide(programs: Mapping[str, str]) -> dict[str, Any]:
    """The decision alone, in process: `perf/rust/src/bin/decide.rs`."""
    done = subprocess.run([programs["decide"]], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"decide: {done.stderr.strip()}")
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def the_list(programs: Mapping[str, str]) -> dict[str, Any]:
    """The list's memory, look-ups, load and start, over its files as a node has them."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as live, tempfile.TemporaryDirectory() as state:
        return list_bench.measure(NUMBERS, Path(live), Path(state))


def orders(programs: Mapping[str, str]) -> dict[str, Any]:
    """Orders through the whole set of processes."""
    return asyncio.run(orders_bench.measure(1_000, 10.0))


PARTS: dict[str, Part] = {"decide": decide, "list": the_list, "orders": orders}

LIMITS = (
    Limit("decision alone, 900-byte INVITE, median", "decide/decide/median", "ns", most=1_000),
    Limit(
        "the same while 10⁶ changes are applied, p99 to p99",
        "decide/while_changes_are_applied/p99_ratio_decide",
        "times",
        most=1.5,
    ),
    Limit("look-up, batch of 64", "list/lookup_ns_batch_of_64", "ns", most=100),
    Limit("memory", "list/bytes_per_number", "bytes a number", most=12),
    Limit("load from entry lines", "list/load_lines_numbers_per_cpu_s", "numbers/s of CPU", least=5_000_000),
    Limit("start from the files, warm, to the first answer", "list/open_to_first_answer_s/wall", "s", most=0.3),
    Limit("start of the whole process, to its first answer", "list/process_to_first_answer_s/wall", "s", most=1),
)
