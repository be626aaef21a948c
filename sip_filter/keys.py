"""The Redis keys and encodings that the publisher and the nodes share. Pure: texts in, values out.

One list, named NAME, lives under one hash tag, so that one server-side function may touch all of it in a cluster:

    {palang:NAME}:head      HASH    epoch n digest entries numbers prefixes fence at_ms verified
    {palang:NAME}:entries   HASH    subject text -> stack text
    {palang:NAME}:numbers   SET     digits that other switches may ask for with SISMEMBER
    {palang:NAME}:prefixes  SET     likewise
    {palang:NAME}:changes   STREAM  id `<epoch>-<n>`: digest, at_ms, changes (entry lines joined by newlines)
    {palang:NAME}:nodes     HASH    node -> its last report, JSON
    {palang:NAME}:hits      STREAM  one entry per hit

`head` is written in the same step as what it describes: who reads head, list, head again and finds the digest right
has a whole list. A stream entry with the field `snapshot` says that the list was made anew at that revision.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import NamedTuple, Self

EMPTY_DIGEST = "0" * 32
MAX_CHANGES = 1_000
"""Changed entries in one revision, and entries in one chunk of a rebuild."""


class Revision(NamedTuple):
    """`epoch.n`. Ordered: a later revision is greater."""

    epoch: int
    n: int

    @classmethod
    def parse(cls, text: str) -> Self:
        epoch, dot, n = text.partition(".")
        if not (dot and epoch.isdecimal() and n.isdecimal()):
            raise ValueError(f"revision {text!r} is not <epoch>.<n>")
        return cls(int(epoch), int(n))

    @property
    def stream_id(self) -> str:
        return f"{self.epoch}-{self.n}"

    def __str__(self) -> str:
        return f"{self.epoch}.{self.n}"


class Keys(NamedTuple):
    head: str
    entries: str
    numbers: str
    prefixes: str
    changes: str
    nodes: str
    hits: str
    fresh_entries: str
    fresh_numbers: str
    fresh_prefixes: str

    @classmethod
    def of(cls, name: str) -> Self:
        """The keys of the list `name`. The `fresh` ones hold a list that is being rebuilt and nobody reads yet."""
        tag = f"{{palang:{name}}}"
        return cls(*(f"{tag}:{field.replace('_', ':')}" for field in cls._fields))


@dataclass(frozen=True)
class Head:
    """What Redis says that it holds."""

    revision: Revision
    digest: str
    entries: int
    numbers: int
    prefixes: int
    fence: int
    at_ms: int
    verified: Revision | None
    """The last revision at which the publisher found Redis equal to the ledger, entry by entry."""

    @classmethod
    def read(cls, fields: Mapping[str, str]) -> Self | None:
        """None when there is no head, or when it can't be read: to a reader both mean that Redis has no list."""
        try:
            return cls(
                revision=Revision(int(fields["epoch"]), int(fields["n"])),
                digest=fields["digest"],
                entries=int(fields["entries"]),
                numbers=int(fields["numbers"]),
                prefixes=int(fields["prefixes"]),
                fence=int(fields["fence"]),
                at_ms=int(fields["at_ms"]),
                verified=Revision.parse(fields["verified"]) if fields.get("verified") else None,
            )
        except (KeyError, ValueError):
            return None


@dataclass(frozen=True)
class Change:
    """One entry of the change stream."""

    revision: Revision
    digest: str
    lines: tuple[str, ...]
    snapshot: bool
    """The list was made anew at this revision: there are no lines to apply."""

    @classmethod
    def read(cls, stream_id: str, fields: Mapping[str, str]) -> Self:
        lines = tuple(fields.get("changes", "").split("\n")) if fields.get("changes") else ()
        revision = Revision.parse(stream_id.replace("-", "."))
        return cls(revision, fields.get("digest", ""), lines, "snapshot" in fields)


@dataclass(frozen=True)
class Report:
    """What a node says of itself, each second."""

    node: str
    epoch: int
    n: int
    digest: str
    at_ms: int
    stale: bool
    why: str = ""
    """Why it is stale, in words."""
    trunks: Mapping[str, str] = field(default_factory=dict)
    bypass: bool = False
    version: str = ""
    counters: Mapping[str, int] = field(default_factory=dict)

    @property
    def revision(self) -> Revision:
        return Revision(self.epoch, self.n)

    def fields(self) -> dict[str, object]:
        return asdict(self)

    def text(self) -> str:
        return json.dumps(self.fields(), separators=(",", ":"))

    @classmethod
    def read(cls, text: str) -> Self | None:
        """None when it can't be read; what a newer node adds is passed over."""
        try:
            fields = json.loads(text)
            known = {name: fields[name] for name in cls.__dataclass_fields__ if name in fields}
            report = cls(**known)
            return report if isinstance(report.revision[0] + report.revision[1] + report.at_ms, int) else None
        except (ValueError, TypeError, AttributeError):
            return None


class Tally:
    """A list that is read in pieces while it changes: the last value of a subject wins, the digest follows.

    HSCAN may return an entry twice and may or may not return one that changes meanwhile, so what is put on top
    afterwards must be every change made since the scan began.
    """

    def __init__(self) -> None:
        self.stacks: dict[str, str] = {}
        self._sum = 0

    def put(self, subject: str, stack: str) -> None:
        """Set one entry; an empty stack deletes it."""
        before = self.stacks.pop(subject, "")
        if before:
            self._sum -= _digest(line_of(subject, before))
        if stack:
            self.stacks[subject] = stack
            self._sum += _digest(line_of(subject, stack))

    def put_all(self, entries: Mapping[str, str]) -> None:
        for subject, stack in entries.items():
            self.put(subject, stack)

    def put_lines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.put(*split_line(line))

    @property
    def digest(self) -> str:
        return f"{self._sum % 2**128:032x}"

    def lines(self) -> list[str]:
        return [line_of(subject, stack) for subject, stack in self.stacks.items()]


def line_of(subject: str, stack: str) -> str:
    return f"{subject}\t{stack}"


def split_line(line: str) -> tuple[str, str]:
    """Subject and stack of an entry line; without a tab the stack is empty."""
    subject, _, stack = line.partition("\t")
    return subject, stack


def _digest(line: str) -> int:
    """As `_core.entry_digest`, but of any text: what stands in Redis may not be canonical, and must be noticed then."""
    return int.from_bytes(hashlib.blake2b(line.encode(), digest_size=16).digest(), "big")


def digits(subject: str) -> str:
    """The subject as other switches ask for it: `+77*` -> `77`."""
    return subject.strip("+*")


@lru_cache(maxsize=4_096)
def blocks_calls(stack: str) -> bool:
    """Whether this entry by itself rejects every call: what the sets for other switches hold.

    An order's reject does; a NOC's does unless an allow stands beside it, for at equal length the allow wins
    (DESIGN §5). Rules for some trunks only, in shadow, or for messages only don't: the asking switch knows nothing of
    those.
    """
    rejects = allows = False
    for clause in filter(None, stack.split("; ")):
        authority, action, mode, kinds, *rest = [*clause.split(" "), "", "", ""]
        if mode != "enforce" or kinds == "message":
            continue
        everywhere = not any(word.startswith("@") for word in rest)
        if action == "reject" and everywhere:
            if authority == "order":
                return True
            rejects = True
        allows = allows or action == "allow"
    return rejects and not allows


def disagreeing(reports: Iterable[Report], revision: Revision, digest: str) -> list[str]:
    """The nodes that stand at `revision` and hold another list."""
    return sorted(report.node for report in reports if report.revision == revision and report.digest != digest)
