"""Idempotency keys: a change that is sent again under the same `Idempotency-Key` is done once and told again.

The key is taken before the act and belongs to who sent it, for 24 hours. A refusal gives it back, since nothing was
done. Where the first request was cut off, what came of it is not known here: the second is refused, never done blindly.
"""

import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

from fastapi import Depends, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.access import Door, Forbidden, NotSignedIn
from agent.api.errors import response
from agent.wiring import Parts
from sync.ledger import Ledger, LedgerUnavailable, Reply

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"

_METHODS: Final = ("POST", "DELETE")
_KEY: Final = re.compile(r"[A-Za-z0-9._:-]{8,64}")
_OK, _REFUSED, _BROKEN = 200, 400, 500


def _told_once(request: Request) -> None:
    request.state.told_once = True


TOLD_ONCE: Any = Depends(_told_once)
"""For routes whose answer holds a secret or a number: it is not kept, and a repeated request is not told it again."""


class Once:
    """The API, with idempotency keys kept."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._under_way: set[tuple[str, str]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] not in _METHODS:
            return await self._app(scope, receive, send)
        key = Request(scope).headers.get(HEADER)
        if key is None:
            return await self._app(scope, receive, send)
        if not _KEY.fullmatch(key):
            text = f"{HEADER} has {len(key)} characters; letters, digits and . _ : - are taken, 8 to 64"
            return await response(422, "invalid", text)(scope, receive, send)
        body = await Request(scope, receive).body()
        try:
            door: Door = scope["app"].state.door
            actor = (await door.identify(Request(scope, _again(body)))).name
        except (NotSignedIn, Forbidden, ValueError, LedgerUnavailable):
            return await self._app(scope, _again(body), send)  # which says so
        try:
            return await self._once(scope, body, send, (actor, key))
        except LedgerUnavailable as error:
            return await response(503, "ledger_unavailable", str(error))(scope, receive, send)

    async def _once(self, scope: Scope, body: bytes, send: Send, key: tuple[str, str]) -> None:
        if key in self._under_way:
            refusal = response(409, "under_way", f"the first request with this {HEADER} is under way")
            await refusal(scope, _again(body), send)
            return
        parts: Parts = scope["app"].state.parts
        async with self._taken(key):
            found = await parts.ledger.read(Ledger.take_key, *key, _digest(scope, body), datetime.now(UTC))
            if found.state != "new":
                await _told_again(found)(scope, _again(body), send)
                return
            scope.setdefault("state", {})
            answer = _Answer(send)
            await self._app(scope, _again(body), answer)
            now = datetime.now(UTC)
            if answer.status < _REFUSED:
                text = None if scope["state"].get("told_once") else answer.text()
                await parts.ledger.read(Ledger.keep_reply, *key, answer.status, text, now)
            elif answer.status < _BROKEN:
                await parts.ledger.read(Ledger.forget_key, *key, now)
            await answer.release()

    @asynccontextmanager
    async def _taken(self, key: tuple[str, str]) -> AsyncIterator[None]:
        self._under_way.add(key)
        try:
            yield
        finally:
            self._under_way.discard(key)


class _Answer:
    """An answer that is held until it is kept."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._messages: list[Message] = []

    async def __call__(self, message: Message) -> None:
        self._messages.append(message)

    @property
    def status(self) -> int:
        """The response's status."""
        return int(self._messages[0]["status"])

    def text(self) -> str:
        """The response's body."""
        return b"".join(message.get("body", b"") for message in self._messages[1:]).decode()

    async def release(self) -> None:
        """Send it on."""
        for message in self._messages:
            await self._send(message)


def _told_again(found: Reply) -> Any:
    if found.state == "other":
        return response(422, "key_reused", f"this {HEADER} was used for another request; each needs its own")
    if found.state == "cut_off":
        text = "the first request with this key was cut off; look what came of it, then ask again with a new key"
        return response(409, "cut_off", text)
    if found.body is None:
        return response(409, "told_once", "this was done; its answer held what is told only once")
    again = response(found.status or _OK, "", "")
    again.body = found.body.encode()
    again.headers["Content-Length"] = str(len(again.body))
    again.headers[REPLAYED] = "true"
    return again


def _digest(scope: Scope, body: bytes) -> str:
    told = Request(scope).headers.get("If-Match", "")
    asked = "\0".join((scope["method"], scope["path"], scope["query_string"].decode("latin-1"), told))
    return hashlib.sha256(asked.encode() + b"\0" + body).hexdigest()


def _again(body: bytes) -> Receive:
    """A body that was read, to be read once more."""
    told = False

    async def receive() -> Message:
        nonlocal told
        if told:
            return {"type": "http.disconnect"}
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
