"""The stand-in's local API: HTTP and JSON over a unix socket that only its own user can open.

Every act answers after it is durable; the publisher is woken at once. An error has one shape:
`{"error": {"code": …, "message": …}}`.
"""

import base64
import binascii
from typing import Any, Literal

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from agent.regulator.office import Office, OfficeError
from agent.regulator.state import StateError


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TicketAsked(_Asked):
    """A ticket to open."""

    subject: str
    category: str | None = None


class OrderAsked(_Asked):
    """An order to send. Without a ticket one is opened."""

    kind: Literal["block", "unblock"]
    subjects: list[str] = Field(min_length=1, max_length=100_000)
    ticket: str | None = None
    category: str | None = None
    unchecked: bool = False
    """Send the subjects as they are written, as an officer who mistypes one would: for tests of bad input."""


class AdvisoryAsked(_Asked):
    """An advisory to send."""

    prefix: str
    reason: str | None = None


class RawAsked(_Asked):
    """Bytes to publish as they are: the fault door of the tests of bad input."""

    base64: str


def make(office: Office) -> FastAPI:
    """The API of one office."""
    api = FastAPI(title="The regulator's stand-in", openapi_url=None)

    @api.post("/tickets", status_code=201)
    async def open_ticket(asked: TicketAsked) -> dict[str, Any]:
        return office.open_ticket(asked.subject, asked.category)

    @api.get("/tickets")
    async def tickets() -> list[dict[str, Any]]:
        return office.state.tickets()

    @api.get("/tickets/{ref}")
    async def ticket(ref: str) -> dict[str, Any]:
        return office.state.story(ref)

    @api.post("/orders", status_code=201)
    async def order(asked: OrderAsked) -> dict[str, Any]:
        return office.order(asked.kind, asked.subjects, asked.ticket, asked.category, unchecked=asked.unchecked)

    @api.post("/advisories", status_code=201)
    async def advise(asked: AdvisoryAsked) -> dict[str, Any]:
        return office.advise(asked.prefix, asked.reason)

    @api.post("/raw", status_code=202)
    async def raw(asked: RawAsked) -> dict[str, Any]:
        try:
            body = base64.b64decode(asked.base64, validate=True)
        except binascii.Error as error:
            raise OfficeError(f"base64: {error}") from None
        office.raw(body)
        return {"bytes": len(body)}

    @api.get("/messages")
    async def messages(after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        return office.state.messages(after, limit)

    @api.get("/messages/{serial}/body")
    async def body(serial: int) -> dict[str, Any]:
        return {"serial": serial, "base64": base64.b64encode(office.state.body(serial)).decode()}

    @api.get("/confirmations")
    async def confirmations(order: str | None = None, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        return office.state.confirmations(order, after, limit)

    @api.get("/rejects")
    async def rejects() -> list[dict[str, Any]]:
        return office.state.rejects()

    @api.get("/status")
    async def status() -> dict[str, Any]:
        return office.status()

    @api.exception_handler(OfficeError)
    async def refused(_: Request, error: OfficeError) -> JSONResponse:
        return _error(400, "refused", str(error))

    @api.exception_handler(StateError)
    async def missing(_: Request, error: StateError) -> JSONResponse:
        return _error(404, "not_found", str(error))

    @api.exception_handler(RequestValidationError)
    async def unreadable(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return _error(422, "unreadable", f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}")

    @api.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> JSONResponse:
        return _error(error.status_code, "http", str(error.detail))

    return api


def _error(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status)
