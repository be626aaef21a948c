"""Draws `bench.svg` from `bench.json`: CPU per call over the offered rate, and latency percentiles of good calls.

What was not measured in that run is left out.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

from perf.rows import ALL, CURVE

COLOURS = {"palang": "#0b6e4f", "kamailio": "#c8553d", "echo": "#6c757d", "direct": "#6c757d"}
PERCENTILES = ("p50", "p90", "p99", "p99.9")


def draw(folder: Path) -> None:
    """Read the figures in `folder` and write the plot beside them."""
    figures = json.loads((folder / "bench.json").read_text())
    rows: dict[str, Any] = figures["rows"]
    plot, (cost, latency) = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    _cost(cost, rows)
    _latency(latency, rows)
    machine = figures["machine"]
    plot.suptitle(f"{machine['cpu']}, one core for the server, loopback; {machine['kamailio']}", fontsize=8)
    plot.savefig(folder / "bench.svg")


def _cost(axes: Any, rows: Mapping[str, Any]) -> None:
    """Server CPU per refused call at each rate, with the saturated one as a larger mark."""
    for name in ALL:
        offered = [(row.scenario["rate"], rows[row.name]["median"][name]) for row in CURVE if row.name in rows]
        points = [(float(rate), figures["cpu_us"]) for rate, figures in offered if _kept_up(rate, figures)]
        if points:
            axes.plot(*zip(*points, strict=True), "o-", color=COLOURS[name], label=name, markersize=3)
        if "reject" in rows:
            full = rows["reject"]["median"][name]
            axes.plot(full["calls_per_s"], full["cpu_us"], "D", color=COLOURS[name], label=f"{name}, saturated")
    axes.set(xscale="log", yscale="log", xlabel="calls refused per second", ylabel="server CPU per call, µs")
    axes.set_yticks([2, 5, 10, 20, 50, 100], labels=["2", "5", "10", "20", "50", "100"], minor=False)
    axes.tick_params(axis="y", which="minor", labelleft=False)
    axes.set_title("Refusing calls over UDP, 10⁶ numbers", fontsize=10)
    axes.grid(which="both", alpha=0.2)
    if axes.lines:
        axes.legend(fontsize=7)


def _kept_up(rate: float, figures: Mapping[str, Any]) -> bool:
    return bool(figures["calls_per_s"] > 0.95 * rate)


def _latency(axes: Any, rows: Mapping[str, Any]) -> None:
    """From a good call's INVITE to its 200, through each server and straight to the callee."""
    for name, figures in rows.get("latency", {"median": {}})["median"].items():
        axes.plot(PERCENTILES, [figures[f"{share}_us"] for share in PERCENTILES], "o-", color=COLOURS[name], label=name)
    axes.set(yscale="log", ylabel="µs until the 200")
    axes.set_title("Good calls, 2,000 a second", fontsize=10)
    axes.grid(which="both", axis="y", alpha=0.2)
    if axes.lines:
        axes.legend(fontsize=7)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "results")
