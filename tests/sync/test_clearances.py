"""Clearances in the ledger: two people lift a wrong block, the nodes prove it, the regulator is told."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sync.codes import Code
from sync.contract import Confirmation, Order
from sync.ledger import ClearanceView, LedgerError, NotFoundError
from tests.sync.house import NOON, World, blocked, order, receipt

A, B = "+6281234567890", "+6281234567891"
DOCUMENT = "ab" * 32
DAY = timedelta(days=1)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "ledger.sqlite")


def opened(world: World, number: str = A, by: str = "sri", **more: Any) -> ClearanceView:
    done = world.ledger.open_clearance(
        number, "KL-2026-7", DOCUMENT, "holder came with passport", by, world.now + DAY, world.now, **more
    )
    assert done.waits is not None and done.waits.about == done.record.id
    return done.record


def approve(world: World, clearance: ClearanceView, by: str = "budi") -> ClearanceView:
    assert clearance.request is not None
    world.ledger.approve_request(clearance.request, by, "letter read", world.now)
    return view(world, clearance)


def view(world: World, clearance: ClearanceView) -> ClearanceView:
    return world.ledger.clearance(clearance.id).clearance


def prove(world: World, clearance: ClearanceView, verdict: str = "lifted", revision: str | None = None) -> str:
    return world.prove_id(clearance.id, verdict, revision)


def in_force(world: World, block: Order) -> None:
    world.one(block)
    world.prove(block, "in_force")
    for said in world.confirmations():
        world.one(receipt(said))
    assert world.state(block) == "closed"


def test_from_the_question_to_the_receipt(world: World) -> None:
    block = order(1, A)
    in_force(world, block)
    asked = opened(world)
    assert (asked.id, asked.kind, asked.state, asked.deadline) == ("c1", "clarification", "asked", NOON + DAY)
    assert blocked(world.lines()) == {A} and world.ledger.awaiting_proof() == []
    done = approve(world, asked)
    assert world.lines() == [] and (done.state, done.revision) == ("applying", str(world.ledger.head()))
    assert world.state(block) == "cleared"
    (said,) = world.ledger.order(block.id).subjects
    assert (said.state, said.code, said.detail) == ("ended", Code.CLEARED, "lifted by clearance c1")
    (waiting,) = world.ledger.awaiting_proof()
    assert (waiting.order, waiting.kind, waiting.subjects) == ("c1", "unblock", (A,))
    assert world.receive() == []  # nobody is told before it is proved
    world.pass_time(minutes=3)
    assert prove(world, asked) == "lifted"
    (told,) = world.confirmations()
    assert (told.status, told.code, told.order, told.ticket) == ("lifted", Code.CLEARED, block.id, "T-1")
    assert (told.late, told.effective_at, told.revision) == (False, world.now, done.revision)
    assert told.proof is not None and told.clearance is not None
    lifted = told.clearance
    assert (lifted.subject, lifted.cause, lifted.reference) == (A, "clarification", "KL-2026-7")
    assert (lifted.document, lifted.left, lifted.approved_at) == (DOCUMENT, 0, NOON)
    assert world.one(receipt(told)).what == "receipt"
    closed = view(world, asked)
    assert (closed.state, closed.lifted_at, closed.closed_at) == ("closed", world.now, world.now)
    assert world.state(block) == "cleared" and world.ledger.awaiting_proof() == []
    world.pass_time(days=9)
    assert world.receive() == [] and world.ledger.clearances_overdue(world.now) == []
    story = world.ledger.clearance("c1")
    assert [record.kind for record in story.journal] == [
        *("clearance.open", "clearance.state", "approval.ask", "clearance.ask"),
        *("approval.approved", "clearance.state", "clearance.lift", "clearance.state", "proof", "clearance.state"),
    ]
    assert story.blocking == ()
    assert [(naming.order.order.id, naming.state) for naming in story.orders] == [(block.id, "ended")]
    assert story.proof is not None and story.proof["verdict"] == "lifted"
    assert [(sent.status, sent.receipt_at) for sent in story.confirmations] == [("lifted", NOON + timedelta(minutes=3))]
    (request,) = story.requests
    assert (request.author, request.decided_by, request.state) == ("sri", "budi", "approved")
    world.check()


@pytest.mark.parametrize(("author", "second"), [("sri", "sri"), ("sri", "SRI"), ("local:root", "local:budi")])
def test_its_author_cannot_approve(world: World, author: str, second: str) -> None:
    in_force(world, order(1, A))
    asked = opened(world, by=author)
    with pytest.raises(LedgerError, match="by its author"):
        approve(world, asked, second)
    assert blocked(world.lines()) == {A} and view(world, asked).state == "asked"


def test_refused_or_kept_the_block_stays(world: World) -> None:
    block = order(1, A, B)
    in_force(world, block)
    asked = opened(world)
    assert asked.request is not None
    world.ledger.refuse_request(asked.request, "budi", "the letter is forged", world.now)
    refused = view(world, asked)
    assert (refused.state, refused.closed_at) == ("refused", world.now)
    (review,) = world.ledger.reassigned([B], "sold again", "sri", world.now + DAY, world.now, commit=True).opened
    kept = world.ledger.keep_clearance(review, "budi", "still used by the scammer", world.now)
    assert (kept.state, kept.kind) == ("kept", "reassigned")
    with pytest.raises(LedgerError, match="a clearance that is kept can't take the event keep"):
        world.ledger.keep_clearance(review, "budi", "again", world.now)
    assert blocked(world.lines()) == {A, B} and world.state(block) == "closed"
    world.check()


def test_a_request_that_lapses_or_is_taken_back_leaves_a_review_and_its_deadline(world: World) -> None:
    in_force(world, order(1, A))
    asked = opened(world)
    world.pass_time(hours=25)
    world.ledger.expire(world.now)
    review = view(world, asked)
    assert (review.state, review.deadline) == ("review", NOON + DAY)
    assert [late.id for late in world.ledger.clearances_overdue(world.now)] == ["c1"]
    again = world.ledger.ask_clearance("c1", "KL-8", DOCUMENT, "once more", "sri", world.now)
    assert again.waits is not None
    world.ledger.withdraw_request(again.waits.id, "sri", "not yet", world.now)
    assert view(world, asked).state == "review"
    world.ledger.ask_clearance("c1", "KL-9", DOCUMENT, "now", "sri", world.now)
    assert approve(world, view(world, asked)).state == "applying"
    assert world.lines() == []


def test_one_number_of_a_list_is_lifted_and_the_order_stays_in_force(world: World) -> None:
    block = order(1, A, B)
    world.one(block)
    asked = approve(world, opened(world))
    assert blocked(world.lines()) == {B} and world.state(block) == "applying"
    assert {tuple(waiting.subjects) for waiting in world.ledger.awaiting_proof()} == {(B,), (A,)}
    world.prove(block, "in_force")
    prove(world, asked)
    told = {said.status: said for said in world.confirmations()}
    coverage = told["in_force"].coverage
    assert coverage is not None and (A, "ended: cleared") in [(left.what, left.why) for left in coverage.not_covered]
    assert told["lifted"].clearance is not None and told["lifted"].clearance.left == 1
    world.one(receipt(told["lifted"]))
    assert (world.state(block), view(world, asked).state) == ("in_force", "closed")
    world.one(receipt(told["in_force"]))
    assert world.state(block) == "closed"
    second = approve(world, opened(world, B))
    assert (world.state(block), second.state) == ("cleared", "applying")
    world.check()


def test_all_orders_that_block_it_end_and_each_is_told(world: World) -> None:
    first, second = order(1, A), order(2, A)
    world.take(first, second)
    asked = approve(world, opened(world))
    assert (world.state(first), world.state(second)) == ("cleared", "cleared")
    prove(world, asked)
    told = world.confirmations()
    assert {said.order for said in told} == {first.id, second.id}
    world.one(receipt(told[0]))
    assert view(world, asked).state == "lifted"
    world.one(receipt(told[1]))
    assert view(world, asked).state == "closed"
    world.check()


def test_rules_of_the_noc_on_it_end_and_nobody_is_told(world: World) -> None:
    rule = world.rule(A, "reject", "enforce", reason="wave", actor="sri")
    asked = approve(world, opened(world))
    assert world.lines() == []
    ended = world.ledger.rule(rule.id)
    assert (ended.live, ended.end_reason) == (False, "removed by budi: lifted by clearance c1")
    assert world.ledger.transitions(rule.id)[0].cause == "remove"
    assert prove(world, asked) == "closed" and world.receive() == []


def test_a_prefix_rule_of_the_noc_gets_an_exception_with_the_approval(world: World) -> None:
    in_force(world, order(1, A))
    world.rule("+628123*", "reject", "enforce", reason="wave", actor="sri")
    done = approve(world, opened(world))
    assert done.exception is not None
    made = world.ledger.rule(done.exception)
    assert (made.subject, made.action, made.mode, made.actor) == (A, "allow", "enforce", "budi")
    assert made.expires_at == NOON + timedelta(days=30)
    assert world.ledger.clearance(done.id).blocking == ()
    assert world.ledger.transitions(made.id)[0].actor == "budi"
    assert prove(world, done) == "lifted"
    world.check()


def test_without_the_exception_it_is_still_blocked_and_the_regulator_hears_so(world: World) -> None:
    block = order(1, A)
    in_force(world, block)
    wave = world.rule("+628123*", "reject", "enforce", reason="wave", actor="sri")
    asked = approve(world, opened(world, exception=False))
    (catching,) = world.ledger.clearance(asked.id).blocking
    assert (catching.rule.id, catching.remedy, asked.exception) == (wave.id, "exception", None)
    assert prove(world, asked, "still_blocked_by") == "still_blocked_by"
    (told,) = world.confirmations()
    assert (told.status, told.effective_at) == ("still_blocked_by", None)
    world.one(receipt(told))
    assert view(world, asked).state == "still_blocked_by"
    world.ledger.remove_rule(wave.id, "sri", "over", world.now)
    assert prove(world, asked) == "lifted"
    (told,) = world.confirmations()
    world.one(receipt(told))
    assert view(world, asked).state == "closed"


def test_an_orders_prefix_only_the_regulator_lifts(world: World) -> None:
    wide = order(1, "+77012*")
    in_force(world, wide)
    with pytest.raises(LedgerError, match=rf"only the regulator can lift .* order {wide.id} on \+77012\*"):
        opened(world, "+77012345678")
    in_force(world, order(2, "+77012345678"))
    asked = approve(world, opened(world, "+77012345678"))
    assert [found.remedy for found in world.ledger.clearance(asked.id).blocking] == ["regulator"]
    assert blocked(world.lines()) == {"+77012*"}


def test_a_later_order_blocks_it_again_and_the_clearance_says_so(world: World) -> None:
    in_force(world, order(1, A))
    proved, unproved = opened(world), order(5, B)
    world.one(unproved)
    half = opened(world, B)
    approve(world, proved)
    approve(world, half)
    prove(world, proved)
    again = order(7, A, B)
    world.one(again)
    assert blocked(world.lines()) == {A, B}
    for clearance, state in ((proved, "lifted"), (half, "overtaken")):
        now = view(world, clearance)
        assert (now.state, now.again_by, now.again_at) == (state, again.id, world.now)
    world.check()


def test_a_lower_serial_that_comes_late_does_not_block_it_again(world: World) -> None:
    in_force(world, order(5, A))
    asked = approve(world, opened(world))
    late = order(3, A)
    assert world.one(late).what == "refused"
    assert world.state(late) == "refused" and world.lines() == [] and view(world, asked).again_by is None
    unblock = order(9, A, kind="unblock")
    world.one(unblock)
    assert view(world, asked).again_by is None
    world.check()


def test_an_order_that_comes_between_question_and_approval_is_not_lifted_unseen(world: World) -> None:
    in_force(world, order(1, A))
    asked = opened(world)
    world.one(order(2, A))
    with pytest.raises(LedgerError, match="the order with serial 2 came after a1 was asked"):
        approve(world, asked)
    assert blocked(world.lines()) == {A} and view(world, asked).state == "asked"


def test_a_proof_from_before_the_lift_proves_nothing(world: World) -> None:
    in_force(world, order(1, A))
    before = str(world.ledger.head())
    asked = approve(world, opened(world))
    assert prove(world, asked, revision=before) == "applying"
    with pytest.raises(LedgerError, match="can't find it in_force"):
        prove(world, asked, "in_force")
    assert world.receive() == []


def test_late_is_marked(world: World) -> None:
    in_force(world, order(1, A))
    asked = opened(world)
    world.pass_time(hours=23)
    approve(world, asked)
    world.pass_time(hours=2)
    prove(world, asked)
    (told,) = world.confirmations()
    assert told.late


def test_what_cannot_be_opened_says_why(world: World) -> None:
    with pytest.raises(LedgerError, match="nothing blocks this number"):
        opened(world)
    assert world.ledger.clearances() == []
    in_force(world, order(1, A))
    with pytest.raises(LedgerError, match=r"\+62812\* is a prefix; a clearance is about one number"):
        opened(world, "+62812*")
    opened(world)
    with pytest.raises(LedgerError, match="clearance c1 about this number is asked already"):
        opened(world)
    in_force(world, order(2, B))
    with pytest.raises(LedgerError, match="must not hold the number"):
        world.ledger.open_clearance(B, "0812-3456-7891", DOCUMENT, "why", "sri", NOON + DAY, NOON)
    for wrong in ("c9", "x", "c", "9" * 30):
        with pytest.raises(NotFoundError):
            world.ledger.clearance(wrong)


def test_a_list_of_numbers_with_new_subscribers(world: World) -> None:
    in_force(world, order(1, A, B))
    world.rule("+77*", "reject", "enforce", reason="wave", actor="sri")
    opened(world, B)
    numbers = [A, B, "+77012345678", "+6281111111111", A]
    preview = world.ledger.reassigned(numbers, "sold again", "sri", NOON + DAY, NOON, commit=False)
    assert (preview.numbers, preview.blocked, preview.open, preview.new, preview.opened) == (4, 3, 1, 2, ())
    assert len(world.ledger.clearances()) == 1
    done = world.ledger.reassigned(numbers, "sold again", "sri", NOON + DAY, NOON, commit=True)
    assert done.opened == ("c2", "c3")
    reviews = [world.ledger.clearance(review).clearance for review in done.opened]
    assert [(review.subject, review.state) for review in reviews] == [(A, "review"), ("+77012345678", "review")]
    assert world.ledger.reassigned(numbers, "sold again", "sri", NOON + DAY, NOON, commit=True).opened == ()
    counted = [record.body for record in world.ledger.journal(limit=1_000) if record.kind == "clearance.reassigned"]
    assert [(body["numbers"], body["opened"]) for body in counted] == [(4, 0), (4, 2), (4, 0)]
    lifted = world.ledger.ask_clearance("c2", "CRM-1", DOCUMENT, "checked", "sri", NOON).record
    prove(world, approve(world, lifted))
    told = world.confirmations()[-1]
    assert isinstance(told, Confirmation) and told.clearance is not None and told.clearance.cause == "reassigned"


def test_lists_by_number_and_by_deadline(world: World) -> None:
    world.one(order(1, A, B))
    late = world.ledger.reassigned([A], "sold", "sri", NOON + 2 * DAY, NOON, commit=True).opened[0]
    soon = world.ledger.reassigned([B], "sold", "sri", NOON + DAY, NOON, commit=True).opened[0]
    assert [found.id for found in world.ledger.clearances()] == [soon, late]
    assert [found.id for found in world.ledger.clearances(waiting=True)] == [soon, late]
    assert [found.id for found in world.ledger.clearances(waiting=True, after=2)] == [late]
    assert world.ledger.clearances(waiting=True, after=1) == []
    assert [found.id for found in world.ledger.clearances(after=2)] == [late]
    world.ledger.keep_clearance(soon, "sri", "no", NOON)
    assert [found.id for found in world.ledger.clearances(waiting=True)] == [late]
