"""Patterns of number plans: whether a number that fits one can begin with given digits.

Python's `re` can't say that a text is the beginning of a match. The patterns of libphonenumber use few of its signs
(digits, \\d, sets, groups, |, ?, {n}, {n,m}), and those are read here.
"""

from functools import cache
from typing import Final

DIGITS: Final = frozenset("0123456789")


def can_begin(pattern: str, digits: str) -> bool:
    """Whether some number that fits `pattern` begins with `digits`. ValueError for a sign that isn't known."""
    return len(digits) in _ends(_read(pattern), digits, frozenset({0}))


class _Set(frozenset[str]):
    """One digit of these."""


class _Either(tuple[tuple["_Part", ...], ...]):
    """One of several sequences."""


class _Repeat(tuple["_Part", int, int]):
    """A part so many times, at least and at most."""


_Part = _Set | _Either | _Repeat


def _ends(part: _Part, text: str, starts: frozenset[int]) -> frozenset[int]:
    """Where it may end when it begins at one of `starts`. Behind the text's end anything may follow."""
    if isinstance(part, _Set):
        through = {at + 1 for at in starts if at < len(text) and text[at] in part}
        return frozenset(through | (starts & {len(text)}))
    if isinstance(part, _Either):
        found: frozenset[int] = frozenset()
        for sequence in part:
            ends = starts
            for inner in sequence:
                ends = _ends(inner, text, ends)
            found |= ends
        return found
    inner, least, most = part
    found = starts if least == 0 else frozenset()
    for time in range(1, most + 1):
        starts = _ends(inner, text, starts)
        if time >= least:
            found |= starts
    return found


@cache
def _read(pattern: str) -> _Either:
    reader = _Reader(pattern)
    whole = reader.either()
    if reader.at != len(pattern):
        raise ValueError(f"sign {pattern[reader.at]!r} in a pattern is not known")
    return whole


class _Reader:
    def __init__(self, pattern: str) -> None:
        self._pattern, self.at = pattern, 0

    def either(self) -> _Either:
        sequences = [self._sequence()]
        while self._take("|"):
            sequences.append(self._sequence())
        return _Either(sequences)

    def _sequence(self) -> tuple[_Part, ...]:
        parts: list[_Part] = []
        while self.at < len(self._pattern) and self._pattern[self.at] not in "|)":
            parts.append(self._repeated(self._one()))
        return tuple(parts)

    def _one(self) -> _Part:
        if self._take("(?:"):
            inner = self.either()
            self._need(")")
            return inner
        if self._take("\\d"):
            return _Set(DIGITS)
        if self._take("["):
            return self._set()
        sign = self._next()
        if sign not in DIGITS:
            raise ValueError(f"sign {sign!r} in a pattern is not known")
        return _Set({sign})

    def _set(self) -> _Set:
        found: set[str] = set()
        while not self._take("]"):
            first = self._next()
            last = self._next() if self._take("-") else first
            if not {first, last} <= DIGITS:
                raise ValueError(f"[{first}-{last}] in a pattern is not known")
            found.update(map(str, range(int(first), int(last) + 1)))
        return _Set(found)

    def _repeated(self, part: _Part) -> _Part:
        if self._take("?"):
            return _Repeat((part, 0, 1))
        if not self._take("{"):
            return part
        end = self._pattern.index("}", self.at)
        least, _, most = self._pattern[self.at : end].partition(",")
        self.at = end + 1
        return _Repeat((part, int(least), int(most or least)))

    def _take(self, sign: str) -> bool:
        if self._pattern.startswith(sign, self.at):
            self.at += len(sign)
            return True
        return False

    def _need(self, sign: str) -> None:
        if not self._take(sign):
            raise ValueError(f"a pattern lacks {sign!r}")

    def _next(self) -> str:
        if self.at == len(self._pattern):
            raise ValueError("a pattern ends too soon")
        self.at += 1
        return self._pattern[self.at - 1]
