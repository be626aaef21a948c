"""The load: builds its programs, runs one scenario against one server, and accepts no answer but the right one."""

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from perf.processes import BenchError, Server, pinned
from perf.rivals import ROOT


@dataclass(frozen=True)
class Measured:
    """One run: what each answer was, and what it cost."""

    server: str
    outcome: dict[str, Any]
    cpu_seconds: float

    @property
    def cpu_us(self) -> float:
        """The server's CPU per answered call, in microseconds."""
        return self.cpu_seconds / float(self.outcome["right"]) * 1e6

    @property
    def p99_us(self) -> float:
        return float(self.outcome["latency_us"]["p99"])

    @property
    def lost(self) -> int:
        return int(self.outcome["lost"])


def build(profile: str = "release") -> dict[str, str]:
    """Compile the programs; where each lies."""
    command = ["cargo", "build", "--profile", profile, "--quiet", "-p", "palang-perf", "--message-format=json"]
    built = subprocess.run(
        command, cwd=ROOT / "sip_filter" / "rust", stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    messages = [json.loads(line) for line in built.splitlines()]
    return {row["target"]["name"]: row["executable"] for row in messages if row.get("executable")}


def run(program: str, server: Server, scenario: dict[str, Any], most_lost: float = 0.0) -> Measured:
    """Run a scenario. BenchError when any answer is wrong, stray or misforwarded, or a larger share is lost."""
    transport = scenario.get("transport", "udp")
    callers = scenario["callers"]
    if server.name == "echo":
        callers = [(caller, 0) for caller, _ in callers]
    asked = {**scenario, "server": server.addresses[transport], "callers": callers}
    with server.around():
        before = server.cpu()
        done = subprocess.run(pinned([program, json.dumps(asked)], 1), capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"{server.name}: {done.stderr.strip()}")
        measured = Measured(server.name, json.loads(done.stdout), server.cpu() - before)
    _check(measured, asked, most_lost)
    return measured


def _check(measured: Measured, asked: dict[str, Any], most_lost: float) -> None:
    outcome = measured.outcome
    told = f"{measured.server}: {outcome['calls']} calls, answers {outcome['answers']}"
    for fault in ("wrong", "stray", "misforwarded"):
        if outcome[fault]:
            raise BenchError(f"{told}: {outcome[fault]} {fault}; expected {asked['callers']}")
    if outcome["lost"] > most_lost * outcome["calls"] or not outcome["right"]:
        raise BenchError(f"{told}: {outcome['lost']} lost; at most {most_lost:.0%} may be")
