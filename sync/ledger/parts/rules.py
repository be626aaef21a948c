"""What the NOC does with its rules, and the second persons whom some of it waits for."""

from collections.abc import Sequence
from datetime import datetime

from sync.ledger import acts, ending, requests, rule_steps, rules, transitions
from sync.ledger.parts.part import Part
from sync.ledger.store import LedgerError
from sync.ledger.transaction import from_ms, to_ms
from sync.ledger.views import (
    Action,
    Ending,
    Kinds,
    Outcome,
    RequestState,
    RequestView,
    RolledBack,
    RuleView,
    TransitionView,
)
from sync.rule_life import Step


class Rules(Part):
    """The NOC's rules. `version` is the one that the caller looked at, None for no condition."""

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
