"""Revisions: the list as published, its digest, and each change to it in steps of at most 1,000 entries.

An entry is a subject with its stack: the clauses of all live rules on it. The digest is a sum over the entries, so a
change costs what it changes and not what the list holds.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from sip_filter.rule import Action, Authority, Clause, Kinds, Mode, Stack
from sync import schema
from sync.ledger.transaction import Transaction, chunks
from sync.ledger.views import Head, RevisionRow

MAX_CHANGES = 1_000
_MODULUS = 1 << 128

_rules, _entries, _revisions = schema.rules, schema.entries, schema.revisions
_SUBJECTS: sa.BindParameter[str] = sa.bindparam("subjects", expanding=True)
_EPOCH: sa.BindParameter[int] = sa.bindparam("epoch")
_N: sa.BindParameter[int] = sa.bindparam("n")
# Built once: building a statement costs more than running it.
_SINCE = (
    sa.update(_rules)
    .where(
        _rules.c.subject.in_(_SUBJECTS),
        _rules.c.ended_at.is_(None),
        _rules.c.since_n.is_(None),
        _rules.c.mode != "disabled",
    )
    .values(since_epoch=_EPOCH, since_n=_N)
)
_UNTIL = (
    sa.update(_rules)
    .where(
        _rules.c.subject.in_(_SUBJECTS),
        _rules.c.ended_at.is_not(None),
        _rules.c.since_n.is_not(None),
        _rules.c.until_n.is_(None),
    )
    .values(until_epoch=_EPOCH, until_n=_N)
)
_OLD = sa.select(_entries.c.subject, _entries.c.stack).where(_entries.c.subject.in_(_SUBJECTS))
_LIVE = sa.select(
    _rules.c.subject,
    _rules.c.authority,
    _rules.c.action,
    _rules.c.mode,
    _rules.c.kinds,
    _rules.c.trunks,
    _rules.c.expires_at,
).where(_rules.c.subject.in_(_SUBJECTS), _rules.c.ended_at.is_(None), _rules.c.mode != "disabled")


def publish(tx: Transaction, touched: Iterable[str]) -> tuple[int, int]:
    """Bring the entries of the touched subjects in line with their rules, in as many revisions as that takes.

    A touched subject is carried even when its stack reads as before: another rule may stand behind it now.
    The answer is the epoch and number of the list's newest revision, whether or not there was anything to change.
    """
    for subjects in chunks(sorted(set(touched)), MAX_CHANGES):
        _publish_some(tx, subjects)
    return tx.head.epoch, tx.head.n


def begin_epoch(tx: Transaction, actor: str) -> None:
    """Begin a new epoch. Numbers go on, so that an order's revision stays comparable."""
    tx.head.epoch += 1
    tx.journal("epoch", actor, None, {"epoch": tx.head.epoch, "n": tx.head.n})


def entry_line(subject: str, stack: str) -> str:
    """The line that a delta carries and the digest covers."""
    return f"{subject}\t{stack}"


def entry_digest(line: str) -> int:
    """One entry's part of the digest (BLAKE2b-128 as a big-endian number)."""
    return int.from_bytes(hashlib.blake2b(line.encode(), digest_size=16).digest(), "big")


def list_digest(lines: Iterable[str]) -> str:
    """The digest of a list: the sum of its entries' digests, in hex."""
    return f"{sum(map(entry_digest, lines)) % _MODULUS:032x}"


