"""The journal's arithmetic: each record carries the hash of the one before it, and signed checkpoints pin the chain.

Pure. A record's hash covers its number, time, kind, actor, subject of the matter and body. Whoever changes, removes,
adds or moves a record has to redo every later hash, and then the next checkpoint, which the operator's key signed,
no longer fits. `Chain.check` is fed the records in order and names the first one that is wrong.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sync.jws import JwsError, Keyring, Signer

GENESIS = "0" * 64
CHECKPOINT_TYPE = "palang-checkpoint+jws"


@dataclass(frozen=True)
class Record:
    """One entry of the journal. `about` is the order or rule that it concerns, `body` canonical JSON."""

    seq: int
    at_ms: int
    kind: str
    actor: str
    about: str | None
    body: str
    prev: str
    hash: str


@dataclass(frozen=True)
class Checkpoint:
    """The chain's hash at one record, signed by the operator; a copy of `jws` elsewhere proves a cut tail."""

    seq: int
    hash: str
    jws: str


def canonical(body: object) -> str:
    """JSON with sorted keys and no spaces: equal content gives equal text."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def link(seq: int, at_ms: int, kind: str, actor: str, about: str | None, body: dict[str, Any], prev: str) -> Record:
    """The record that follows the one whose hash is `prev`."""
    text = canonical(body)
    return Record(seq, at_ms, kind, actor, about, text, prev, _hash(seq, at_ms, kind, actor, about, text, prev))


def sign_checkpoint(signer: Signer, operator: str, seq: int, head: str, at_ms: int) -> str:
    """A checkpoint of the chain as it stands after record `seq`."""
    body = {"operator": operator, "seq": seq, "hash": head, "at_ms": at_ms}
    return signer.sign(canonical(body).encode(), CHECKPOINT_TYPE).decode("ascii")


def read_checkpoints(lines: Iterable[str], keyring: Keyring) -> list[Checkpoint]:
    """Checkpoints as they were kept elsewhere: the last word of each line is one, so a file of syslog will do.

    Lines without a word, and those that begin with #, are passed over. Raises ValueError naming the line and why.
    """
    found = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            stated = json.loads(keyring.verify(words[-1].encode(), CHECKPOINT_TYPE).payload)
            seq, head = stated["seq"], stated["hash"]
            if not isinstance(seq, int) or not isinstance(head, str):
                raise TypeError
        except (JwsError, ValueError) as error:
            raise ValueError(f"line {number} is no checkpoint of ours: {error}") from None
        except (KeyError, TypeError):
            raise ValueError(f"line {number} is no checkpoint: it names no record and hash") from None
        found.append(Checkpoint(seq, head, words[-1]))
    return found


class Chain:
    """Walks along a journal and stops at the first record that is not what it was."""

    def __init__(self, checkpoints: Iterable[Checkpoint], keyring: Keyring | None) -> None:
        """`keyring` holds the keys that may have signed the checkpoints; None leaves signatures unchecked."""
        self._checkpoints: dict[int, list[Checkpoint]] = defaultdict(list)
        for point in checkpoints:
            self._checkpoints[point.seq].append(point)
        self._keyring = keyring
        self.seq = 0
        self.hash = GENESIS

    def check(self, record: Record) -> str | None:
        """Take the next record; the answer says what is wrong with it, None when nothing is."""
        expected = self.seq + 1
        if record.seq != expected:
            return f"record {expected} is missing; the next is {record.seq}"
        if record.prev != self.hash:
            return f"record {record.seq} does not follow the one before it"
        found = _hash(record.seq, record.at_ms, record.kind, record.actor, record.about, record.body, record.prev)
        if found != record.hash:
            return f"record {record.seq} was changed"
        for point in self._checkpoints.get(record.seq, ()):
            if problem := self._compare(point, record.hash):
                return problem
        self.seq, self.hash = record.seq, record.hash
        return None

    def finish(self, head_seq: int, head_hash: str) -> str | None:
        """After the last record: compare the end with the ledger's head and the last checkpoint."""
        last = max(self._checkpoints, default=0)
        if self.seq < max(head_seq, last):
            return f"the journal ends at record {self.seq}; it had {max(head_seq, last)}"
        if (self.seq, self.hash) != (head_seq, head_hash):
            return f"the ledger's head says record {head_seq}; the journal ends at {self.seq} with another hash"
        return None

    def _compare(self, point: Checkpoint, found: str) -> str | None:
        if point.hash != found:
            return f"record {point.seq} does not fit its checkpoint"
        if self._keyring is None:
            return None
        try:
            stated = json.loads(self._keyring.verify(point.jws.encode(), CHECKPOINT_TYPE).payload)
        except (JwsError, ValueError) as error:
            return f"the checkpoint of record {point.seq} is not signed: {error}"
        if (stated.get("seq"), stated.get("hash")) != (point.seq, found):
            return f"the checkpoint of record {point.seq} was signed for another chain"
        return None


def _hash(seq: int, at_ms: int, kind: str, actor: str, about: str | None, body: str, prev: str) -> str:
    # A JSON array has one reading: no field can run over into the next.
    return hashlib.sha256(canonical([prev, seq, at_ms, kind, actor, about, body]).encode()).hexdigest()
