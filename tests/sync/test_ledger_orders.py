"""What becomes of orders in the ledger: from the message to the closed order, by way of holds, gaps and replays."""

import itertools
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from sync import schema
from sync.codes import Code
from sync.contract import Confirmation, Order, Resend
from sync.intake import Refusal
from sync.jws import Signer, generate_key
from sync.ledger import LedgerError, NotFoundError
from sync.order_life import State
from sync.settings import GateSettings, LedgerSettings
from tests.sync.house import (
    NOON,
    OURS,
    REGULATOR,
    World,
    advisory,
    blocked,
    order,
    reading,
    receipt,
    signed,
)

A, B, C = "+6281234567890", "+6281234567891", "+6281234567892"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "ledger.sqlite")


def close(world: World, of: Order, verdict: str = "in_force") -> Confirmation:
    """Prove an order and give the regulator's receipt for its confirmation."""
    world.prove(of, verdict)
    confirmation = next(c for c in world.confirmations() if c.order == of.id)
    world.one(receipt(confirmation))
    return confirmation


def test_a_block_from_order_to_closed(world: World) -> None:
    block = order(1, A)
    taken = world.one(block)
    assert (taken.what, taken.order, taken.gap) == ("applied", block.id, False)
    assert world.lines() == [f"{A}\torder reject enforce both"]
    assert world.state(block) == "applying"
    assert world.receive() == []  # nothing is in force before it is proved
    (waiting,) = world.ledger.awaiting_proof()
    assert (waiting.order, waiting.subjects, waiting.epoch, waiting.n, waiting.held) == (block.id, (A,), 1, 1, 0)
    world.pass_time(seconds=3)
    assert world.prove(block, "in_force") == "in_force"
    (confirmation,) = world.confirmations()
    assert confirmation.status == "in_force" and confirmation.order == block.id and confirmation.serial == 1
    assert (confirmation.ticket, confirmation.revision, confirmation.late) == ("T-1", "1.1", False)
    assert confirmation.received_at == NOON and confirmation.effective_at == NOON + timedelta(seconds=3)
    assert confirmation.proof is not None and confirmation.proof.nodes[0].node == "gw1"
    assert confirmation.coverage is not None and confirmation.coverage.not_covered[0].what == "on-net calls"
    assert world.one(receipt(confirmation)).what == "receipt"
    assert world.state(block) == "closed"
    world.pass_time(days=1)
    assert world.receive() == [] and world.ledger.awaiting_proof() == []
    story = world.ledger.order(block.id)
    assert [view.status for view in story.confirmations] == ["in_force"]
    assert story.confirmations[0].receipt_at is not None
    assert [view.kind for view in story.journal] == [
        "message.order", "order.state", "order.state", "proof", "message.receipt", "order.state",
    ]  # fmt: skip
    world.check()


def test_an_unblock_lifts(world: World) -> None:
    block, unblock = order(1, A), order(2, A, kind="unblock")
    world.one(block)
    close(world, block)
    world.one(unblock)
    assert world.lines() == [] and world.state(unblock) == "applying"
    rule = world.ledger.rules(ended=True, orders=True)[0]
    assert (rule.since, rule.until, rule.live) == ("1.1", "1.2", False)
    assert rule.end_reason is not None and unblock.id in rule.end_reason
    assert close(world, unblock, "lifted").status == "lifted"
    assert (world.state(block), world.state(unblock)) == ("closed", "closed")
    world.check()


def test_still_blocked_by_is_not_lifted_and_stays_open(world: World) -> None:
    world.rule("+628123*")
    unblock = order(1, A, kind="unblock")
    world.one(unblock)
    assert close(world, unblock, "still_blocked_by").status == "still_blocked_by"
    assert world.state(unblock) == "still_blocked_by"
    assert world.prove(unblock, "still_blocked_by") == "still_blocked_by" and world.receive() == []
    assert close(world, unblock, "lifted").status == "lifted"
    assert world.state(unblock) == "closed"


def test_a_duplicate_changes_nothing_and_is_confirmed_again(world: World) -> None:
    block = order(1, A)
    world.take(block, block)
    before = world.ledger.head()
    assert world.one(block).what == "duplicate" and world.ledger.head() == before
    confirmation = close(world, block)
    again = Signer(generate_key(), "reg-9")  # the same content under a rotated key is the same order
    assert world.one(signed(block)).what == "duplicate"
    assert [c.id for c in world.confirmations()] == [confirmation.id]
    world.pass_time(days=30)
    assert world.receive() == []
    assert isinstance(reading(signed(block, again)), Refusal)
    assert world.state(block) == "closed"


