"""The unblock desk, as the ledger keeps it."""

from collections.abc import Sequence
from datetime import datetime

from sync.clearance_life import State as ClearanceState
from sync.ledger import clearance_stories, clearances
from sync.ledger.parts.part import Part
from sync.ledger.transaction import to_ms
from sync.ledger.views import ClearanceStory, ClearanceView, Outcome, Reassigned


class Clearances(Part):
    """Clearances: opened, decided by two people, proved, confirmed."""

    def open_clearance(
        self,
        number: str,
        reference: str,
        document: str,
        reason: str,
        actor: str,
        deadline: datetime,
        now: datetime,
        *,
        exception: bool = True,
    ) -> Outcome[ClearanceView]:
        """Open a clearance after a clarification; a second person is asked to lift the block."""
        with self._change(now) as tx:
            return Outcome(
                *clearances.open_(tx, number, reference, document, reason, actor, deadline, exception=exception)
            )

    def ask_clearance(
        self,
        clearance: str,
        reference: str,
        document: str,
        reason: str,
        actor: str,
        now: datetime,
        *,
        exception: bool = True,
    ) -> Outcome[ClearanceView]:
        """Ask a second person to lift the block that a review is about."""
        with self._change(now) as tx:
            return Outcome(*clearances.ask(tx, clearance, reference, document, reason, actor, exception=exception))

    def keep_clearance(self, clearance: str, actor: str, reason: str, now: datetime) -> ClearanceView:
        """Decide that the block stays."""
        with self._change(now) as tx:
            return clearances.keep(tx, clearance, actor, reason)

    def reassigned(
        self, numbers: Sequence[str], reason: str, actor: str, deadline: datetime, now: datetime, *, commit: bool
    ) -> Reassigned:
        """Open a review for each of these numbers that is blocked; without `commit` only count them."""
        with self._change(now) as tx:
            return clearances.reassigned(tx, numbers, reason, actor, deadline, commit=commit)

    def clearances(
        self, state: ClearanceState | None = None, *, waiting: bool = False, after: int | None = None, limit: int = 100
    ) -> list[ClearanceView]:
        """Clearances, the newest first; with `waiting` those whose deadline runs, the nearest first."""
        with self._house.store.read() as connection:
            return clearance_stories.listed(connection, state=state, waiting=waiting, after=after, limit=limit)

    def clearance(self, clearance: str) -> ClearanceStory:
        """One clearance's whole story."""
        with self._house.store.read() as connection:
            return clearance_stories.story(connection, clearance)

    def clearances_overdue(self, now: datetime) -> list[ClearanceView]:
        """The clearances past their deadline whose number neither passes nor is decided to stay blocked."""
        with self._house.store.read() as connection:
            return clearance_stories.overdue(connection, to_ms(now))
