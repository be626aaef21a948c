"""The edge: what stands between the network and the app. Which host is meant, how much may be sent and how slowly, and
the headers that keep a browser from doing more with our pages than showing them.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BODY: Final = 1024 * 1024
"""Bytes of a request's body."""
BODY_SECONDS: Final = 20.0
"""How long a body may take to arrive whole."""

CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",  # for browsers that don't know frame-ancestors
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}
"""On every response, an error's too."""
_TLS_ONLY: Final = {"Strict-Transport-Security": "max-age=31536000"}
_KEPT_BY_NOBODY: Final = "no-store"


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
        out = self._sender(send)
        if told.getlist("host") == [] or any(host.lower() not in self._hosts for host in told.getlist("host")):
            await _refuse(out, 421, "misdirected", "this address answers only to the names in console.hosts")
            return
        length = told.get("content-length", "0")
        if not (length.isascii() and length.isdecimal()) or int(length[:20]) > MOST_BODY:
            await _refuse(out, 413, "too_large", f"the body is larger than {MOST_BODY} bytes")
            return
        body = _Body(receive)
        began = False

        async def started(message: Message) -> None:
            nonlocal began
            began = True
            await out(message)

        try:
            await self._app(scope, body, started)
        except _TooMuch:
            if began:
                raise
            await _refuse(out, 413, "too_large", f"the body is larger than {MOST_BODY} bytes")
        except _TooSlow:
            if began:
                raise
            await _refuse(out, 408, "too_slow", f"the body did not arrive within {BODY_SECONDS:.0f} s")

    def _sender(self, send: Send) -> Send:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", _KEPT_BY_NOBODY)
            await send(message)

        return with_headers


class _TooMuch(Exception):
    """More came than may."""


class _TooSlow(Exception):
    """The body did not arrive in its time."""


class _Body:
    """A request's body, counted and timed. What comes behind it (the end of the connection) may take for ever."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
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
            raise _TooSlow from None
        self._size += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._size > MOST_BODY:
            raise _TooMuch
        return message


async def _refuse(send: Send, status: int, code: str, text: str) -> None:
    body = json.dumps({"error": {"code": code, "message": text}}).encode()
    headers: list[Any] = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