def clause(authority: str, action: str, mode: str, kinds: str, trunks: str, expires_at: int | None) -> Clause:
    """One rule reduced to what the filter needs. Ends on a whole second, never before the rule does.

    Raises ValueError for what no node would take.
    """
    until = None if expires_at is None else -(-expires_at // 1000)
    scope = tuple(trunks.split(",")) if trunks else ()
    return Clause(Authority(authority), Action(action), Mode(mode), Kinds(kinds), scope, until)


def head(connection: sa.Connection) -> Head:
    """The newest revision."""
    row = connection.execute(
        sa.select(schema.head.c.epoch, schema.head.c.n, schema.head.c.digest, schema.head.c.entries)
    ).one()
    return Head(*row)


def revisions(connection: sa.Connection, after_n: int, limit: int) -> list[RevisionRow]:
    """The revisions of the current epoch after `after_n`, in order."""
    table = schema.revisions
    found = connection.execute(
        sa.select(table.c.epoch, table.c.n, table.c.digest, table.c.at, table.c.changes)
        .where(table.c.epoch == sa.select(schema.head.c.epoch).scalar_subquery(), table.c.n > after_n)
        .order_by(table.c.n)
        .limit(limit)
    )
    return [RevisionRow(epoch, n, digest, at, tuple(changes.split("\n"))) for epoch, n, digest, at, changes in found]


def entries(connection: sa.Connection, after: str, limit: int) -> list[str]:
    """Entry lines in subject order, beginning behind the subject `after`."""
    table = schema.entries
    found = connection.execute(
        sa.select(table.c.subject, table.c.stack).where(table.c.subject > after).order_by(table.c.subject).limit(limit)
    )
    return [entry_line(subject, stack) for subject, stack in found]


def entries_touching(connection: sa.Connection, number: str) -> list[str]:
    """The entry lines on a number and on each prefix of it, longest subject first."""
    table = schema.entries
    found = connection.execute(sa.select(table.c.subject, table.c.stack).where(table.c.subject.in_(_covering(number))))
    lines = {subject: entry_line(subject, stack) for subject, stack in found}
    return [lines[subject] for subject in _covering(number) if subject in lines]


def _covering(number: str) -> list[str]:
    digits = number.removeprefix("+")
    return [number, *(f"+{digits[:width]}*" for width in range(len(digits), 0, -1))]


def _publish_some(tx: Transaction, subjects: list[str]) -> None:
    old, new = _old_stacks(tx, subjects), _new_stacks(tx, subjects)
    changed = [subject for subject in subjects if subject in old or subject in new]
    if not changed:
        return
    head = tx.head
    total = int(head.digest, 16)
    for subject in changed:
        if subject in old:
            total -= entry_digest(entry_line(subject, old[subject]))
        if subject in new:
            total += entry_digest(entry_line(subject, new[subject]))
    head.n += 1
    head.digest = f"{total % _MODULUS:032x}"
    head.entries += len(new) - len(old)
    _store(tx, changed, new)
    _mark(tx, changed)


def _store(tx: Transaction, changed: list[str], new: dict[str, str]) -> None:
    gone = [subject for subject in changed if subject not in new]
    for some in chunks(gone):
        tx.run(sa.delete(_entries).where(_entries.c.subject.in_(some)))
    tx.insert_many(_entries, ("subject", "stack"), new.items(), "OR REPLACE")
    lines = "\n".join(entry_line(subject, new.get(subject, "")) for subject in changed)
    head = tx.head
    tx.run(sa.insert(_revisions).values(epoch=head.epoch, n=head.n, digest=head.digest, at=tx.now_ms, changes=lines))


def _mark(tx: Transaction, changed: list[str]) -> None:
    """Write into the rules from which revision they are carried, and from which no longer."""
    revision = {"epoch": tx.head.epoch, "n": tx.head.n}
    for some in chunks(changed):
        tx.run(_SINCE, {**revision, "subjects": some})
        if tx.rules_ended:
            tx.run(_UNTIL, {**revision, "subjects": some})


def _old_stacks(tx: Transaction, subjects: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for some in chunks(subjects):
        found.update((subject, stack) for subject, stack in tx.run(_OLD, {"subjects": some}))
    return found


def _new_stacks(tx: Transaction, subjects: list[str]) -> dict[str, str]:
    rules: dict[str, set[tuple[Any, ...]]] = {}
    for some in chunks(subjects):
        for subject, *words in tx.run(_LIVE, {"subjects": some}):
            rules.setdefault(subject, set()).add(tuple(words))
    texts: dict[frozenset[tuple[Any, ...]], str] = {}  # a list's rules differ in nothing but the subject
    stacks = {}
    for subject, found in rules.items():
        key = frozenset(found)
        if key not in texts:
            texts[key] = str(Stack.of(clause(*words) for words in found))
        stacks[subject] = texts[key]
    return stacks
