"""A node's control socket: a unix stream that answers one JSON object per line, and never forwards anything.

Only processes of the node's own user may ask: the socket has mode 0600 and the kernel names the peer (SO_PEERCRED).
Every refusal has the same shape: {"error": {"code": "...", "message": "..."}}. `ask` is the other end.
"""

import asyncio
import json
import os
import socket
import stat
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

LINE_LIMIT = 4 * 2**20
"""Bytes in one request or answer."""
DEADLINE_SECONDS = 10.0
"""For reading a request once it has begun, for its answer, and for writing that."""
MAX_CONNECTIONS = 32

_LINGER_SECONDS = 1.0

Handler = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
_log = structlog.get_logger("sip_filter.control")


class AskError(Exception):
    """A request was refused, or no answer came; `code` says which."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


async def ask(path: str | Path, request: Mapping[str, Any], timeout: float = 2.0) -> dict[str, Any]:  # noqa: ASYNC109 - it bounds all of it
    """The answer of the node whose control socket is `path`, within `timeout` seconds. Raises AskError."""
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_unix_connection(path, limit=LINE_LIMIT)
            try:
                writer.write(json.dumps(request, separators=(",", ":")).encode() + b"\n")
                await writer.drain()
                line = await reader.readline()
            finally:
                writer.close()
    except TimeoutError:
        raise AskError("timeout", f"{path} did not answer within {timeout} s") from None
    except (OSError, ValueError) as error:
        raise AskError("unreachable", f"{path}: {error}") from None
    if not line.endswith(b"\n"):
        raise AskError("unreachable", f"{path} closed the connection without an answer")
    answer = json.loads(line)
    if not isinstance(answer, dict):
        raise AskError("bad_answer", f"{path} answered with a {type(answer).__name__}, not an object")
    if "error" in answer:
        raise AskError(str(answer["error"].get("code")), str(answer["error"].get("message")))
    return answer


class Control:
    """Serves `handlers`, one per word of "ask", on the unix socket `path`, to the user `uid` (our own)."""

    def __init__(
        self,
        path: str | Path,
        handlers: Mapping[str, Handler],
        *,
        uid: int | None = None,
        deadline: float = DEADLINE_SECONDS,
    ) -> None:
        self._path, self._handlers, self._deadline = Path(path), dict(handlers), deadline
        self._uid = os.geteuid() if uid is None else uid
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. A socket file that a dead node left is replaced; a file of another kind is an OSError."""
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(self._path.lstat().st_mode):
                raise FileExistsError(f"{self._path} is there and not a socket")
            self._path.unlink()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        listener.bind(str(self._path))
        # Nobody can connect before listen(), so there is no moment at which others could.
        self._path.chmod(0o600)
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=LINE_LIMIT)

    async def close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if len(self._connections) > MAX_CONNECTIONS:
                await self._send_off(reader, writer, "busy", f"more than {MAX_CONNECTIONS} connections")
                return
            uid = _peer_uid(writer)
            if uid != self._uid:
                _log.warning("control.refused", uid=uid)
                await self._send_off(reader, writer, "forbidden", f"uid {uid} may not ask; only uid {self._uid} may")
                return
            while await self._serve_one(reader, writer):
                pass
        except (OSError, TimeoutError):
            pass  # the peer is gone or does not read
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one line. False when the connection can't go on."""
        first = await reader.read(1)
        if not first:
            return False
        try:
            async with asyncio.timeout(self._deadline):
                line = first if first == b"\n" else first + await reader.readline()
        except ValueError:
            await self._send_off(reader, writer, "oversized", f"the request has more than {LINE_LIMIT} bytes")
            return False
        except TimeoutError:
            await self._send_off(reader, writer, "timeout", f"the request was not whole within {self._deadline} s")
            return False
        if not line.endswith(b"\n"):
            return False
        await self._send(writer, await self._answer(line))
        return True

    async def _answer(self, line: bytes) -> Mapping[str, Any]:
        try:
            request = json.loads(line)
        except ValueError:
            return _error("malformed", "the request is not JSON")
        if not isinstance(request, dict):
            return _error("malformed", f"the request is a {type(request).__name__}, not an object")
        handler = self._handlers.get(str(request.get("ask")))
        if handler is None:
            return _error("unknown", f"ask {request.get('ask')!r} is not one of {', '.join(sorted(self._handlers))}")
        try:
            async with asyncio.timeout(self._deadline):
                return await handler(request)
        except TimeoutError:
            return _error("timeout", f"no answer within {self._deadline} s")
        except AskError as error:
            return _error(error.code, error.message)
        except Exception as error:  # noqa: BLE001 - one bad question must not end the node; no text of it in the log
            _log.error("control.failed", ask=str(request.get("ask")), error=type(error).__name__)
            return _error("failed", type(error).__name__)

    async def _send_off(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, code: str, message: str
    ) -> None:
        """Refuse and end. Closing on unread bytes would reset the peer before it has the answer: read them off."""
        await self._send(writer, _error(code, message))
        writer.write_eof()
        async with asyncio.timeout(_LINGER_SECONDS):
            while await reader.read(65_536):
                pass

    async def _send(self, writer: asyncio.StreamWriter, answer: Mapping[str, Any]) -> None:
        writer.write(json.dumps(answer, separators=(",", ":")).encode() + b"\n")
        async with asyncio.timeout(self._deadline):
            await writer.drain()


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def _peer_uid(writer: asyncio.StreamWriter) -> int:
    """The user at the other end when it connected (unix(7), SO_PEERCRED: pid, uid, gid)."""
    peer: socket.socket = writer.get_extra_info("socket")
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])
