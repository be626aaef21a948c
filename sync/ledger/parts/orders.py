"""What comes from the regulator, what the operator does about it, and what is told back."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from sync import schema
from sync.contract import Coverage, Proof
from sync.intake import Reading
from sync.ledger import approvals, clearance_stories, clearances, confirmations, proofs, serials, stories, taking
from sync.ledger.parts.part import Part
from sync.ledger.transaction import from_ms, read_head, to_ms
from sync.ledger.views import AwaitingProof, OrderStory, OrderView, Outcome, Outgoing, Taken
from sync.order_life import State


class Orders(Part):
    """Orders: taken, approved or refused, proved, confirmed."""

    def take(self, readings: Sequence[Reading], now: datetime) -> list[Taken]:
        """Put a batch of readings into the ledger, with one commit; acknowledge them when this has returned."""
        with self._change(now) as tx:
            return [taking.take(tx, reading) for reading in readings]

    def last_serial(self) -> int:
        """The highest serial that has come."""
        with self._house.store.read() as connection:
            return read_head(connection).last_serial

    def approve(self, order: str, actor: str, reason: str, now: datetime) -> Outcome[OrderView]:
        """Apply what the gate held of an order, or ask a second person to where the settings want one."""
        with self._change(now) as tx:
            waits = approvals.approve(tx, order, actor, reason)
            return Outcome(stories.order(tx.connection, order).order, waits)

    def refuse(self, order: str, actor: str, reason: str, now: datetime) -> OrderView:
        """Refuse what the gate held of an order; the regulator is told."""
        with self._change(now) as tx:
            approvals.refuse(tx, order, actor, reason)
            return stories.order(tx.connection, order).order

    def orders(
        self,
        state: State | str | None = None,
        limit: int = 100,
        ticket: str | None = None,
        after: int | None = None,
        by: Literal["serial", "deadline"] = "serial",
    ) -> list[OrderView]:
        """Orders, the newest serial first or the nearest deadline first; `after` goes on behind that serial.

        The state `open` stands for all in which the regulator still waits for something.
        """
        asked: State | Literal["open"] | None = "open" if state == "open" else None if state is None else State(state)
        with self._house.store.read() as connection:
            return stories.orders(connection, asked, ticket, limit, after, by)

    def order(self, order_id: str) -> OrderStory:
        """One order with its subjects, confirmations and journal."""
        with self._house.store.read() as connection:
            return stories.order(connection, order_id)

    def awaiting_proof(self, limit: int = 1_000) -> list[AwaitingProof]:
        """The orders, then the clearances, that wait for a proof, the nearest deadline first."""
        with self._house.store.read() as connection:
            return [*proofs.awaiting(connection, limit), *clearance_stories.awaiting(connection, limit)]

    def record_proof(
        self, order: str, verdict: proofs.ProofVerdict, proof: dict[str, Any], coverage: dict[str, Any], now: datetime
    ) -> str:
        """Keep what the nodes proved and queue the confirmation; the answer is the state of order or clearance now.

        Raises ValueError (pydantic's) when proof or coverage don't follow the contract.
        """
        stated, covered = Proof.model_validate(proof, strict=False), Coverage.model_validate(coverage, strict=False)
        record = clearances.proved if order.startswith("c") and order[1:].isdecimal() else proofs.record
        with self._change(now) as tx:
            return record(tx, order, verdict, stated, covered)

    def due(self, now: datetime, limit: int) -> list[Outgoing]:
        """What has to be sent to the regulator now, oldest first."""
        now_ms = to_ms(now)
        with self._house.store.read() as connection:
            ask = serials.due(connection, self._house, now_ms)
            found = confirmations.due(connection, now_ms, limit if ask is None else max(0, limit - 1))
            return found if ask is None else [ask, *found]

    def sent(self, messages: Sequence[str], now: datetime) -> None:
        """Note that the broker has these; each is due again later, until its receipt comes."""
        with self._change(now) as tx:
            for message in messages:
                if message.startswith(serials.ASK):
                    serials.sent(tx, message)
                else:
                    confirmations.sent(tx, message)

    def next_due(self) -> datetime | None:
        """When `due` has something next."""
        with self._house.store.read() as connection:
            times = [
                connection.execute(sa.select(sa.func.min(table.c.next_at))).scalar()
                for table in (schema.confirmations, schema.gaps)
            ]
            known = [time for time in times if time is not None]
            return from_ms(min(known)) if known else None
