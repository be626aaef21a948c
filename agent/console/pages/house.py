"""What belongs to no noun: the first page, language and theme, and the files that pages load."""

import re
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from agent.console.page import LANGUAGE_COOKIE, THEME_COOKIE, THEMES, GuestPage, House, Page, ThePage
from agent.console.words import LANGUAGES

router = APIRouter()

Back = Annotated[str, Form(max_length=200)]

_YEAR = 365 * 86_400
_OURS = re.compile(r"/([\w-][\w./-]*)?", re.ASCII)


@router.get("/")
async def first(page: ThePage) -> Response:
    """The first place of the navigation."""
    if not page.places:
        raise HTTPException(404)
    return RedirectResponse(page.places[0].path, 303)


@router.get("/static/{mark}/{name:path}")
async def static(mark: str, name: str, request: Request) -> Response:
    """A file that pages load."""
    house: House = request.app.state.house
    answer = house.static.answer(mark, name, request)
    if answer is None:
        raise HTTPException(404)
    return answer


@router.post("/language")
async def language(page: GuestPage, to: Annotated[str, Form(max_length=8)], back: Back = "/") -> Response:
    """Switch the language, and come back."""
    return _kept(page, LANGUAGE_COOKIE, to, to in LANGUAGES, back)


@router.post("/theme")
async def theme(page: GuestPage, to: Annotated[str, Form(max_length=8)], back: Back = "/") -> Response:
    """Switch between light, dark and what the system says, and come back."""
    return _kept(page, THEME_COOKIE, to, to in THEMES, back)


def inside(path: str) -> str:
    """A path of ours to come back to; anything else, such as //elsewhere, becomes the first page."""
    return path if _OURS.fullmatch(path) else "/"


def _kept(page: Page, cookie: str, value: str, known: bool, back: str) -> Response:
    answer = page.go(inside(back))
    if known:
        page.set_cookie(answer, cookie, value, seconds=_YEAR)
    return answer
