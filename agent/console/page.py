"""What a page function holds: who looks, in which language, the API as that person may ask it, and ways to answer."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeVar

import jinja2
from fastapi import Depends, FastAPI, Request
from markupsafe import Markup
from starlette.responses import HTMLResponse, RedirectResponse, Response

from agent.access import Forbidden, NotSignedIn, Permission, Viewer
from agent.client import Api, ApiError
from agent.console import flash, forms
from agent.console.asking import InProcess
from agent.console.nav import Place, places
from agent.console.static_files import Static
from agent.console.words import LANGUAGES, _, preferred, say
from agent.masking import mask_text

LANGUAGE_COOKIE: Final = "palang_language"
THEME_COOKIE: Final = "palang_theme"
THEMES: Final = ("auto", "light", "dark")


T = TypeVar("T")


@dataclass(frozen=True)
class House:
    """What all pages share."""

    api: FastAPI
    templates: jinja2.Environment
    static: Static
    key: bytes
    paths: frozenset[str]
    _kept: dict[Callable[["House"], Any], Any] = field(default_factory=dict)

    def kept(self, kind: Callable[["House"], T]) -> T:
        """The one thing of its kind in this house, made when it is first asked for."""
        if kind not in self._kept:
            self._kept[kind] = kind(self)
        found: T = self._kept[kind]
        return found


@dataclass
class Page:
    """One request for a page, with all that its answer needs. `viewer` is None for a guest."""

    request: Request
    house: House
    viewer: Viewer | None
    owner: str
    form_token: str
    now: datetime
    lost: bool = False
    """Whether this shows an error: then the path is not ours, and is not repeated."""
    api: Api = field(init=False)
    language: str = field(init=False)
    theme: str = field(init=False)

    def __post_init__(self) -> None:
        self.api = InProcess(self.house.api, self.viewer)
        asked = self.request.cookies.get(LANGUAGE_COOKIE, "")
        self.language = asked if asked in LANGUAGES else preferred(self.request.headers.get("Accept-Language", ""))
        theme = self.request.cookies.get(THEME_COOKIE, "")
        self.theme = theme if theme in THEMES else THEMES[0]

    @property
    def places(self) -> list[Place]:
        """The navigation, as this viewer has it."""
        return places(self.viewer, self.house.paths)

    @property
    def here(self) -> str:
        """The path of this page: where switching language or theme comes back to."""
        return "/" if self.lost else self.request.url.path

    def say(self, text: str, **values: object) -> str:
        """A text in the viewer's language."""
        return say(self.language, text, values)

    def token(self) -> Markup:
        """The hidden field that every form carries."""
        return Markup('<input type="hidden" name="{}" value="{}">').format(forms.FIELD, self.form_token)

    def may(self, permission: str) -> bool:
        """Whether the viewer has that permission: for what to show; the API decides."""
        return self.viewer is not None and permission in self.viewer.permissions

    async def still_in(self) -> bool:
        """Whether the one who asked is still signed in: for answers that have no end of their own.

        To look on is no activity: a session that nothing else comes from still ends by itself. Only who may do nothing
        but look is kept signed in so: the screen that hangs in the room.
        """
        if self.viewer is None:
            return False
        if self.viewer.permissions == {Permission.SEE}:
            try:
                await self.house.api.state.door.identify(self.request)
            except (NotSignedIn, Forbidden):
                return False
            return True
        return self.viewer.session is None or "csrf" in await self.api.get("/v1/sessions/current")

    def show(self, template: str, title: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """The page. `title` is a marked text and holds no number: it stands in tabs, histories and window lists."""
        said = self.request.cookies.get(flash.COOKIE)
        line = flash.Flash.read(said, self.house.key, self.owner) if said else None
        text = self.fragment(template, title=title, flash=line, **values)
        answer = HTMLResponse(text, status)
        if said:
            answer.delete_cookie(flash.COOKIE, path="/")
        if self.viewer is None:
            self.set_cookie(answer, forms.GUEST_COOKIE, self.request.state.guest)
        return answer

    def fragment(self, template: str, **values: Any) -> str:
        """A template's text in the viewer's language."""
        return self.house.templates.get_template(template).render(
            page=self, language=self.language, now=self.now, **values
        )

    def go(self, to: str, said: str | None = None, *, tone: flash.Tone = "good", **values: str) -> Response:
        """On to another page of ours, with a line about what was done. No path that holds a number is repeated."""
        answer = RedirectResponse(to if mask_text(to) == to else "/", 303)
        if said:
            line = flash.Flash(tone, said, values)
            self.set_cookie(answer, flash.COOKIE, line.carried(self.house.key, self.owner), seconds=60)
        return answer

    async def act(self, method: str, path: str, body: dict[str, Any], *, to: str, said: str) -> Response:
        """Have the API do something, and go on to `to`; the next page says what came of it."""
        try:
            done = await (self.api.delete(path, body) if method == "DELETE" else self.api.post(path, body))
        except ApiError as error:
            return self.go(to, str(error), tone="bad")
        waits = isinstance(done, dict) and done.get("approval")
        return self.go(to, _("It waits for a second person, who has to approve it.") if waits else said)

    def set_cookie(self, answer: Response, name: str, value: str, *, seconds: int | None = None) -> None:
        """A cookie that no script reads and no other site's form carries."""
        secure = self.request.url.scheme == "https"
        answer.set_cookie(name, value, max_age=seconds, path="/", secure=secure, httponly=True, samesite="strict")


async def guest_page(request: Request) -> Page:
    """The page for whoever comes."""
    house: House = request.app.state.house
    viewer = await forms.viewer_of(request)
    return Page(request, house, viewer, await forms.owner_of(request), await forms.token(request), datetime.now(UTC))


async def signed_in_page(page: Annotated[Page, Depends(guest_page)]) -> Page:
    """The page for someone who is signed in. Raises NotSignedIn, which leads to where people sign in."""
    if page.viewer is None:
        raise NotSignedIn("sign in first")
    return page


GuestPage = Annotated[Page, Depends(guest_page)]
ThePage = Annotated[Page, Depends(signed_in_page)]