def test_replays_are_refused_and_told_without_touching_the_good_order(world: World) -> None:
    block = order(1, A)
    world.one(block)
    same_id = order(2, B, id=block.id)
    same_serial = order(1, B)
    for forged, named in ((same_id, None), (same_serial, same_serial.id)):
        taken = world.one(forged)
        assert (taken.what, taken.code) == ("refused", Code.REPLAYED)
        (told,) = world.confirmations()
        assert (told.status, told.code, told.order, told.ticket) == ("refused", Code.REPLAYED, named, None)
        assert told.message is not None
        world.one(receipt(told))
    assert blocked(world.lines()) == {A} and world.state(block) == "applying"
    assert world.one(advisory(1, "+77")).code is Code.REPLAYED


def test_age_never_refuses_and_late_is_marked(world: World) -> None:
    block = order(1, A)
    world.pass_time(days=40)
    assert world.one(block).what == "applied"
    assert close(world, block).late and world.ledger.order(block.id).order.late


def test_a_gap_holds_nobody_back_and_is_asked_for(world: World) -> None:
    assert world.one(order(1, A)).gap is False
    assert world.one(order(5, B)).gap is True
    assert blocked(world.lines()) == {A, B}
    (ask,) = world.receive()
    assert isinstance(ask, Resend) and ask.serials == ((2, 4),)
    assert world.receive() == []
    world.one(order(3, C))
    world.pass_time(minutes=1)
    (ask,) = world.receive()
    assert isinstance(ask, Resend) and ask.serials == ((2, 2), (4, 4))
    world.take(order(2, A), advisory(4, "+77"))
    world.pass_time(days=1)
    assert world.receive() == [] and world.ledger.status(world.now).gaps == ()
    assert world.ledger.last_serial() == 5


def test_gaps_are_asked_for_ever_more_slowly(world: World) -> None:
    world.one(order(9, A))
    asked = []
    for second in range(4000):
        world.now = NOON + timedelta(seconds=second)
        asked += [second for body in world.receive() if isinstance(body, Resend)]
    pauses = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 640, 900, 900, 900]


def test_an_order_that_cannot_be_read_uses_its_serial_and_may_come_again_corrected(world: World) -> None:
    world.one(order(1, A))
    broken = order(2, B).to_json().replace(b'"kind":"block"', b'"kind":"maybe"')
    taken = world.one(REGULATOR.sign(broken))
    assert (taken.what, taken.code, taken.gap) == ("refused", Code.SCHEMA, False)
    (told,) = world.confirmations()
    assert (told.status, told.code, told.serial, told.order) == ("refused", Code.SCHEMA, 2, taken.order)
    assert world.one(order(2, B)).what == "applied"


def test_a_message_for_another_operator_uses_no_serial_of_ours(world: World) -> None:
    stray = order(40, A).to_json().replace(b'"operator":"operator"', b'"operator":"telco-b"')
    taken = world.one(REGULATOR.sign(stray))
    assert (taken.code, taken.gap, world.ledger.last_serial()) == (Code.WRONG_OPERATOR, False, 0)
    assert world.ledger.status(world.now).gaps == ()


def test_the_bytes_of_an_authentic_message_are_kept_though_refused(world: World) -> None:
    world.one(order(1, A))
    forged = signed(order(1, B))
    world.take(forged, b"noise" * 1000)
    with world.ledger._house.store.read() as connection:
        kept = {row.kind: row.raw for row in connection.execute(sa.select(schema.messages))}
    assert kept["refused"] == forged and set(kept) == {"order", "refused"}
    record = world.ledger.journal()[-1]
    assert record.kind == "message.refused" and len(str(record.body["head"])) == 256
    world.check()


def test_garbage_is_told_once_and_recorded_each_time(world: World) -> None:
    for _ in range(3):
        assert world.one(b'{"type":"order"}').code is Code.UNSIGNED
    (told,) = world.confirmations()
    assert (told.status, told.code, told.order) == ("refused", Code.UNSIGNED, None)
    assert world.ledger.status(world.now).refused_messages == 3
    assert world.one(order(1, A)).what == "applied"
    world.check()


def test_a_shouting_stranger_cannot_fill_the_outbox(tmp_path: Path) -> None:
    world = World(tmp_path / "ledger.sqlite", settings=LedgerSettings(unsigned_outbox=5))
    world.take(*(f"noise {n}".encode() for n in range(20)))
    world.one(REGULATOR.sign(b"{}"))
    assert len(world.confirmations()) == 6
    assert world.ledger.status(world.now).refused_messages == 21


