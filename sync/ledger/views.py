"""What the ledger answers: frozen values, nothing of SQL in them. Times are aware UTC datetimes."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from sync.clearance_life import State as ClearanceState
from sync.codes import Code
from sync.order_life import State

Authority = Literal["order", "noc"]
Action = Literal["reject", "allow", "label"]
Mode = Literal["enforce", "shadow", "disabled"]
Kinds = Literal["call", "message", "both"]
Origin = Literal["order", "advisory", "noc"]
Happened = Literal["applied", "held", "refused", "duplicate", "receipt", "proposed", "expired"]
RequestState = Literal["open", "approved", "refused", "lapsed", "withdrawn"]
T = TypeVar("T")


@dataclass(frozen=True)
class Taken:
    """What became of one reading. `gap` tells that serials before this one are missing and are asked for."""

    what: Happened
    order: str | None = None
    code: Code | None = None
    detail: str | None = None
    rule: str | None = None
    gap: bool = False


@dataclass(frozen=True)
class Head:
    """The list's newest revision, its digest and how many subjects it has."""

    epoch: int
    n: int
    digest: str
    entries: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.n}"


@dataclass(frozen=True)
class RevisionRow:
    """One published change: entry lines (an empty stack deletes) and the digest of the whole list after it."""

    epoch: int
    n: int
    digest: str
    at_ms: int
    changes: tuple[str, ...]


@dataclass(frozen=True)
class RuleView:
    """One rule. `since` and `until` are the revisions that first carried it and first lacked it.

    `version` counts its changes; `expected` is the calls an hour that its preview promised when it was enforced.
    """

    id: str
    subject: str
    authority: Authority
    action: Action
    mode: Mode
    kinds: Kinds
    trunks: tuple[str, ...]
    expires_at: datetime | None
    origin: Origin
    order: str | None
    ticket: str | None
    reason: str
    actor: str
    created_at: datetime
    since: str | None
    ended_at: datetime | None
    end_reason: str | None
    until: str | None
    hits: dict[str, int] = field(default_factory=dict)
    version: int = 1
    expected: int | None = None

    @property
    def live(self) -> bool:
        """Whether the rule still exists (a disabled one does)."""
        return self.ended_at is None


Rule = RuleView


@dataclass(frozen=True)
class TransitionView:
    """One step of a NOC rule. Without `from_mode` the rule was made by it, without `to_mode` it ended."""

    id: int
    rule: str
    at: datetime
    actor: str
    cause: str
    reason: str
    from_mode: Mode | None
    from_expires_at: datetime | None
    to_mode: Mode | None
    to_expires_at: datetime | None


@dataclass(frozen=True)
class RolledBack:
    """A rule after a roll back, the step that this was, and the number of the one that it took back."""

    rule: RuleView
    done: TransitionView
    undone: int | None


@dataclass(frozen=True)
class Ending:
    """A rule whose enforcement ends within so many hours."""

    rule: RuleView
    hours: int


@dataclass(frozen=True)
class OrderView:
    """One order in a line. `held`, `active` and `refused` count its subjects; `code` says why it isn't in force."""

    id: str
    serial: int
    kind: Literal["block", "unblock"]
    state: State
    ticket: str
    category: str | None
    office: str
    subject: str
    count: int
    active: int
    held: int
    refused: int
    code: Code | None
    detail: str | None
    issued_at: datetime
    received_at: datetime
    deadline: datetime
    until: datetime | None
    late: bool
    revision: str | None
    effective_at: datetime | None
    closed_at: datetime | None


@dataclass(frozen=True)
class SubjectView:
    """One subject of an order: active, held, refused, superseded or ended; the code says why."""

    subject: str
    state: Literal["active", "held", "refused", "superseded", "ended"]
    code: Code | None
    detail: str | None


@dataclass(frozen=True)
class ConfirmationView:
    """One confirmation of an order, and whether the regulator's receipt for it has come."""

    id: str
    status: str
    code: Code | None
    queued_at: datetime
    attempts: int
    sent_at: datetime | None
    receipt_at: datetime | None
    proof: dict[str, Any] | None = None
    """Which nodes answered what, as the regulator was told."""
    coverage: dict[str, Any] | None = None


@dataclass(frozen=True)
class JournalView:
    """One journal record, as it is shown."""

    seq: int
    at: datetime
    kind: str
    actor: str
    body: dict[str, object]
    about: str | None = None


