"""The web: console and API on a TCP address, for people who sign in and programs that bring tokens."""

import asyncio
import socket
import ssl
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from agent import api
from agent.access import PeopleDoor
from agent.access.edge import Edge
from agent.console import face
from agent.figures import counted
from agent.local_http import Quiet
from agent.settings_access import ConsoleSettings, ip_of
from agent.wiring import Parts
from config import ConfigError

_HEAD_SECONDS: Final = 10.0
"""How long a request's head may take to arrive; also how long a connection without a request is kept."""
_MOST_CONNECTIONS: Final = 256
_BACKLOG: Final = 128


def app(parts: Parts) -> FastAPI:
    """The API as it is served there."""
    return counted(api.app(parts, PeopleDoor(parts.entrance)), parts.figures)


def site(parts: Parts) -> ASGIApp:
    """The same, and the console's pages beside it."""
    return face(app(parts))


class WebServer(Quiet):
    """Serves one app at the address of the settings, over TLS where they name a certificate."""

    def __init__(self, app: ASGIApp, settings: ConsoleSettings) -> None:
        """Raises ConfigError for a certificate or key that can't be used."""
        tls = settings.certificate is not None
        config = uvicorn.Config(
            Edge(app, hosts_of(settings), tls=tls),
            lifespan="off",
            log_config=None,
            access_log=False,
            http=_Patient,
            ws="none",
            proxy_headers=False,  # an address that the sender may choose would be no address to throttle
            server_header=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=int(_HEAD_SECONDS),
            timeout_graceful_shutdown=1,  # a page's stream of events has no end of its own
            h11_max_incomplete_event_size=16 * 1024,
        )
        config.load()
        config.ssl = _tls(settings)
        super().__init__(config)


def listen(settings: ConsoleSettings) -> socket.socket:
    """A listening socket at the address of the settings. Raises ConfigError when it can't be had."""
    address = ip_of(settings.listen)
    listener = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((str(address), int(settings.listen.rpartition(":")[2])))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(f"console.listen {settings.listen}: {error.strerror}") from None
    return listener


def hosts_of(settings: ConsoleSettings) -> frozenset[str]:
    """The Host headers that mean us: the address itself, on loopback also by its name, and the settings' own."""
    port = settings.listen.rpartition(":")[2]
    names = {settings.listen, *settings.hosts}
    if ip_of(settings.listen).is_loopback:
        names.add(f"localhost:{port}")
    standard = ":443" if settings.certificate else ":80"
    return frozenset(names | {name.removesuffix(standard) for name in names})


def _tls(settings: ConsoleSettings) -> ssl.SSLContext | None:
    if settings.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.certificate, settings.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"console.certificate {settings.certificate}: {error}") from None
    return context


class _Patient(H11Protocol):
    """HTTP/1.1 that does not wait for ever for a request to begin or for its head to be whole."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._head_timer: asyncio.TimerHandle | None = None
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait_for_head()

    def _wait_for_head(self) -> None:
        """Run the timer exactly while no request is under way."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(_HEAD_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