def test_receipts_must_fit(world: World) -> None:
    block, other = order(1, A), order(2, B)
    world.take(block, other)
    world.prove(block, "in_force")
    (confirmation,) = world.confirmations()
    for wrong, code in (
        (receipt(confirmation, confirmation=other.id), Code.UNKNOWN_CONFIRMATION),
        (receipt(confirmation, order=other.id), Code.RECEIPT_MISMATCH),
        (receipt(confirmation, order=None), Code.RECEIPT_MISMATCH),
        (receipt(confirmation, status="lifted"), Code.RECEIPT_MISMATCH),
    ):
        taken = world.one(wrong)
        assert (taken.what, taken.code) == ("refused", code)
    assert world.state(block) == "in_force"
    assert world.receive() == []  # a wrong receipt is never answered: that would go on for ever
    assert [t.what for t in world.take(receipt(confirmation), receipt(confirmation))] == ["receipt", "duplicate"]
    assert world.state(block) == "closed"


def test_confirmations_are_sent_again_unchanged_until_their_receipt(world: World) -> None:
    block = order(1, A)
    world.one(block)
    world.prove(block, "in_force")
    sent = []
    for second in range(200):
        world.now = NOON + timedelta(seconds=second)
        for outgoing in world.ledger.due(world.now, 10):
            sent.append((second, outgoing.body, outgoing.attempts))
            world.ledger.sent([outgoing.id], world.now)
        following = world.ledger.next_due()
        assert following is not None and following > world.now
    assert [second for second, _, _ in sent] == [0, 5, 15, 35, 75, 155]
    assert [attempts for _, _, attempts in sent] == [0, 1, 2, 3, 4, 5]
    assert len({body for _, body, _ in sent}) == 1


def test_an_emergency_number_is_refused_for_good(world: World) -> None:
    bad = order(1, "+112")
    assert (world.one(bad).what, world.state(bad)) == ("refused", "refused")
    (told,) = world.confirmations()
    assert (told.status, told.code, told.order) == ("refused", Code.EMERGENCY_NUMBER, bad.id)
    world.one(receipt(told))
    assert world.state(bad) == "refused" and world.lines() == []
    with pytest.raises(LedgerError, match="nothing of it is held"):
        world.ledger.approve(bad.id, "budi", "sure", world.now)


def test_a_wide_prefix_is_held_told_and_applied_when_approved(world: World) -> None:
    wide = order(1, "+77*")
    assert (world.one(wide).what, world.state(wide), world.lines()) == ("held", "held", [])
    (told,) = world.confirmations()
    assert (told.status, told.code) == ("held", Code.PREFIX_TOO_WIDE)
    world.one(receipt(told))
    assert world.state(wide) == "held"
    view = world.approve_by_two(wide)
    assert view.state is State.APPLYING and blocked(world.lines()) == {"+77*"}
    assert close(world, wide).code is None
    assert world.state(wide) == "closed"
    assert "order.approve" in [record.kind for record in world.ledger.order(wide.id).journal]


def test_a_held_order_refused_by_a_person(world: World) -> None:
    wide = order(1, "+77*")
    world.one(wide)
    with pytest.raises(LedgerError, match="a named person and a reason"):
        world.ledger.refuse(wide.id, "sri", " ", world.now)
    assert world.ledger.refuse(wide.id, "sri", "would hit Russia", world.now).state is State.REFUSED
    held, refused = world.confirmations()
    assert (held.status, refused.status, refused.code) == ("held", "refused", Code.REFUSED_BY_OPERATOR)
    assert refused.detail == "would hit Russia"
    world.take(receipt(held), receipt(refused))
    assert world.state(wide) == "refused"


def test_a_list_goes_on_without_its_bad_subjects_and_names_them(world: World) -> None:
    mixed = order(1, A, "+77*", "+112", "+6281234567890123", B)
    assert world.one(mixed).what == "applied"
    assert blocked(world.lines()) == {A, B}
    view = world.ledger.order(mixed.id).order
    assert (view.active, view.held, view.refused) == (2, 1, 2)
    (waiting,) = world.ledger.awaiting_proof()
    assert (waiting.subjects, waiting.held) == ((A, B), 1)
    assert world.prove(mixed, "in_force") == "in_force_partial"  # something of it is still held
    (told,) = world.confirmations()
    assert told.status == "in_force_partial" and told.coverage is not None
    left_out = {one.what: one.why for one in told.coverage.not_covered}
    assert left_out.pop("on-net calls")
    assert left_out == {
        "+77*": "held: prefix_too_wide",
        "+112": "refused: emergency_number",
        "+6281234567890123": "refused: impossible_number",
    }
    world.one(receipt(told))
    assert world.state(mixed) == "in_force_partial"
    world.approve_by_two(mixed)
    assert world.state(mixed) == "applying" and blocked(world.lines()) == {A, B, "+77*"}
    assert close(world, mixed).status == "in_force" and world.state(mixed) == "closed"


