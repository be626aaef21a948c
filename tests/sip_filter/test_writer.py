"""The writer on disk: refusals change nothing, damage falls back, a kill leaves a whole list."""

import os
import shutil
import signal
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from sip_filter import DigestError, GapError, List, Writer, list_digest
from tests.sip_filter.twin import Twin, digest

REJECT = "noc reject enforce both"


def line(n: int, stack: str = REJECT) -> str:
    return f"+7701234{n:04}\t{stack}"


class Desk:
    """A writer's folders, and what was given to it, revision by revision."""

    def __init__(self, folder: Path) -> None:
        self.live, self.state = folder / "live", folder / "state"
        self.writer = Writer(self.live, self.state)
        self.twin = Twin()
        self.history = {(1, 0): digest([])}

    def apply(self, changes: list[str], now: int = 5) -> None:
        self.twin.change(changes, now)
        self.twin.n += 1
        self.writer.apply(1, self.twin.n, changes, self.twin.digest(), now)
        self.history[1, self.twin.n] = self.twin.digest()

    def reopen(self) -> Writer:
        self.writer.close()
        self.writer = Writer(self.live, self.state)
        return self.writer

    def check(self) -> None:
        assert self.history[self.writer.revision] == self.writer.digest == list_digest(self.writer.entries())

    def files(self, stem: str) -> list[Path]:
        return sorted(self.state.glob(f"{stem}.*"), key=lambda path: path.stat().st_mtime_ns)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_refused_revision_changes_nothing(desk: Desk) -> None:
    desk.apply([line(1), "+77*\torder reject enforce both"])
    before = (desk.writer.revision, desk.writer.digest, desk.writer.entries(), desk.writer.log_bytes())
    with pytest.raises(GapError, match=r"revision 1\.3 does not follow: 1\.2 is next") as gap:
        desk.writer.apply(1, 3, [line(2)], digest([line(2)]), 5)
    assert (gap.value.expected, gap.value.got) == ((1, 2), (1, 3))
    with pytest.raises(GapError, match=r"revision 2\.2"):
        desk.writer.apply(2, 2, [], desk.writer.digest, 5)
    with pytest.raises(DigestError, match="the list's digest would be") as wrong:
        desk.writer.apply(1, 2, [line(2)], "0" * 32, 5)
    assert (wrong.value.expected, wrong.value.computed) == ("0" * 32, digest([*desk.twin.lines(), line(2)]))
    for changes, message in [
        ([line(2), line(2)], "is named twice"),
        ([line(2, "noc block enforce both")], 'action "block"'),
        (["+77"], "no tab"),
        ([line(n) for n in range(1001)], "1001 changed entries in one revision; the most allowed are 1000"),
    ]:
        with pytest.raises(ValueError, match=message):
            desk.writer.apply(1, 2, changes, "0" * 32, 5)
    with pytest.raises(ValueError, match="32 lower-case hexadecimal digits"):
        desk.writer.apply(1, 2, [], "0x", 5)
    assert (desk.writer.revision, desk.writer.digest, desk.writer.entries(), desk.writer.log_bytes()) == before


def test_a_refused_list_leaves_the_former(desk: Desk) -> None:
    desk.apply([line(1)])
    reader = List(desk.live)
    with pytest.raises(DigestError):
        desk.writer.load(2, 9, [line(2), line(3)], digest([line(2)]), 5)
    with pytest.raises(ValueError, match="is named twice"):
        desk.writer.load(2, 9, [line(2), line(2)], digest([line(2), line(2)]), 5)
    twice = [line(2), line(2, f"{REJECT} until=3")]
    with pytest.raises(ValueError, match="is named twice"):
        desk.writer.load(2, 9, twice, digest(twice), 5)
    with pytest.raises(ValueError, match="epoch 0"):
        desk.writer.load(0, 9, [], digest([]), 5)
    with pytest.raises(TypeError):
        desk.writer.load(2, 9, [7], digest([]), 5)  # type: ignore[list-item]
    assert desk.writer.entries() == [line(1)]
    assert reader.revision == (1, 1)
    assert not list(desk.live.glob("*.tmp"))


def test_one_writer_and_folders_for_few(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError, match="another writer holds"):
        Writer(desk.live, desk.state)
    with pytest.raises(BlockingIOError, match="another writer holds"):
        Writer(tmp_path / "other", desk.state)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (desk.live, desk.state)} == {0o750}
    assert not [path for path in desk.live.iterdir() if path.stat().st_mode & 0o007]
    desk.writer.close()
    with pytest.raises(ValueError, match="closed"):
        desk.writer.expire(1)
    with pytest.raises(FileNotFoundError, match="no list was ever loaded"):
        List(tmp_path / "nowhere")


