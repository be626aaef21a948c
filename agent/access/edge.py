"""The edge: what stands between the network and the app. Which host is meant, how much may be sent and how slowly, and
the headers that keep a browser from doing more with our pages than showing them.
"""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any, Final

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BODY: Final = 1024 * 1024
"""Bytes of a request's body."""
BODY_SECONDS: Final = 20.0
"""How long a body may take to arrive whole."""
_LINGER_BYTES: Final = 4 * MOST_BODY
_LINGER_SECONDS: Final = 2.0
"""How much is taken, and how long, of a body that nobody wants: closed over bytes that nobody read, a connection is
reset, and the answer may be lost with it.
"""

CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",  # for browsers that don't know frame-ancestors
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}
"""On every response, an error's too."""
_TLS_ONLY: Final = {"Strict-Transport-Security": "max-age=31536000"}
_UNLESS_SET: Final = {
    "Cache-Control": "no-store",
    # Pages set same-origin: from a page that may not be named at all, a form's Origin would be null.
    "Referrer-Policy": "no-referrer",
}
_TOO_LARGE: Final = f"the body is larger than {MOST_BODY} bytes"


class Edge:
    """An app, as the network may reach it."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str], *, tls: bool) -> None:
        """`hosts` are the Host headers that are ours, lower case. A page that another name leads here is not ours:
        a name that is bound anew to this address would make a stranger's script same-origin with us.
        """
        self._app = app
        self._hosts = hosts
        self._headers = {**HEADERS, **(_TLS_ONLY if tls else {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"nothing here speaks {scope['type']}")
        told = Headers(scope=scope)
        body = _Body(receive, told)
        out = self._sender(send, body)
        if told.getlist("host") == [] or any(host.lower() not in self._hosts for host in told.getlist("host")):
            await _refuse(out, 421, "misdirected", "this address answers only to the names in console.hosts")
            return
        length = told.get("content-length", "0")
        if not (length.isascii() and length.isdecimal()) or int(length[:20]) > MOST_BODY:
            await _refuse(out, 413, "too_large", _TOO_LARGE)
            return
        await self._app(scope, body, out)

    def _sender(self, send: Send, body: "_Body") -> Send:
        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                for name, value in _UNLESS_SET.items():
                    headers.setdefault(name, value)
            elif not message.get("more_body", False) and body.comes:
                await send({**message, "more_body": True})
                await body.linger()
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        return answer


class _Body:
    """A request's body, counted and timed: the app answers 413 or 408 in its own way.

    What comes behind the body (the end of the connection) may take for ever.
    """

    def __init__(self, receive: Receive, told: Headers) -> None:
        self._receive = receive
        self._told = told.get("content-length", "0") != "0" or "transfer-encoding" in told
        self._size = 0
        self._whole = False
        self._deadline = asyncio.get_running_loop().time() + BODY_SECONDS

    async def __call__(self) -> Message:
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408, f"the body did not arrive within {BODY_SECONDS:.0f} s") from None
        self._size += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._size > MOST_BODY:
            raise HTTPException(413, _TOO_LARGE)
        return message

    @property
    def comes(self) -> bool:
        """Whether more of it may come."""
        return self._told and not self._whole

    async def linger(self) -> None:
        """Take what still comes, and drop it."""
        left = _LINGER_BYTES
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while self.comes and left > 0:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    self._whole = not message.get("more_body", False)


async def _refuse(send: Send, status: int, code: str, text: str) -> None:
    body = json.dumps({"error": {"code": code, "message": text}}).encode()
    headers: list[Any] = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
