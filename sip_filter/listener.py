"""A listener for those who watch: metrics and health over the least of HTTP that they need.

GET only, at most 4 KB of request, one request a connection, a deadline for each step. It has no secrets and nothing of
a subscriber; it listens on loopback unless the settings say otherwise. An address that can't be had is said once and
tried again: nothing that is watched stops because nobody can watch it.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

import structlog

REQUEST_LIMIT: Final = 4096
"""Bytes of a request, its body among them: there is none."""
DEADLINE_SECONDS: Final = 5.0
"""For reading the request, for its answer, and for writing that."""
MAX_CONNECTIONS: Final = 32

_AGAIN_SECONDS = 5.0
_LINGER_SECONDS = 1.0
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
_log = structlog.get_logger("palang.listener")


class Answer(NamedTuple):
    """What a path answers."""

    status: int
    body: str
    content_type: str = "text/plain; charset=utf-8"


Route = Callable[[], Awaitable[Answer]]


def verdict(word: str, because: list[str], **more: Any) -> Answer:
    """A health answer: 200 when nothing speaks against it, else 503; one line of JSON says why."""
    body = json.dumps({word: not because, "because": because, **more}, ensure_ascii=True, separators=(", ", ": "))
    return Answer(503 if because else 200, body + "\n", "application/json")


class Listener:
    """Answers `routes`, one per path, on `address` ("127.0.0.1:9465"; port 0 is any). `run` is a task."""

    def __init__(self, address: str, routes: Mapping[str, Route], *, deadline: float = DEADLINE_SECONDS) -> None:
        self.address, self._routes, self._deadline = address, dict(routes), deadline
        self.listening = asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Listen until cancelled; while the address can't be had, try again every few seconds."""
        host, _, port = self.address.rpartition(":")
        said = False
        while True:
            try:
                server = await asyncio.start_server(self._serve, host.strip("[]"), int(port), limit=REQUEST_LIMIT)
            except OSError as error:
                if not said:
                    _log.error("listener.no_address", address=self.address, error=str(error), effect="nobody can watch")
                said = True
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            break
        real = server.sockets[0].getsockname()
        self.address = f"[{real[0]}]:{real[1]}" if ":" in real[0] else f"{real[0]}:{real[1]}"
        _log.info("listener.ready", address=self.address, paths=sorted(self._routes))
        self.listening.set()
        try:
            await asyncio.get_running_loop().create_future()  # until cancelled
        finally:
            server.close()
            for task in tuple(self._connections):
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) >= MAX_CONNECTIONS:
            writer.close()
            return
        self._connections.add(task)
        try:
            await self._answer(reader, writer)
        except (OSError, TimeoutError):
            pass  # the peer is gone or does not read
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._deadline):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return
        except TimeoutError:
            await self._send(writer, Answer(408, "the request was not whole in time\n"))
            return
        except asyncio.LimitOverrunError:
            await self._send(writer, Answer(431, f"the request has more than {REQUEST_LIMIT} bytes\n"))
            await _read_off(reader, writer)
            return
        await self._send(writer, await self._route(head))

    async def _route(self, head: bytes) -> Answer:
        words = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return Answer(400, "this is no request of HTTP/1.1\n")
        method, target, _ = words
        if method != "GET":
            return Answer(405, "only GET is answered here\n")
        route = self._routes.get(target.partition("?")[0])
        if route is None:
            return Answer(404, f"there are {' '.join(sorted(self._routes))}\n")
        try:
            async with asyncio.timeout(self._deadline):
                return await route()
        except TimeoutError:
            return Answer(503, f"no answer within {self._deadline:g} s\n")
        except Exception as error:  # noqa: BLE001 - who watches must not end what is watched
            _log.error("listener.failed", path=target[:64], error=type(error).__name__)
            return Answer(500, f"{type(error).__name__}\n")

    async def _send(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        body = answer.body.encode()
        head = (
            f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}\r\n"
            f"Content-Type: {answer.content_type}\r\n"
            f"Content-Length: {len(body)}\r\n"
            "Cache-Control: no-store\r\n"
            "X-Content-Type-Options: nosniff\r\n"
            f"{'Allow: GET' + chr(13) + chr(10) if answer.status == 405 else ''}"
            "Connection: close\r\n\r\n"
        )
        writer.write(head.encode("ascii") + body)
        async with asyncio.timeout(self._deadline):
            await writer.drain()


async def _read_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Closing on unread bytes would reset the peer before it has the answer: read them off, for a moment."""
    writer.write_eof()
    with suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_SECONDS):
            while await reader.read(65_536):
                pass
