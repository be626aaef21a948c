"""What the list costs: memory, look-ups, bulk load, start.

Method: `--numbers N` random Indonesian mobile numbers under three policies are loaded through the Python face, as a
node takes a snapshot (verified, written to disk and fsynced); then every figure is taken in this one process, over the
mapped files that gateways read. Look-ups go over up to a million numbers of the list in random order, all present; the
single ones each wait for the one before, as when calls are answered one by one. Expected: at most 12 bytes a number,
batches cheaper than single look-ups from 10^6 on, and a warm start of 10^7 numbers within 0.3 s.
The files lie in /dev/shm (live) and in `--state`, a folder on the disk that a node would use. Prints JSON.
"""

import argparse
import json
import platform
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from sip_filter import List, Writer, list_digest
from sip_filter._core import bench_lookup

STACKS = ("order reject enforce both", "noc reject enforce call", "noc label shadow both @intl-a")

T = TypeVar("T")


def main() -> None:
    arguments = argparse.ArgumentParser(description="Measure the list.")
    arguments.add_argument("--numbers", type=int, default=1_000_000)
    arguments.add_argument("--state", type=Path, default=None)
    chosen = arguments.parse_args()
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as live, tempfile.TemporaryDirectory(dir=chosen.state) as state:
        print(json.dumps(measure(chosen.numbers, Path(live), Path(state)), indent=2))


def measure(count: int, live: Path, state: Path) -> dict[str, object]:
    entries = list(lines(count))
    digest_s, digest = timed(lambda: list_digest(entries))
    writer = Writer(live, state)
    load_s, _ = timed(lambda: writer.load(1, 1, entries, digest, 0))
    sizes = writer.sizes()
    single_ns, batch_ns = bench_lookup(live, 1_000_000)
    judge_us = judging(live)
    apply_ms = applying(writer)
    writer.close()
    start_s, writer = timed(lambda: Writer(live, state))
    writer.close()
    return {
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "numbers": count,
        "bytes_per_number": round(sizes["bytes"] / count, 2),
        "longest_probe": sizes["longest_probe"],
        "lookup_ns": round(single_ns, 1),
        "lookup_ns_batch_of_64": round(batch_ns, 1),
        "judge_us_from_python": round(judge_us, 2),
        "digest_numbers_per_s": round(count / digest_s),
        "load_numbers_per_s": round(count / load_s),
        "apply_ms_of_1000_changes": round(apply_ms, 2),
        "start_s": round(start_s, 3),
    }


def lines(count: int) -> Iterator[str]:
    chance = random.Random(7)
    for value in chance.sample(range(6_281_000_000_000, 6_289_000_000_000), count):
        yield f"+{value}\t{STACKS[value % 3]}"


def judging(live: Path) -> float:
    reader = List(live)
    callers = [f"+{value}" for value in range(6_281_000_000_000, 6_281_000_020_000)]
    seconds, _ = timed(lambda: [reader.judge([(caller, True)], "intl-a") for caller in callers])
    return seconds / len(callers) * 1e6


def applying(writer: Writer) -> float:
    changes = [f"+1202555{value:04}\torder reject enforce both" for value in range(1000)]
    total = int(writer.digest, 16) + int(list_digest(changes), 16)
    epoch, n = writer.revision
    seconds, _ = timed(lambda: writer.apply(epoch, n + 1, changes, f"{total % 2**128:032x}", 0))
    return seconds * 1e3


def timed(act: Callable[[], T]) -> tuple[float, T]:
    started = time.perf_counter()
    outcome = act()
    return time.perf_counter() - started, outcome


if __name__ == "__main__":
    main()
