"""What holds on every page: who may come, whose form it is, what is sent with it, and that nothing sent is shown."""

from collections.abc import AsyncIterator
from typing import Annotated

import httpx
import pytest
import pytest_asyncio
from fastapi import APIRouter, FastAPI, Form, Request
from starlette.responses import Response

from agent.access import TABLE, Forbidden, NotSignedIn, Role, Viewer
from agent.access.edge import Edge
from agent.api import errors
from agent.console import face, flash, forms, pages
from agent.console.page import GuestPage, ThePage
from agent.console.words import _

PEOPLE = {role.value: Viewer.of(f"{role}-1", frozenset({role}), "session", session=f"s-{role}") for role in Role}
CANARY = "+6281299887766"


class HeaderDoor:
    """Knows a viewer that the console hands over, or by a cookie, as a session would be."""

    async def identify(self, request: Request) -> Viewer:
        known = request.scope.get("palang.viewer") or PEOPLE.get(request.cookies.get("person", ""))
        if not isinstance(known, Viewer):
            raise NotSignedIn("sign in first")
        return known


def an_api() -> FastAPI:
    api = FastAPI()
    api.state.door = HeaderDoor()
    errors.install(api)

    @api.get("/v1/name")
    async def name(request: Request) -> dict[str, str]:
        return {"name": (await api.state.door.identify(request)).name}

    @api.post("/v1/act")
    async def act(request: Request) -> dict[str, object]:
        body = await request.json()
        if body.get("reason") == "no":
            raise Forbidden(f"this needs the permission see, not {CANARY}")
        return {"approval": {"id": "a1"}} if body.get("reason") == "wide" else {}

    return api


class _Noun:
    router = APIRouter()


@_Noun.router.get("/orders")
async def orders(page: ThePage) -> Response:
    asked = await page.api.get("/v1/name")
    return page.show("error.html", _("Orders"), text=asked["name"], detail="", code=200)


@_Noun.router.post("/orders")
async def order(page: ThePage, reason: Annotated[str, Form(max_length=20)]) -> Response:
    return await page.act("POST", "/v1/act", {"reason": reason}, to="/orders", said=_("Close"))


@_Noun.router.get("/sign-in")
async def sign_in(page: GuestPage) -> Response:
    return page.show("error.html", _("Close"), text=str(page.token()), detail="", code=200)


@_Noun.router.post("/sign-in")
async def signed_in(page: GuestPage) -> Response:
    return page.go("/orders")


@_Noun.router.get("/broken")
async def broken(page: ThePage) -> Response:
    raise RuntimeError(f"about {CANARY}")


