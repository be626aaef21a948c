"""Laws of the ledger: whatever the sequence, the repetition and the batches, the same orders leave the same list."""

import itertools
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sip_filter
from sync.contract import Confirmation, Order
from sync.ledger.revisions import entry_digest, list_digest
from sync.order_life import State
from sync.settings import GateSettings
from tests.sync.house import NOON, World, order, receipt

SUBJECTS = ["+6281234567890", "+6281234567891", "+77012345678", "+7701*", "+24261*"]
WIDE = ["+77*", "+62812*"]  # held until somebody approves


@contextmanager
def a_world() -> Iterator[World]:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder) / "ledger.sqlite", gate=GateSettings(burst_floor=10_000, second_person=()))
        yield world
        world.ledger.close()


@st.composite
def scenarios(draw: st.DrawFn) -> list[Order]:
    """Orders with serials from 1 up, on few subjects, some with an end."""
    orders = []
    for serial in range(1, draw(st.integers(1, 9)) + 1):
        kind = draw(st.sampled_from(["block", "block", "unblock"]))
        listed = draw(st.lists(st.sampled_from(SUBJECTS + WIDE), min_size=1, max_size=4, unique=True))
        hours = draw(st.sampled_from([None, None, 1, 5, 48])) if kind == "block" else None
        until = None if hours is None else NOON + timedelta(hours=hours)
        orders.append(order(serial, *listed, kind=kind, until=until))
    return orders


@st.composite
def deliveries(draw: st.DrawFn, orders: list[Order]) -> list[list[Order]]:
    """The orders in any sequence, some repeated, in batches, with time passing between them."""
    sent = draw(st.permutations(orders + draw(st.lists(st.sampled_from(orders), max_size=6))))
    cuts = sorted(draw(st.lists(st.integers(0, len(sent)), max_size=4)))
    return [sent[a:b] for a, b in itertools.pairwise([0, *cuts, len(sent)])]


def expected(orders: list[Order], world: World) -> list[str]:
    """The naive oracle: each subject is ruled by the highest serial that names it."""
    lines = []
    for subject in SUBJECTS + WIDE:
        ruling = max((o for o in orders if subject in o.subjects), key=lambda o: o.serial, default=None)
        if ruling is None or ruling.kind == "unblock" or (ruling.until is not None and ruling.until <= world.now):
            continue
        until = "" if ruling.until is None else f" until={int(ruling.until.timestamp())}"
        lines.append(f"{subject}\torder reject enforce both{until}")
    return sorted(lines)


def deliver(world: World, batches: list[list[Order]], step_hours: float) -> None:
    for batch in batches:
        world.take(*batch)
        world.pass_time(hours=step_hours)
        world.ledger.expire(world.now)


def approve_all(world: World) -> None:
    for view in world.ledger.orders():
        if view.held:
            world.ledger.approve(view.id, "sri", "all of it", world.now)
    world.ledger.expire(world.now)


@given(st.data())
@settings(max_examples=40)
def test_any_sequence_of_the_same_orders_leaves_the_same_list(data: st.DataObject) -> None:
    orders = data.draw(scenarios())
    step = data.draw(st.sampled_from([0.0, 0.3, 2.0]))
    with a_world() as world:
        deliver(world, data.draw(deliveries(orders)), step)
        approve_all(world)
        assert world.lines() == expected(orders, world)
        assert sorted(view.serial for view in world.ledger.orders()) == [o.serial for o in orders]
        assert world.ledger.status(world.now).gaps == ()
        for view in world.ledger.orders():
            assert view.state not in (State.NEW, State.HELD)
        world.check()
        head = world.ledger.head()
        deliver(world, [orders], 0)
        assert world.ledger.head() == head  # duplicates of everything: not even a revision
        world.reopen()
        assert world.ledger.head() == head


@given(st.data())
@settings(max_examples=15)
def test_every_order_is_told_and_ends_in_exactly_one_state(data: st.DataObject) -> None:
    """The whole conversation: each confirmation gets its receipt, and nothing is left to say."""
    orders = data.draw(scenarios())
    with a_world() as world:
        statuses: dict[str, list[str]] = {}
        for batch in data.draw(deliveries(orders)):
            world.take(*batch)
            converse(world, statuses)
        approve_all(world)
        converse(world, statuses)
        world.pass_time(days=1)
        assert world.receive() == []
        for view in world.ledger.orders():
            assert view.state in (State.CLOSED, State.REFUSED, State.EXPIRED), view
            final = {"closed": ("in_force", "lifted"), "refused": ("refused",), "expired": ("expired",)}[view.state]
            assert [s for s in statuses[view.id] if s in ("in_force", "lifted", "refused", "expired")][-1] in final
        world.check()


