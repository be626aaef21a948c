"""What is in force when a request is sent is what it is judged by: also a whole list, a moment old."""

from pathlib import Path

from sip_filter import Hook, Writer, list_digest
from tests.sip_filter.peers import Bench, Message, status

CALLER = "+77012345678"
LISTS = ([f"{CALLER}\torder reject enforce both"], ["+6281234567890\torder reject enforce both"])


def load(writer: Writer, turn: int) -> int:
    """Make one of the lists the whole list, a generation of its own; the status that the caller gets by it, or 0."""
    lines = LISTS[turn % 2]
    writer.load(1, writer.revision[1] + 1, lines, list_digest(lines), 0)
    return 0 if turn % 2 else 603


def test_the_gateway_sees_a_whole_list_at_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for turn in range(30):
        expected = load(bench.writer, turn)
        bench.trunk.send(Message(bench.trunk, caller=f"<sip:{CALLER}@a.example>").bytes())
        if expected:
            assert status(bench.trunk.receive()) == expected
        else:
            while not bench.switch.receive().startswith(b"INVITE "):
                pass  # A check of the next hop.
    bench.close()


def test_the_hook_sees_a_whole_list_at_once(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "live", tmp_path / "state")
    hook = Hook(tmp_path / "live", "intl-a")
    for turn in range(30):
        expected = load(writer, turn)
        assert hook.judge([CALLER]).status == ((603, "Decline") if expected else None)
        assert hook.revision == writer.revision
    writer.close()


def test_the_hook_sees_the_first_list_of_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "live").mkdir()
    hook = Hook(tmp_path / "live", "intl-a")
    assert (hook.judge([CALLER]).why, hook.revision) == ("no_list", (0, 0))
