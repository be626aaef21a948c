"""`Ledger`: every public method is one transaction, and what it returned from is durable.

Give it aware UTC datetimes; it never reads a clock. Use it from the one thread that opened it. What its methods do
stands in the files named after their nouns; this file is the way in.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Self

import sqlalchemy as sa

from sync import schema
from sync.clearance_life import State as ClearanceState
from sync.contract import Coverage, Proof
from sync.gate import Gate
from sync.intake import Reading
from sync.jws import Keyring, Signer
from sync.ledger import (
    acts,
    alarms,
    approvals,
    clearances,
    confirmations,
    ending,
    hits,
    lately,
    people,
    proofs,
    replies,
    requests,
    revisions,
    rule_steps,
    rules,
    serials,
    sessions,
    stories,
    subjects,
    taking,
    tokens,
    transitions,
)
from sync.ledger import reveals as numbers
from sync.ledger.people import PersonView, Secrets
from sync.ledger.replies import Reply
from sync.ledger.sessions import SessionView
from sync.ledger.store import LedgerError, LedgerUnavailable, Store
from sync.ledger.tokens import TokenHolder, TokenView
from sync.ledger.transaction import House, Transaction, from_ms, read_head, to_ms
from sync.ledger.views import (
    Action,
    AwaitingProof,
    ClearanceStory,
    ClearanceView,
    Ending,
    Head,
    JournalView,
    Kinds,
    LedgerHit,
    LedgerStatus,
    OrderStory,
    OrderView,
    Outcome,
    Outgoing,
    Reassigned,
    RequestState,
    RequestView,
    RevisionRow,
    RolledBack,
    RuleView,
    Taken,
    TransitionView,
    Verification,
)
from sync.order_life import State
from sync.rule_life import Step
from sync.settings import LedgerSettings
from sync.settings_reveal import RevealSettings

__all__ = ["Ledger", "LedgerUnavailable"]


class Ledger:
    """The SQL database of orders, rules, confirmations, receipts and the journal. The truth.

    All methods raise LedgerUnavailable when the disk fails: nothing of the call may then be acknowledged. Those that
    are asked for something impossible raise LedgerError with one line, or IllegalEventError.
    """

    def __init__(self, house: House) -> None:
        self._house = house

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        gate: Gate,
        operator: str,
        signer: Signer,
        settings: LedgerSettings = LedgerSettings(),  # noqa: B008  (frozen)
    ) -> Self:
        """Open, make or migrate the ledger at `path`. Raises LedgerError for one that a newer Palang wrote."""
        return cls(House(Store(path), gate, operator, signer, settings))

    def close(self) -> None:
        """Close the file."""
        self._house.store.close()

    # --- what comes from the regulator

    def take(self, readings: Sequence[Reading], now: datetime) -> list[Taken]:
        """Put a batch of readings into the ledger, with one commit; acknowledge them when this has returned."""
        with self._change(now) as tx:
            return [taking.take(tx, reading) for reading in readings]

    def last_serial(self) -> int:
        """The highest serial that has come."""
        with self._house.store.read() as connection:
            return read_head(connection).last_serial

    # --- what people at the operator do

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

    # --- the life of NOC rules; `version` is the one that the caller looked at, None for no condition

    def propose_rule(
        self,
        subject: str,
        action: Action,
        reason: str,
        actor: str,
        now: datetime,
        *,
        kinds: Kinds = "both",
        trunks: Sequence[str] = (),
        expires_s: int | None = None,
    ) -> RuleView:
        """Make a NOC rule that does nothing yet."""
        with self._change(now) as tx:
            return rule_steps.propose(tx, subject, action, kinds, trunks, expires_s, reason, actor)

    def shadow_rule(
        self,
        rule: str,
        actor: str,
        reason: str,
        now: datetime,
        *,
        expires_s: int | None = None,
        version: int | None = None,
    ) -> RuleView:
        """Have a rule counted and nothing else."""
        with self._change(now) as tx:
            return rule_steps.take(tx, rule, Step.SHADOW, actor, reason, expires_s=expires_s, version=version)

    def enforce_rule(
        self,
        rule: str,
        actor: str,
        reason: str,
        now: datetime,
        *,
        expires_s: int | None = None,
        wide: Sequence[str] = (),
        alone_minutes: int | None = None,
        expected: int | None = None,
        version: int | None = None,
    ) -> Outcome[RuleView]:
        """Enforce a rule, or give one that is enforced a new end; one that is `wide` waits for a second person.

        With `alone_minutes` a wide one is enforced for so long at once.
        """
        with self._change(now) as tx:
            waits = rule_steps.enforce(
                *(tx, rule, actor, reason), expires_s=expires_s, wide=wide, alone_minutes=alone_minutes,
                expected=expected, version=version,
            )  # fmt: skip
            return Outcome(rules.get(tx.connection, rule), waits)

    def renew_rule(
        self,
        rule: str,
        actor: str,
        reason: str,
        now: datetime,
        *,
        expires_s: int | None = None,
        version: int | None = None,
    ) -> RuleView:
        """Give a rule in shadow a new end; for one that is enforced see `enforce_rule`."""
        with self._change(now) as tx:
            if rules.get(tx.connection, rule).mode == "enforce":
                raise LedgerError(f"rule {rule} is enforced: its width has to be judged before it is renewed")
            return rule_steps.take(tx, rule, Step.RENEW, actor, reason, expires_s=expires_s, version=version)

    def disable_rule(
        self, rule: str, actor: str, reason: str, now: datetime, *, version: int | None = None
    ) -> RuleView:
        """Switch a rule off and keep it."""
        with self._change(now) as tx:
            return rule_steps.take(tx, rule, Step.DISABLE, actor, reason, version=version)

    def remove_rule(self, rule: str, actor: str, reason: str, now: datetime, *, version: int | None = None) -> RuleView:
        """End a NOC rule for good."""
        with self._change(now) as tx:
            return rule_steps.take(tx, rule, Step.REMOVE, actor, reason, version=version)

    def roll_back_rule(
        self, rule: str, actor: str, reason: str, now: datetime, *, version: int | None = None
    ) -> RolledBack:
        """Return a rule to how it stood before its last step; a second roll back undoes the first."""
        with self._change(now) as tx:
            return rule_steps.roll_back(tx, rule, actor, reason, version)

    def brake(self, rule: str, why: str, now: datetime) -> RuleView:
        """Put an enforced NOC rule into shadow, since it stops more than it promised. Never an order."""
        with self._change(now) as tx:
            return rule_steps.take(tx, rule, Step.BRAKE, "palang", why)

    def transitions(self, rule: str, after: int | None = None, limit: int = 100) -> list[TransitionView]:
        """A rule's steps, the newest first; `after` goes on behind that number."""
        with self._house.store.read() as connection:
            return transitions.history(connection, rules.get(connection, rule).id, after, limit)

    def transitions_since(self, since: datetime, limit: int = 100) -> list[TransitionView]:
        """Every NOC rule's steps since a moment, the newest first."""
        with self._house.store.read() as connection:
            return transitions.since(connection, to_ms(since), limit)

    def next_warning(self) -> datetime | None:
        """When `warn` has something to do next."""
        with self._house.store.read() as connection:
            found = rule_steps.next_warning(connection)
            return None if found is None else from_ms(found)

    def warn(self, now: datetime) -> list[Ending]:
        """The enforcements of whose end somebody has to be warned now: told once, 24 hours and one hour before."""
        with self._change(now) as tx:
            return rule_steps.warn_due(tx)

    # --- second persons

    def approve_request(self, request: str, actor: str, reason: str, now: datetime) -> RequestView:
        """Approve what another person asked for; it is done in the same transaction."""
        with self._change(now) as tx:
            return requests.decide(tx, acts.TABLE, request, "approve", actor, reason)

    def refuse_request(self, request: str, actor: str, reason: str, now: datetime) -> RequestView:
        """Refuse what another person asked for."""
        with self._change(now) as tx:
            return requests.decide(tx, acts.TABLE, request, "refuse", actor, reason)

    def withdraw_request(self, request: str, actor: str, reason: str, now: datetime) -> RequestView:
        """Take back what one asked for oneself."""
        with self._change(now) as tx:
            return requests.withdraw(tx, acts.TABLE, request, actor, reason)

    def request(self, request: str) -> RequestView:
        """One act that waits, or waited, for a second person."""
        with self._house.store.read() as connection:
            return requests.get(connection, request)

    def requests(
        self, state: RequestState | None = None, about: str | None = None, after: int | None = None, limit: int = 100
    ) -> list[RequestView]:
        """What waits, or waited, for a second person, the newest first; `after` goes on behind that number."""
        with self._house.store.read() as connection:
            return requests.listed(connection, state, about, after, limit)

    # --- the list

    def head(self) -> Head:
        """The list's newest revision."""
        with self._house.store.read() as connection:
            return revisions.head(connection)

    def revisions(self, after_n: int, limit: int) -> list[RevisionRow]:
        """Revisions of the current epoch after `after_n`, in order, without a hole."""
        with self._house.store.read() as connection:
            return revisions.revisions(connection, after_n, limit)

    def entries(self, after: str, limit: int) -> list[str]:
        """Entry lines in the order of their subjects' bytes, behind the subject `after` ("" for the first)."""
        with self._house.store.read() as connection:
            return revisions.entries(connection, after, limit)

    def entries_touching(self, number: str) -> list[str]:
        """The entry lines on a number and on each prefix of it, longest subject first."""
        with self._house.store.read() as connection:
            return revisions.entries_touching(connection, number)

    def take_fence(self) -> int:
        """The next fencing token: durable, greater than any before."""
        with self._house.store.write() as connection:
            row = connection.execute(
                sa.update(schema.head).values(fence=schema.head.c.fence + 1).returning(schema.head.c.fence)
            )
            return int(row.scalar_one())

    def try_write(self) -> None:
        """Write and sync a row that stays as it was: whether a disk takes writes is known only by writing."""
        with self._house.store.write() as connection:
            connection.execute(sa.update(schema.head).values(fence=schema.head.c.fence))

    def begin_epoch(self, actor: str, now: datetime) -> None:
        """Begin a new epoch, since history may have forked (a restore); the list stays as it is."""
        with self._change(now) as tx:
            revisions.begin_epoch(tx, actor)

    def expire(self, now: datetime) -> int:
        """Do what is due by itself: rules whose time has come go to shadow or end, orders end, requests lapse.

        The answer is how many rules it was for.
        """
        with self._change(now) as tx:
            requests.lapse(tx, acts.TABLE)
            return rule_steps.end_due(tx) + subjects.end_due(tx)

    def next_expiry(self) -> datetime | None:
        """When `expire` has something to do next."""
        with self._house.store.read() as connection:
            times = (rules.next_end(connection), requests.next_lapse(connection))
            found = min((time for time in times if time is not None), default=None)
            return None if found is None else from_ms(found)

    # --- proof

    def awaiting_proof(self, limit: int = 1_000) -> list[AwaitingProof]:
        """The orders, then the clearances, that wait for a proof, the nearest deadline first."""
        with self._house.store.read() as connection:
            return [*proofs.awaiting(connection, limit), *clearances.awaiting(connection, limit)]

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

    # --- clearances

    def open_clearance(
        self,
        number: str,
        reference: str,
        document: str,
        reason: str,
        actor: str,
        deadline: datetime,
        now: datetime,
        *,
        exception: bool = True,
    ) -> Outcome[ClearanceView]:
        """Open a clearance after a clarification; a second person is asked to lift the block."""
        with self._change(now) as tx:
            return Outcome(
                *clearances.open_(tx, number, reference, document, reason, actor, deadline, exception=exception)
            )

    def ask_clearance(
        self,
        clearance: str,
        reference: str,
        document: str,
        reason: str,
        actor: str,
        now: datetime,
        *,
        exception: bool = True,
    ) -> Outcome[ClearanceView]:
        """Ask a second person to lift the block that a review is about."""
        with self._change(now) as tx:
            return Outcome(*clearances.ask(tx, clearance, reference, document, reason, actor, exception=exception))

    def keep_clearance(self, clearance: str, actor: str, reason: str, now: datetime) -> ClearanceView:
        """Decide that the block stays."""
        with self._change(now) as tx:
            return clearances.keep(tx, clearance, actor, reason)

    def reassigned(
        self, numbers: Sequence[str], reason: str, actor: str, deadline: datetime, now: datetime, *, commit: bool
    ) -> Reassigned:
        """Open a review for each of these numbers that is blocked; without `commit` only count them."""
        with self._change(now) as tx:
            return clearances.reassigned(tx, numbers, reason, actor, deadline, commit=commit)

    def clearances(
        self, state: ClearanceState | None = None, *, waiting: bool = False, after: int | None = None, limit: int = 100
    ) -> list[ClearanceView]:
        """Clearances, the newest first; with `waiting` those whose deadline runs, the nearest first."""
        with self._house.store.read() as connection:
            return clearances.listed(connection, state=state, waiting=waiting, after=after, limit=limit)

    def clearance(self, clearance: str) -> ClearanceStory:
        """One clearance's whole story."""
        with self._house.store.read() as connection:
            return clearances.story(connection, clearance)

    def clearances_overdue(self, now: datetime) -> list[ClearanceView]:
        """The clearances past their deadline whose number neither passes nor is decided to stay blocked."""
        with self._house.store.read() as connection:
            return clearances.overdue(connection, to_ms(now))

    # --- the outbox

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

    # --- hits

    def count_hits(self, found: Sequence[LedgerHit], now: datetime, cursor: str | None = None) -> int:
        """Count hits on their rules, once for each call, and keep the place in the stream that they came from."""
        with self._change(now) as tx:
            return hits.count(tx, found, cursor)

    def hits_cursor(self) -> str | None:
        """The place in the stream of hits up to which they are counted."""
        with self._house.store.read() as connection:
            return read_head(connection).hits_cursor

    # --- what people ask

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

    def rules(
        self,
        *,
        ended: bool = False,
        orders: bool = False,
        limit: int = 1_000,
        after: int | None = None,
        mode: str | None = None,
        action: str | None = None,
        origin: str | None = None,
        digits: str | None = None,
    ) -> list[RuleView]:
        """The NOC's rules and proposals, newest first, from behind the rule numbered `after`; with `orders` also those
        that orders stand behind. `digits` are leading ones, see `rules.Filter`.
        """
        wanted = rules.Filter(mode, action, origin, digits, ended, orders)
        with self._house.store.read() as connection:
            return rules.listed(connection, wanted, limit, after)

    def rule(self, rule_id: str) -> RuleView:
        """One rule, live or ended."""
        with self._house.store.read() as connection:
            return rules.get(connection, rule_id)

    def rules_ending(self, until: datetime, limit: int = 100) -> list[RuleView]:
        """The live rules that end until then, the next first."""
        with self._house.store.read() as connection:
            return ending.ending(connection, to_ms(until), limit)

    def rules_touching(self, number: str) -> list[RuleView]:
        """The live rules on a number and on its prefixes, longest subject first."""
        with self._house.store.read() as connection:
            return rules.touching(connection, number)

    def watchable(self, limit: int) -> list[RuleView]:
        """The NOC's live rules and proposals whose traffic is worth counting by itself, the enforced ones first."""
        with self._house.store.read() as connection:
            return rules.watchable(connection, limit)

    def allowing(self, limit: int = 20_000) -> list[RuleView]:
        """The NOC's enforced `allow` rules: the exceptions of wider ones."""
        with self._house.store.read() as connection:
            return rules.allowing(connection, limit)

    def status(self, now: datetime) -> LedgerStatus:
        """The ledger at a glance."""
        with self._house.store.read() as connection:
            return stories.status(connection, to_ms(now))

    # --- numbers shown to a person

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

    # --- who may come in

    def invite(
        self,
        name: str,
        display: str,
        roles: Sequence[str],
        word: str,
        ends: datetime,
        actor: str,
        reason: str,
        now: datetime,
    ) -> PersonView:
        """Add a person; `word` is the SHA-256 of the invitation with which they set password and second factor."""
        with self._change(now) as tx:
            return people.invite(tx, name, display, roles, word, ends, actor, reason)

    def invite_again(
        self, name: str, word: str, ends: datetime, actor: str, reason: str, now: datetime, expected: int | None = None
    ) -> PersonView:
        """Take a person's password, second factor, sessions and tokens away, and invite them anew."""
        with self._change(now) as tx:
            return people.invite_again(tx, name, word, ends, actor, reason, expected)

    def set_roles(
        self, name: str, roles: Sequence[str], actor: str, reason: str, now: datetime, expected: int | None = None
    ) -> PersonView:
        """Give a person these roles and no others; their sessions end."""
        with self._change(now) as tx:
            return people.set_roles(tx, name, roles, actor, reason, expected)

    def disable(self, name: str, actor: str, reason: str, now: datetime, expected: int | None = None) -> PersonView:
        """Keep a person out; sessions and tokens end."""
        with self._change(now) as tx:
            return people.disable(tx, name, actor, reason, expected)

    def enable(self, name: str, actor: str, reason: str, now: datetime, expected: int | None = None) -> PersonView:
        """Let a person in again."""
        with self._change(now) as tx:
            return people.enable(tx, name, actor, reason, expected)

    def people(self, after: str = "", limit: int = 100) -> list[PersonView]:
        """People in the order of their names, from behind `after`."""
        with self._house.store.read() as connection:
            return people.listed(connection, after, limit)

    def person(self, name: str) -> PersonView:
        """One person."""
        with self._house.store.read() as connection:
            return people.get(connection, name)

    def invited(self, word: str, now: datetime) -> str | None:
        """Whose invitation this is, while it holds."""
        with self._house.store.read() as connection:
            return people.invited(connection, word, to_ms(now))

    def enrol(self, word: str, password: str, totp: str, now: datetime) -> PersonView:
        """Keep an invited person's password hash and second factor's key until a code confirms them."""
        with self._change(now) as tx:
            return people.enrol(tx, word, password, totp)

    def enrolling(self, word: str, now: datetime) -> Secrets | None:
        """What the code that confirms an enrolment is held against."""
        with self._house.store.read() as connection:
            return people.enrolling(connection, word, to_ms(now))

    def confirm(self, word: str, step: int, now: datetime) -> PersonView:
        """End an enrolment: the person may sign in."""
        with self._change(now) as tx:
            return people.confirm(tx, word, step)

    def secrets(self, name: str) -> Secrets | None:
        """What signing in is held against; None for who can't."""
        with self._house.store.read() as connection:
            return people.secrets(connection, name)

    def set_password(self, name: str, password: str, step: int, now: datetime) -> PersonView:
        """Replace a person's own password; all their sessions end."""
        with self._change(now) as tx:
            return people.set_password(tx, name, password, step)

    def begin_session(
        self, person: str, session: str, csrf: str, ends: datetime, step: int, address: str | None, now: datetime
    ) -> SessionView:
        """Sign a person in; `session` is the SHA-256 of the cookie."""
        with self._change(now) as tx:
            return sessions.begin(tx, person, session, csrf, ends, step, address)

    def session(self, session: str, now: datetime, idle: timedelta) -> SessionView | None:
        """The session, while it holds."""
        with self._house.store.read() as connection:
            return sessions.find(connection, session, now, idle)

    def session_seen(self, session: str, now: datetime) -> None:
        """Note that a session is in use."""
        with self._change(now) as tx:
            sessions.seen(tx, session)

    def step_up(self, session: str, step: int, until: datetime, now: datetime) -> SessionView:
        """Note that a session's person has shown the second factor again."""
        with self._change(now) as tx:
            return sessions.step_up(tx, session, step, until)

    def end_session(self, session: str, why: str, now: datetime) -> None:
        """End one session."""
        with self._change(now) as tx:
            sessions.end(tx, session, why)

    def make_token(
        self, person: str, name: str, secret: str, scopes: Sequence[str], expires: datetime, actor: str, now: datetime
    ) -> TokenView:
        """Give a person a token; `secret` is its SHA-256."""
        with self._change(now) as tx:
            return tokens.make(tx, person, name, secret, scopes, expires, actor)

    def token(self, secret: str, now: datetime) -> TokenHolder | None:
        """The token of this SHA-256, while it holds."""
        with self._house.store.read() as connection:
            return tokens.find(connection, secret, now)

    def token_used(self, token: int, now: datetime) -> None:
        """Note that a token is in use."""
        with self._change(now) as tx:
            tokens.used(tx, token)

    def tokens(self, person: str | None = None, after: int | None = None, limit: int = 100) -> list[TokenView]:
        """Live tokens, the newest first; with `person` only theirs."""
        with self._house.store.read() as connection:
            return tokens.listed(connection, person, after, limit)

    def end_token(self, token: int, actor: str, now: datetime, owner: str | None = None) -> TokenView:
        """End a token; with `owner`, only one of theirs."""
        with self._change(now) as tx:
            return tokens.end(tx, token, actor, owner)

    def take_key(self, actor: str, key: str, request: str, now: datetime) -> Reply:
        """Take an idempotency key for a request, or say what came of the first that used it."""
        with self._change(now) as tx:
            return replies.take(tx, actor, key, request)

    def keep_reply(self, actor: str, key: str, status: int, body: str | None, now: datetime) -> None:
        """Keep what a request with a key was told."""
        with self._change(now) as tx:
            replies.keep(tx, actor, key, status, body)

    def forget_key(self, actor: str, key: str, now: datetime) -> None:
        """Give a key back under which nothing was done."""
        with self._change(now) as tx:
            replies.forget(tx, actor, key)

    # --- the journal

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

    @contextmanager
    def _change(self, now: datetime) -> Iterator[Transaction]:
        with self._house.change(now) as tx:
            yield tx
