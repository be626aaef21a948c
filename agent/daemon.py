"""The daemon: one task group on uvloop that runs the agent's parts and ends cleanly on SIGTERM."""

import asyncio
import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import structlog
import uvloop

from agent import api, rule_clock, web
from agent.checkpoints import Checkpoints, places
from agent.children import stop_signals
from agent.figures import counted
from agent.hits import Hits
from agent.local_http import AddressInUse, LocalServer, Quiet, listen
from agent.overdue import watch_clearances
from agent.settings import Settings
from agent.status import report
from agent.watching import look_out, watchers
from agent.wiring import Parts, assemble, lock_path
from config import ConfigError

_log = structlog.get_logger("palang.agent")


def run(settings: Settings) -> None:
    """Run the agent until SIGTERM or Ctrl-C. Raises ConfigError when it can't start."""
    with _only_one(lock_path(settings)):
        uvloop.run(_run(settings))


async def _run(settings: Settings) -> None:
    parts = assemble(settings)
    stop = asyncio.Event()
    stop_signals(stop.set)
    try:
        listener = listen(settings.agent.socket)
    except AddressInUse as error:
        raise ConfigError(str(error)) from None
    console = settings.console
    servers: list[tuple[Quiet, socket.socket]] = [(LocalServer(counted(api.app(parts), parts.figures)), listener)]
    if console.listen:
        servers.append((web.WebServer(web.site(parts), console), web.listen(console)))
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(work)
                for work in (
                    parts.link.run(),
                    parts.feed.run(),
                    parts.publisher.run(),
                    parts.prover.run(),
                    parts.outbox.run(),
                    parts.alarms.run(),
                    parts.wall.run(parts, report),
                    look_out(parts),
                    *((watchers(parts).run(),) if settings.agent.metrics else ()),
                    Hits(parts.ledger, parts.redis, settings.redis.name).run(),
                    rule_clock.run(parts.ledger, parts.alarms),
                    _checkpoints(parts).run(),
                    parts.collector.run(),
                    parts.brake.run(),
                    watch_clearances(parts.ledger, parts.alarms),
                )
            ]
            served = [tasks.create_task(server.serve(sockets=[listener])) for server, listener in servers]
            _log.info("agent.started", operator=settings.contract.operator, console=console.listen or None)
            await stop.wait()
            for server, _ in servers:
                server.should_exit = True
            parts.wall.close()  # a stream of events would hold its server open
            await asyncio.wait(served)
            for task in running:
                task.cancel()
    finally:
        settings.agent.socket.unlink(missing_ok=True)
        await parts.redis.aclose()
        parts.traffic.close()
        parts.ledger.close()
        _log.info("agent.stopped")


def _checkpoints(parts: Parts) -> Checkpoints:
    kept = places(parts.settings.checkpoints, parts.link, parts.settings.contract.operator)
    return Checkpoints(parts.ledger, kept, parts.settings.checkpoints, parts.alarms)


@contextlib.contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Hold the lock of one ledger. The kernel lets it go whichever way the process ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ConfigError(f"{path}: another agent has this ledger") from None
    try:
        yield
    finally:
        os.close(handle)
