"""Coming in: signing in and out, the second factor once more, a new password, and enrolling with an invitation."""

from typing import Annotated

import segno
from fastapi import APIRouter, Form, Query
from starlette.responses import RedirectResponse, Response

from agent.console.page import GuestPage, Page, ThePage
from agent.console.pages.house import inside
from agent.console.whole import ask, said
from agent.console.words import _

router = APIRouter()

Secret = Annotated[str, Form(max_length=128)]
Code = Annotated[str, Form(max_length=12)]
Next = Annotated[str, Form(alias="next", max_length=200)]


@router.get("/sign-in")
async def sign_in_form(page: GuestPage, to: Annotated[str, Query(alias="next", max_length=200)] = "/") -> Response:
    """Where people sign in."""
    return page.go(inside(to)) if page.viewer else _sign_in(page, to)


@router.post("/sign-in")
async def sign_in(
    page: GuestPage, name: Annotated[str, Form(max_length=64)], password: Secret, code: Code, to: Next = "/"
) -> Response:
    """Sign in, then on to the page that was wanted."""
    answer = await ask(page, "POST", "/v1/sessions", {"name": name, "password": password, "code": _digits(code)})
    if not answer.is_success:
        return _sign_in(page, to, said(answer), answer.status_code)
    return _with_cookie(RedirectResponse(inside(to), 303), answer.headers["Set-Cookie"])


@router.post("/sign-out")
async def sign_out(page: ThePage) -> Response:
    """End the session, on the server."""
    answer = await ask(page, "DELETE", "/v1/sessions/current")
    gone = page.go("/sign-in", _("You are signed out.") if answer.is_success else said(answer))
    return _with_cookie(gone, answer.headers.get("Set-Cookie"))


@router.get("/step-up")
async def step_up_form(page: ThePage, to: Annotated[str, Query(alias="next", max_length=200)] = "/") -> Response:
    """The second factor once more."""
    return page.show("step_up.html", _("Second factor"), to=inside(to), wrong=None)


@router.post("/step-up")
async def step_up(page: ThePage, code: Code, to: Next = "/") -> Response:
    """Show it, then back to where it was needed."""
    answer = await ask(page, "POST", "/v1/sessions/current/step-up", {"code": _digits(code)})
    if answer.is_success:
        return page.go(inside(to), _("Your second factor counts for the next minutes."))
    return page.show("step_up.html", _("Second factor"), status=answer.status_code, to=inside(to), wrong=said(answer))


@router.get("/password")
async def password_form(page: ThePage) -> Response:
    """Where one's own password is changed."""
    return _password(page)


@router.post("/password")
async def password(page: ThePage, old: Secret, new: Secret, again: Secret, code: Code) -> Response:
    """Replace it; then sign in anew."""
    if new != again:
        return _password(page, _("The two passwords differ."), 422)
    body = {"old": old, "new": new, "code": _digits(code)}
    answer = await ask(page, "POST", "/v1/sessions/current/password", body)
    if answer.status_code == 403:
        return _password(
            page, _("The old password or the code is wrong. A code works once: wait for the next one."), 403
        )
    if not answer.is_success:
        return _password(page, said(answer), answer.status_code)
    gone = page.go("/sign-in", _("Your password is changed. Sign in with it and the next code."))
    return _with_cookie(gone, answer.headers.get("Set-Cookie"))


@router.get("/enrol")
async def enrol_form(page: GuestPage) -> Response:
    """Where an invitation's word is brought."""
    return page.show("enrol.html", _("Enrol"), wrong=None)


@router.post("/enrol")
async def enrol(page: GuestPage, invitation: Secret, password: Secret, again: Secret) -> Response:
    """Set the password, and show the second factor's key as a picture."""
    word = invitation.strip()
    if password != again:
        return page.show("enrol.html", _("Enrol"), status=422, wrong=_("The two passwords differ."))
    answer = await ask(page, "POST", "/v1/enrolments", {"invitation": word, "password": password})
    if not answer.is_success:
        return page.show(
            "enrol.html", _("Enrol"), status=answer.status_code, wrong=_refused(answer.status_code, said(answer))
        )
    made = answer.json()
    return _second_factor(page, word, made["key"], made["uri"])


@router.post("/enrol/confirm")
async def confirm(
    page: GuestPage,
    invitation: Secret,
    key: Annotated[str, Form(max_length=64, pattern="^[A-Z2-7]+$")],
    uri: Annotated[str, Form(max_length=300, pattern="^otpauth://totp/")],
    code: Code,
) -> Response:
    """Show a code of the new second factor; then the person may sign in."""
    answer = await ask(page, "POST", "/v1/enrolments/confirm", {"invitation": invitation, "code": _digits(code)})
    if answer.is_success:
        return page.go("/sign-in", _("You are enrolled. Sign in with the next code."))
    return _second_factor(page, invitation, key, uri, _refused(answer.status_code, said(answer)), answer.status_code)


def _sign_in(page: Page, to: str, wrong: str | None = None, status: int = 200) -> Response:
    return page.show("sign_in.html", _("Sign in"), status=status, to=inside(to), wrong=wrong)


def _password(page: Page, wrong: str | None = None, status: int = 200) -> Response:
    return page.show("password.html", _("My password"), status=status, wrong=wrong)


def _second_factor(page: Page, word: str, key: str, uri: str, wrong: str | None = None, status: int = 200) -> Response:
    picture = segno.make(uri, error="m").svg_data_uri(scale=5, border=3, light="white")
    return page.show(
        "second_factor.html",
        _("Second factor"),
        status=status,
        word=word,
        key=key,
        uri=uri,
        picture=picture,
        wrong=wrong,
    )


def _refused(status: int, text: str) -> str:
    unknown = _("This invitation is unknown, used or has ended. Ask for a new one.")
    return unknown if status == 401 else text


def _digits(code: str) -> str:
    """A code as a phone shows it, with the gap that people type."""
    return "".join(code.split())


def _with_cookie(answer: Response, cookie: str | None) -> Response:
    if cookie:
        answer.headers.append("Set-Cookie", cookie)
    return answer
