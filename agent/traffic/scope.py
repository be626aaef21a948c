"""Scope: the calls that a question or a rule is about, and by which of the nodes' keys they were counted.

The nodes count each caller's first four digits always, anything longer only while it is watched. So a prefix of up to
four digits whose exceptions have no more is known exactly for as long as the nodes counted at all; another scope from
the moment that it is watched, and before that no more than the four digits that cover it. Pure.
"""

import hashlib
import json
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

from sip_filter.number import Prefix, parse_subject
from sync.ledger import RuleView

KEY_DIGITS: Final = 4
MOST_EXCEPTIONS: Final = 1_000
"""Of one watch; nodes take a few more."""

Kinds = Literal["call", "message", "both"]


@dataclass(frozen=True)
class Keys:
    """A choice of keys: one watch, or ranges of digits (`["77", "77:")` is all that begins with 77) less others."""

    ranges: tuple[tuple[str, str], ...]
    without: tuple[tuple[str, str], ...] = ()

    @classmethod
    def one(cls, key: str) -> "Keys":
        """This key alone."""
        return cls(((key, f"{key}\0"),))


@dataclass(frozen=True)
class Scope:
    """Subject, exceptions, trunks (none: all) and kinds. Subjects are canonical text."""

    subject: str
    exceptions: tuple[str, ...] = ()
    trunks: tuple[str, ...] = ()
    kinds: Kinds = "both"

    @classmethod
    def of(
        cls, subject: str, exceptions: Iterable[str] = (), trunks: Iterable[str] = (), kinds: Kinds = "both"
    ) -> "Scope":
        """In its one form, so that equal scopes have one watch. Raises ValueError for what is no subject."""
        text = str(parse_subject(subject))
        inside = {str(parse_subject(exception)) for exception in exceptions}
        return cls(text, tuple(sorted(i for i in inside if covers(text, i))), tuple(sorted(set(trunks))), kinds)

    @cached_property
    def watch(self) -> str:
        """The id under which nodes count it. Another scope has another id, so that counts never mix."""
        return "w" + hashlib.sha256(json.dumps(self._parts()).encode()).hexdigest()[:12]

    def question(self) -> dict[str, Any]:
        """The watch as a node takes it."""
        return {"id": self.watch, **self._parts()}

    def _parts(self) -> dict[str, Any]:
        return {
            "subject": self.subject,
            "except": list(self.exceptions),
            "trunks": list(self.trunks),
            "kinds": self.kinds,
        }

    @property
    def by_digits(self) -> bool:
        """Whether the keys of up to four digits count exactly this."""
        return self.kinds == "both" and all(map(_short, (self.subject, *self.exceptions)))

    @property
    def bound(self) -> str:
        """The prefix of up to four digits that covers it."""
        return f"+{_digits(self.subject)[:KEY_DIGITS]}*"

    @property
    def digits(self) -> Keys:
        """The keys of digits that cover it, as narrowly as they can."""
        without = tuple(_range(exception) for exception in self.exceptions if _short(exception))
        return Keys((_range(self.bound),), without)

    @property
    def watched(self) -> Keys:
        """The key of its watch."""
        return Keys.one(self.watch)


class Allowed:
    """The enforced `allow` rules of the NOC, found by the subject that they lie in."""

    def __init__(self, rules: Iterable[RuleView]) -> None:
        self._rules = sorted((rule for rule in rules if rule.live), key=lambda rule: rule.subject)
        self._subjects = [rule.subject for rule in self._rules]

    def inside(self, subject: str, trunks: Sequence[str], kinds: Kinds) -> list[RuleView]:
        """The exceptions of a rule: those inside it that hold on all of its trunks and for all of its kinds."""
        low, high = (subject[:-1], f"{subject[:-1]}:") if subject.endswith("*") else (subject, f"{subject}!")
        return [
            other
            for other in self._rules[bisect_left(self._subjects, low) : bisect_left(self._subjects, high)]
            if other.kinds in ("both", kinds) and (not other.trunks or (trunks and {*trunks} <= {*other.trunks}))
        ]

    def scope(self, subject: str, trunks: Sequence[str], kinds: Kinds, more: Iterable[str] = ()) -> Scope:
        """The scope of a rule less its exceptions, the `MOST_EXCEPTIONS` widest of them."""
        inside = sorted({*more, *(rule.subject for rule in self.inside(subject, trunks, kinds))}, key=len)
        return Scope.of(subject, inside[:MOST_EXCEPTIONS], trunks, kinds)


def covers(subject: str, other: str) -> bool:
    """Whether everything of `other` is of `subject`."""
    prefix = parse_subject(subject)
    return prefix.covers(parse_subject(other)) if isinstance(prefix, Prefix) else subject == other


def _digits(subject: str) -> str:
    return subject.strip("+*")


def _short(subject: str) -> bool:
    return subject.endswith("*") and len(_digits(subject)) <= KEY_DIGITS


def _range(subject: str) -> tuple[str, str]:
    digits = _digits(subject)
    return digits, f"{digits}:"  # ":" stands behind "9"
