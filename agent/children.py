"""Private children: the processes that Palang starts for itself and that end with it.

Each child is started by absolute path, dies with its parent (PR_SET_PDEATHSIG through setpriv) and writes to a log
file of its own. Servers listen on loopback or a unix socket in their own directory, never anywhere else.
"""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

STOP_SECONDS = 5.0
_PORTS = range(20_000, 32_768)
_given: set[int] = set()


class ChildError(Exception):
    """A child that can't be started, or that ended before it was ready. Its text names program, reason and log."""


@dataclass
class Child:
    """One running child process."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.returncode is None

    async def ready(self, probe: Callable[[], Awaitable[bool]], seconds: float = 90.0) -> None:
        """Wait until `probe` says yes. Raises ChildError when the child ends first or the time is over."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not await probe():
            if not self.running:
                raise ChildError(f"{self.name} ended with {self.process.returncode}: {_last_line(self.log)}")
            if asyncio.get_running_loop().time() > deadline:
                raise ChildError(f"{self.name} was not ready within {seconds:g} s: {_last_line(self.log)}")
            await asyncio.sleep(0.01)

    async def stop(self) -> int:
        """End it with SIGTERM, after `STOP_SECONDS` with SIGKILL; returns its exit status."""
        if self.running:
            self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), STOP_SECONDS)
            except TimeoutError:
                self.process.kill()
        return await self.process.wait()

    async def kill(self) -> None:
        """End it at once, as a power cut would."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


def program(name: str) -> str:
    """The absolute path of a program; Debian keeps servers in /usr/sbin. Raises ChildError naming its package."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise ChildError(f"{name} is not installed: apt-get install {name}")
    return found


async def start(name: str, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> Child:
    """Start a child that ends with this process. Its output goes to `log`."""
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            program("setpriv"),
            "--pdeathsig",
            "KILL",
            "--",
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(env or {})},
            start_new_session=True,  # Ctrl-C reaches us alone; we end the children in order
        )
    return Child(name, process, log)


async def start_palang(name: str, arguments: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> Child:
    """Start one of our own processes with this same Python."""
    return await start(name, [sys.executable, "-P", "-m", "agent.main", *arguments], log, env)


async def start_redis(folder: Path) -> Child:
    """A private Redis on `folder`/redis.sock: append-only, never evicting."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "redis.sock"
    child = await start(
        "redis",
        [
            *(program("redis-server"), "--port", "0", "--dir", str(folder)),
            *("--unixsocket", str(path), "--unixsocketperm", "700"),
            *("--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction"),
        ],
        folder / "redis.log",
    )
    await child.ready(lambda: _redis_answers(path))
    return child


async def start_mosquitto(folder: Path, port: int) -> Child:
    """A private Mosquitto on 127.0.0.1 that keeps what it acknowledged.

    Mosquitto's own defaults lose acknowledged messages at a crash: autosave on every change is what keeps them.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\n"
        "allow_anonymous true\n"
        "persistence true\n"
        f"persistence_location {folder}/\n"
        "autosave_on_changes true\n"
        "autosave_interval 1\n"
        "max_queued_messages 0\n"
        "set_tcp_nodelay true\n"
        f"{'user root' + chr(10) if os.geteuid() == 0 else ''}",
        encoding="utf-8",
    )
    child = await start("mosquitto", [program("mosquitto"), "-c", str(config)], folder / "mosquitto.log")
    await child.ready(lambda: _accepts(port))
    return child


def free_port(kind: int, host: str = "127.0.0.1") -> int:
    """A port that nobody uses at this moment, never the same twice. `kind` is socket.SOCK_STREAM or socket.SOCK_DGRAM.

    It lies below those that the system gives to whoever names none, so that it is still free a moment later. Raises
    ChildError.
    """
    for port in random.sample(_PORTS, 100):
        if port in _given:
            continue
        with socket.socket(socket.AF_INET, kind) as probe, contextlib.suppress(OSError):
            probe.bind((host, port))
            _given.add(port)
            return port
    raise ChildError(f"no free port on {host} from {_PORTS.start} to {_PORTS.stop - 1}")


async def _redis_answers(path: Path) -> bool:
    try:
        reader, writer = await asyncio.open_unix_connection(str(path))
    except OSError:
        return False
    try:
        writer.write(b"PING\r\n")
        return await asyncio.wait_for(reader.readline(), 1.0) == b"+PONG\r\n"
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1][:400] if lines else "it said nothing"


def stop_signals(stop: Callable[[], None]) -> None:
    """Call `stop` on SIGTERM and on Ctrl-C."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
