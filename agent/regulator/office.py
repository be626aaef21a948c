"""The office: what the stand-in does and how it judges what comes up, with its books, without sockets.

Acts (`open_ticket`, `order`, `advise`, `raw`) write a signed message that is durable when they return.
`receive` judges a batch from the operator and returns when all of it is durable; then it may be acknowledged.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import ValidationError

from agent.regulator.settings import RegulatorSettings
from agent.regulator.state import Draft, State
from sip_filter.number import parse_subject
from sync.codes import Code
from sync.contract import UP, Advisory, Confirmation, Order, Receipt, Resend, Up, new_id
from sync.jws import JwsError, Keyring, Signer


class OfficeError(Exception):
    """An act that is refused; its text names the value."""


class Office:
    """The stand-in's acts and judgement."""

    def __init__(
        self,
        settings: RegulatorSettings,
        state: State,
        signer: Signer,
        operator_keys: Keyring,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.state = state
        self._settings = settings
        self._signer = signer
        self._operator_keys = operator_keys
        self._clock = clock
        self._wake: Callable[[], None] = lambda: None
        self._link_status: Callable[[], dict[str, Any]] = dict

    def attach(self, wake: Callable[[], None], link_status: Callable[[], dict[str, Any]]) -> None:
        """Have `wake` called when something has become due, and `link_status` asked for the state of the link."""
        self._wake = wake
        self._link_status = link_status

    def open_ticket(self, about: str, category: str | None) -> dict[str, Any]:
        """A new ticket about one subject."""
        return self.state.open_ticket(_subjects([about])[0], category, self._clock())

    def order(
        self,
        kind: Literal["block", "unblock"],
        subjects: Sequence[str],
        ticket: str | None,
        category: str | None,
        *,
        unchecked: bool = False,
    ) -> dict[str, Any]:
        """A new order, durable and on its way. Without a ticket one is opened. Raises OfficeError, StateError."""
        now = self._clock()
        canonical = list(subjects) if unchecked else _subjects(subjects)

        def sign(serial: int, ref: str, about: str | None) -> Draft:
            return self._draft(
                Order(
                    id=new_id(),
                    operator=self._settings.operator,
                    issued_at=now,
                    serial=serial,
                    kind=kind,
                    ticket=ref,
                    category=about,
                    office=self._settings.office,
                    legal_basis=self._settings.legal_basis,
                    deadline=now + timedelta(hours=self._settings.deadline_hours),
                    count=len(canonical),
                    subjects=tuple(canonical),
                )
            )

        return self._queued(lambda: self.state.queue_order(kind, canonical, ticket, category, now, sign))

    def advise(self, prefix: str, reason: str | None) -> dict[str, Any]:
        """A new advisory about a prefix, durable and on its way."""
        now = self._clock()
        canonical = _prefix(prefix)

        def sign(serial: int) -> Draft:
            return self._draft(
                Advisory(
                    id=new_id(),
                    operator=self._settings.operator,
                    issued_at=now,
                    serial=serial,
                    prefix=canonical,
                    office=self._settings.office,
                    reason=reason or "missed-call scam",
                )
            )

        return self._queued(lambda: self.state.queue_advisory(canonical, now, sign))

    def raw(self, body: bytes) -> None:
        """Publish bytes as they are."""
        self.state.queue_raw(body)
        self._wake()

    def receive(self, batch: Iterable[bytes]) -> None:
        """Judge what came up and write down what it means: confirmations with their receipts, asks, rejects."""
        with self.state.together():
            for raw in batch:
                self._judge(raw, self._clock())
        self._wake()

    def reject(self, sha256: str, code: Code) -> None:
        """Write down that something came up which is no authentic message."""
        self.state.reject(sha256, code, self._clock())

    def status(self) -> dict[str, Any]:
        """The books' counts and the state of the link."""
        return {"operator": self._settings.operator, **self.state.counts(), "link": self._link_status()}

    def _judge(self, raw: bytes, now: datetime) -> None:
        try:
            said = self._read(raw)
        except JwsError as error:
            self.reject(hashlib.sha256(raw).hexdigest(), error.code)
            return
        if isinstance(said, Resend):
            self.state.resend(said.serials, now)
        else:
            self.state.confirm(said, now, lambda: self._receipt(said, now))

    def _read(self, raw: bytes) -> Up:
        payload = self._operator_keys.verify(raw).payload
        try:
            kind = json.loads(payload)["type"]
            said = UP[kind].model_validate_json(payload)
        except (ValidationError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise JwsError(Code.SCHEMA, f"{type(error).__name__}: not a message of the contract") from None
        if said.operator != self._settings.operator:
            raise JwsError(Code.WRONG_OPERATOR, f"{said.operator} is not {self._settings.operator}")
        return said

    def _receipt(self, said: Confirmation, now: datetime) -> bytes:
        return self._draft(
            Receipt(
                id=new_id(),
                operator=self._settings.operator,
                issued_at=now,
                confirmation=said.id,
                order=said.order,
                status=said.status,
            )
        ).body

    def _draft(self, message: Order | Advisory | Receipt) -> Draft:
        return Draft(message.id, self._signer.sign(message.to_json()))

    def _queued(self, queue: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        try:
            queued = queue()
        except ValidationError as error:  # of the contract's model: a category too long, a reason with control bytes
            first = error.errors(include_url=False)[0]
            raise OfficeError(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from None
        self._wake()
        return queued


def _subjects(texts: Sequence[str]) -> list[str]:
    canonical = []
    for text in texts:
        try:
            canonical.append(str(parse_subject(text)))
        except ValueError as error:
            raise OfficeError(str(error)) from None
    return canonical


def _prefix(text: str) -> str:
    return _subjects([text if text.endswith("*") else f"{text}*"])[0]
