"""The journal's chain: any record changed, removed, moved or cut is found, and the first bad one named."""

import dataclasses
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.journal import GENESIS, Chain, Checkpoint, Record, canonical, link, sign_checkpoint
from sync.jws import Signer, generate_key
from sync.ledger import LedgerError, verify_file
from sync.settings import LedgerSettings
from tests.sync.house import OURS, REGULATOR, World, order

COUNT = 12


def chain() -> list[Record]:
    records, prev = [], GENESIS
    for seq in range(1, COUNT + 1):
        records.append(link(seq, 1000 + seq, "order.state", "budi", f"o{seq % 3}", {"n": seq, "ü": "ж"}, prev))
        prev = records[-1].hash
    return records


RECORDS = chain()
POINTS = [
    Checkpoint(seq, RECORDS[seq - 1].hash, sign_checkpoint(OURS, "op", seq, RECORDS[seq - 1].hash, 1))
    for seq in (5, COUNT)
]


def first_problem(records: list[Record], points: list[Checkpoint] = POINTS, head: Record = RECORDS[-1]) -> str | None:
    walk = Chain(points, OURS.keyring())
    for record in records:
        if problem := walk.check(record):
            return problem
    return walk.finish(head.seq, head.hash)


def test_an_untouched_chain_is_whole() -> None:
    assert first_problem(RECORDS) is None
    assert RECORDS[0].body == '{"n":1,"ü":"ж"}'
    assert canonical({"b": 1, "a": [None]}) == '{"a":[null],"b":1}'


@pytest.mark.parametrize("field", ["at_ms", "kind", "actor", "about", "body", "prev", "hash"])
@pytest.mark.parametrize("place", range(COUNT))
def test_every_changed_field_is_found_at_its_record(place: int, field: str) -> None:
    old = getattr(RECORDS[place], field)
    new = old + 1 if isinstance(old, int) else old[:-1] + ("0" if old[-1] != "0" else "1")
    records = [*RECORDS]
    changed: dict[str, Any] = {field: new}
    records[place] = dataclasses.replace(RECORDS[place], **changed)
    problem = first_problem(records)
    assert problem is not None and f"record {place + 1} " in problem


@pytest.mark.parametrize("place", range(COUNT))
def test_every_removed_record_is_found(place: int) -> None:
    problem = first_problem([*RECORDS[:place], *RECORDS[place + 1 :]])
    last = place == COUNT - 1
    assert problem == (
        f"the journal ends at record {place}; it had {COUNT}"
        if last
        else f"record {place + 1} is missing; the next is {place + 2}"
    )


@pytest.mark.parametrize("place", range(COUNT - 1))
def test_every_exchange_is_found(place: int) -> None:
    records = [*RECORDS]
    records[place], records[place + 1] = records[place + 1], records[place]
    assert first_problem(records) == f"record {place + 1} is missing; the next is {place + 2}"
    renumbered = [dataclasses.replace(record, seq=seq) for seq, record in enumerate(records, 1)]
    assert first_problem(renumbered) is not None


@pytest.mark.parametrize("kept", range(COUNT))
def test_a_cut_tail_is_found_even_when_the_head_was_cut_too(kept: int) -> None:
    head = RECORDS[kept - 1] if kept else Record(0, 0, "", "", None, "", "", GENESIS)
    assert first_problem(RECORDS[:kept], head=head) == f"the journal ends at record {kept}; it had {COUNT}"


def test_a_chain_made_anew_does_not_fit_the_signed_checkpoint() -> None:
    forged, prev = [], GENESIS
    for record in RECORDS:
        body = {**json.loads(record.body), "n": 0} if record.seq == 3 else json.loads(record.body)
        forged.append(link(record.seq, record.at_ms, record.kind, record.actor, record.about, body, prev))
        prev = forged[-1].hash
    assert first_problem(forged, head=forged[-1]) == "record 5 does not fit its checkpoint"
    moved = [Checkpoint(point.seq, forged[point.seq - 1].hash, point.jws) for point in POINTS]
    assert first_problem(forged, moved, forged[-1]) == "the checkpoint of record 5 was signed for another chain"
    stranger = Signer(generate_key(), "op-1")
    resigned = [Checkpoint(p.seq, p.hash, sign_checkpoint(stranger, "op", p.seq, p.hash, 1)) for p in moved]
    assert "the checkpoint of record 5 is not signed" in str(first_problem(forged, resigned, forged[-1]))