def test_a_reader_follows_generations_and_survives_the_writer(desk: Desk) -> None:
    reader = List(desk.live)
    lines = [line(n) for n in range(2000)]
    desk.writer.load(3, 7, lines, digest(lines), 5)
    assert (reader.revision, reader.digest) == ((3, 7), digest(lines))
    assert reader.judge([("+77012340007", True)], "intl-a").verdict == "reject"
    desk.writer.close()
    shutil.rmtree(desk.live)
    assert reader.judge([("+77012340007", True)], "intl-a").verdict == "reject"
    desk.writer = Writer(desk.live, desk.state)
    desk.writer.apply(3, 8, [line(7, "")], digest(lines[:7] + lines[8:]), 5)
    assert reader.judge([("+77012340007", True)], "intl-a").verdict == "pass"


def test_clauses_end_and_stay_published(desk: Desk) -> None:
    reader = List(desk.live)
    desk.apply([line(1, f"{REJECT} until=50"), line(2, f"{REJECT} until=4")], now=5)
    assert reader.judge([("+77012340001", True)], "intl-a").verdict == "reject"
    assert reader.judge([("+77012340002", True)], "intl-a").verdict == "pass"
    assert desk.writer.next_expiry() == 50
    assert desk.writer.expire(49) == 0
    assert desk.writer.expire(50) == 1
    assert reader.judge([("+77012340001", True)], "intl-a").verdict == "pass"
    for _ in range(2):
        writer = desk.reopen()
        assert (writer.next_expiry(), writer.sizes()["numbers"], writer.expire(60)) == (None, 0, 0)
        assert writer.entry("+77012340001") == f"{REJECT} until=50"
        desk.check()
        writer.checkpoint()


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_log_damaged_anywhere_opens_to_a_prefix(desk: Desk, tmp_path: Path, damage: str) -> None:
    for n in range(6):
        desk.apply([line(n), line(max(n - 1, 0) + 50, ""), "+77*\torder reject enforce both" if n % 2 else "+77*\t"])
    desk.writer.close()
    again = tmp_path / "again"
    log = desk.files("log")[-1]
    whole = log.read_bytes()
    revisions = set()
    for place in range(0, len(whole), 1 if damage == "cut" else 5):
        shutil.rmtree(again, ignore_errors=True)
        shutil.copytree(desk.state, again / "state")
        flipped = whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :]
        (again / "state" / log.name).write_bytes(whole[:place] if damage == "cut" else flipped)
        with closing(Writer(again / "live", again / "state")) as writer:
            assert desk.history[writer.revision] == writer.digest == list_digest(writer.entries())
            revisions.add(writer.revision)
    assert revisions == {(1, n) for n in range(6)}


def test_work_goes_on_after_a_cut_log(desk: Desk) -> None:
    desk.apply([line(1)])
    desk.apply([line(2)])
    desk.writer.close()
    log = desk.files("log")[-1]
    log.write_bytes(log.read_bytes()[:-3])
    desk.writer = Writer(desk.live, desk.state)
    assert desk.writer.revision == (1, 1)
    desk.twin.n = 1
    desk.twin.load([line(1)], 5)
    desk.apply([line(3)])
    assert desk.reopen().entries() == [line(1), line(3)]
    desk.check()


@pytest.mark.parametrize("damage", ["head", "image", "tail", "cut", "empty"])
def test_a_bad_snapshot_falls_back_to_the_older_and_the_logs_since(desk: Desk, damage: str) -> None:
    for n in range(9):
        desk.apply([line(n, f"{REJECT} until=90")])
        if n % 3 == 2:
            desk.writer.checkpoint()
    desk.apply([line(100)])
    assert [path.name for path in desk.files("snapshot")] == ["snapshot.1.6", "snapshot.1.9"]
    assert [path.name for path in desk.files("log")] == ["log.1.6", "log.1.9"]
    newest = desk.files("snapshot")[-1]
    content = bytearray(newest.read_bytes())
    if damage in {"head", "image", "tail"}:
        content[{"head": 20, "image": 200_000, "tail": -2}[damage]] ^= 1
    newest.write_bytes(content[: {"cut": 100_000, "empty": 0}.get(damage, len(content))])
    writer = desk.reopen()
    assert (writer.origin, writer.revision) == ("snapshot", (1, 10))
    desk.check()
    assert newest.with_name(newest.name + ".bad").exists()
    for snapshot in desk.files("snapshot"):
        if not snapshot.name.endswith(".bad"):
            snapshot.write_bytes(b"nothing good")
    assert (desk.reopen().origin, desk.writer.revision) == ("empty", (1, 0))
    desk.check()


