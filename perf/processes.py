"""A server under test: its processes, pinned to one core, and the CPU that they have used.

CPU is read from /proc/PID/task/*/schedstat (nanoseconds on a core) of every process of the server: workers, timers and
all. It is read while the server waits, since a running thread's figure lags by a tick.
"""

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

CORES = sorted(os.sched_getaffinity(0))[:2]
"""The server's core and the load's."""

READY_SECONDS = 120.0


class BenchError(Exception):
    """A benchmark that can't go on: what happened, and where to look."""


def pinned(command: Sequence[str], core: int) -> list[str]:
    """The command on one core. As root it also goes before others' work (SCHED_FIFO), which would only add noise; on a
    machine that others need, `PALANG_BENCH_SHARED=1` leaves that out."""
    first = ["chrt", "--fifo", "1"] if os.geteuid() == 0 and not os.environ.get("PALANG_BENCH_SHARED") else []
    return [*first, "taskset", "-c", str(CORES[core % len(CORES)]), *command]


@dataclass
class Server:
    """One server, ready to be called at `addresses` ("udp", "tcp")."""

    name: str
    addresses: dict[str, str]
    process: subprocess.Popen[str] | None = None
    """None where there is no server: calls go straight to the callee."""
    pids: list[int] = field(default_factory=list)
    around: Callable[[], AbstractContextManager[object]] = nullcontext
    """What each run stands in."""

    def cpu(self) -> float:
        """Seconds of CPU that all its processes have used."""
        tasks = [task for pid in self.pids for task in Path(f"/proc/{pid}/task").glob("*/schedstat")]
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def stop(self) -> None:
        """End it, and say so when it had ended before."""
        if self.process is None:
            return
        died = self.process.poll()
        if self.process.stdin:
            self.process.stdin.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if died is not None:
            raise BenchError(f"{self.name} ended during the benchmark, with {died}")


def start(name: str, command: Sequence[str], log: Path) -> subprocess.Popen[str]:
    """Start a server on its core. Its complaints go to `log`."""
    with log.open("w") as errors:
        return subprocess.Popen(
            pinned(command, 0), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=log.parent
        )


def first_line(name: str, process: subprocess.Popen[str], log: Path) -> str:
    """What a server prints when it is ready."""
    assert process.stdout
    line = process.stdout.readline().strip()
    if not line:
        raise BenchError(f"{name} did not start: {log.read_text()[-2000:]}")
    return line


def wait_for(name: str, process: subprocess.Popen[str], is_ready: Callable[[], bool], log: Path) -> None:
    """Until `is_ready`. BenchError when the server ends first or the time is over."""
    deadline = time.monotonic() + READY_SECONDS
    while not is_ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise BenchError(f"{name} did not start within {READY_SECONDS:g} s: {log.read_text()[-2000:]}")
        time.sleep(0.05)


def tree(pid: int) -> list[int]:
    """A process and all that it started."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # It ended meanwhile.
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found
