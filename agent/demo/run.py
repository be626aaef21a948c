"""Setting the stage and playing the steps, one line each."""

import asyncio
import socket
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from agent.children import free_port
from agent.client import Record
from agent.demo.phones import Address, Caller, Switch
from agent.demo.steps import Scene, Step, play
from agent.stage import NODE, TRUNK, Stage

CALLER = "127.0.0.2"


Front = Callable[[Address, Address], Awaitable[Address]]


async def demo(tell: Callable[[Step], None], front: Front | None = None) -> list[Record]:
    """Play the demo; `tell` hears of each step as it ends. Raises Broken, ChildError when something does not hold.

    `front` may put something else where the caller expects the gateway, given the gateway's and the switch's address:
    the demo must notice.
    """
    began = time.monotonic()
    switch = Switch()
    await switch.listen(("127.0.0.1", 0))
    steps: list[Step] = []
    with tempfile.TemporaryDirectory(prefix="palang-demo-") as folder:
        console = f"127.0.0.1:{free_port(socket.SOCK_STREAM)}"
        stage = Stage(Path(folder), switch.address, CALLER, console=console, one_person=False)
        try:
            async with stage:
                gateway = await front(stage.gateway, switch.address) if front else stage.gateway
                caller = Caller(gateway)
                await caller.listen((CALLER, 0))
                async with stage.regulator() as regulator, stage.agent() as noc:
                    scene = Scene(caller, switch, gateway, regulator, noc, NODE, TRUNK, stage.console)
                    watch = asyncio.create_task(stage.watch())
                    try:
                        async for step in play(scene, began):
                            steps.append(step)
                            tell(step)
                    finally:
                        watch.cancel()
                        caller.close()
        finally:
            switch.close()
    return [step.record() for step in steps]
