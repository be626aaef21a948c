"""What was done, by whom, in a chain that is signed."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from sync import schema
from sync.jws import Keyring
from sync.ledger import alarms, lately, stories
from sync.ledger.parts.part import Part
from sync.ledger.transaction import read_head
from sync.ledger.views import JournalView, Verification


class Journal(Part):
    """The journal: written, read, signed, verified."""

    def record(self, kind: str, actor: str, about: str | None, body: dict[str, Any], now: datetime) -> int:
        """Put an act of a person (a drain, a reveal) into the journal before it takes effect."""
        with self._change(now) as tx:
            return tx.journal(kind, actor, about, body)

    def journal(self, after: int = 0, limit: int = 100) -> list[JournalView]:
        """Journal records behind the number `after`, in order."""
        with self._house.store.read() as connection:
            return stories.journal_after(connection, after, limit)

    def lately(self, after: int, limit: int) -> tuple[list[lately.Act], int]:
        """The newest acts behind that record, newest first, and how far the journal was looked at."""
        with self._house.store.read() as connection:
            return lately.acts(connection, after, limit)

    def alarms_since(self, since: datetime) -> list[alarms.AlarmRecord]:
        """What the journal's newest records say of alarms since then, in order."""
        with self._house.store.read() as connection:
            return alarms.alarms_since(connection, since)

    def checkpoint(self, now: datetime) -> str | None:
        """Sign the chain as it stands; the answer is the newest signed checkpoint, to be kept elsewhere too."""
        with self._change(now) as tx:
            tx.checkpoint()
        with self._house.store.read() as connection:
            newest = sa.select(schema.checkpoints.c.jws).order_by(schema.checkpoints.c.seq.desc()).limit(1)
            found: str | None = connection.execute(newest).scalar()
            return found

    def newest_checkpoint(self) -> tuple[int, tuple[int, str] | None]:
        """The number of the journal's last record; the newest signed checkpoint, with the number of its record."""
        c = schema.checkpoints.c
        with self._house.store.read() as connection:
            row = connection.execute(sa.select(c.seq, c.jws).order_by(c.seq.desc()).limit(1)).first()
            return read_head(connection).journal_seq, None if row is None else (row.seq, row.jws)

    def sign(self, payload: bytes, kind: str) -> str:
        """What leaves the agent, signed with the operator's key as a `kind`."""
        return self._house.signer.sign(payload, kind).decode("ascii")

    def verify(self, *, regulator: Keyring | None = None, signers: Keyring | None = None) -> Verification:
        """Walk the whole journal. With `regulator` the signature of each kept order is verified again;
        `signers` are the keys that may have signed checkpoints, by default our present one."""
        with self._house.store.read() as connection:
            return stories.verify(connection, signers or self._house.signer.keyring(), regulator)
