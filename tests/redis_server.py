"""A private redis-server for tests: real, alone in its directory, and gone with the process that started it."""

import ctypes
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from tempfile import mkdtemp

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class RedisServer:
    """A private redis-server: own directory, a unix socket only, append-only file on, noeviction."""

    def __init__(self, *options: str) -> None:
        binary = shutil.which("redis-server") or shutil.which("valkey-server")
        assert binary, "neither redis-server nor valkey-server is on PATH: install one (apt-get install redis-server)"
        # Not pytest's tmp_path: a unix socket's path may have 107 bytes.
        self.folder = Path(mkdtemp(prefix="palang-redis-"))
        self.socket = self.folder / "redis.sock"
        self._command = [binary, "--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700"]
        self._command += ["--dir", str(self.folder), "--save", "", "--appendonly", "yes", "--appendfsync", "everysec"]
        self._command += ["--maxmemory-policy", "noeviction", "--logfile", str(self.folder / "redis.log"), *options]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        assert self._process is None
        self._process = subprocess.Popen(self._command, preexec_fn=_end_with_parent, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while b"PONG" not in self.cli("PING"):
            assert self._process.poll() is None and time.monotonic() < deadline, (self.folder / "redis.log").read_text()
            time.sleep(0.01)

    def cli(self, *arguments: str) -> bytes:
        """The answer of redis-cli, errors too: it shares no code with what is tested."""
        command = ["redis-cli", "-s", str(self.socket), *arguments]
        done = subprocess.run(command, capture_output=True, timeout=10, check=False)
        return done.stdout + done.stderr

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """As `kill -9` does; the directory stays, `start` opens it again."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def cut(self, size: int) -> None:
        """Take the last `size` bytes off the append-only file."""
        (log,) = (self.folder / "appendonlydir").glob("*.incr.aof")
        os.truncate(log, max(0, log.stat().st_size - size))

    def close(self) -> None:
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _end_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
