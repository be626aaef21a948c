"""The scene that all browser tests share, and real Chromium to look at it."""

import os
import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from agent.children import free_port
from agent.demo.phones import Switch
from agent.stage import Stage
from tests.console.looking import CHROMIUM
from tests.console.scene import Scene

# What a page takes on a busy machine; what is expected of it does not change.
expect.set_options(timeout=30_000)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """A real agent with people, orders, rules and calls."""
    switch = Switch()
    await switch.listen(("127.0.0.1", 0))
    address = f"127.0.0.1:{free_port(socket.SOCK_STREAM)}"
    async with Stage(tmp_path_factory.mktemp("console"), switch.address, console=address) as stage:
        seeded = await Scene.on(stage)
        yield seeded
        await seeded.close()
    switch.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """Debian's Chromium."""
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield browser
        await browser.close()
