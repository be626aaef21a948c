"""The contract: every message between regulator and operator, as frozen models that refuse what they don't know.

Down (regulator to operator): `Order`, `Advisory`, `Receipt`. Up: `Confirmation` with its `Proof` and `Coverage`,
and `Resend`. Each travels as the payload of a compact JWS (sync/jws.py). A subject is written `+6281234567890`
(a number) or `+77*` (a prefix). The models keep any digits there: what a subject means is judged by the gate one
by one, so that one mistyped number never turns away a whole list (sync/gate.py). docs/contract is generated from here.
"""

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID, uuid4

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator
from pydantic.json_schema import WithJsonSchema

from sync.codes import Code

MAX_SUBJECTS = 100_000
JWS_TYPE = "palang+jws"

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)
_MOMENT_PATTERN = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$"
_SUBJECT_PATTERN = r"^\+?[0-9]{1,24}\*?$"


def now_text(moment: datetime) -> str:
    """The moment as the contract writes it: RFC 3339 in UTC, with milliseconds when there are any."""
    utc = moment.astimezone(UTC)
    text = utc.strftime("%Y-%m-%dT%H:%M:%S") if utc.year >= 1000 else utc.isoformat()[:19]
    return f"{text}.{utc.microsecond // 1000:03d}Z" if utc.microsecond >= 1000 else f"{text}Z"


def new_id() -> str:
    """A fresh message id."""
    return str(uuid4())


def _read_moment(value: object) -> object:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{value.isoformat()} has no time zone")
        return value.astimezone(UTC)
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        raise ValueError(f"{_short(value)} is not a time like 2026-11-22T15:00:00Z (RFC 3339, UTC)")
    return datetime.fromisoformat(value)


def _canonical_id(value: str) -> str:
    if str(UUID(value)) != value:
        raise ValueError(f"{_short(value)} is not a UUID in its canonical form")
    return value


def _plain_text(value: str) -> str:
    # Line and control characters would let a message write more than its own line into a log or page.
    if not value.isprintable():
        raise ValueError(f"{_short(value)} holds a control or separator character")
    return value


def _digit_text(value: str) -> str:
    if not re.fullmatch(r"\+?[0-9]{1,24}\*?", value, re.ASCII):
        raise ValueError(f"{_short(value)} is no subject: + and at most 24 digits, * behind a prefix")
    return value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]}…"