@given(st.lists(st.text(max_size=5), min_size=3, max_size=3), st.lists(st.text(max_size=5), min_size=3, max_size=3))
@settings(max_examples=200)
def test_no_two_records_share_a_hash(one: list[str], other: list[str]) -> None:
    hashes = {link(1, 1, kind, actor, about, {}, GENESIS).hash for kind, actor, about in (one, other)}
    assert len(hashes) == (1 if one == other else 2)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "ledger.sqlite", settings=LedgerSettings(checkpoint_records=4))
    for serial in range(1, 5):
        world.take(order(serial, f"+628123456789{serial}"))
    world.ledger.checkpoint(world.now)
    return world


def tamper(world: World, act: Callable[[sqlite3.Connection], object]) -> None:
    world.ledger.close()
    with sqlite3.connect(world.path) as connection:
        act(connection)
    connection.close()
    world.open()


def test_the_ledgers_journal_is_whole(world: World) -> None:
    found = world.ledger.verify(regulator=REGULATOR.keyring())
    assert found.whole and found.records == world.ledger.status(world.now).journal and found.checkpoints >= 2


def test_a_file_is_verified_from_outside_without_writing(world: World) -> None:
    found = verify_file(world.path, OURS.keyring(), REGULATOR.keyring())
    assert found == world.ledger.verify(regulator=REGULATOR.keyring()) and found.whole
    with pytest.raises(LedgerError, match="there is no ledger"):
        verify_file(world.path.parent / "absent", OURS.keyring())
    (world.path.parent / "other").write_bytes(b"no ledger " * 1000)
    with pytest.raises(LedgerError, match="not a database"):
        verify_file(world.path.parent / "other", OURS.keyring())


@pytest.mark.parametrize(
    ("statement", "bad"),
    [
        ("UPDATE journal SET body = replace(body, 'T-2', 'T-9')", 3),
        ("UPDATE journal SET actor = 'eve' WHERE seq = 6", 6),
        ("UPDATE journal SET about = NULL WHERE seq = 5", 5),
        ("DELETE FROM journal WHERE seq = 4", 4),
        ("DELETE FROM journal WHERE seq > 6", 7),
        ("DELETE FROM journal", 1),
        ("UPDATE journal SET seq = -1 * seq WHERE seq IN (3, 4)", 3),
        ("UPDATE head SET journal_hash = '00'", 9),
        ("UPDATE checkpoints SET jws = 'x'", 4),
        ("DELETE FROM messages WHERE sha256 = (SELECT message FROM orders WHERE serial = 2)", 3),
        ("UPDATE messages SET raw = raw || x'00' WHERE sha256 = (SELECT message FROM orders WHERE serial = 3)", 5),
    ],
)
def test_tampering_with_the_file_is_named(world: World, statement: str, bad: int) -> None:
    tamper(world, lambda connection: connection.execute("PRAGMA foreign_keys=OFF").connection.execute(statement))
    found = world.ledger.verify(regulator=REGULATOR.keyring())
    assert not found.whole and found.first_bad == bad, found


def test_a_message_that_another_key_signed_is_named(world: World) -> None:
    stranger = Signer(generate_key(), "reg-1")
    found = world.ledger.verify(regulator=stranger.keyring())
    assert found.first_bad == 1 and "signature" in str(found.problem)


def test_acts_of_people_are_recorded(world: World) -> None:
    number = world.ledger.record("node.drain", "sri", "gw1", {"reason": "new kernel"}, world.now)
    (shown,) = world.ledger.journal(number - 1)
    assert (shown.kind, shown.actor, shown.body) == ("node.drain", "sri", {"reason": "new kernel"})
    world.check()