@dataclass(frozen=True)
class OrderStory:
    """All that the ledger knows of one order. `subjects` is cut at a thousand; `order.count` is the whole."""

    order: OrderView
    legal_basis: str
    kid: str
    message_sha256: str
    subjects: tuple[SubjectView, ...]
    confirmations: tuple[ConfirmationView, ...]
    journal: tuple[JournalView, ...]


@dataclass(frozen=True)
class AwaitingProof:
    """An order that has to be proved, or proved further. `partial_since`: since when it is in force only in part."""

    order: str
    kind: Literal["block", "unblock"]
    state: State
    subjects: tuple[str, ...]
    epoch: int
    n: int
    received_at: datetime
    deadline: datetime
    held: int
    partial_since: datetime | None


@dataclass(frozen=True)
class Outgoing:
    """A signed message that waits to be sent; `attempts` counts the sendings so far."""

    id: str
    body: bytes
    attempts: int


@dataclass(frozen=True)
class RequestView:
    """An act that waits, or waited, for a second person. `body` is what is done when they approve."""

    id: str
    act: str
    about: str
    body: dict[str, Any]
    why: str
    author: str
    reason: str
    asked_at: datetime
    until: datetime
    state: RequestState
    decided_by: str | None
    decided_at: datetime | None
    decision_reason: str | None


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What an act left: the record as it is now, and the request where a second person has to decide first."""

    record: T
    waits: RequestView | None = None


@dataclass(frozen=True)
class LedgerHit:
    """A hit as a node reported it, without who was called. `call` is the keyed hash that makes counting idempotent."""

    subject: str
    authority: Authority
    action: Action
    effect: Literal["reject", "label", "shadow"]
    epoch: int
    n: int
    at_ms: int
    call: str


@dataclass(frozen=True)
class Deadline:
    """An open order and when it is due."""

    order: str
    ticket: str
    state: State
    deadline: datetime


@dataclass(frozen=True)
class LedgerStatus:
    """The ledger at a glance."""

    orders: dict[str, int]
    deadlines: tuple[Deadline, ...]
    overdue: int
    outbox: int
    oldest_unsent: datetime | None
    last_serial: int
    gaps: tuple[tuple[int, int], ...]
    feed_last_at: datetime | None
    refused_messages: int
    head: Head
    journal: int
    rules: dict[str, int]


@dataclass(frozen=True)
class Verification:
    """Whether the journal is whole. `first_bad` is the sequence number of the first record that is not."""

    records: int
    checkpoints: int
    first_bad: int | None
    problem: str | None

    @property
    def whole(self) -> bool:
        """True when nothing is wrong."""
        return self.first_bad is None and self.problem is None


ClearanceKind = Literal["clarification", "reassigned"]
Remedy = Literal["lift", "exception", "regulator"]


@dataclass(frozen=True)
class ClearanceView:
    """One clearance in a line. `request` is the newest to lift; `again_by` the order that blocks it again."""

    id: str
    kind: ClearanceKind
    subject: str
    state: ClearanceState
    reference: str | None
    document: str | None
    opened_at: datetime
    opened_by: str
    reason: str
    deadline: datetime
    request: str | None
    approved_at: datetime | None
    revision: str | None
    exception: str | None
    lifted_at: datetime | None
    closed_at: datetime | None
    again_by: str | None
    again_at: datetime | None


@dataclass(frozen=True)
class Blocking:
    """A rule that stops a number's calls. What lifts it: the clearance, an exception beside it, or the regulator."""

    rule: RuleView
    remedy: Remedy


@dataclass(frozen=True)
class Naming:
    """An order that names a number, and what became of the number in it; None where its prefix covers the number."""

    order: OrderStory
    state: str | None


@dataclass(frozen=True)
class ClearanceStory:
    """All that the ledger knows of one clearance: what blocks the number now, whose orders name it, every step."""

    clearance: ClearanceView
    blocking: tuple[Blocking, ...]
    orders: tuple[Naming, ...]
    requests: tuple[RequestView, ...]
    proof: dict[str, Any] | None
    confirmations: tuple[ConfirmationView, ...]
    journal: tuple[JournalView, ...]


@dataclass(frozen=True)
class Reassigned:
    """What became of a list of numbers with new subscribers: how many there are, are blocked, have an open clearance
    already, and are new; `opened` are the reviews, none in a preview.
    """

    numbers: int
    blocked: int
    open: int
    new: int
    opened: tuple[str, ...]
