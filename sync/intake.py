"""Bytes in, a reading out: the first thing that happens to any message, without touching the world.

`read` takes what the regulator sends us, `read_up` what we send (for the regulator's side). A `Reading` is either
`Signed` (an authentic message of the contract, with the bytes that prove it) or a `Refusal` with its code.
Order of the checks: size, signature, strict JSON, addressee, schema. Nothing unsigned is ever parsed.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Never, TypeVar

from pydantic import ValidationError

from sync.codes import Code
from sync.contract import DOWN, UP, Down, Up
from sync.jws import JwsError, Keyring
from sync.settings import ContractSettings

KEPT_BYTES = 256  # of a message that proved nothing, only its beginning is kept for the journal

Body = TypeVar("Body", Down, Up)


@dataclass(frozen=True)
class Limits:
    """What is refused unread."""

    max_message_bytes: int = 4_194_304
    max_depth: int = 8

    @classmethod
    def of(cls, settings: ContractSettings) -> "Limits":
        """The limits that the settings name."""
        return cls(settings.max_message_bytes, settings.max_depth)


@dataclass(frozen=True)
class Signed(Generic[Body]):
    """An authentic message of the contract: its body, and the bytes with which an auditor can verify it again."""

    body: Body
    raw: bytes
    kid: str

    @property
    def message_sha256(self) -> str:
        """SHA-256 of the message as it came, in hex."""
        return hashlib.sha256(self.raw).hexdigest()


@dataclass(frozen=True)
class Refusal:
    """A message that can't be used: the code for machines, the detail for people, both told to the regulator.

    `order` and `serial` are known only where the signature was good (`authentic`) and they could be read. `head` is the
    whole of an authentic message, which is evidence, and only the beginning of any other.
    """

    code: Code
    detail: str
    message_sha256: str
    order: str | None = None
    serial: int | None = None
    authentic: bool = False
    kind: str | None = None
    head: bytes = b""


Reading = Signed[Down] | Refusal


def read(raw: bytes, keyring: Keyring, operator: str, limits: Limits = Limits()) -> Reading:
    """Read one message from the regulator. Never raises: what can't be read is a Refusal."""
    return _read(raw, keyring, operator, limits, DOWN)


def read_up(raw: bytes, keyring: Keyring, operator: str, limits: Limits = Limits()) -> Signed[Up] | Refusal:
    """Read one message from the operator, as the regulator does. Never raises."""
    return _read(raw, keyring, operator, limits, UP)


def _read(
    raw: bytes, keyring: Keyring, operator: str, limits: Limits, models: Mapping[str, type[Body]]
) -> Signed[Body] | Refusal:
    sha256 = hashlib.sha256(raw).hexdigest()
    if len(raw) > limits.max_message_bytes:
        detail = f"the message has {len(raw)} bytes; the limit is {limits.max_message_bytes}"
        return Refusal(Code.OVERSIZED, detail, sha256, head=raw[:KEPT_BYTES])
    try:
        verified = keyring.verify(raw)
    except JwsError as error:
        return Refusal(error.code, str(error), sha256, head=raw[:KEPT_BYTES])
    try:
        fields = strict_json(verified.payload, limits.max_depth)
    except ValueError as error:
        return Refusal(Code.MALFORMED, str(error)[:300], sha256, authentic=True, head=raw)
    kind = fields.get("type")
    model = models.get(kind) if isinstance(kind, str) else None
    problem = _misaddressed(fields, operator) or _unknown(model, kind, models)
    if model is not None and problem is None:
        try:
            body: Body = model.model_validate_json(verified.payload)
            return Signed(body, raw, verified.kid)
        except ValidationError as error:
            problem = Code.SCHEMA, _first(error)
    assert problem is not None
    return Refusal(
        problem[0],
        problem[1],
        sha256,
        order=_order_of(fields),
        serial=_serial_of(fields),
        authentic=True,
        kind=kind if model is not None and isinstance(kind, str) else None,
        head=raw,
    )


def strict_json(payload: bytes, max_depth: int) -> dict[str, Any]:
    """The one JSON object in `payload`: UTF-8 without BOM (RFC 8259 §8.1), no key twice, no NaN, not deep.

    Raises ValueError naming what is wrong.
    """
    if payload[:3] == b"\xef\xbb\xbf":
        raise ValueError("the payload begins with a byte order mark")
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"the payload is not UTF-8 at byte {error.start}") from None
    try:
        found = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_no_constant, parse_int=_whole)
    except RecursionError:
        raise ValueError(f"the payload is nested deeper than {max_depth}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"the payload is not JSON: {error.msg} at character {error.pos}") from None
    if not isinstance(found, dict):
        raise ValueError("the payload is not a JSON object")
    if _deeper_than(found, max_depth):
        raise ValueError(f"the payload is nested deeper than {max_depth}")
    return found


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("the payload holds a key twice in one object")
    return found


def _no_constant(name: str) -> Never:
    raise ValueError(f"the payload holds {name}, which is not JSON")


def _whole(digits: str) -> int:
    if len(digits) > 20:
        raise ValueError(f"the payload holds a whole number of {len(digits)} digits; the limit is 20")
    return int(digits)


def _deeper_than(value: object, depth: int) -> bool:
    level: list[object] = [value]
    for _ in range(depth):
        level = [
            item
            for outer in level
            if isinstance(outer, dict | list)
            for item in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(item, dict | list)
        ]
        if not level:
            return False
    return True


def _misaddressed(fields: dict[str, Any], operator: str) -> tuple[Code, str] | None:
    named = fields.get("operator")
    if isinstance(named, str) and named != operator:
        return Code.WRONG_OPERATOR, f"the message is for {named[:32]!r}; this is {operator!r}"
    return None


def _unknown(model: object, kind: object, models: Mapping[str, Any]) -> tuple[Code, str] | None:
    if model is None:
        return Code.SCHEMA, f"type {str(kind)[:32]!r} is not one of {', '.join(models)}"
    return None


def _first(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False)
    place = ".".join(str(part) for part in problems[0]["loc"])
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    text = f"{place}: {problems[0]['msg']}{more}" if place else f"{problems[0]['msg']}{more}"
    return "".join(c if c.isprintable() else "·" for c in text)[:300]


_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


def _order_of(fields: dict[str, Any]) -> str | None:
    found = fields.get("id")
    return found if fields.get("type") == "order" and isinstance(found, str) and _ID.fullmatch(found) else None


def _serial_of(fields: dict[str, Any]) -> int | None:
    found = fields.get("serial")
    good = isinstance(found, int) and not isinstance(found, bool) and 1 <= found < 2**53
    return found if good and fields.get("type") in ("order", "advisory") else None