@pytest_asyncio.fixture
async def browser(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    monkeypatch.setattr(pages, "PAGES", (_Noun, *pages.PAGES))
    transport = httpx.ASGITransport(app=Edge(face(an_api()), frozenset({"palang"}), tls=False))
    async with httpx.AsyncClient(transport=transport, base_url="http://palang") as client:
        yield client


def form_token(page: httpx.Response) -> str:
    return page.text.split(f'name="{forms.FIELD}" value="')[1].split('"')[0]


async def test_the_api_is_asked_as_the_one_who_looks(browser: httpx.AsyncClient) -> None:
    browser.cookies.set("person", "operator")
    page = await browser.get("/orders")
    assert page.status_code == 200 and page.text.count("operator-1") > 50  # across the page, too
    assert "<title>Orders · Palang</title>" in page.text
    assert (await browser.get("/v1/name")).json() == {"name": "operator-1"}


async def test_who_is_not_signed_in_is_led_to_where_people_sign_in(browser: httpx.AsyncClient) -> None:
    page = await browser.get("/orders")
    assert (page.status_code, page.headers["location"]) == (303, "/sign-in")


async def test_every_answer_carries_the_policy_and_is_not_kept(browser: httpx.AsyncClient) -> None:
    browser.cookies.set("person", "viewer")
    for path in ("/orders", "/nowhere", "/broken", "/"):
        answer = await browser.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "form-action 'self'" in policy and "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store", path
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_files_are_kept_for_good_under_the_name_of_their_content(browser: httpx.AsyncClient) -> None:
    page = await browser.get("/sign-in")
    path = page.text.split('rel="stylesheet" href="')[1].split('"')[0]
    sheet = await browser.get(path)
    assert sheet.headers["content-type"].startswith("text/css") and "immutable" in sheet.headers["cache-control"]
    again = await browser.get(path, headers={"If-None-Match": sheet.headers["etag"]})
    assert (again.status_code, again.text) == (304, "")
    old = await browser.get("/static/abcdefghij/palang.css")
    assert old.text == sheet.text and old.headers["cache-control"] == "no-cache"
    assert "immutable" in sheet.headers["cache-control"]
    for wrong in ("/static/x/../app.py", "/static/x/%2e%2e/app.py", "/static/x/vendor/installed", "/static/x/"):
        assert (await browser.get(wrong)).status_code == 404, wrong


async def test_a_form_must_be_ours_of_this_session_and_from_this_site(browser: httpx.AsyncClient) -> None:
    browser.cookies.set("person", "operator")
    token = form_token(await browser.get("/orders"))
    body = {forms.FIELD: token, "reason": "why"}
    assert (await browser.post("/orders", data=body)).status_code == 303
    assert (await browser.post("/orders", data=body, headers={"Origin": "http://palang"})).status_code == 303
    refused = [
        await browser.post("/orders", data={"reason": "why"}),
        await browser.post("/orders", data={**body, forms.FIELD: "0" * 64}),
        await browser.post("/orders", data={**body, forms.FIELD: "ü"}),
        await browser.post("/orders", data=body, headers={"Origin": "http://elsewhere"}),
        await browser.post("/orders", data=body, headers={"Origin": "null"}),
        await browser.post("/orders", data=body, headers={"Sec-Fetch-Site": "cross-site"}),
        await browser.post("/orders", json=body),
    ]
    browser.cookies.set("person", "supervisor")
    refused.append(await browser.post("/orders", data=body))  # another's form
    assert [answer.status_code for answer in refused] == [403] * len(refused)


async def test_every_route_that_changes_something_refuses_a_foreign_form(browser: httpx.AsyncClient) -> None:
    browser.cookies.set("person", "admin")
    posts = [
        (route.path, method)
        for page in pages.PAGES
        for route in page.router.routes
        for method in getattr(route, "methods", ())
        if method not in ("GET", "HEAD")
    ]
    assert ("/language", "POST") in posts
    for path, method in posts:
        assert (await browser.request(method, path.replace("{", "").replace("}", ""))).status_code == 403, path


async def test_a_guests_form_is_bound_to_a_cookie_of_its_own(browser: httpx.AsyncClient) -> None:
    token = form_token(await browser.get("/sign-in"))
    assert (await browser.post("/sign-in", data={forms.FIELD: token})).status_code == 303
    browser.cookies.clear()
    assert (await browser.post("/sign-in", data={forms.FIELD: token})).status_code == 403


async def test_what_was_done_is_told_once_on_the_next_page_and_masked(browser: httpx.AsyncClient) -> None:
    browser.cookies.set("person", "operator")
    token = form_token(await browser.get("/orders"))
    for reason, expected, role in (
        ("why", "Close", 'role="status"'),
        ("wide", "second person", 'role="status"'),
        ("no", "+6281•••••", 'role="alert"'),
    ):
        done = await browser.post("/orders", data={forms.FIELD: token, "reason": reason})
        assert done.status_code == 303
        said = (await browser.get("/orders")).text.split('<p class="said')[1].split("</p>")[0]
        assert expected in said and role in said and CANARY[1:] not in said
        assert '<p class="said' not in (await browser.get("/orders")).text


async def test_a_line_is_shown_only_to_the_one_it_was_written_for() -> None:
    line = flash.Flash("good", "Approved {n}", {"n": CANARY})
    cookie = line.carried(b"key", "session a")
    assert flash.Flash.read(cookie, b"key", "session a") == flash.Flash("good", "Approved {n}", {"n": "+6281•••••"})
    for wrong in (cookie[:-2], f"a{cookie}", "", ".", "x.y", cookie.replace(".", "..")):
        assert flash.Flash.read(wrong, b"key", "session a") is None
    assert flash.Flash.read(cookie, b"key", "session b") is None
    assert flash.Flash.read(cookie, b"other", "session a") is None


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nowhere", 404),
        ("/broken", 500),
        (f"/{CANARY}", 404),
        (f"/orders/{CANARY}", 404),
        (f"/orders?q={CANARY.replace('+', '%2B')}", 422),
    ],
)
async def test_errors_are_pages_that_show_nothing_of_what_was_sent(
    browser: httpx.AsyncClient, path: str, status: int
) -> None:
    browser.cookies.set("person", "viewer")
    answer = await browser.get(path)
    assert answer.status_code == status and "<h1>" in answer.text and "viewer-1" in answer.text
    assert CANARY[1:] not in answer.text


