"""What the wall costs the agent: its processor time with nobody looking, and with VIEWERS browsers' streams open.

    .venv/bin/python -P -m perf.wall_bench [--viewers 20] [--seconds 60]

The agent is a real one with its gateway, Redis and Mosquitto; the viewers are HTTP connections that read the stream as
a browser does, signed in, in two languages. Time is the agent process's own, user and system, from /proc. Expected:
under 5 % of a core more with 20 viewers than with none (the target of the wall).
"""

import argparse
import asyncio
import os
import platform
import socket
import sys
import tempfile
import time
from pathlib import Path

import httpx
import pyotp

from agent.children import free_port
from agent.demo.phones import Switch
from agent.stage import Stage

PASSWORD = "correct horse battery"
TARGET = 5.0
_TICK = os.sysconf("SC_CLK_TCK")


async def main(viewers: int, seconds: float) -> bool:
    """Measure and print; whether the target was met."""
    switch = Switch()
    await switch.listen(("127.0.0.1", 0))
    console = f"127.0.0.1:{free_port(socket.SOCK_STREAM)}"
    with tempfile.TemporaryDirectory(prefix="palang-wall-") as folder:
        async with Stage(Path(folder), switch.address, console=console) as stage:
            cookie = await signed_in(stage, f"http://{console}")
            agent = stage.children["agent"].process.pid
            await asyncio.sleep(5)
            idle = await share(agent, seconds)
            looking = [asyncio.create_task(look(f"http://{console}", cookie, place)) for place in range(viewers)]
            await asyncio.sleep(5)
            watched = await share(agent, seconds)
            for task in looking:
                task.cancel()
            counts = await asyncio.gather(*looking)
    switch.close()
    beats = sorted(beats for beats, _ in counts)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"nobody looks:    {idle:5.2f} % of a core")
    print(f"{viewers} viewers look: {watched:5.2f} % of a core, {watched - idle:+.2f}")
    print(f"beats in {seconds + 5:.0f} s: fewest {beats[0]}, most {beats[-1]}; bytes a viewer: {counts[0][1]}")
    return watched - idle < TARGET and beats[0] > 0.8 * seconds


async def share(pid: int, seconds: float) -> float:
    """The processor time of one process over some seconds, in percent of a core."""
    before, began = used(pid), time.monotonic()
    await asyncio.sleep(seconds)
    return 100 * (used(pid) - before) / (time.monotonic() - began)


def used(pid: int) -> float:
    """Seconds of processor time so far, user and system (proc(5): fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


async def look(url: str, cookie: str, place: int) -> tuple[int, int]:
    """Read the stream until cancelled; how many beats and bytes came."""
    headers = {"Cookie": f"__Host-palang={cookie}; palang_language={('id', 'en')[place % 2]}"}
    beats = size = 0
    try:
        async with (
            httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as http,
            http.stream("GET", "/wall/events") as answer,
        ):
            async for chunk in answer.aiter_bytes():
                beats += chunk.count(b"event: beat")
                size += len(chunk)
    except asyncio.CancelledError:
        return beats, size
    return beats, size


async def signed_in(stage: Stage, url: str) -> str:
    """The cookie of a person who may look."""
    async with stage.agent() as agent:
        asked = {"name": "vina", "display": "Vina", "roles": ["viewer"], "reason": "the wall's figures"}
        word = (await agent.post("/v1/people", asked))["invitation"]
        key = pyotp.TOTP((await agent.post("/v1/enrolments", {"invitation": word, "password": PASSWORD}))["key"])
        step = int(time.time()) // 30
        await agent.post("/v1/enrolments/confirm", {"invitation": word, "code": key.generate_otp(step - 1)})
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        body = {"name": "vina", "password": PASSWORD, "code": key.generate_otp(step)}
        answer = await http.post("/v1/sessions", json=body)
        answer.raise_for_status()
        return answer.cookies["__Host-palang"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60.0)
    chosen = parser.parse_args()
    sys.exit(0 if asyncio.run(main(chosen.viewers, chosen.seconds)) else 1)
