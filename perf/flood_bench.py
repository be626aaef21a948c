"""What a datagram of a flood costs the gateway: CPU of its process per datagram received, good and malformed.

Method: one gateway thread in a process of its own; a sender (`tests/system/flood.py`, sendmmsg) that is faster than the
gateway, from a trunk's address. It repeats 4,096 different datagrams, so a good one is mostly a copy of a call that was
refused, which is the cheapest kind of good one. CPU is read from /proc/PID/task/*/schedstat around `--seconds` of
flood; kinds alternate over `--rounds`, medians are compared. Expected: none of the malformed kinds, nor a stranger's,
is dearer than a good one (`ratio` at most 1; the run fails above 1.2). Prints JSON.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sip_filter import Writer, list_digest

_ROOT = Path(__file__).parents[1]
_LIST = ["+77*\torder reject enforce both"]
_MALFORMED = ["bad-cseq", "two-from", "bad-length", "no-via", "cut", "binary", "open-quote", "no-lines", "all-commas"]
_TRUNK, _STRANGER = "127.0.0.2", "127.0.0.9"
_TOLERANCE = 1.2


def measure(seconds: float, rounds: int) -> dict[str, Any]:
    """CPU µs per datagram for each kind, and its ratio to a good one."""
    kinds = {"good": ("valid", _TRUNK), "stranger": ("valid", _STRANGER), **{k: (k, _TRUNK) for k in _MALFORMED}}
    costs: dict[str, list[float]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as live, tempfile.TemporaryDirectory() as state:
        writer = Writer(live, state)
        writer.load(1, 1, _LIST, list_digest(_LIST), 0)
        writer.close()
        server = subprocess.Popen(
            [sys.executable, "-P", str(_ROOT / "perf/palang_server.py"), live, json.dumps(_SETTINGS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert server.stdin and server.stdout
            port = json.loads(server.stdout.readline())[0].rpartition(":")[2]
            for _ in range(rounds):
                for name, (kind, source) in kinds.items():
                    before, cpu = _received(server), _cpu(server.pid)
                    _flood(kind, source, port, seconds)
                    costs[name].append((_cpu(server.pid) - cpu) / (_received(server) - before) * 1e6)
        finally:
            server.communicate(timeout=10)
    medians = {name: statistics.median(each) for name, each in costs.items()}
    return {
        name: {"cpu_us": round(cost, 2), "ratio": round(cost / medians["good"], 2)} for name, cost in medians.items()
    }


_SETTINGS = {
    "listen": ["udp:127.0.0.1:0"],
    "workers": 1,
    "node": "bench",
    "key": "ab" * 32,
    "protected": ["112"],
    "trunks": [{"name": "intl", "sources": [f"{_TRUNK}/32"], "plan": "international", "mode": "enforce"}],
    "next_hops": [{"name": "switch", "address": "127.0.0.1:9", "networks": ["127.0.0.1/32"]}],
}


def _flood(kind: str, source: str, port: str, seconds: float) -> None:
    sender = subprocess.Popen(
        [sys.executable, "-P", str(_ROOT / "tests/system/flood.py"), kind, source, "127.0.0.1", port],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )
    assert sender.stdout
    sender.stdout.readline()
    time.sleep(seconds)
    sender.communicate(b"\n", timeout=30)


def _received(server: "subprocess.Popen[str]") -> int:
    assert server.stdin and server.stdout
    server.stdin.write("\n")
    server.stdin.flush()
    return int(json.loads(server.stdout.readline())["received"])


def _cpu(pid: int) -> float:
    """Seconds of CPU that all threads of a process have used."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def main() -> None:
    arguments = argparse.ArgumentParser(description="Measure what floods cost.")
    arguments.add_argument("--seconds", type=float, default=1.5)
    arguments.add_argument("--rounds", type=int, default=3)
    chosen = arguments.parse_args()
    costs = measure(chosen.seconds, chosen.rounds)
    print(json.dumps(costs, indent=2))
    dear = [name for name, cost in costs.items() if cost["ratio"] > _TOLERANCE]
    if dear:
        raise SystemExit(f"dearer than a good call: {', '.join(dear)}")


if __name__ == "__main__":
    main()
