"""HTTP on a unix socket that only this user can open: how the agent's API and the stand-in's are served."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from fastapi import FastAPI


class AddressInUse(Exception):
    """Somebody listens at the socket already. The text names it."""


class Quiet(uvicorn.Server):
    """A server that leaves signals to the one who runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class LocalServer(Quiet):
    """Serves one API on one socket."""

    def __init__(self, api: FastAPI) -> None:
        super().__init__(uvicorn.Config(api, lifespan="off", log_config=None, access_log=False))


def listen(path: Path) -> socket.socket:
    """A listening unix socket of mode 0600. Raises AddressInUse when a live process listens there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise AddressInUse(f"{path}: another process listens there")
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o600)  # nobody can connect before listen()
    listener.listen(128)
    return listener
