"""A private Mosquitto for tests: own folder, 127.0.0.1 only, killable and restartable on the same port.

It ends with the test process (PR_SET_PDEATHSIG), however that ends.
"""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from agent.children import free_port

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Mosquitto:
    """One broker process with its port, folder and configuration."""

    def __init__(self, folder: Path, *, acl: str | None = None, more: tuple[str, ...] = ()) -> None:
        """`acl` is the text of an ACL file, `more` are further lines of the configuration."""
        self.folder = folder
        self.port = free_port(socket.SOCK_STREAM)
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        lines = [
            f"listener {self.port} 127.0.0.1",
            "persistence true",
            f"persistence_location {folder}/",
            "autosave_on_changes true",
            "autosave_interval 1",
            "max_queued_messages 0",
            "set_tcp_nodelay true",  # else Nagle and delayed acknowledgements cost 40 ms a message
        ]
        if not any(line.startswith("allow_anonymous") for line in more):
            lines.append("allow_anonymous true")
        lines += more
        if os.geteuid() == 0:
            lines.append("user root")
        if acl is not None:
            (folder / "acl").write_text(acl)
            lines.append(f"acl_file {folder}/acl")
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    def start(self) -> "Mosquitto":
        program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        assert program, "mosquitto is not installed"
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, "-c", str(self.folder / "mosquitto.conf")],
                stdout=log,
                stderr=log,
                preexec_fn=lambda: _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
            )
        deadline = time.monotonic() + 10
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "mosquitto did not start within 10 s"
            time.sleep(0.01)
        return self

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def saved(self, needle: bytes, seconds: float = 10) -> None:
        """Wait until the broker's own file on disk holds `needle`."""
        deadline = time.monotonic() + seconds
        path = self.folder / "mosquitto.db"
        while not (path.exists() and needle in path.read_bytes()):
            assert time.monotonic() < deadline, f"not saved within {seconds} s"
            time.sleep(0.01)

    def left(self, client_id: str, seconds: float = 10) -> None:
        """Wait until the broker has read everything that a client sent before it went, and has seen it go.

        Mosquitto reads one packet a turn. A new connection of the same id would discard what is still unread.
        """
        deadline = time.monotonic() + seconds
        while True:
            log = (self.folder / "log").read_text()
            came = log.count(f" as {client_id} (")
            gone = log.count(f"Client {client_id} disconnected") + log.count(f"Client {client_id} closed")
            gone += log.count(f"Client {client_id} already connected, closing old")
            if came == gone:
                return
            assert time.monotonic() < deadline, log
            time.sleep(0.01)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
