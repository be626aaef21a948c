"""The agent's local API: HTTP and JSON on a unix socket that only the agent's own user can open.

Every path begins with /v1. Numbers are masked here, on the server, whoever asks. Every error has one shape:
{"error": {"code": ..., "message": ...}}.
"""

import getpass
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import Base64Bytes, BaseModel, ConfigDict, Field

from agent.explain import explain, plan_of
from agent.explain_message import explain_message
from agent.raw_message import MOST_RAW_TEXT
from agent.status import report
from agent.views import order_record, rule_record, story_record
from agent.wiring import Parts
from sip_filter.number import parse_subject
from sync.ledger import Ledger, LedgerError, LedgerUnavailable, NotFoundError
from sync.order_life import State

Actor = Annotated[str, Header(alias="X-Palang-Actor", max_length=64, pattern=r"^[\w.@-]+$")]
_LOCAL = getpass.getuser()


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewRule(_Body):
    """A rule that the NOC adds."""

    subject: str = Field(max_length=32)
    action: Literal["reject", "allow", "label"]
    mode: Literal["enforce", "shadow"]
    kinds: Literal["call", "message", "both"] = "both"
    trunks: tuple[str, ...] = Field((), max_length=100)
    expires_s: int | None = Field(None, ge=60, description="Seconds until it ends; absent: the ledger's default.")
    reason: str = Field(min_length=3, max_length=400)


class NewMode(_Body):
    """A rule's next mode."""

    mode: Literal["enforce", "shadow", "disabled"]
    reason: str = Field(min_length=3, max_length=400)


class Reason(_Body):
    """Why a person did it."""

    reason: str = Field(min_length=3, max_length=400)


class Rebuild(_Body):
    """How Redis is made anew."""

    new_epoch: bool = False


class Question(_Body):
    """A number in any form, and the trunk whose dial plan reads it."""

    text: str = Field(max_length=256)
    trunk: str | None = Field(None, max_length=32)


class RawQuestion(_Body):
    """A SIP message as it came, and the trunk that it came on."""

    raw: Base64Bytes = Field(max_length=MOST_RAW_TEXT, description="At most one datagram, in base64.")
    trunk: str = Field(max_length=32)


def app(parts: Parts) -> FastAPI:
    """The API over the agent's parts."""
    api = FastAPI(title="Palang agent", version="1", docs_url=None, redoc_url=None)
    ledger = parts.ledger

    @api.get("/v1/status")
    async def status() -> dict[str, Any]:
        """Everything at a glance; `health` is healthy, degraded or down, `because` says why."""
        return await report(parts, datetime.now(UTC))

    @api.get("/v1/orders")
    async def orders(state: State | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """Orders, the newest first."""
        return [order_record(order) for order in await ledger.read(Ledger.orders, state, min(limit, 1000))]

    @api.get("/v1/orders/{order}")
    async def order_story(order: str) -> dict[str, Any]:
        """One order with its subjects, confirmations and journal records."""
        return story_record(await ledger.read(Ledger.order, order))

    @api.post("/v1/orders/{order}/approve")
    async def approve(order: str, body: Reason, actor: Actor = _LOCAL) -> dict[str, Any]:
        """Apply what the gate held."""
        return order_record(await ledger.change(Ledger.approve, order, actor, body.reason, datetime.now(UTC)))

    @api.post("/v1/orders/{order}/refuse")
    async def refuse(order: str, body: Reason, actor: Actor = _LOCAL) -> dict[str, Any]:
        """Refuse what the gate held; the regulator is told."""
        return order_record(await ledger.change(Ledger.refuse, order, actor, body.reason, datetime.now(UTC)))

    @api.get("/v1/rules")
    async def rules() -> list[dict[str, Any]]:
        """Every live rule that is not an order's own."""
        return [rule_record(rule) for rule in await ledger.read(Ledger.rules)]

    @api.post("/v1/rules")
    async def add_rule(body: NewRule, actor: Actor = _LOCAL) -> dict[str, Any]:
        """Add a NOC rule; it is published at once. Its trunks have to be in the settings."""
        for trunk in body.trunks:
            plan_of(parts.settings, trunk)
        now = datetime.now(UTC)
        expires = now + timedelta(seconds=body.expires_s) if body.expires_s else None
        rule = await ledger.change(
            Ledger.add_rule,
            *(str(parse_subject(body.subject)), body.action, body.mode, body.kinds, body.trunks),
            *(expires, body.reason, actor, now),
        )
        return rule_record(rule)

    @api.get("/v1/rules/{rule}")
    async def one_rule(rule: str) -> dict[str, Any]:
        """One rule with its hits."""
        return rule_record(await ledger.read(Ledger.rule, rule))

    @api.post("/v1/rules/{rule}/mode")
    async def change_rule(rule: str, body: NewMode, actor: Actor = _LOCAL) -> dict[str, Any]:
        """Enforce, shadow or disable a NOC rule."""
        return rule_record(
            await ledger.change(Ledger.change_rule, rule, body.mode, actor, body.reason, datetime.now(UTC))
        )

    @api.delete("/v1/rules/{rule}")
    async def remove_rule(rule: str, body: Reason, actor: Actor = _LOCAL) -> dict[str, Any]:
        """End a NOC rule for good; its history stays."""
        return rule_record(await ledger.change(Ledger.remove_rule, rule, actor, body.reason, datetime.now(UTC)))

    @api.post("/v1/explain")
    async def explain_number(body: Question) -> dict[str, Any]:
        """How a number is read, what touches it, which rule wins and why."""
        return await explain(parts, body.text, body.trunk)

    @api.post("/v1/explain/message")
    async def explain_raw(body: RawQuestion) -> dict[str, Any]:
        """How a SIP message is read on a trunk, who it says it comes from, what it would get and why."""
        return await explain_message(parts, body.raw, body.trunk)

    @api.post("/v1/store/rebuild")
    async def rebuild(body: Rebuild, actor: Actor = _LOCAL) -> dict[str, Any]:
        """Make Redis anew from the ledger."""
        return await parts.rebuild(actor, new_epoch=body.new_epoch)

    _errors(api)
    return api


def _errors(api: FastAPI) -> None:
    """One shape for every error, and no input echoed where it could hold a number."""

    @api.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:]) or "body"
        return _error(422, "invalid", f"{place}: {first['msg']}")

    @api.exception_handler(NotFoundError)
    async def not_found(request: Request, error: NotFoundError) -> JSONResponse:
        return _error(404, "not_found", str(error))

    @api.exception_handler(LedgerUnavailable)
    async def unavailable(request: Request, error: LedgerUnavailable) -> JSONResponse:
        return _error(503, "ledger_unavailable", str(error))

    @api.exception_handler(LedgerError)
    async def refused(request: Request, error: LedgerError) -> JSONResponse:
        return _error(409, "refused", str(error))

    @api.exception_handler(ValueError)
    async def bad_value(request: Request, error: ValueError) -> JSONResponse:
        return _error(422, "invalid", str(error))

    @api.exception_handler(404)
    async def nowhere(request: Request, error: Exception) -> JSONResponse:
        return _error(404, "not_found", "there is nothing at this path")


def _error(status: int, code: str, message: str) -> JSONResponse:
    body: Mapping[str, object] = {"error": {"code": code, "message": message}}
    return JSONResponse(body, status)
