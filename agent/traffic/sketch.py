"""Sketch: how many different callers or callees there were, without keeping one of them.

The nodes make them (HyperLogLog over keyed hashes, in Rust); here they are only united. The union over nodes, trunks,
keys and hours loses nothing, and a sketch that comes twice changes nothing.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, Self

Z95 = 1.96
"""Standard deviations on either side within which 95 of 100 estimates lie."""


class Sketch(Protocol):
    """`sip_filter._core.Sketch`, and the oracle in the tests."""

    error: float

    def merge(self, other: Self, /) -> None:
        """Take all that the other has seen."""
        ...

    def estimate(self) -> float:
        """How many different ones it has seen."""
        ...

    def to_bytes(self) -> bytes:
        """Itself, to keep."""
        ...


class MakeSketch(Protocol):
    """Makes a sketch of its bytes, or an empty one."""

    def __call__(self, kept: bytes | None = None, /) -> Any:
        """The sketch. Raises ValueError for bytes that are none."""
        ...


def union(sketches: Iterable[Any], make: MakeSketch) -> Any:
    """All of them together."""
    whole = make()
    for sketch in sketches:
        whole.merge(sketch)
    return whole


def bounds(low: Sequence[Any], high: Sequence[Any], most: int) -> dict[str, int]:
    """Estimate with bounds that hold in 95 of 100 cases; `low` has seen at least, `high` at most what is meant.

    Several sketches are of hashes by different keys, as while the gateways' key is changed: each may have seen what the
    others saw, so that their largest is the least and their sum the most. `most` is how many there can be at all: the
    calls and messages.
    """
    estimate = min(sum(sketch.estimate() for sketch in high), most)
    low_count = max((sketch.estimate() * (1 - Z95 * sketch.error) for sketch in low), default=0)
    high_count = min(sum(sketch.estimate() * (1 + Z95 * sketch.error) for sketch in high), most)
    least = 1 if most else 0
    return {
        "estimate": max(least, round(estimate)),
        "low": max(least, min(math.floor(low_count), round(estimate))),
        "high": max(least, math.ceil(high_count)),
    }
