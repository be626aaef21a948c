"""One shape for every error: {"error": {"code": ..., "message": ...}}; no input is echoed that could hold a number."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from agent.access import Forbidden, NotSignedIn, StepUpNeeded, TooOften, Wrong
from agent.masking import mask_text
from agent.traffic.thread import TrafficUnavailable
from sync.ledger import ChangedMeanwhileError, LedgerError, LedgerUnavailable, NotFoundError

CODES: Final[dict[type[Exception], tuple[int, str]]] = {
    NotSignedIn: (401, "not_signed_in"),
    Wrong: (403, "wrong"),
    Forbidden: (403, "forbidden"),
    StepUpNeeded: (403, "step_up_needed"),
    NotFoundError: (404, "not_found"),
    ChangedMeanwhileError: (412, "changed_meanwhile"),
    LedgerError: (409, "refused"),
    ValueError: (422, "invalid"),
    OverflowError: (422, "invalid"),
    TooOften: (429, "too_often"),
    LedgerUnavailable: (503, "ledger_unavailable"),
    TrafficUnavailable: (503, "traffic_unavailable"),
}
"""What each of our errors is over HTTP. A subclass has its own row or its parent's."""
_CODES: Final = {408: "too_slow", 413: "too_large"}
"""Where the phrase of the status would be our code, but is another one in another Python."""


def install(api: FastAPI) -> None:
    """Have every error answered in the one shape."""
    for kind in CODES:
        api.add_exception_handler(kind, _known)
    api.add_exception_handler(RequestValidationError, _invalid)
    api.add_exception_handler(HTTPException, _http)
    api.add_exception_handler(Exception, _broken)


def response(status: int, code: str, message: str) -> JSONResponse:
    """An error, told."""
    body: Mapping[str, object] = {"error": {"code": code, "message": mask_text(message)}}
    return JSONResponse(body, status)


async def _known(request: Request, error: Exception) -> JSONResponse:
    status, code = next(CODES[kind] for kind in type(error).__mro__ if kind in CODES)
    text = "a number in it is larger than any of ours" if isinstance(error, OverflowError) else str(error)
    answer = response(status, code, text)
    if isinstance(error, TooOften):
        answer.headers["Retry-After"] = str(error.seconds)
    if status == HTTPStatus.UNAUTHORIZED:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="palang"'
    return answer


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:]) or "body"
    return response(422, "invalid", f"{place}: {first['msg']}")


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.NOT_FOUND:
        return response(404, "not_found", "there is nothing at this path")
    code = _CODES.get(error.status_code) or HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
    return response(error.status_code, code, error.detail)


async def _broken(request: Request, error: Exception) -> JSONResponse:
    # The error itself goes to the log; its text may hold what was asked, so nothing of it is told.
    return response(500, "internal", "something broke here; the agent's log has it")
