"""`make screenshots`: every page of the console as a person of the fitting role sees it, light and dark, into a folder.

Run as a program: the folder, then paths if not all are wanted. Two of the pictures are in the README; the others stay
out of git.
"""

import asyncio
import os
import re
import socket
import sys
import tempfile
from pathlib import Path

from playwright.async_api import async_playwright

from agent.access import Role
from agent.children import free_port
from agent.demo.phones import Caller, Switch
from agent.stage import Stage
from tests.console.looking import CHROMIUM, DESK, PHONE, open_as, paths
from tests.console.scene import Scene

_SHY = ("/people", "/settings")
"""Pages that a supervisor does not see; an admin does."""


async def main(folder: Path, only: list[str]) -> None:
    """Make the pictures, of the paths in `only` if any are named."""
    switch = Switch()
    await switch.listen(("127.0.0.1", 0))
    folder.mkdir(parents=True, exist_ok=True)
    address = f"127.0.0.1:{free_port(socket.SOCK_STREAM)}"
    with tempfile.TemporaryDirectory(prefix="palang-pictures-") as place:
        async with Stage(Path(place), switch.address, console=address) as stage, async_playwright() as playwright:
            scene = await Scene.on(stage, hostile=False)
            sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
            chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
            calling = asyncio.create_task(call(stage))
            await asyncio.sleep(20)  # the charts have something to show
            for theme in ("light", "dark"):
                for path in paths(scene):
                    if path == "/" or (only and path not in only):
                        continue
                    role = Role.ADMIN if path.startswith(_SHY) else Role.SUPERVISOR
                    for name, size in (("", DESK), ("-phone", PHONE))[: 2 if theme == "dark" else 1]:
                        async with open_as(chromium, scene, role, theme=theme, size=size) as looked:
                            await looked.go(path)
                            await looked.page.wait_for_timeout(1500)
                            picture = folder / f"{_name(path)}-{theme}{name}.png"
                            await looked.page.screenshot(path=picture, full_page=bool(name))
                            print(picture)  # noqa: T201
            calling.cancel()
            await chromium.close()
            await scene.close()
    switch.close()


async def call(stage: Stage) -> None:
    """Calls of a busy evening, some of them blocked, until cancelled."""
    caller = Caller(stage.gateway)
    await caller.listen((stage.caller, 0))
    numbers = ("+6221500100", "+12025550142", "+6281299887766", "+6221500101", "+442079460000", "+221771234567")
    try:
        for turn in range(100_000):
            await caller.call(numbers[turn % len(numbers)])
            await asyncio.sleep(0.03 + 0.02 * (turn // 60 % 4))
    finally:
        caller.close()


def _name(path: str) -> str:
    """A file's name for a page: what stands for an id is left out."""
    return "-".join(part for part in re.split(r"[/?=&]", path) if part and not re.search(r"[0-9a-f]{8}-", part)) + (
        "-one" if re.search(r"[0-9a-f]{8}-", path) else ""
    )


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
