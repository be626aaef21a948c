"""What is measured: each row is a load, the rivals that it is put on in turn, and the bars.

A bar compares two rivals within one round, as a ratio or as what one adds to the other; the median over all rounds
decides. Bars are those of the project's issue on speed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from perf.load import Measured

BLOCKED = [("number", 603)] * 6 + [("prefix", 603), ("asserted", 603)]
"""Callers on the list: most by number, some under a prefix, some in P-Asserted-Identity alone."""
GOOD = [("good", 200)]
EVERYBODY = [("number", 603), ("prefix", 603), ("asserted", 603), ("good", 200)]


@dataclass(frozen=True)
class Bar:
    """`one`'s figure against `other`'s, and the most that it may come to; a count stands for itself."""

    how: Literal["ratio", "added", "count"]
    figure: Literal["cpu_us", "p99_us", "lost"]
    one: str
    other: str
    most: float

    def value(self, round_: Mapping[str, Measured]) -> float:
        """What it came to in one round."""
        one, other = (float(getattr(round_[name], self.figure)) for name in (self.one, self.other))
        return {"ratio": one / (other or 1), "added": one - other, "count": one}[self.how]

    def median(self, rounds: list[dict[str, Measured]]) -> float:
        return median(self.value(round_) for round_ in rounds)

    def __str__(self) -> str:
        if self.how == "count":
            return f"≤ {self.most:g} {self.figure}, none wrong"
        if self.how == "ratio":
            return f"≤ {self.most:g} of {self.other}"
        what = "CPU" if self.figure == "cpu_us" else "p99"
        return f"≤ {self.most:g} µs {what} over {self.other}"


@dataclass(frozen=True)
class Row:
    """One load on several rivals."""

    name: str
    title: str
    rivals: tuple[str, ...]
    scenario: dict[str, Any]
    bars: tuple[Bar, ...] = ()
    needs_callee: bool = False
    pieces: int = 1
    """Into how many each round is cut: a small difference needs many short turns, or the machine's mood hides it."""
    most_lost: float = 0.01
    """The share of calls that may get no answer: a core that is taken away for a moment costs some at a fixed rate."""


def _of(other: str, most: float) -> Bar:
    return Bar("ratio", "cpu_us", "palang", other, most)


ALL = ("palang", "kamailio", "echo")
REJECT = {"callers": BLOCKED, "window": 256}
PATIENT = 16_384
"""Open calls in an open loop: what a socket's buffer may hold while a core is taken away."""

ROWS = (
    Row(
        "reject",
        "reject, UDP, one busy peer, saturated",
        ALL,
        REJECT,
        (_of("kamailio", 0.30), _of("echo", 1.0)),
    ),
    Row(
        "reject-20k",
        "reject, UDP, one peer, 20,000/s",
        ALL,
        {"callers": BLOCKED, "window": PATIENT, "rate": 20_000},
        (_of("kamailio", 0.6),),
    ),
    Row("reject-256", "reject, UDP, 256 peers, saturated", ALL, {**REJECT, "peers": 256}, (_of("kamailio", 0.45),)),
    Row(
        "reject-tcp",
        "reject, one TCP connection, saturated",
        ("palang", "kamailio"),
        {**REJECT, "transport": "tcp"},
        (_of("kamailio", 0.5),),
    ),
    Row(
        "forward",
        "forward an INVITE, its 180 and its 200, UDP, saturated",
        ("palang", "kamailio"),
        {"callers": GOOD, "window": 256},
        (_of("kamailio", 0.5),),
        needs_callee=True,
    ),
    Row(
        "latency",
        "good calls, 2,000/s, until the 200 is there",
        ("palang", "direct", "kamailio"),
        {"callers": GOOD, "window": PATIENT, "rate": 2_000},
        (Bar("added", "p99_us", "palang", "direct", 300),),
        needs_callee=True,
    ),
    Row(
        "changing",
        "reject, UDP, 20,000/s, while the list's writer applies changes",
        ("palang", "changing"),
        {"callers": BLOCKED, "window": PATIENT, "rate": 20_000},
        (Bar("count", "lost", "changing", "changing", 0),),
    ),
    Row(
        "count-reject",
        "reject, UDP, saturated, counting traffic or not",
        ("palang", "uncounted"),
        REJECT,
        (_of("uncounted", 1.05),),
        pieces=4,
    ),
    Row(
        "count-forward",
        "forward an INVITE, its 180 and its 200, counting traffic or not",
        ("palang", "uncounted"),
        {"callers": GOOD, "window": 256},
        (_of("uncounted", 1.05),),
        needs_callee=True,
        pieces=4,
    ),
    Row(
        "hook",
        "Kamailio's script with the hook, UDP, saturated",
        ("hook", "no_hook"),
        REJECT,
        (Bar("added", "cpu_us", "hook", "no_hook", 3),),
        pieces=4,
    ),
)

RATES = (1_000, 5_000, 20_000, 60_000)
CURVE = tuple(
    Row(
        f"curve-{rate}",
        f"reject, UDP, {rate:,}/s",
        ALL,
        {"callers": BLOCKED, "window": PATIENT, "rate": rate},
        most_lost=1.0,
    )
    for rate in RATES
)
"""The same call at several rates, for the plot; where a server can't keep up, it loses what it must."""
