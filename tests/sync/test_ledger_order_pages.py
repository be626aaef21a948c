"""Orders a page at a time, the most urgent first; and what the regulator was told, as the story shows it."""

from datetime import timedelta
from pathlib import Path

import pytest

from tests.sync.house import NOON, World, order


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "ledger.sqlite")


def test_pages_by_deadline_hold_each_open_order_once_and_in_order(world: World) -> None:
    hours = [5, 3, 3, 9, 1, 3, 7]
    for serial, hour in enumerate(hours, start=1):
        world.take(order(serial, f"+62812345678{serial:02}", deadline=NOON + timedelta(hours=hour)))
    found, after = [], None
    while page := world.ledger.orders("open", 2, None, after, "deadline"):
        found += [(one.deadline, one.serial) for one in page]
        after = page[-1].serial
    assert len(found) == len(hours) and found == sorted(found)


def test_open_leaves_out_what_is_at_its_end(world: World) -> None:
    held, refused = order(1, "+628*"), order(2, "+628*", kind="block")
    world.take(held, refused)
    world.ledger.refuse(refused.id, "sari", "not ours to block", world.now)
    assert {one.id for one in world.ledger.orders("open")} == {held.id}
    assert {one.id for one in world.ledger.orders("refused")} == {refused.id}


def test_the_story_has_the_proof_and_coverage_that_the_regulator_was_told(world: World) -> None:
    block = order(1, "+6281234567890")
    world.take(block)
    world.prove(block, "in_force")
    told = world.ledger.order(block.id).confirmations[-1]
    assert told.proof is not None and told.coverage is not None
    assert [node["node"] for node in told.proof["nodes"]] == ["gw1"]
    assert told.coverage["not_covered"][0]["what"] == "on-net calls"
