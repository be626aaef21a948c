"""What a run came to: a table for people, JSON for programs."""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from perf.load import Measured
from perf.parts import LIMITS
from perf.processes import CORES
from perf.rows import Bar, Row

Rounds = list[dict[str, Measured]]


def write(folder: Path, rows: Sequence[Row], found: dict[str, Rounds], parts: dict[str, Any]) -> None:
    """Write `bench.json` and `table.md` into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.md").write_text(table(rows, found, parts))
    figures = {"machine": machine(), "rows": {row.name: _row(row, found[row.name]) for row in rows}, "parts": parts}
    (folder / "bench.json").write_text(json.dumps(figures, indent=2) + "\n")


def table(rows: Sequence[Row], found: dict[str, Rounds], parts: dict[str, Any]) -> str:
    """A line a rival, then a line a bar with its verdict."""
    lines = [
        "| load | server | CPU µs/call | calls/s | busy | p50 µs | p99 µs | answers |",
        "|---|---|" + "--:|" * 5 + "---|",
    ]
    for row in rows:
        for name in row.rivals:
            figures = _median(found[row.name], name)
            answers = ", ".join(f"{count:,} × {status}" for status, count in figures["answers"].items())
            lines.append(
                f"| {row.title} | {name} | {figures['cpu_us']:.2f} | {figures['calls_per_s']:,.0f} "
                f"| {figures['busy']:.0%} | {figures['p50_us']:.0f} | {figures['p99_us']:.0f} | {answers} |"
            )
    lines += ["", "| load | bar | found | verdict |", "|---|---|--:|---|"]
    for row in rows:
        for bar in row.bars:
            value = bar.median(found[row.name])
            shown = {"ratio": f"{value:.2f}", "added": f"{value:.1f} µs", "count": f"{value:.0f}"}[bar.how]
            lines.append(f"| {row.title} | {bar} | {shown} | {_verdict(bar, value)} |")
    for limit in LIMITS:
        if limit.path.partition("/")[0] in parts:
            value = limit.value(parts)
            verdict = "met" if limit.is_met(value) else "not met"
            lines.append(f"| {limit.title} | {limit} | {value:,.2f} {limit.unit} | {verdict} |")
    return "\n".join([*lines, ""])


def _verdict(bar: Bar, value: float) -> str:
    return "met" if value <= bar.most else "not met"


def _row(row: Row, rounds: Rounds) -> dict[str, Any]:
    return {
        "title": row.title,
        "median": {name: _median(rounds, name) for name in row.rivals},
        "bars": [
            {
                "bar": str(bar),
                "most": bar.most,
                "found": round(bar.median(rounds), 3),
                "rounds": [round(bar.value(one), 3) for one in rounds],
                "verdict": _verdict(bar, bar.median(rounds)),
            }
            for bar in row.bars
        ],
        "rounds": [{name: {"cpu_us": one[name].cpu_us, **one[name].outcome} for name in row.rivals} for one in rounds],
    }


def _median(rounds: Rounds, name: str) -> dict[str, Any]:
    """One rival's figures: medians over the rounds, sums of the answers."""
    runs = [one[name] for one in rounds]
    answers: dict[str, int] = {}
    for run in runs:
        for status, count in run.outcome["answers"].items():
            answers[status] = answers.get(status, 0) + count
    return {
        "cpu_us": median(run.cpu_us for run in runs),
        "calls_per_s": median(run.outcome["right"] / run.outcome["seconds"] for run in runs),
        "busy": median(run.cpu_seconds / run.outcome["seconds"] for run in runs),
        "load_cpu_us": median(run.outcome["own_cpu_seconds"] / run.outcome["right"] * 1e6 for run in runs),
        **{
            f"{share}_us": median(run.outcome["latency_us"][share] for run in runs)
            for share in ("p50", "p90", "p99", "p99.9")
        },
        "lost": sum(run.outcome["lost"] for run in runs),
        "request_bytes": runs[0].outcome["request_bytes"],
        "answer_bytes": runs[0].outcome["answer_bytes"],
        "answers": answers,
    }


def machine() -> dict[str, Any]:
    """Where it ran."""
    cpus = {
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    }
    version = subprocess.run(["kamailio", "-v"], capture_output=True, text=True, check=False).stdout
    return {
        "cpu": ", ".join(sorted(cpus)),
        "cores": os.cpu_count(),
        "pinned": {"server": CORES[0], "load": CORES[-1]},
        "kernel": platform.release(),
        "kamailio": version.partition("\n")[0].removeprefix("version: ").strip(),
    }
