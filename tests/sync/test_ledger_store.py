"""The ledger's file: migrations, newer schemas, failing disks, kill -9, copies taken in the middle, and long lists."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from sync import schema
from sync.ledger import LedgerError, LedgerUnavailable, backup
from sync.ledger.store import Store
from tests.sync.house import World, order, reading, receipt, signed

ROOT = Path(__file__).resolve().parents[2]
A = "+6281234567890"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "ledger.sqlite")


def test_the_migrations_make_exactly_the_schema(tmp_path: Path) -> None:
    Store(tmp_path / "ledger.sqlite").close()
    engine = sa.create_engine(f"sqlite:///{tmp_path}/ledger.sqlite")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
        migrated = connection.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE '%alembic%'"))
        names = {name for name, _ in migrated}
    engine.dispose()
    fresh = sa.create_engine("sqlite://")
    schema.metadata.create_all(fresh)
    with fresh.connect() as connection:
        assert names == {name for (name,) in connection.execute(sa.text("SELECT name FROM sqlite_master"))}
    fresh.dispose()


def test_a_new_list_is_empty_at_1_0(world: World) -> None:
    head = world.ledger.head()
    assert (str(head), head.digest, head.entries) == ("1.0", "0" * 32, 0)
    assert world.ledger.revisions(0, 10) == [] and world.ledger.entries("", 10) == []
    assert world.ledger.next_expiry() is None and world.ledger.next_due() is None and world.ledger.last_serial() == 0
    assert world.ledger.verify().whole and world.ledger.checkpoint(world.now) is None


def test_a_newer_schema_is_refused_in_one_line(world: World) -> None:
    world.ledger.close()
    with sqlite3.connect(world.path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(LedgerError, match=r"ledger\.sqlite: written by a newer Palang \(schema 9999\)") as caught:
        world.open()
    assert "\n" not in str(caught.value)


def test_the_file_is_opened_durable(world: World) -> None:
    with world.ledger._house.store.read() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_only_its_owner_reads_the_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    store = Store(path)
    with store.write():
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    assert modes == {"ledger.sqlite": 0o600, "ledger.sqlite-wal": 0o600, "ledger.sqlite-shm": 0o600}
    store.close()


def test_what_is_no_ledger_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(LedgerUnavailable, match="file is not a database"):
        World(path)
    with pytest.raises(LedgerUnavailable, match="unable to open"):
        World(tmp_path / "absent" / "ledger.sqlite")


def test_another_thread_is_turned_away(world: World) -> None:
    errors: list[BaseException] = []

    def use() -> None:
        try:
            world.ledger.head()
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert "belongs to the thread" in str(errors[0])


def test_a_mistake_in_a_batch_leaves_nothing_of_it(world: World) -> None:
    world.take(order(1, A))
    before = world.ledger.status(world.now)
    with pytest.raises(AttributeError):
        world.ledger.take([reading(order(2, A)), reading(order(3, A)), None], world.now)  # type: ignore[list-item]
    assert world.ledger.status(world.now) == before
    world.check()
    assert world.one(order(2, A)).what == "applied"


def test_a_full_disk_acknowledges_nothing_and_recovers(world: World) -> None:
    world.take(order(1, A))
    before = world.ledger.status(world.now)
    with world.ledger._house.store.read() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    big = order(2, *(f"+62813{n:08d}" for n in range(5_000)))
    with pytest.raises(LedgerUnavailable, match="full"):
        world.one(big)
    assert world.ledger.status(world.now) == before  # on a fresh connection, without the limit
    world.check()
    assert world.one(big).what == "applied"


def test_a_locked_ledger_is_unavailable(world: World) -> None:
    world.take(order(1, A))
    with world.ledger._house.store.read() as connection:
        pass
    connection.exec_driver_sql("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(world.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerUnavailable, match="locked"):
        world.one(order(2, A))
    other.execute("ROLLBACK")
    other.close()
    assert world.one(order(2, A)).what == "applied"


CHILD = """
import sys
from pathlib import Path
from tests.sync.house import World, order
world = World(Path(sys.argv[1]))
serial = world.ledger.last_serial()
{before}
while True:
    serial += 1
    many = order(serial + 1, *(f"+62813{{serial:04d}}{{n:04d}}" for n in range(30)))
    world.take(order(serial, f"+62812{{serial:08d}}"), many)
    serial += 1
    print(serial, flush=True)
