"""The named points: they do nothing, unless asked to end the process; and a misspelt one is an error."""

import os
import signal
import subprocess
import sys

import pytest

from sync.points import POINTS, reach


def run(code: str, armed: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PALANG_KILL_AT": armed}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


def test_points_do_nothing_by_themselves() -> None:
    for name in POINTS:
        reach(name)


def test_an_unknown_point_is_an_error() -> None:
    with pytest.raises(KeyError, match="no point is named"):
        reach("ledger.sometime")
    assert "no such point" in run("import sync.points", "ledger.sometime").stderr


def test_the_armed_point_ends_the_process() -> None:
    code = "from sync.points import reach; reach('feed.after_ack'); reach('feed.before_ack'); print('alive')"
    assert run(code, "feed.before_ack").returncode == -signal.SIGKILL
    assert run(code, "outbox.after_send").stdout == "alive\n"


def test_the_armed_point_ends_another_process() -> None:
    with subprocess.Popen(["sleep", "60"]) as victim:
        code = "from sync.points import reach; reach('feed.after_ack'); reach('feed.after_ack'); print('alive')"
        assert run(code, f"feed.after_ack:1:{victim.pid}").stdout == "alive\n"
        assert victim.wait(5) == -signal.SIGKILL


def test_the_armed_point_ends_the_process_at_the_time_asked_for() -> None:
    code = "from sync.points import reach\nfor n in range(5): reach('feed.before_ack'); print(n, flush=True)"
    found = run(code, "feed.before_ack:3")
    assert (found.returncode, found.stdout) == (-signal.SIGKILL, "0\n1\n")
