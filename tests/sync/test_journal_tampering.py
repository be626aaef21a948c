"""Tampering with copies of a journal of a thousand records: each time it is found, and the first bad record named."""

import shutil
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from sync.journal import CHECKPOINT_TYPE, read_checkpoints, sign_checkpoint
from sync.jws import Signer, generate_key
from sync.ledger import Verification, verify_file
from sync.settings import LedgerSettings
from tests.sync.house import NOON, OURS, World

COUNT = 1_000
SAMPLE = [*range(1, 6), 49, 50, 51, 333, 500, 997, 998, 999, COUNT]
FIELDS = ("at", "kind", "actor", "about", "body", "prev", "hash")

Tamper = Callable[[sqlite3.Connection, int], object]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed ledger with a thousand records."""
    folder = tmp_path_factory.mktemp("journal")
    world = World(folder / "whole.sqlite", settings=LedgerSettings(checkpoint_records=50))
    for begin in range(0, COUNT, 50):
        with world.ledger._house.change(NOON + timedelta(seconds=begin)) as tx:
            for n in range(begin, begin + 50):
                tx.journal("order.state", f"person-{n % 7}", f"r{n % 40}", {"n": n, "reason": "as it was"})
    world.ledger.close()
    return world.path


def flip(connection: sqlite3.Connection, place: int) -> None:
    field = FIELDS[place % len(FIELDS)]
    (value,) = connection.execute(f"SELECT {field} FROM journal WHERE seq = ?", (place,)).fetchone()
    changed = value + 1 if isinstance(value, int) else value[:-1] + chr(ord(value[-1]) ^ 1)
    connection.execute(f"UPDATE journal SET {field} = ? WHERE seq = ?", (changed, place))


def delete(connection: sqlite3.Connection, place: int) -> None:
    connection.execute("DELETE FROM journal WHERE seq = ?", (place,))


def exchange(connection: sqlite3.Connection, place: int) -> None:
    other = place + 1 if place < COUNT else place - 1
    for old, new in ((place, 0), (other, place), (0, other)):
        connection.execute("UPDATE journal SET seq = ? WHERE seq = ?", (new, old))


def cut(connection: sqlite3.Connection, place: int) -> None:
    """Cut the tail from `place` on, with all that tells of it on this machine."""
    connection.execute("DELETE FROM journal WHERE seq >= ?", (place,))
    connection.execute("DELETE FROM checkpoints WHERE seq >= ?", (place,))
    left = connection.execute("SELECT seq, hash FROM journal ORDER BY seq DESC LIMIT 1").fetchone() or (0, "0" * 64)
    connection.execute("UPDATE head SET journal_seq = ?, journal_hash = ?", left)
    connection.execute("UPDATE head SET checkpoint_seq = (SELECT coalesce(max(seq), 0) FROM checkpoints)")


def tampered(whole: Path, tamper: Tamper, place: int, elsewhere: list[str]) -> Verification:
    copy = whole.with_name("copy.sqlite")
    shutil.copyfile(whole, copy)
    connection = sqlite3.connect(copy, isolation_level=None)
    connection.execute("PRAGMA journal_mode=OFF")
    tamper(connection, place)
    connection.close()
    return verify_file(copy, OURS.keyring(), elsewhere=read_checkpoints(elsewhere, OURS.keyring()))


def kept_elsewhere(whole: Path) -> list[str]:
    connection = sqlite3.connect(whole)
    lines = [jws for (jws,) in connection.execute("SELECT jws FROM checkpoints ORDER BY seq")]
    connection.close()
    return lines


def first_bad(tamper: Tamper, place: int) -> int:
    return min(place, place - 1) if tamper is exchange and place == COUNT else place


def check(whole: Path, tamper: Tamper, places: list[int]) -> None:
    elsewhere = kept_elsewhere(whole) if tamper is cut else []
    for place in places:
        found = tampered(whole, tamper, place, elsewhere)
        assert (found.first_bad, found.whole) == (first_bad(tamper, place), False), (place, found)


TAMPERS = [flip, delete, exchange, cut]


@pytest.mark.parametrize("tamper", TAMPERS)
def test_what_was_done_is_found_and_the_first_bad_record_named(whole: Path, tamper: Tamper) -> None:
    check(whole, tamper, SAMPLE)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("tamper", TAMPERS)
def test_each_of_a_thousand_records(whole: Path, tamper: Tamper) -> None:
    check(whole, tamper, [*range(1, COUNT + 1)])


def test_an_untouched_copy_is_whole_with_its_checkpoints_kept_elsewhere(whole: Path) -> None:
    progress: list[tuple[int, int]] = []
    points = read_checkpoints(kept_elsewhere(whole), OURS.keyring())
    assert len(points) == 20
    found = verify_file(
        whole, OURS.keyring(), elsewhere=points, progress=lambda checked, of: progress.append((checked, of))
    )
    assert found.whole and found.records == COUNT and progress == [(COUNT, COUNT)]


def test_a_tail_cut_with_all_that_told_of_it_shows_only_against_what_is_kept_elsewhere(whole: Path) -> None:
    assert tampered(whole, cut, 700, []).whole
    found = tampered(whole, cut, 700, kept_elsewhere(whole))
    assert found.problem == "the journal ends at record 699; it had 1000"


def test_another_history_written_over_a_cut_tail_does_not_fit_either(whole: Path) -> None:
    copy = whole.with_name("forked.sqlite")
    shutil.copyfile(whole, copy)
    connection = sqlite3.connect(copy, isolation_level=None)
    cut(connection, COUNT - 9)
    connection.close()
    world = World(copy)
    for _ in range(20):
        world.ledger.record("rule.remove", "eve", "r1", {"reason": "nothing to see"}, NOON)
    world.ledger.checkpoint(NOON)
    world.ledger.close()
    assert verify_file(copy, OURS.keyring()).whole
    points = read_checkpoints(kept_elsewhere(whole), OURS.keyring())
    assert verify_file(copy, OURS.keyring(), elsewhere=points).problem == f"record {COUNT} does not fit its checkpoint"


def test_a_file_of_checkpoints_may_be_a_syslog() -> None:
    token = sign_checkpoint(OURS, "op", 7, "ab" * 32, 1)
    lines = ["# kept at the other site", "", f"<109>1 2026-11-22T12:00:00Z gw palang - checkpoint - {token}", token]
    assert [(point.seq, point.hash) for point in read_checkpoints(lines, OURS.keyring())] == [(7, "ab" * 32)] * 2


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        sign_checkpoint(Signer(generate_key(), "op-1"), "op", 7, "ab" * 32, 1),
        OURS.sign(b'{"seq":7,"hash":"x"}', "palang+jws").decode(),
        OURS.sign(b'{"seq":"7"}', CHECKPOINT_TYPE).decode(),
        OURS.sign(b"[]", CHECKPOINT_TYPE).decode(),
    ],
)
def test_what_is_no_checkpoint_of_ours_is_named_by_its_line(line: str) -> None:
    with pytest.raises(ValueError, match="line 2 is no checkpoint"):
        read_checkpoints(["#", line], OURS.keyring())


def test_a_journal_that_grows_meanwhile_is_whole(whole: Path) -> None:
    copy = whole.with_name("growing.sqlite")
    shutil.copyfile(whole, copy)
    world = World(copy)

    def grow(checked: int, of: int) -> None:
        world.ledger.record("rule.mode", "sri", "r1", {"reason": "meanwhile"}, NOON)

    found = verify_file(copy, OURS.keyring(), progress=grow)
    assert found.whole and found.records == COUNT
    assert verify_file(copy, OURS.keyring()).records == COUNT + 1
    world.ledger.close()
