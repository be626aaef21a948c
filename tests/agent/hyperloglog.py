"""HyperLogLog in its simplest form (Flajolet et al. 2007, linear counting below): the oracle beside the gateway's."""

import hashlib
import math
import struct
from typing import Final

_BITS: Final = 12
_COUNT: Final = 1 << _BITS


class Sketch:
    """As `sip_filter._core.Sketch`, and `add`."""

    error = 1.04 / math.sqrt(_COUNT)

    def __init__(self, kept: bytes | None = None, /) -> None:
        if kept and len(kept) % 3:
            raise ValueError(f"{len(kept)} bytes are no sketch")
        self._ranks: dict[int, int] = dict(struct.iter_unpack(">HB", kept or b""))

    @classmethod
    def over(cls, *items: object) -> "Sketch":
        """A sketch that has seen these."""
        sketch = cls()
        for item in items:
            sketch.add(item)
        return sketch

    def add(self, item: object) -> None:
        hashed = int.from_bytes(hashlib.blake2b(str(item).encode(), digest_size=8).digest(), "big")
        place, rest = hashed >> (64 - _BITS), hashed & ((1 << (64 - _BITS)) - 1)
        self._ranks[place] = max(self._ranks.get(place, 0), 64 - _BITS - rest.bit_length() + 1)

    def merge(self, other: "Sketch", /) -> None:
        for place, rank in other._ranks.items():
            self._ranks[place] = max(self._ranks.get(place, 0), rank)

    def estimate(self) -> float:
        empty = _COUNT - len(self._ranks)
        raw = 0.7213 / (1 + 1.079 / _COUNT) * _COUNT**2 / (empty + sum(2.0**-rank for rank in self._ranks.values()))
        return _COUNT * math.log(_COUNT / empty) if raw <= 2.5 * _COUNT and empty else raw

    def to_bytes(self) -> bytes:
        return b"".join(struct.pack(">HB", *place) for place in sorted(self._ranks.items()))
