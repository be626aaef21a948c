"""The list that the nodes have in force: its revisions and fence, what ends by itself, and its hits."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from sync import schema
from sync.ledger import acts, hits, requests, revisions, rule_steps, rules, subjects
from sync.ledger.parts.part import Part
from sync.ledger.transaction import from_ms, read_head
from sync.ledger.views import Head, LedgerHit, RevisionRow


class Entries(Part):
    """The list: read by those who publish it, counted by those who apply it."""

    def head(self) -> Head:
        """The list's newest revision."""
        with self._house.store.read() as connection:
            return revisions.head(connection)

    def revisions(self, after_n: int, limit: int) -> list[RevisionRow]:
        """Revisions of the current epoch after `after_n`, in order, without a hole."""
        with self._house.store.read() as connection:
            return revisions.revisions(connection, after_n, limit)

    def entries(self, after: str, limit: int) -> list[str]:
        """Entry lines in the order of their subjects' bytes, behind the subject `after` ("" for the first)."""
        with self._house.store.read() as connection:
            return revisions.entries(connection, after, limit)

    def entries_touching(self, number: str) -> list[str]:
        """The entry lines on a number and on each prefix of it, longest subject first."""
        with self._house.store.read() as connection:
            return revisions.entries_touching(connection, number)

    def take_fence(self) -> int:
        """The next fencing token: durable, greater than any before."""
        with self._house.store.write() as connection:
            row = connection.execute(
                sa.update(schema.head).values(fence=schema.head.c.fence + 1).returning(schema.head.c.fence)
            )
            return int(row.scalar_one())

    def try_write(self) -> None:
        """Write and sync a row that stays as it was: whether a disk takes writes is known only by writing."""
        with self._house.store.write() as connection:
            connection.execute(sa.update(schema.head).values(fence=schema.head.c.fence))

    def begin_epoch(self, actor: str, now: datetime) -> None:
        """Begin a new epoch, since history may have forked (a restore); the list stays as it is."""
        with self._change(now) as tx:
            revisions.begin_epoch(tx, actor)

    def expire(self, now: datetime) -> int:
        """Do what is due by itself: rules whose time has come go to shadow or end, orders end, requests lapse.

        The answer is how many rules it was for.
        """
        with self._change(now) as tx:
            requests.lapse(tx, acts.TABLE)
            return rule_steps.end_due(tx) + subjects.end_due(tx)

    def next_expiry(self) -> datetime | None:
        """When `expire` has something to do next."""
        with self._house.store.read() as connection:
            times = (rules.next_end(connection), requests.next_lapse(connection))
            found = min((time for time in times if time is not None), default=None)
            return None if found is None else from_ms(found)

    def count_hits(self, found: Sequence[LedgerHit], now: datetime, cursor: str | None = None) -> int:
        """Count hits on their rules, once for each call, and keep the place in the stream that they came from."""
        with self._change(now) as tx:
            return hits.count(tx, found, cursor)

    def hits_cursor(self) -> str | None:
        """The place in the stream of hits up to which they are counted."""
        with self._house.store.read() as connection:
            return read_head(connection).hits_cursor