"""


def child(path: Path, *, before: str = "", **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", CHILD.format(before=before), str(path)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("point", ["ledger.before_commit:1", "ledger.before_commit:4", "ledger.after_commit:3"])
def test_killed_at_a_point_the_batch_is_whole_or_absent(tmp_path: Path, point: str) -> None:
    path = tmp_path / "ledger.sqlite"
    World(path).ledger.close()
    process = child(path, PALANG_KILL_AT=point)
    told, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors
    world = World(path)
    name, times = point.split(":")
    batches = int(times) - (name == "ledger.before_commit")
    assert told.split() == [str(2 * n) for n in range(1, int(times))]
    assert world.ledger.last_serial() == 2 * batches and world.ledger.head().entries == 31 * batches
    world.check()


def test_killed_at_any_instant_what_was_acknowledged_is_there(tmp_path: Path) -> None:
    """Three lives of one ledger, each ended by SIGKILL; copies of file and log taken meanwhile open whole too."""
    path, chance = tmp_path / "ledger.sqlite", random.Random(5)
    World(path).ledger.close()
    for life in range(3):
        process = child(path)
        assert process.stdout is not None
        told = int(process.stdout.readline())
        for _ in range(chance.randrange(8)):
            told = int(process.stdout.readline())
        copy = tmp_path / f"copy{life}" / "ledger.sqlite"
        copy.parent.mkdir()
        backup(path, copy)
        process.kill()
        told = max([told, *(int(line) for line in process.stdout.read().split())])
        process.wait()
        process.stdout.close()
        copied = World(copy)
        copied.check()
        copied.ledger.close()
        world = World(path)
        assert world.ledger.last_serial() >= told
        world.check()
        world.ledger.close()


def test_a_plain_copy_of_a_resting_ledger_opens_whole(world: World, tmp_path: Path) -> None:
    """The files as a machine that loses power would leave them: database and log, nothing closed."""
    for serial in range(1, 20):
        world.take(order(serial, f"+62812345678{serial:02d}"))
        copy = tmp_path / f"copy{serial}.sqlite"
        shutil.copy(world.path, copy)
        shutil.copy(f"{world.path}-wal", f"{copy}-wal")
        copied = World(copy)
        assert copied.ledger.head() == world.ledger.head()
        copied.check()
        copied.ledger.close()


def test_a_torn_log_loses_only_its_end(world: World, tmp_path: Path) -> None:
    """SQLite's log is checked frame by frame: cut anywhere, the ledger opens at an earlier commit."""
    heads = {world.ledger.head().n}
    for serial in range(1, 8):
        world.take(order(serial, f"+62812345678{serial:02d}"))
        heads.add(world.ledger.head().n)
    log = Path(f"{world.path}-wal").read_bytes()
    for cut in range(0, len(log), max(1, len(log) // 25)):
        copy = tmp_path / f"cut{cut}.sqlite"
        shutil.copy(world.path, copy)
        Path(f"{copy}-wal").write_bytes(log[:cut])
        copied = World(copy)
        assert copied.ledger.head().n in heads
        copied.check()
        copied.ledger.close()


def test_a_disk_that_fails_to_sync_is_told_and_nothing_acknowledged(tmp_path: Path) -> None:
    """EIO from the first fsync after the start of the batch, by strace; then the same ledger on a sound disk."""
    path = tmp_path / "ledger.sqlite"
    World(path).ledger.close()
    script = (
        "import sys\nfrom pathlib import Path\nfrom sync.ledger import LedgerUnavailable\n"
        "from tests.sync.house import World, order\nworld = World(Path(sys.argv[1]))\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "try:\n    world.take(order(1, '+6281234567890'))\n    print('acknowledged')\n"
        "except LedgerUnavailable as error:\n    print('unavailable', error)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    inject = "inject=fsync,fdatasync:error=EIO:when=1"
    tracer = subprocess.Popen(
        [
            "strace",
            "-f",
            "-qq",
            "-o",
            str(tmp_path / "trace"),
            "-e",
            "trace=fsync,fdatasync",
            "-e",
            inject,
            "-p",
            str(process.pid),
        ]
    )
    while "TracerPid:\t0\n" in Path(f"/proc/{process.pid}/status").read_text():
        time.sleep(0.01)
    told, _ = process.communicate("go\n", timeout=60)
    tracer.wait(timeout=60)
    assert told.startswith("unavailable") and "disk I/O error" in told
    assert "INJECTED" in (tmp_path / "trace").read_text()
    world = World(path)
    world.check()
    assert world.one(order(1, A)).what in ("applied", "refused")


def test_long_lists_are_quick_and_cut_into_revisions(world: World) -> None:
    numbers = [f"+62813{n:08d}" for n in range(20_000)]
    started = time.process_time()
    monthly = order(1, *numbers[:3_104])
    world.one(monthly)
    assert time.process_time() - started < 2.5
    assert [len(revision.changes) for revision in world.ledger.revisions(0, 10)] == [1000, 1000, 1000, 104]
    (waiting,) = world.ledger.awaiting_proof()
    assert (waiting.n, len(waiting.subjects)) == (4, 3_104)
    world.one(order(2, *numbers[1_000:]))
    assert world.ledger.head().entries == 20_000
    lift = order(3, *numbers, kind="unblock")
    world.one(lift)
    assert world.ledger.head().entries == 0 and world.ledger.head().digest == "0" * 32
    assert (world.state(monthly), world.state(lift)) == ("refused", "applying")
    world.prove(lift, "lifted")
    (told,) = [c for c in world.confirmations() if c.order == lift.id]
    world.one(receipt(told))
    assert world.state(lift) == "closed" and len(signed(lift)) < 4_194_304


def test_a_batch_costs_one_commit(world: World) -> None:
    readings = [order(serial, f"+6281234{serial:06d}") for serial in range(1, 51)]
    with world.ledger._house.store.read() as connection:
        pass
    commits: list[str] = []
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.set_trace_callback(lambda statement: commits.append(statement) if statement == "COMMIT" else None)
    world.take(*readings)
    driver.set_trace_callback(None)
    assert commits == ["COMMIT"] and world.ledger.head().entries == 50


def test_fences_only_grow(world: World) -> None:
    tokens = [world.ledger.take_fence() for _ in range(3)]
    world.reopen()
    assert [*tokens, world.ledger.take_fence()] == [1, 2, 3, 4]