def test_a_list_may_go_back_and_its_restart_too(desk: Desk) -> None:
    for n in range(5):
        desk.apply([line(n)])
    for _ in range(2):
        desk.writer.load(1, 2, [line(7)], digest([line(7)]), 5)
        assert (desk.reopen().revision, desk.writer.entries()) == ((1, 2), [line(7)])
    desk.writer.apply(1, 3, [line(8)], digest([line(7), line(8)]), 5)
    assert desk.reopen().entries() == [line(7), line(8)]
    assert len(desk.files("snapshot")) == 2


def test_lost_live_files_come_back(desk: Desk) -> None:
    desk.apply([line(1)])
    reader = List(desk.live)
    for path in desk.live.iterdir():
        path.unlink()
    desk.writer.heartbeat(1_000)
    assert List(desk.live).revision == (1, 1)
    desk.apply([line(2)])
    assert reader.judge([("+77012340002", True)], "intl-a").verdict == "reject"


def test_former_generations_lose_their_names_after_a_grace(desk: Desk) -> None:
    for n in range(1, 4):
        desk.writer.load(1, n, [line(n)], digest([line(n)]), 5)
    generation = desk.writer.sizes()["generation"]
    names = [f"list.{generation - 1}", f"list.{generation}"]
    desk.writer.heartbeat(1_000)
    assert sorted(path.name for path in desk.live.glob("list.*")) == names
    desk.writer.heartbeat(6_000)
    assert [path.name for path in desk.live.glob("list.*")] == names[1:]


def test_a_full_disk_refuses_and_expiry_goes_on(desk: Desk) -> None:
    desk.apply([line(1, f"{REJECT} until=50")])
    shutil.rmtree(desk.state)
    desk.state.write_text("no folder any more")
    with pytest.raises(OSError, match=r"."):
        desk.writer.checkpoint()
    with pytest.raises(OSError, match=r"."):
        desk.writer.load(1, 2, [], digest([]), 5)
    assert (desk.writer.revision, desk.writer.expire(50)) == ((1, 1), 1)
    assert List(desk.live).judge([("+77012340001", True)], "intl-a").verdict == "pass"


KILLED = """
import sys
from sip_filter import Writer
from tests.sip_filter.twin import Twin
live, state, lines = sys.argv[1], sys.argv[2], int(sys.argv[3])
writer, twin = Writer(live, state), Twin()
twin.load(writer.entries(), 5)
epoch, n = writer.revision
print("open", flush=True)
while True:
    whole = [f"+7701{n % 7}{k:05}\\tnoc reject enforce both" for k in range(lines)]
    twin.load(whole, 5)
    n += 1
    writer.load(epoch, n, whole, twin.digest(), 5)
    for k in range(20):
        twin.change([f"+7702{k:05}\\torder reject enforce both", f"+7702{k + 1:05}\\t"], 5)
        n += 1
        writer.apply(epoch, n, [f"+7702{k:05}\\torder reject enforce both", f"+7702{k + 1:05}\\t"], twin.digest(), 5)
        if k % 6 == 5:
            writer.checkpoint()
    print(n, twin.digest(), flush=True)
"""


@pytest.mark.parametrize("after", [0.0, 0.004, 0.011, 0.02, 0.037, 0.06, 0.093, 0.14])
def test_a_killed_writer_leaves_a_whole_list(tmp_path: Path, after: float) -> None:
    live, state = tmp_path / "live", tmp_path / "state"
    command = [sys.executable, "-P", "-c", KILLED, str(live), str(state), "2000"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        reader = List(live)
        try:
            child.wait(timeout=after)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
        told = child.stdout.read().split()
    assert child.returncode == -signal.SIGKILL
    seen = reader.revision
    with closing(Writer(live, state)) as writer:
        assert writer.revision >= seen, "what readers saw is not lost"
        assert list_digest(writer.entries()) == writer.digest
        assert not told or writer.revision >= (1, int(told[-2]))
        assert reader.revision == writer.revision
        assert not list(state.glob("*.tmp"))
