"""A regulator, an operator and a ledger between them: what one says, the other reads, and time is a variable."""

import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from joserfc.jwk import OKPKey

from sync.contract import Advisory, Confirmation, Order, Receipt, Resend, new_id
from sync.gate import Gate
from sync.intake import Reading, Signed, read, read_up
from sync.jws import Signer
from sync.ledger import Ledger, OrderView, RuleView, Taken
from sync.ledger.revisions import list_digest
from sync.ledger.store import Store
from sync.ledger.views import Action, Mode
from sync.settings import GateSettings, LedgerSettings

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
OPERATOR = "operator"
# Fixed keys make a failing test repeatable. They guard nothing.
REGULATOR = Signer(
    OKPKey.import_key(
        {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        }
    ),
    "reg-1",
)
OURS = Signer(
    OKPKey.import_key(
        {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw",
            "d": "TM0Imyj_ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U-4pvs",
        }
    ),
    "op-1",
)


def order(serial: int, *subjects: str, kind: str = "block", at: datetime = NOON, **fields: Any) -> Order:
    """An order as the regulator writes it."""
    return Order.model_validate(
        {
            "id": new_id(),
            "operator": OPERATOR,
            "issued_at": at,
            "serial": serial,
            "kind": kind,
            "ticket": f"T-{serial}",
            "office": "Komdigi",
            "legal_basis": "PM Kominfo 5/2021",
            "deadline": at + timedelta(days=1),
            "count": len(subjects),
            "subjects": subjects,
            **fields,
        },
    )


def advisory(serial: int, prefix: str) -> Advisory:
    """An advisory as the regulator writes it."""
    return Advisory(
        id=new_id(), operator=OPERATOR, issued_at=NOON, serial=serial, prefix=prefix, office="Komdigi", reason="wangiri"
    )


def receipt(confirmation: Confirmation, /, **fields: Any) -> Receipt:
    """The receipt for a confirmation."""
    body = {"confirmation": confirmation.id, "order": confirmation.order, "status": confirmation.status, **fields}
    return Receipt.model_validate({"id": new_id(), "operator": OPERATOR, "issued_at": NOON, **body})


def signed(message: Order | Advisory | Receipt, signer: Signer = REGULATOR) -> bytes:
    """What goes over the wire."""
    return signer.sign(message.to_json())


def reading(message: Order | Advisory | Receipt | bytes) -> Reading:
    """What the intake makes of it."""
    raw = message if isinstance(message, bytes) else signed(message)
    return read(raw, REGULATOR.keyring(), OPERATOR)


