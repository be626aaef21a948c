"""The seven steps, as a newcomer runs them; and that they can fail."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from agent.demo import steps
from agent.demo.phones import Address, Caller
from agent.demo.run import demo
from agent.demo.steps import Broken
from tests.system.forwarder import forwarder

PALANG = Path(sys.executable).parent / "palang"


def _processes(mark: str) -> list[str]:
    """The command line of every process that was started with `mark` in its environment or arguments."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            arguments = (process / "cmdline").read_bytes()
            if mark.encode() in arguments + (process / "environ").read_bytes():
                found.append(arguments.replace(b"\0", b" ").decode())
    return found


def test_the_seven_steps_hold_and_nothing_is_left() -> None:
    with TemporaryDirectory(prefix="mark-") as mark:
        done = subprocess.run(
            [PALANG, "demo", "--json"],
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
            env={**os.environ, "TMPDIR": mark},
        )
        assert done.returncode == 0, done.stderr
        assert _processes(mark) == []
        assert list(Path(mark).iterdir()) == []
    records = json.loads(done.stdout)
    assert [record["step"] for record in records] == [1, 2, 3, 4, 5, 6, 7]
    assert all(record["held"] for record in records)
    assert records[3]["ticket"] == "closed"
    assert records[5]["numbers"] == 3104


async def test_a_plain_forwarder_instead_of_the_gateway_is_noticed() -> None:
    seen: list[int] = []
    with pytest.raises(Broken, match=r"expected 603; got SIP/2.0 180 Ringing then SIP/2.0 200 OK"):
        await demo(lambda step: seen.append(step.number), forwarder)
    assert seen == [1, 2]


async def test_a_probe_that_reaches_the_switch_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def leaky(gateway: Address, switch: Address) -> Address:
        stray = Caller(switch)
        await stray.listen(("127.0.0.1", 0))

        async def leak(scene: steps.Scene) -> steps.Record:
            """A probe leaks"""
            await stray.call("+6281234567890")
            stray.close()
            return {}

        monkeypatch.setattr(steps, "before", leak)
        await asyncio.sleep(0)
        return gateway

    with pytest.raises(Broken, match="1 calls reached the switch that should not have"):
        await demo(lambda step: None, leaky)
