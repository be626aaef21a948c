"""No process of ours leaves a core: neither the agent nor the gateway, nor what they start."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.keys import make_keys
from tests.waiting import until


def _limits(pid: int) -> list[str]:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    (core,) = [line for line in lines if line.startswith("Max core file size")]
    return core.split()[4:6]


def _agent(folder: Path) -> list[str]:
    make_keys(folder / "keys", "operator")
    (folder / "palang.toml").write_text(
        f'[agent]\nsocket = "{folder}/agent.sock"\nmetrics = ""\n'
        f'[contract]\nsigning_key = "{folder}/keys/operator.jwk"\nregulator_keys = ["{folder}/keys/operator.pub.jwk"]\n'
        f'[ledger]\npath = "{folder}/ledger.sqlite"\n'
        f'[redis]\nurl = "unix://{folder}/redis.sock"\n'
        "[mqtt]\nport = 1\n"
        '[console]\nlisten = ""\n'
    )
    return ["agent", "--config", str(folder / "palang.toml")]


def _gateway(folder: Path) -> list[str]:
    (folder / "rules").write_text("reject +77\n")
    return [
        *("gateway", "--listen", "udp:127.0.0.1:0", "--trunk", "127.0.0.2/32=international"),
        *("--next-hop", "127.0.0.1:9", "--rules", str(folder / "rules")),
    ]


@pytest.mark.parametrize("command", [_agent, _gateway])
def test_core_files_are_forbidden(command: object, tmp_path: Path) -> None:
    words = command(tmp_path)  # type: ignore[operator]
    said = (tmp_path / "said").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "agent.main", *words],
        stdout=said,
        stderr=said,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        asyncio.run(until(lambda: (tmp_path / "said").stat().st_size or process.poll() is not None, 60))
        assert process.poll() is None, (tmp_path / "said").read_text()
        assert _limits(process.pid) == ["0", "0"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        said.close()
