"""Clauses and stacks: rules as the filter needs them, and their one canonical text.

A `Clause` is one rule without its subject and origin; a `Stack` is all of them on one subject. The texts are what
digests are taken of, so reading accepts nothing but the canonical form (`core/src/clause.rs` does the same):

    order reject enforce both
    noc reject shadow call @intl-a,intl-b until=1798761600
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypeVar

from sip_filter.number import Subject

MOST_CLAUSES: Final = 64
MOST_TRUNKS: Final = 64
MOST_TRUNK_NAME: Final = 32
LATEST_UNTIL: Final = 253_402_300_799  # the last second of the year 9999


class Authority(StrEnum):
    """Who stands behind a rule."""

    ORDER = "order"
    NOC = "noc"


class Action(StrEnum):
    """What a rule asks for."""

    REJECT = "reject"
    ALLOW = "allow"
    LABEL = "label"


class Mode(StrEnum):
    """Whether a rule decides or is only counted."""

    ENFORCE = "enforce"
    SHADOW = "shadow"


class Kinds(StrEnum):
    """The requests that a rule is about."""

    CALL = "call"
    MESSAGE = "message"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Clause:
    """One rule as the filter needs it. `trunks` empty means every trunk; `until` is in Unix seconds."""

    authority: Authority
    action: Action
    mode: Mode = Mode.ENFORCE
    kinds: Kinds = Kinds.BOTH
    trunks: tuple[str, ...] = ()
    until: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "trunks", tuple(sorted(set(self.trunks))))
        for trunk in self.trunks:
            if not _TRUNK.fullmatch(trunk):
                raise ValueError(f'trunk "{_shown(trunk)}" must be 1 to {MOST_TRUNK_NAME} of a-z, 0-9 and -')
        if len(self.trunks) > MOST_TRUNKS:
            raise ValueError(f"a clause on {len(self.trunks)} trunks; the most allowed are {MOST_TRUNKS}")
        if self.until is not None and not 1 <= self.until <= LATEST_UNTIL:
            raise ValueError(f"until {self.until} must be Unix seconds from 1 to {LATEST_UNTIL}")

    @classmethod
    def parse(cls, text: str) -> "Clause":
        """Read a canonical text; ValueError names the value and what is allowed."""
        words = text.split(" ")
        heads = words[:4] + [""] * (4 - len(words))
        clause = cls(
            _choose(Authority, "authority", heads[0], text),
            _choose(Action, "action", heads[1], text),
            _choose(Mode, "mode", heads[2], text),
            _choose(Kinds, "kinds", heads[3], text),
        )
        rest = words[4:]
        if rest and rest[0].startswith("@"):
            clause = replace(clause, trunks=tuple(rest.pop(0)[1:].split(",")))
        if rest and (until := _UNTIL.fullmatch(rest[0])):
            clause = replace(clause, until=int(until[1]))
        if str(clause) != text:
            raise ValueError(f'clause "{_shown(text)}" is not canonical; that would begin "{_shown(str(clause))}"')
        return clause

    def __str__(self) -> str:
        trunks = f" @{','.join(self.trunks)}" if self.trunks else ""
        until = f" until={self.until}" if self.until is not None else ""
        return f"{self.authority} {self.action} {self.mode} {self.kinds}{trunks}{until}"

    def ended(self, now: int) -> bool:
        """Whether it has ended at `now` (Unix seconds)."""
        return self.until is not None and self.until <= now


@dataclass(frozen=True, slots=True)
class Stack:
    """All clauses on one subject: sorted by text, without duplicates. Without times it is a policy."""

    clauses: tuple[Clause, ...] = ()

    def __post_init__(self) -> None:
        unique = {str(clause): clause for clause in self.clauses}
        object.__setattr__(self, "clauses", tuple(unique[text] for text in sorted(unique)))
        if len(unique) > MOST_CLAUSES:
            raise ValueError(f"a stack of {len(unique)} clauses; the most allowed are {MOST_CLAUSES}")

    @classmethod
    def of(cls, clauses: Iterable[Clause]) -> "Stack":
        """Bring clauses into their one order."""
        return cls(tuple(clauses))

    @classmethod
    def parse(cls, text: str) -> "Stack":
        """Read a canonical text; the empty text is the empty stack. ValueError names what is wrong."""
        stack = cls(tuple(Clause.parse(part) for part in text.split("; "))) if text else cls()
        if str(stack) != text:
            raise ValueError(f'stack "{_shown(text)}" is not sorted without duplicates')
        return stack

    def __str__(self) -> str:
        return "; ".join(map(str, self.clauses))

    def __bool__(self) -> bool:
        return bool(self.clauses)

    def __iter__(self) -> Iterator[Clause]:
        return iter(self.clauses)

    def policy_at(self, now: int) -> "Stack":
        """What is in force at `now` (Unix seconds): clauses that have not ended, their ends left out."""
        return Stack.of(replace(clause, until=None) for clause in self.clauses if not clause.ended(now))

    def next_end(self, now: int) -> int | None:
        """When the next clause ends after `now`; None when none does."""
        return min((c.until for c in self.clauses if c.until is not None and c.until > now), default=None)


def entry_line(subject: Subject, stack: Stack) -> str:
    """One line of a list or of a change; there an empty stack deletes the subject."""
    return f"{subject}\t{stack}"


_TRUNK = re.compile(rf"[a-z0-9-]{{1,{MOST_TRUNK_NAME}}}")
_UNTIL = re.compile(r"until=([1-9][0-9]{0,11})")
_Word = TypeVar("_Word", bound=StrEnum)


def _choose(words: type[_Word], part: str, word: str, text: str) -> _Word:
    try:
        return words(word)
    except ValueError:
        allowed = ", ".join(words)
        raise ValueError(f'clause "{_shown(text)}": {part} "{_shown(word)}" must be one of {allowed}') from None


def _shown(text: str) -> str:
    return text[:80].encode("unicode_escape").decode("ascii")