class World:
    """A ledger with a clock that only the test moves, and the regulator's side of it."""

    def __init__(self, path: Path, gate: GateSettings | None = None, settings: LedgerSettings | None = None) -> None:
        self.path = path
        self.now = NOON
        self._gate = Gate(gate or GateSettings())
        self._settings = settings or LedgerSettings()
        if not path.exists() and path.parent.exists():
            path.write_bytes(_empty_ledger())
        self.ledger = self.open()

    def open(self) -> Ledger:
        """Open the file, as a start of the agent does."""
        self.ledger = Ledger.open(self.path, gate=self._gate, operator=OPERATOR, signer=OURS, settings=self._settings)
        return self.ledger

    def reopen(self) -> None:
        """Close and open again."""
        self.ledger.close()
        self.open()

    def take(self, *messages: Order | Advisory | Receipt | bytes) -> list[Taken]:
        """Let the ledger take these, in one batch."""
        return self.ledger.take([reading(message) for message in messages], self.now)

    def one(self, message: Order | Advisory | Receipt | bytes) -> Taken:
        """Let the ledger take one message."""
        return self.take(message)[0]

    def pass_time(self, **span: float) -> None:
        """Let time pass."""
        self.now += timedelta(**span)

    def prove(self, of: Order, verdict: str, revision: str | None = None) -> str:
        """Record that one node proved the order."""
        return self.prove_id(of.id, verdict, revision)

    def prove_id(self, of: str, verdict: str, revision: str | None = None) -> str:
        """As `prove`, for an order or a clearance by its id."""
        head = self.ledger.head()
        node = {"node": "gw1", "revision": revision or str(head), "digest": head.digest, "asked": 1, "held": 1}
        node["trunks"] = [{"trunk": "intl-a", "mode": "enforce", "asked": 1, "held": 1}]
        proof = {"nodes": [node], "sample": 1, "sampled_of": 1, "at": self.now}
        coverage = {
            "covered": [{"node": "gw1", "trunk": "intl-a"}],
            "not_covered": [{"what": "on-net calls", "why": "Palang does not sit there"}],
        }
        return self.ledger.record_proof(of, verdict, proof, coverage, self.now)  # type: ignore[arg-type]

    def receive(self, limit: int = 1_000) -> list[Confirmation | Resend]:
        """What the regulator gets now: all that is due, verified; the broker took each of them."""
        bodies: list[Confirmation | Resend] = []
        for outgoing in self.ledger.due(self.now, limit):
            got = read_up(outgoing.body, OURS.keyring(), OPERATOR)
            assert isinstance(got, Signed), got
            bodies.append(got.body)
            self.ledger.sent([outgoing.id], self.now)
        return bodies

    def confirmations(self) -> list[Confirmation]:
        """As `receive`, confirmations only."""
        return [body for body in self.receive() if isinstance(body, Confirmation)]

    def rule(
        self,
        subject: str,
        action: Action = "reject",
        mode: Mode = "enforce",
        expires: timedelta | None = None,
        reason: str = "wave of +77",
        actor: str = "budi",
        **scope: Any,
    ) -> RuleView:
        """A NOC rule in this mode, proposed and brought there by one person."""
        ends = None if expires is None else round(expires.total_seconds())
        made = self.ledger.propose_rule(subject, action, reason, actor, self.now, expires_s=ends, **scope)
        if mode == "shadow":
            return self.ledger.shadow_rule(made.id, actor, reason, self.now, expires_s=ends)
        if mode == "enforce":
            return self.ledger.enforce_rule(made.id, actor, reason, self.now, expires_s=ends).record
        return made

    def approve_by_two(self, of: Order) -> OrderView:
        """Have a held order approved by one person and countersigned by another."""
        waits = self.ledger.approve(of.id, "sri", "asked the office by telephone", self.now).waits
        assert waits is not None
        self.ledger.approve_request(waits.id, "budi", "read the letter", self.now)
        return self.ledger.order(of.id).order

    def state(self, of: Order) -> str:
        """Where the order stands."""
        return self.ledger.order(of.id).order.state

    def lines(self) -> list[str]:
        """The whole list, read in pages."""
        found: list[str] = []
        while page := self.ledger.entries(found[-1].split("\t")[0] if found else "", 17):
            found.extend(page)
        return found

    def check(self) -> None:
        """What always holds: the list is its revisions applied, its digest its entries' sum, its journal whole."""
        head, lines = self.ledger.head(), self.lines()
        replayed: dict[str, str] = {}
        digests, n = {0: list_digest([])}, 0
        while page := self.ledger.revisions(n, 5):
            for revision in page:
                assert revision.n == n + 1 and len(revision.changes) <= 1_000
                n = revision.n
                apply(replayed, revision.changes)
                digests[n] = revision.digest
                if len(replayed) < 50 or n == head.n:
                    assert revision.digest == list_digest(f"{s}\t{stack}" for s, stack in replayed.items())
        assert n == head.n and digests[n] == head.digest and len(replayed) == head.entries
        assert lines == sorted(f"{s}\t{stack}" for s, stack in replayed.items())
        verification = self.ledger.verify(regulator=REGULATOR.keyring())
        assert verification.whole, verification


@cache
def _empty_ledger() -> bytes:
    """A migrated ledger without content: to migrate for every example of a property costs more than the property."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        Store(path).close()
        return path.read_bytes()


def apply(entries: dict[str, str], changes: Iterable[str]) -> None:
    """Put a revision's changes on a list, as a node does."""
    for line in changes:
        subject, _, stack = line.partition("\t")
        if stack:
            entries[subject] = stack
        else:
            del entries[subject]


def blocked(lines: Sequence[str]) -> set[str]:
    """The subjects that an order blocks."""
    return {line.split("\t")[0] for line in lines if "\torder reject enforce both" in line}
