"""Errors as pages of the same house. What was sent is never shown again: it could hold a number."""

import traceback
from collections.abc import Mapping
from typing import Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from agent.access import Forbidden, NotSignedIn
from agent.client import ApiError, Unreachable
from agent.console.page import guest_page
from agent.console.words import _
from agent.views import mask_digits

SIGN_IN: Final = "/sign-in"
_log = structlog.get_logger("palang.console")

_TITLES: Final[Mapping[int, tuple[str, str]]] = {
    403: (_("Not allowed"), _("Your roles don't let you do this. Who has the role for it can.")),
    404: (_("Nothing here"), _("There is no page at this address, or what it showed is gone.")),
    405: (_("Nothing here"), _("There is no page at this address, or what it showed is gone.")),
    409: (_("Not possible now"), _("It could not be done as things stand.")),
    413: (_("Too large"), _("What was sent is larger than this page takes.")),
    422: (_("Not understood"), _("Something in the form can't be right. Go back and look at it again.")),
    500: (_("Our fault"), _("Something failed here. It is in the agent's log; calls are not affected.")),
    503: (_("The ledger can't be used"), _("Nothing can be changed until it is back. Calls are not affected.")),
}


def install(console: FastAPI) -> None:
    """Have every error shown as a page."""
    console.add_exception_handler(NotSignedIn, _sign_in)
    console.add_exception_handler(Forbidden, _forbidden)
    console.add_exception_handler(ApiError, _refused)
    console.add_exception_handler(RequestValidationError, _invalid)
    console.add_exception_handler(HTTPException, _http)
    console.add_exception_handler(Unreachable, _fault)
    console.add_exception_handler(Exception, _fault)


async def _sign_in(request: Request, error: Exception) -> Response:
    return RedirectResponse(SIGN_IN, 303)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return RedirectResponse(SIGN_IN, 303) if error.status == 401 else await shown(request, error.status, str(error))


async def _forbidden(request: Request, error: Exception) -> Response:
    return await shown(request, 403, str(error))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return await shown(request, 422, f"{first['loc'][-1]}: {first['msg']}")


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return await shown(request, error.status_code, error.detail if error.status_code == 403 else "")


async def _fault(request: Request, error: Exception) -> Response:
    where = traceback.extract_tb(error.__traceback__)[-1]  # its text and a traceback may quote a number
    _log.error("console.failed", error=type(error).__name__, file=where.filename, line=where.lineno)
    return await shown(request, 500, "")


async def shown(request: Request, status: int, detail: str) -> Response:
    """The page of an error; `detail` is a line of ours about it."""
    page = await guest_page(request)
    page.lost = True
    title, text = _TITLES.get(status, _TITLES[500])
    return page.show("error.html", title, status=status, text=text, detail=mask_digits(detail), code=status)
