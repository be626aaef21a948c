"""SIPp as a caller whose exit code is the assertion, and as a callee that answers every call."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agent import children

SCENARIOS = Path(__file__).parent / "sipp"


async def place(
    gateway: tuple[str, int], caller: str, scenario: Path, number: str, folder: Path, calls: int = 5
) -> None:
    """Place calls as `number` from the address `caller`; each has to go as the scenario has it."""
    (folder / "numbers.csv").write_text(f"SEQUENTIAL\n{number}\n")
    process = await asyncio.create_subprocess_exec(
        children.program("sipp"),
        f"{gateway[0]}:{gateway[1]}",
        *("-sf", str(scenario), "-inf", str(folder / "numbers.csv")),
        *("-i", caller, "-m", str(calls), "-r", "50", "-timeout", "20", "-nostdin"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, f"{scenario.stem} as {number}: {said.decode(errors='replace')[-3000:]}"


@asynccontextmanager
async def answering(folder: Path) -> AsyncIterator[tuple[str, int]]:
    """SIPp's own answering scenario, as the switch; yields its address."""
    port = children.free_port(socket.SOCK_DGRAM)
    command = [children.program("sipp"), "-sn", "uas", "-i", "127.0.0.1", "-p", str(port), "-nostdin"]
    callee = await children.start("sipp", command, folder / "sipp.log")
    yield "127.0.0.1", port
    await callee.kill()
