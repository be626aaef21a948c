"""Laws of rules' steps: whatever people, clocks and the brake do, orders stay, and two roll backs change nothing."""

import itertools
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sync.ledger import LedgerError, Outcome, RuleView
from sync.order_life import State
from tests.sync.house import World, advisory, order

SUBJECTS = ("+77", "+7701", "+242")
PEOPLE = ("sri", "budi", "local:a", "local:b")
WHY = ("it is wide",)


class Steps(RuleBasedStateMachine):
    """A NOC of four people with three prefixes, beside one order that nobody may touch."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(Path(self.folder.name) / "ledger.sqlite")
        self.order = order(1, "+77011111111")
        self.world.one(self.order)
        self.world.one(advisory(2, "+99"))
        self.untouched = self.world.ledger.rules(orders=True)[-1]
        self.line = self.world.lines()

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.orders_stay()
        self.the_history_tells_each_state()
        self.world.check()
        self.world.ledger.close()
        self.folder.cleanup()

    @property
    def live(self) -> list[RuleView]:
        return self.world.ledger.rules()

    @rule(subject=st.sampled_from(SUBJECTS), by=st.sampled_from(PEOPLE), hours=st.sampled_from([None, 1, 30]))
    def propose(self, subject: str, by: str, hours: int | None) -> None:
        if any(one.subject == f"{subject}*" for one in self.live):
            return
        expires_s = None if hours is None else hours * 3_600
        made = self.world.ledger.propose_rule(subject, "reject", "wave", by, self.world.now, expires_s=expires_s)
        assert (made.mode, made.version, made.since) == ("disabled", 1, None)

    @precondition(lambda self: self.live)
    @rule(
        data=st.data(),
        by=st.sampled_from(PEOPLE),
        what=st.sampled_from(["shadow", "enforce", "wide", "alone", "disable", "renew", "brake", "remove"]),
        hours=st.sampled_from([None, 1, 30]),
    )
    def step(self, data: st.DataObject, by: str, what: str, hours: int | None) -> None:
        before = data.draw(st.sampled_from(self.live))
        ledger, now, expires_s = self.world.ledger, self.world.now, None if hours is None else hours * 3_600
        acts = {
            "shadow": lambda: ledger.shadow_rule(before.id, by, "look", now, expires_s=expires_s),
            "enforce": lambda: ledger.enforce_rule(before.id, by, "wave", now, expires_s=expires_s),
            "wide": lambda: ledger.enforce_rule(before.id, by, "wave", now, expires_s=expires_s, wide=WHY),
            "alone": lambda: ledger.enforce_rule(before.id, by, "wave", now, wide=WHY, alone_minutes=60),
            "disable": lambda: ledger.disable_rule(before.id, by, "off", now),
            "renew": lambda: ledger.renew_rule(before.id, by, "longer", now, expires_s=expires_s),
            "brake": lambda: ledger.brake(before.id, "too much", now),
            "remove": lambda: ledger.remove_rule(before.id, by, "over", now),
        }
        try:
            done = acts[what]()
        except LedgerError:
            assert self.world.ledger.rule(before.id) == before  # refused: nothing at all has changed
            return
        waits = done.waits if isinstance(done, Outcome) else None
        after = self.world.ledger.rule(before.id)
        if what in ("wide", "alone"):
            assert waits is not None
        if waits is not None and not waits.body["alone"]:
            assert after == before
        else:
            assert after.version == before.version + 1

    @precondition(lambda self: self.world.ledger.requests("open"))
    @rule(data=st.data(), by=st.sampled_from(PEOPLE), approve=st.booleans())
    def decide(self, data: st.DataObject, by: str, approve: bool) -> None:
        request = data.draw(st.sampled_from(self.world.ledger.requests("open")))
        act = self.world.ledger.approve_request if approve else self.world.ledger.refuse_request
        same = by == request.author or (by.startswith("local:") and request.author.startswith("local:"))
        if same:
            with pytest.raises(LedgerError, match="by its author"):
                act(request.id, by, "looked at", self.world.now)
            return
        act(request.id, by, "looked at", self.world.now)
        mode = self.world.ledger.rule(request.about).mode
        assert mode == "enforce" if approve else mode != "enforce" or not request.body["alone"]

    @precondition(lambda self: self.live)
    @rule(data=st.data(), by=st.sampled_from(PEOPLE))
    def roll_back_twice(self, data: st.DataObject, by: str) -> None:
        before = data.draw(st.sampled_from(self.live))
        try:
            self.world.ledger.roll_back_rule(before.id, by, "no", self.world.now)
        except LedgerError:
            assert self.world.ledger.rule(before.id) == before
            return
        between = self.world.ledger.rule(before.id)
        assert (between.mode, between.expires_at) != (before.mode, before.expires_at)
        if before.expires_at is not None and before.expires_at <= self.world.now:
            return  # its own time is past: `before` of sync/rule_life.py says what is left of it
        self.world.ledger.roll_back_rule(before.id, by, "yes", self.world.now)
        after = self.world.ledger.rule(before.id)
        assert (after.mode, after.expires_at) == (before.mode, before.expires_at)
        assert after.version == before.version + 2

    @precondition(lambda self: self.live)
    @rule(data=st.data(), by=st.sampled_from(PEOPLE))
    def roll_back(self, data: st.DataObject, by: str) -> None:
        before = data.draw(st.sampled_from(self.live))
        last = self.world.ledger.transitions(before.id, limit=1)[0]
        try:
            done = self.world.ledger.roll_back_rule(before.id, by, "no", self.world.now)
        except LedgerError:
            return
        assert done.undone == last.id and done.rule.version == before.version + 1
        past = last.from_expires_at is not None and last.from_expires_at <= self.world.now
        if last.from_mode is not None and not past:
            assert (done.rule.mode, done.rule.expires_at) == (last.from_mode, last.from_expires_at)

    @rule(hours=st.sampled_from([0.4, 1, 2, 26, 24 * 8]))
    def pass_time(self, hours: float) -> None:
        self.world.now += timedelta(hours=hours)
        self.world.ledger.expire(self.world.now)
        self.world.ledger.warn(self.world.now)

    def orders_stay(self) -> None:
        assert self.world.ledger.rule(self.untouched.id) == self.untouched  # its version too
        assert self.line[0] in self.world.lines() and self.world.state(self.order) == State.APPLYING

    def the_history_tells_each_state(self) -> None:
        for one in self.world.ledger.rules(ended=True):
            steps = self.world.ledger.transitions(one.id)
            assert one.version == len(steps)
            for later, earlier in itertools.pairwise(steps):
                assert (later.from_mode, later.from_expires_at) == (earlier.to_mode, earlier.to_expires_at)
            if one.live:
                assert (steps[0].to_mode, steps[0].to_expires_at) == (one.mode, one.expires_at)
                assert one.mode == "disabled" or one.expires_at is not None
            else:
                assert steps[0].to_mode is None

    @invariant()
    def nothing_that_waits_is_about_a_rule_that_has_moved_on(self) -> None:
        if hasattr(self, "world"):
            for request in self.world.ledger.requests("open"):
                assert self.world.ledger.rule(request.about).live


TestSteps = Steps.TestCase
# Not shrunk: each example makes a ledger, and a failing one is short enough to read.
TestSteps.settings = settings(max_examples=15, stateful_step_count=20, phases=[Phase.explicit, Phase.generate])