def test_the_rest_of_a_list_refused_by_a_person(world: World) -> None:
    mixed = order(1, A, "+77*")
    world.one(mixed)
    world.prove(mixed, "in_force")
    world.ledger.refuse(mixed.id, "sri", "no", world.now)
    assert world.state(mixed) == "in_force_partial"
    assert world.prove(mixed, "in_force") == "in_force"


def test_partial_proof_is_told_once_then_completed(world: World) -> None:
    block = order(1, A)
    world.one(block)
    assert world.prove(block, "in_force_partial") == "in_force_partial"
    assert world.ledger.awaiting_proof()[0].partial_since == NOON
    assert world.prove(block, "in_force_partial") == "in_force_partial"
    assert [c.status for c in world.confirmations()] == ["in_force_partial"]
    assert close(world, block).status == "in_force" and world.state(block) == "closed"


def test_a_proof_from_before_the_orders_revision_proves_nothing(world: World) -> None:
    block = order(1, A)
    world.one(block)
    assert world.prove(block, "in_force", revision="1.0") == "applying"
    assert world.receive() == []


def test_a_proof_that_comes_too_late_changes_nothing(world: World) -> None:
    block = order(1, A)
    world.one(block)
    close(world, block)
    assert world.prove(block, "in_force_partial") == "closed"


def test_a_proof_of_the_other_kind_of_order_is_refused(world: World) -> None:
    unblock = order(1, A, kind="unblock")
    world.one(unblock)
    world.prove(unblock, "still_blocked_by")
    for verdict in ("in_force", "in_force_partial"):
        with pytest.raises(LedgerError, match="is to unblock; a proof can't find it in_force"):
            world.prove(unblock, verdict)
    assert world.state(unblock) == "still_blocked_by"


def test_a_burst_is_held_whole_and_does_not_raise_its_own_limit(tmp_path: Path) -> None:
    world = World(tmp_path / "ledger.sqlite", gate=GateSettings(burst_floor=3))
    orders = [order(serial, f"+62812345678{serial:02d}") for serial in range(1, 10)]
    assert [taken.what for taken in world.take(*orders)] == ["applied"] * 3 + ["held"] * 6
    assert world.one(order(10, A, B)).what == "applied"  # a list says its size under the signature
    world.pass_time(hours=1)
    later = [order(serial, f"+62812345678{serial:02d}") for serial in range(11, 30)]
    assert [taken.what for taken in world.take(*later)] == ["applied"] * 15 + ["held"] * 4  # 5 times 3
    world.ledger.approve(orders[5].id, "sri", "a raid, announced", world.now)
    assert world.state(orders[5]) == "applying"


def test_an_advisory_is_only_proposed(world: World) -> None:
    taken = world.one(advisory(1, "+77"))
    assert taken.what == "proposed" and taken.rule == "r1" and world.lines() == []
    (rule,) = world.ledger.rules()
    assert (rule.mode, rule.origin, rule.subject, rule.expires_at) == ("disabled", "advisory", "+77*", None)
    enabled = world.ledger.shadow_rule("r1", "budi", "look first", world.now)
    assert enabled.expires_at == NOON + timedelta(days=7)
    assert world.lines() == [f"+77*\tnoc reject shadow both until={int(NOON.timestamp()) + 7 * 86400}"]
    for serial, prefix, code in ((2, "+7", Code.PREFIX_TOO_SHORT), (3, "+112", Code.EMERGENCY_NUMBER)):
        assert world.one(advisory(serial, prefix)).code is code
        (told,) = world.confirmations()
        assert (told.status, told.code, told.serial, told.order) == ("refused", code, serial, None)
    assert world.one(advisory(2, "+7")).code is Code.REPLAYED
    world.check()


def test_orders_are_listed_by_state_and_ticket(world: World) -> None:
    world.take(order(1, A), order(2, "+77*"), order(3, B))
    assert [view.serial for view in world.ledger.orders()] == [3, 2, 1]
    assert [view.serial for view in world.ledger.orders("held")] == [2]
    assert [view.serial for view in world.ledger.orders(ticket="T-3")] == [3]
    assert [view.serial for view in world.ledger.orders(limit=1)] == [3]
    with pytest.raises(NotFoundError, match="no order has the id"):
        world.ledger.order("nothing")
    status = world.ledger.status(world.now)
    assert status.orders == {"applying": 2, "held": 1} and len(status.deadlines) == 3 and status.overdue == 0
    world.pass_time(days=2)
    assert world.ledger.status(world.now).overdue == 3


def test_our_confirmations_bear_our_signature_only(world: World) -> None:
    world.one(order(1, "+112"))
    (outgoing,) = world.ledger.due(world.now, 5)
    assert OURS.keyring().verify(outgoing.body).kid == "op-1"