def converse(world: World, statuses: dict[str, list[str]]) -> None:
    """Prove what waits, send what is due, give receipts, until all is quiet."""
    while True:
        for waiting in world.ledger.awaiting_proof():
            if waiting.held and waiting.state is State.IN_FORCE_PARTIAL:
                continue
            found = next(o for o in world.ledger.orders() if o.id == waiting.order)
            world.prove(found, "in_force" if waiting.kind == "block" else "lifted")  # type: ignore[arg-type]
        told = [body for body in world.receive() if isinstance(body, Confirmation)]
        if not told:
            return
        for confirmation in told:
            if confirmation.order is not None:
                statuses.setdefault(confirmation.order, []).append(confirmation.status)
            world.one(receipt(confirmation))


@pytest.mark.parametrize("seed", range(3))
def test_a_long_shuffled_conversation_converges(seed: int) -> None:
    """C02 and C03: 60 orders on few subjects, each one to five times, in one shuffled stream."""
    chance = random.Random(seed)
    orders = [
        order(serial, chance.choice(SUBJECTS), kind=chance.choice(["block", "unblock"])) for serial in range(1, 61)
    ]
    stream = [o for o in orders for _ in range(chance.randint(1, 5))]
    chance.shuffle(stream)
    with a_world() as world:
        deliver(world, [stream[at : at + 7] for at in range(0, len(stream), 7)], 0)
        assert world.lines() == expected(orders, world)
        world.check()


def test_a_superseded_block_is_told_so() -> None:
    with a_world() as world:
        unblock, block = order(2, SUBJECTS[0], kind="unblock"), order(1, SUBJECTS[0])
        world.take(unblock, block)
        told = [c for c in world.confirmations() if c.order == block.id]
        assert [(c.status, c.code) for c in told] == [("refused", "superseded")]
        assert world.state(block) == "refused" and world.lines() == []


def test_a_held_order_takes_its_place_only_when_approved() -> None:
    with a_world() as world:
        block, unblock = order(1, "+77*"), order(2, "+77*", kind="unblock")
        world.take(block, unblock)
        assert world.ledger.approve(block.id, "sri", "too late", world.now).record.state is State.REFUSED
        assert world.lines() == []
        again = order(3, "+77*")
        world.one(again)
        world.ledger.approve(again.id, "sri", "now", world.now)
        assert world.lines() == ["+77*\torder reject enforce both"]
        assert world.state(unblock) == "refused"


def test_a_later_block_takes_over_and_its_end_is_the_end() -> None:
    with a_world() as world:
        first, second = order(1, SUBJECTS[0]), order(2, SUBJECTS[0], until=NOON + timedelta(hours=1))
        world.take(first, second)
        live, ended = world.ledger.rules(orders=True), world.ledger.rules(orders=True, ended=True)
        assert [rule.order for rule in live] == [second.id] and len(ended) == 2
        assert world.ledger.next_expiry() == second.until
        world.now = NOON + timedelta(hours=1)
        assert world.ledger.expire(world.now) == 1
        assert world.lines() == [] and (world.state(first), world.state(second)) == ("expired", "expired")
        assert [c.status for c in world.confirmations()] == ["expired", "expired"]
        assert world.ledger.expire(world.now) == 0 and world.ledger.next_expiry() is None


def test_a_held_order_that_nobody_approved_expires() -> None:
    with a_world() as world:
        held = order(1, "+77*", until=NOON + timedelta(hours=1))
        world.one(held)
        assert world.ledger.next_expiry() == held.until
        world.now = NOON + timedelta(hours=2)
        world.ledger.expire(world.now)
        assert [c.status for c in world.confirmations()] == ["held", "expired"]
        assert world.state(held) == "expired" and world.ledger.next_expiry() is None


def test_an_order_that_ended_before_it_came_is_expired() -> None:
    with a_world() as world:
        late = order(1, SUBJECTS[0], until=NOON + timedelta(hours=1))
        world.now = NOON + timedelta(days=2)
        assert world.one(late).what == "expired"
        assert world.lines() == [] and [c.status for c in world.confirmations()] == ["expired"]


@given(st.sets(st.from_regex(r"\+[1-9][0-9]{7,12}", fullmatch=True), max_size=30))
def test_the_digest_is_the_filters_digest(subjects: set[str]) -> None:
    lines = [f"{subject}\torder reject enforce both" for subject in subjects]
    assert list_digest(lines) == sip_filter.list_digest(lines)
    assert [entry_digest(line) for line in lines] == [sip_filter.entry_digest(line) for line in lines]
