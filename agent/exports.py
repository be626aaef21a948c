"""Exports carry who took them: in the file's name, its first line and its last, which is signed over all before it.

Pure but for the signature, which is handed in. Two forms: JSON lines, and CSV in which no cell is a formula. Numbers
are masked before they come here. `check` tells whether a file is as it left us.
"""

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sync.contract import now_text
from sync.jws import JwsError, Keyring

Form = Literal["jsonl", "csv"]
EXPORT_TYPE: Final = "palang-export+jws"
MEDIA: Final[Mapping[Form, str]] = {"jsonl": "application/jsonl; charset=utf-8", "csv": "text/csv; charset=utf-8"}

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_SEAL = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\Z", re.ASCII)


class NotOurs(ValueError):
    """A file that is not as it left us. Its text says in what."""


@dataclass(frozen=True)
class Taken:
    """Who took an export of what, and when."""

    what: str
    exporter: str
    at: datetime
    wanted: Mapping[str, str]
    form: Form

    @property
    def file(self) -> str:
        """The file's name."""
        who = re.sub(r"[^A-Za-z0-9.-]+", "-", self.exporter).strip("-.") or "somebody"
        return f"palang-{self.what}-{who}-{self.at:%Y-%m-%dT%H-%M-%SZ}.{self.form}"

    def record(self) -> dict[str, Any]:
        """As the first line says it."""
        head = {"palang": self.what, "exporter": self.exporter, "at": now_text(self.at), "file": self.file}
        return {**head, "only": dict(self.wanted), "numbers": "masked"}


class Sheet:
    """One export, written piece by piece: `first`, `rows` again and again, `last` with the seal over all of it."""

    def __init__(self, taken: Taken, columns: Sequence[str]) -> None:
        self._taken, self._columns = taken, columns
        self._hash, self._count = hashlib.sha256(), 0

    def first(self) -> bytes:
        """Who took it, and in CSV the columns."""
        said = self._taken.record()
        if self._taken.form == "csv":
            return self._out(_csv([[f"# {_line(said)}"], self._columns]))
        return self._out(_json(said))

    def rows(self, records: Iterable[Mapping[str, Any]]) -> bytes:
        """More records."""
        found = [*records]
        self._count += len(found)
        if self._taken.form == "csv":
            return self._out(_csv([_cell(record.get(name)) for name in self._columns] for record in found))
        return self._out("".join(map(_json, found)))

    def statement(self) -> dict[str, Any]:
        """What is to be signed: the digest of every byte so far, how many records, whose."""
        said = self._taken.record()
        digest = self._hash.hexdigest()
        return {"sha256": digest, "records": self._count, **{name: said[name] for name in ("exporter", "at", "file")}}

    def last(self, seal: str) -> bytes:
        """The last line, with the signature of `statement`."""
        said = {**self.statement(), "seal": seal}
        text = _csv([[f"# {_line(said)}"]]) if self._taken.form == "csv" else _json(said)
        return text.encode()

    def _out(self, text: str) -> bytes:
        piece = text.encode()
        self._hash.update(piece)
        return piece


def check(content: bytes, keyring: Keyring) -> dict[str, Any]:
    """What the seal of an export vouches for. Raises NotOurs."""
    body, _, last = content.rstrip(b"\n").rpartition(b"\n")
    last = last.rstrip(b'\r"} ')
    found = _SEAL.search(last.rstrip(b'"').decode("utf-8", "replace"))
    if found is None:
        raise NotOurs("the last line has no seal: the file is cut, or no export of ours")
    try:
        stated: dict[str, Any] = json.loads(keyring.verify(found[0].encode(), EXPORT_TYPE).payload)
    except (JwsError, ValueError) as error:
        raise NotOurs(f"the seal is not ours: {error}") from None
    if hashlib.sha256(body + b"\n").hexdigest() != stated.get("sha256"):
        raise NotOurs("the content is not what was sealed: it was changed, or lines are missing or moved")
    return stated


def neutral(text: str) -> str:
    """A cell that no spreadsheet takes for a formula: one that begins like one gets an apostrophe in front."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) or text.startswith(_FORMULA) else text


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return neutral(value if isinstance(value, str) else _line(value))


def _csv(rows: Iterable[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    return out.getvalue()


def _json(record: Mapping[str, Any]) -> str:
    return _line(record) + "\n"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, sort_keys=False, separators=(",", ":"))