Moment = Annotated[
    datetime,
    BeforeValidator(_read_moment),
    PlainSerializer(now_text, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": _MOMENT_PATTERN}),
]
MessageId = Annotated[
    str,
    AfterValidator(_canonical_id),
    WithJsonSchema({"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}),
]
Serial = Annotated[int, Field(strict=True, ge=1, le=2**53 - 1)]  # 2^53: the largest that every JSON reader keeps exact
SubjectText = Annotated[
    str, AfterValidator(_digit_text), WithJsonSchema({"type": "string", "pattern": _SUBJECT_PATTERN})
]
OperatorId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
RevisionText = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,9}\.(0|[1-9][0-9]{0,19})$")]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
Name = Annotated[str, AfterValidator(_plain_text), Field(min_length=1, max_length=64)]
Text = Annotated[str, AfterValidator(_plain_text), Field(min_length=1, max_length=400)]
Count = Annotated[int, Field(strict=True, ge=0)]

Status = Literal[
    "held", "refused", "in_force", "in_force_partial", "still_blocked_by", "lifted", "suspended", "expired"
]


class Part(BaseModel):
    """What every model of the contract is: frozen, complete, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, ser_json_inf_nan="strings")

    def to_json(self) -> bytes:
        """The JSON that is signed: compact, keys in the model's order, nothing that is absent written as null."""
        return json.dumps(
            self.model_dump(mode="json", exclude_none=True), ensure_ascii=False, separators=(",", ":"), allow_nan=False
        ).encode()


class _Message(Part):
    id: MessageId = Field(description="Unique id of this message; a message sent again keeps it.")
    operator: OperatorId = Field(description="Id of the operator at our end of the conversation.")
    issued_at: Moment = Field(description="When the message was written.")


class Order(_Message):
    """One signed demand of the regulator on a ticket: block or unblock its subjects."""

    type: Literal["order"] = "order"
    serial: Serial = Field(description="The regulator's number on what it sends this operator: 1, 2, 3, …")
    kind: Literal["block", "unblock"]
    ticket: Name = Field(description="The regulator's case.")
    category: Name | None = Field(None, description="Kind of fraud, in the regulator's words.")
    office: Text = Field(description="Office that issued the order.")
    legal_basis: Text = Field(description="Decree and article that the order rests on.")
    deadline: Moment = Field(description="Until when the order has to be carried out and confirmed.")
    until: Moment | None = Field(None, description="When a block ends by itself; absent: when it is unblocked.")
    count: Annotated[int, Field(strict=True, ge=1, le=MAX_SUBJECTS)] = Field(
        description="How many subjects follow: the signed announcement of a list."
    )
    subjects: Annotated[tuple[SubjectText, ...], Field(strict=False, min_length=1, max_length=MAX_SUBJECTS)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.count != len(self.subjects):
            raise ValueError(f"count says {self.count}, but {len(self.subjects)} subjects follow")
        if self.deadline <= self.issued_at:
            raise ValueError(f"deadline {now_text(self.deadline)} is not after issued_at {now_text(self.issued_at)}")
        if self.until is not None and self.kind == "unblock":
            raise ValueError("until belongs to a block; an unblock does not end by itself")
        if self.until is not None and self.until <= self.issued_at:
            raise ValueError(f"until {now_text(self.until)} is not after issued_at {now_text(self.issued_at)}")
        return self


class Advisory(_Message):
    """The regulator's advice about a prefix. Authority stays with the operator: it becomes a proposed rule."""

    type: Literal["advisory"] = "advisory"
    serial: Serial = Field(description="Shares the sequence of the orders.")
    prefix: SubjectText
    office: Text
    reason: Text


class Receipt(_Message):
    """The regulator's acknowledgement of one confirmation. Without a serial: if it is lost, we send once more."""

    type: Literal["receipt"] = "receipt"
    confirmation: MessageId = Field(description="Id of the confirmation that was received.")
    order: MessageId | None = Field(None, description="The order that the confirmation names, echoed.")
    status: Status = Field(description="The status that the confirmation states, echoed.")


class TrunkProof(Part):
    """What one trunk's policy answered to the synthetic requests."""

    trunk: Name
    mode: Literal["enforce", "shadow", "off"]
    asked: Count = Field(description="Synthetic requests put to the policy of this trunk.")
    held: Count = Field(description="How many of them were answered as the order demands.")


class NodeProof(Part):
    """What one node reported and answered."""

    node: Name
    revision: RevisionText
    digest: Digest = Field(description="Digest of the whole list in force on the node.")
    trunks: Annotated[tuple[TrunkProof, ...], Field(strict=False, max_length=1000)] = ()
    asked: Count
    held: Count


class Proof(Part):
    """Evidence that an order is in force (or lifted) on each node. A list's numbers are not repeated here."""

    nodes: Annotated[tuple[NodeProof, ...], Field(strict=False, max_length=1000)]
    sample: Count = Field(description="How many subjects were tried on each node.")
    sampled_of: Count = Field(description="How many subjects the sample was drawn from; equal to it: all were tried.")
    at: Moment


class CoveredPath(Part):
    """A trunk on a node that enforces the order."""

    node: Name
    trunk: Name


class NotCovered(Part):
    """Something the order does not reach: a path, a node or a subject, and why."""

    what: Text
    why: Text


class Coverage(Part):
    """Where the order is enforced, and where it is not."""

    covered: Annotated[tuple[CoveredPath, ...], Field(strict=False, max_length=10_000)] = ()
    not_covered: Annotated[tuple[NotCovered, ...], Field(strict=False, max_length=10_000)] = ()


class Clearance(Part):
    """A block that the operator lifted by itself: a person asked, a second one approved, after a clarification."""

    subject: SubjectText = Field(description="The number whose block was lifted.")
    cause: Literal["clarification", "reassigned"] = Field(
        description="Its holder clarified, or it was given to a new subscriber."
    )
    reference: Name = Field(description="Reference of the clarification at the operator.")
    document: Sha256 = Field(description="SHA-256 of the clarification's document, which stays at the operator.")
    approved_at: Moment = Field(description="When the second person approved.")
    left: Count = Field(description="Subjects of the order that stay blocked; 0: nothing of it is left in force.")


class Confirmation(_Message):
    """The operator's signed statement on one order, or on a message that could not be read as one."""

    type: Literal["confirmation"] = "confirmation"
    order: MessageId | None = None
    serial: Serial | None = None
    ticket: Name | None = None
    status: Status
    code: Code | None = Field(None, strict=False, description="Why it is not simply in force.")
    detail: Text | None = Field(None, description="The same for a reader, with value and limit.")
    late: bool = Field(description="Whether the deadline had passed.")
    revision: RevisionText | None = Field(None, description="Revision of our list that carries the change.")
    proof: Proof | None = None
    coverage: Coverage | None = None
    received_at: Moment
    effective_at: Moment | None = Field(None, description="Since when the order is in force, or lifted.")
    message: Sha256 | None = Field(None, description="SHA-256 of the refused message's bytes.")
    clearance: Clearance | None = Field(
        None, description="Only this subject of a block order was lifted (or is still caught), by the operator itself."
    )

    @model_validator(mode="after")
    def _of_an_order(self) -> Self:
        if self.clearance is not None and (self.order is None or self.status not in ("lifted", "still_blocked_by")):
            raise ValueError(f"a clearance is lifted or still_blocked_by and names its order; this is {self.status}")
        return self


class Resend(_Message):
    """The operator misses these serials and asks for the messages that carry them."""

    type: Literal["resend"] = "resend"
    serials: Annotated[
        tuple[Annotated[tuple[Serial, Serial], Field(strict=False)], ...],
        Field(strict=False, min_length=1, max_length=100),
    ] = Field(description="Ranges [first, last], both included.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for first, last in self.serials:
            if first > last:
                raise ValueError(f"the range {first}..{last} runs backwards")
        return self


Down = Order | Advisory | Receipt
Up = Confirmation | Resend
DOWN: dict[str, type[Down]] = {"order": Order, "advisory": Advisory, "receipt": Receipt}
UP: dict[str, type[Up]] = {"confirmation": Confirmation, "resend": Resend}


def down_topic(operator: str) -> str:
    """The topic that carries the regulator's messages to `operator`."""
    return f"palang/v1/{operator}/down"


def up_topic(operator: str) -> str:
    """The topic that carries the operator's messages to the regulator."""
    return f"palang/v1/{operator}/up"


def message_schema(model: type[Part]) -> dict[str, Any]:
    """The model's JSON Schema (2020-12), as it stands on the wire: `type` is required there."""
    schema = model.model_json_schema(mode="validation")
    if "type" in schema.get("properties", {}):
        schema["required"] = ["type", *schema.get("required", [])]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
