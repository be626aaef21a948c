"""A walk to every page and every route of the API: found in the routers, so that a new one can't be left out.

Each route is asked with what is there, with a canary in each place of its path, its query and its body, with a body
that is none, and with a body of another kind. What the walk tells is every response, with all its headers.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Message

from agent import api
from agent.console import pages
from agent.console.forms import FIELD
from tests.agent.canaries import Canaries

_STREAM_SECONDS = 2.0
_STREAM_PIECES = 2


@dataclass(frozen=True)
class Asked:
    """One request: method, path with query, media type and body."""

    method: str
    path: str
    media: str = ""
    body: bytes = b""


@dataclass(frozen=True)
class Told:
    """One response: all of it."""

    asked: Asked
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def api_routes() -> list[tuple[str, str, APIRoute]]:
    """Method, path and route of all that the API has."""
    found = [(f"/v1{route.path}", route) for noun in api.NOUNS for route in noun.router.routes]
    return [(m, path, route) for path, route in found if isinstance(route, APIRoute) for m in sorted(route.methods)]


def page_routes() -> list[tuple[str, str, APIRoute]]:
    """Likewise for the pages."""
    found = [route for noun in pages.PAGES for route in noun.router.routes]
    return [(m, route.path, route) for route in found if isinstance(route, APIRoute) for m in sorted(route.methods)]


async def ask(app: ASGIApp, asked: Asked, headers: dict[str, str]) -> Told:
    """One request; of a stream its first pieces."""
    path, _, query = asked.path.partition("?")
    sent = {"host": "agent", **headers, **({"content-type": asked.media} if asked.media else {})}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": asked.method,
        "scheme": "https",
        "path": path,
        "raw_path": quote(path).encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
        "client": ("127.0.0.1", 1),
        "server": ("agent", 443),
    }
    messages: list[Message] = []
    enough, inbox = asyncio.Event(), asyncio.Queue[Message]()
    inbox.put_nowait({"type": "http.request", "body": asked.body, "more_body": False})

    async def send(message: Message) -> None:
        messages.append(message)
        last = message["type"] == "http.response.body" and not message.get("more_body")
        if last or (len(messages) > _STREAM_PIECES and _streams(messages[0])):
            enough.set()

    task = asyncio.ensure_future(app(scope, inbox.get, send))
    waiting = asyncio.ensure_future(enough.wait())
    await asyncio.wait({task, waiting}, timeout=_STREAM_SECONDS, return_when="FIRST_COMPLETED")
    if not (messages and _streams(messages[0])):
        await asyncio.wait({task}, timeout=30)
    for one in (task, waiting):
        one.cancel()
    await asyncio.gather(task, waiting, return_exceptions=True)
    assert messages, f"{asked.method} {asked.path}: no answer"
    begun = tuple((name.decode(), value.decode("latin-1")) for name, value in messages[0]["headers"])
    body = b"".join(m.get("body", b"") for m in messages if m["type"] == "http.response.body")
    return Told(asked, messages[0]["status"], begun, body)


def _streams(start: Message) -> bool:
    return any(value.startswith(b"text/event-stream") for name, value in start["headers"] if name == b"content-type")


class Walk:
    """The requests to make: `known` has, for each name in a path, something that is there."""

    def __init__(self, schema: dict[str, Any], canaries: Canaries, known: dict[str, str]) -> None:
        self._schema, self._canaries, self._known = schema, canaries, known

    def of_api(self, *, acts: bool) -> Iterator[Asked]:
        """Every route of the API that only reads, or every one that does something."""
        for method, path, route in api_routes():
            if (method == "GET") is acts:
                continue
            whole = self._path(path, {})
            for filled in (whole, *self._wrong_paths(path)):
                for body in self._bodies(method, path) if filled == whole else (b"{}",):
                    yield Asked(method, filled, "application/json" if method != "GET" else "", body)
            for name in (field.alias for field in route.dependant.query_params):
                yield Asked(method, f"{whole}?{urlencode({name: self._canaries.take()})}", "application/json", b"{}")

    def of_pages(self, *, acts: bool, token: str = "") -> Iterator[Asked]:
        """Every page, or every form that does something, with this token of the form's."""
        for method, path, route in page_routes():
            if (method == "GET") is acts:
                continue
            whole = self._path(path, {})
            fields = [field.alias for field in route.dependant.body_params if field.alias != FIELD]
            for filled in (whole, *self._wrong_paths(path)):
                if method == "GET":
                    yield Asked(method, filled)
                    continue
                for field in [None, *fields]:
                    form = {name: self._field(name, wrong=name == field) for name in fields}
                    media = "application/x-www-form-urlencoded"
                    yield Asked(method, filled, media, urlencode({FIELD: token, **form}).encode())
                yield Asked(
                    method, filled, "application/x-www-form-urlencoded", urlencode({"x": self._take()}).encode()
                )
            for name in (field.alias for field in route.dependant.query_params):
                yield Asked(method, f"{whole}?{urlencode({name: self._take()})}")

    def of_nothing(self) -> Iterator[Asked]:
        """What is not there at all."""
        for path in ("/", "/v1/", "/v1/orders/", "/static/x/", "/rules/", "/orders/"):
            for method in ("GET", "POST", "DELETE", "PUT", "OPTIONS", "HEAD"):
                yield Asked(
                    method, f"{path}{self._take()}?q={quote(self._take())}", "text/plain", self._take().encode()
                )

    def _take(self) -> str:
        return self._canaries.take()

    def _path(self, path: str, instead: dict[str, str]) -> str:
        parts = []
        for part in path.split("/"):
            name = part.strip("{}").partition(":")[0]
            parts.append(instead.get(name, self._known.get(name, "nothing")) if part.startswith("{") else part)
        return "/".join(parts)

    def _wrong_paths(self, path: str) -> Iterator[str]:
        for part in path.split("/"):
            if part.startswith("{"):
                yield self._path(path, {part.strip("{}").partition(":")[0]: self._take()})

    def _field(self, name: str, *, wrong: bool) -> str:
        return self._take() if wrong else self._known.get(name, self._canaries.said())

    def _bodies(self, method: str, path: str) -> Iterator[bytes]:
        if method == "GET":
            yield b""
            return
        content = self._schema["paths"].get(path, {}).get(method.lower(), {}).get("requestBody", {}).get("content", {})
        form = self._resolved(next(iter(content.values()))["schema"]) if content else {}
        whole = {name: self._value(name, part) for name, part in form.get("properties", {}).items()}
        yield json.dumps(whole).encode()
        for name in whole:
            yield json.dumps({**whole, name: self._take()}).encode()
            yield json.dumps({**whole, name: int(self._take()[1:])}).encode()
            yield json.dumps({**whole, name: [self._canaries.said()]}).encode()
        yield json.dumps({**whole, self._take(): self._take()}).encode()
        yield f'{{"reason": {self._take()}, "x'.encode()
        yield json.dumps(self._canaries.said()).encode()

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in schema:
            schema = self._schema["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        return schema

    def _value(self, name: str, schema: dict[str, Any]) -> Any:
        if name in self._known:
            return self._known[name]
        form = self._resolved(schema)
        for several in ("anyOf", "allOf"):
            if several in form:
                return self._value(name, form[several][0])
        if "enum" in form:
            return form["enum"][0]
        if "const" in form:
            return form["const"]
        match form.get("type"):
            case "integer":
                return form.get("minimum", 0)
            case "boolean":
                return False
            case "array":
                return [self._value("", form["items"])] if form.get("minItems") else []
            case "object":
                return {}
        if form.get("format") == "base64" or "base64" in form.get("description", ""):
            return base64.b64encode(self._message()).decode()
        return self._canaries.said()[: form.get("maxLength", 400)]

    def _message(self) -> bytes:
        lines = (
            f"INVITE sip:{self._take()}@10.0.0.1 SIP/2.0",
            "Via: SIP/2.0/UDP 127.0.0.2:5060;branch=z9hG4bK1",
            f'From: "{self._canaries.said()}" <sip:{self._take()}@a.example>;tag=1',
            f"To: <tel:{self._take()}>",
            f"P-Asserted-Identity: <sip:{self._canaries.foreign()}@a.example>",
            f"Contact: <sip:{self._take()}@127.0.0.2>",
            f"Call-ID: {self._take()}",
            "CSeq: 1 INVITE",
            "Max-Forwards: 70",
            "Content-Length: 0",
        )
        return "\r\n".join([*lines, "", ""]).encode()


async def walk(app: ASGIApp, requests: Iterator[Asked], headers: dict[str, str]) -> AsyncIterator[Told]:
    """Make these requests, one after another."""
    for asked in requests:
        yield await ask(app, asked, headers)
