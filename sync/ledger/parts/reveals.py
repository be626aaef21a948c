"""Numbers shown to a person."""

from datetime import datetime

from sync.ledger import reveals as numbers
from sync.ledger.parts.part import Part
from sync.ledger.transaction import to_ms
from sync.settings_reveal import RevealSettings


class Reveals(Part):
    """Reveals: recorded before anything is shown."""

    def reveal(
        self, asked: numbers.Asked, person: str, session: str, settings: RevealSettings, now: datetime
    ) -> numbers.Revealed:
        """Record that a person is shown a number, or ask a second person. Show nothing before this has returned."""
        with self._change(now) as tx:
            return numbers.reveal(tx, asked, person, session, settings)

    def revealed(self, reveal_id: int, person: str, session: str, now: datetime) -> numbers.Shown | None:
        """What a reveal shows to the session that made it; None when its time is over."""
        with self._house.store.read() as connection:
            return numbers.shown(connection, reveal_id, person, session, to_ms(now))

    def reveals(
        self, person: str | None = None, limit: int = 100, after: int | None = None
    ) -> list[numbers.RevealView]:
        """Reveals, the newest first, of one person or of all; `after` goes on behind that one."""
        with self._house.store.read() as connection:
            return numbers.listed(connection, person, limit, after)