async def test_a_field_that_is_too_long_and_a_body_that_is_too_large_are_refused(browser: httpx.AsyncClient) -> None:
    browser.cookies.set("person", "operator")
    token = form_token(await browser.get("/orders"))
    long = await browser.post("/orders", data={forms.FIELD: token, "reason": CANARY * 3})
    assert long.status_code == 422 and CANARY[1:] not in long.text
    huge = await browser.post("/orders", data={forms.FIELD: token, "reason": "x" * 1_100_000})
    assert huge.status_code == 413


async def test_language_and_theme_are_switched_by_forms_and_stay(browser: httpx.AsyncClient) -> None:
    browser.cookies.set("person", "viewer")
    page = await browser.get("/orders", headers={"Accept-Language": "id"})
    assert '<html lang="id" data-theme="auto"' in page.text and "Perintah" in page.text
    token = form_token(page)
    for path, to in (("/language", "en"), ("/theme", "dark")):
        done = await browser.post(path, data={forms.FIELD: token, "to": to, "back": "/orders"})
        assert (done.status_code, done.headers["location"]) == (303, "/orders")
    page = await browser.get("/orders", headers={"Accept-Language": "id"})
    assert '<html lang="en" data-theme="dark"' in page.text


@pytest.mark.parametrize(
    "back", ["//elsewhere", "https://elsewhere", "/\\elsewhere", "\n/", "/a?next=//b", "javascript:alert(1)", "/\t/x"]
)
async def test_nobody_is_sent_elsewhere(browser: httpx.AsyncClient, back: str) -> None:
    browser.cookies.set("person", "viewer")
    token = form_token(await browser.get("/orders"))
    done = await browser.post("/theme", data={forms.FIELD: token, "to": "dark", "back": back})
    assert (done.status_code, done.headers["location"]) == (303, "/")


async def test_cookies_are_for_us_alone(browser: httpx.AsyncClient) -> None:
    made = (await browser.get("/sign-in")).headers["set-cookie"].lower()
    assert "httponly" in made and "samesite=strict" in made


def test_the_navigation_follows_the_table() -> None:
    from agent.console.nav import PLACES, places

    everywhere = frozenset(place.path for place in PLACES)
    for viewer in PEOPLE.values():
        shown = {place.path for place in places(viewer, everywhere)}
        (role,) = viewer.roles
        assert shown == {place.path for place in PLACES if TABLE[role] & set(place.permissions)}
    assert places(PEOPLE["admin"], frozenset({"/people"})) == [place for place in PLACES if place.path == "/people"]
    assert len({place.key for place in PLACES}) == len(PLACES)
