"""Calls per second, from counters that only grow: the difference between two looks at each node, over the time between.

A node that was started again begins at nought, one that does not answer has no figure; neither makes up a rate.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

FIGURES: Final = ("judged", "rejected", "labelled", "shadowed", "passed")
"""What is shown, in calls and messages per second; passed are those judged that no rule refused."""
KEPT_SECONDS: Final = 900.0
"""Of the course that the chart draws."""

Counters = Mapping[str, int]
Rates = dict[str, float]


@dataclass(frozen=True)
class _Look:
    at: float
    counters: dict[str, Counters]


@dataclass
class Course:
    """What the nodes' counters did lately. Times are seconds since the epoch, given by the caller."""

    _looks: dict[str, _Look] = field(default_factory=dict)
    _points: deque[tuple[float, Rates]] = field(default_factory=deque)
    trunks: dict[str, Rates] = field(default_factory=dict)
    """Of each trunk, per second, at the last look."""
    nodes: int = 0
    """How many nodes the last figures come from."""

    @property
    def total(self) -> Rates | None:
        """All trunks together at the last look; None before the second look at any node."""
        return self._points[-1][1] if self._points and self.nodes else None

    def look(self, at: float, nodes: Mapping[str, Mapping[str, Counters]]) -> None:
        """Take what each node that answers counted so far, by trunk."""
        trunks: dict[str, Rates] = {}
        compared = 0
        for node, counters in nodes.items():
            before = self._looks.get(node)
            self._looks[node] = _Look(at, {trunk: dict(counted) for trunk, counted in counters.items()})
            if before is None or at <= before.at:
                continue
            compared += 1
            for trunk, counted in counters.items():
                grown = _grown(counted, before.counters.get(trunk, {}), at - before.at)
                sums = trunks.setdefault(trunk, dict.fromkeys(FIGURES, 0.0))
                for name in FIGURES:
                    sums[name] += grown[name]
        for gone in self._looks.keys() - nodes.keys():
            del self._looks[gone]
        self.trunks, self.nodes = trunks, compared
        if compared:
            total = {name: sum(rates[name] for rates in trunks.values()) for name in FIGURES}
            self._points.append((at, total))
        while self._points and self._points[0][0] < at - KEPT_SECONDS:
            self._points.popleft()

    def points(self, after: float = 0.0) -> dict[str, list[Any]]:
        """The course as columns: times, then a list for each figure; only what came after that time."""
        chosen = [point for point in self._points if point[0] > after]
        return {
            "times": [round(at, 1) for at, _ in chosen],
            **{name: [round(rates[name], 2) for _, rates in chosen] for name in FIGURES},
        }


def _grown(now: Counters, before: Counters, seconds: float) -> Rates:
    def rate(name: str) -> float:
        grown = now.get(name, 0) - before.get(name, 0)
        return (grown if grown >= 0 else now.get(name, 0)) / seconds

    rates = {name: rate(name) for name in FIGURES if name != "passed"}
    return {**rates, "passed": max(0.0, rates["judged"] - rates["rejected"])}
