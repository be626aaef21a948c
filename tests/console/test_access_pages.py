"""Signing in, enrolling, people, roles and tokens in the console, as a browser without JavaScript goes through them."""

import html
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.access import TABLE, Permission, Role
from agent.access.people_door import COOKIE
from sync.ledger import Ledger
from tests.agent.front_door import ORIGIN, PASSWORD, FrontDoor, Signed, front_door
from tests.authenticator import Authenticator

EVIL = "<script>alert(1)</script>\"'"


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[FrontDoor]:
    async with front_door(tmp_path) as opened:
        yield opened


def _hidden(page: str) -> dict[str, str]:
    """The hidden fields of a page's last form, and the token that all of them carry."""
    forms = page.split("<form")
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', forms[0] + forms[-2] + forms[-1])
    return {name: html.unescape(value) for name, value in found}


async def _submit(door: FrontDoor, at: str, to: str, signed: Signed | None = None, **fields: Any) -> httpx.Response:
    """Load a page, fill its form and send it."""
    cookie = {"Cookie": f"{COOKIE}={signed.cookie}"} if signed else {}
    token = _hidden((await door.http.get(at, headers=cookie)).text)["csrf"]
    headers = {**cookie, "Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
    return await door.http.post(to, data={"csrf": token, **fields}, headers=headers)


async def _signing_in(door: FrontDoor, name: str, **more: str) -> httpx.Response:
    fields = {"name": name, "password": PASSWORD, "code": door.code(name), **more}
    return await _submit(door, "/sign-in", "/sign-in", **fields)


async def test_signing_in_and_out(door: FrontDoor) -> None:
    await door.person("sri", Role.OPERATOR)
    answer = await _signing_in(door, "sri")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    cookie = answer.cookies[COOKIE]
    signed = Signed(cookie, "")
    home = await door.http.get("/tokens", headers={"Cookie": f"{COOKIE}={cookie}"})
    assert home.status_code == 200 and "sri" in home.text
    out = await _submit(door, "/tokens", "/sign-out", signed)
    assert (out.status_code, out.headers["Location"]) == (303, "/sign-in")
    assert f'{COOKIE}="";' in out.headers["Set-Cookie"]
    door.http.cookies.clear()
    after = await door.http.get("/tokens", headers={"Cookie": f"{COOKIE}={cookie}"})
    assert (after.status_code, after.headers["Location"]) == (303, "/sign-in")


async def test_what_is_wrong_is_told_without_saying_which(door: FrontDoor) -> None:
    await door.person("sri", Role.OPERATOR)
    pages = [
        await _submit(door, "/sign-in", "/sign-in", name=name, password=password, code="000 000")
        for name, password in (("sri", "wrong horse battery"), ("nobody", PASSWORD), ("sri", PASSWORD))
    ]
    assert [page.status_code for page in pages] == [401] * 3
    assert all("Name, password or code is wrong" in page.text and PASSWORD not in page.text for page in pages)


@pytest.mark.parametrize(
    "to",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/%09/evil.example", "\t//x"],
)
async def test_signing_in_leads_nowhere_else(door: FrontDoor, to: str) -> None:
    await door.person("sri", Role.OPERATOR)
    answer = await _signing_in(door, "sri", next=to)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    signed = await door.session_of("budi", Role.OPERATOR)
    again = await door.http.get("/sign-in", params={"next": to}, headers={"Cookie": f"{COOKIE}={signed.cookie}"})
    assert (again.status_code, again.headers["Location"]) == (303, "/")
    asked = await door.http.get("/step-up", params={"next": to}, headers={"Cookie": f"{COOKIE}={signed.cookie}"})
    assert 'name="next" value="/"' in asked.text


async def test_signing_in_leads_on_to_the_page_that_was_wanted(door: FrontDoor) -> None:
    await door.person("sri", Role.OPERATOR)
    assert (await _signing_in(door, "sri", next="/rules/r17")).headers["Location"] == "/rules/r17"


async def test_a_form_of_another_site_signs_nobody_in(door: FrontDoor) -> None:
    await door.person("sri", Role.OPERATOR)
    fields = {"name": "sri", "password": PASSWORD, "code": door.code("sri")}
    token = _hidden((await door.http.get("/sign-in")).text)["csrf"]
    for headers, form in (
        ({"Origin": "https://evil.example"}, {"csrf": token, **fields}),
        ({"Sec-Fetch-Site": "cross-site"}, {"csrf": token, **fields}),
        ({"Origin": ORIGIN}, fields),
    ):
        answer = await door.http.post("/sign-in", data=form, headers=headers)
        assert answer.status_code == 403 and COOKIE not in answer.headers.get("Set-Cookie", "")


async def test_from_the_invitation_to_the_first_session(door: FrontDoor) -> None:
    admin = await door.session_of("admin", Role.ADMIN)
    fields = {"name": "sri", "display": EVIL, "roles": ["operator", "liaison"][:1], "reason": "new in the NOC"}
    invited = await _submit(door, "/people", "/people", admin, **fields)
    found = re.search(r'<p class="detail">([\w-]{43})</p>', invited.text)
    assert invited.status_code == 200 and found
    door.http.cookies.clear()
    enrolling = {"invitation": found[1], "password": PASSWORD, "again": PASSWORD}
    differing = await _submit(door, "/enrol", "/enrol", **{**enrolling, "again": "x" * 12})
    assert differing.status_code == 422 and "differ" in differing.text and PASSWORD not in differing.text
    second = await _submit(door, "/enrol", "/enrol", **enrolling)
    assert second.status_code == 200 and 'src="data:image/svg+xml' in second.text and PASSWORD not in second.text
    hidden = _hidden(second.text)
    door.phones["sri"] = Authenticator(hidden["key"])
    headers = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
    wrong = await door.http.post("/enrol/confirm", data={**hidden, "code": "000000"}, headers=headers)
    assert wrong.status_code == 403 and hidden["key"] in wrong.text
    right = await door.http.post("/enrol/confirm", data={**hidden, "code": door.code("sri")}, headers=headers)
    assert (right.status_code, right.headers["Location"]) == (303, "/sign-in")
    assert (await _signing_in(door, "sri")).status_code == 303
    listed = await door.http.get("/people", headers={"Cookie": f"{COOKIE}={admin.cookie}"})
    assert EVIL not in listed.text and html.escape(EVIL, quote=False).split('"')[0] in listed.text


async def test_a_password_is_changed_by_its_person(door: FrontDoor) -> None:
    await door.person("sri", Role.OPERATOR)
    signed = Signed((await _signing_in(door, "sri")).cookies[COOKIE], "")
    door.http.cookies.clear()
    door.forget_codes("sri")
    new = "a horse that is correct"
    right = {"old": PASSWORD, "new": new, "again": new, "code": door.code("sri")}
    for fields, status, text in (
        ({**right, "again": PASSWORD}, 422, "differ"),
        ({**right, "new": "short", "again": "short"}, 422, "5 characters; 12 to 128"),
        ({**right, "old": "x" * 12}, 403, "old password or the code is wrong"),
    ):
        refused = await _submit(door, "/password", "/password", signed, **fields)
        alert = re.search(r'role="alert">([^<]*)<', refused.text)
        assert refused.status_code == status and alert and text in alert[1]
        assert PASSWORD not in refused.text and new not in refused.text
    done = await _submit(door, "/password", "/password", signed, **right)
    assert (done.status_code, done.headers["Location"]) == (303, "/sign-in")
    after = await door.http.get("/tokens", headers={"Cookie": f"{COOKIE}={signed.cookie}"})
    assert (after.status_code, after.headers["Location"]) == (303, "/sign-in")
    door.http.cookies.clear()
    door.forget_codes("sri")
    assert (
        await _submit(door, "/sign-in", "/sign-in", name="sri", password=PASSWORD, code=door.code("sri"))
    ).status_code == 401
    door.forget_codes("sri")
    assert (
        await _submit(door, "/sign-in", "/sign-in", name="sri", password=new, code=door.code("sri"))
    ).status_code == 303


async def test_access_is_changed_after_the_second_factor(door: FrontDoor) -> None:
    await door.person("admin", Role.ADMIN)
    await door.person("sri", Role.OPERATOR)
    admin = Signed((await _signing_in(door, "admin")).cookies[COOKIE], "")
    door.http.cookies.clear()
    fields = {"reason": "left us", "version": "3"}
    asked = await _submit(door, "/people/sri", "/people/sri/disable", admin, **fields)
    assert (asked.status_code, asked.headers["Location"]) == (303, "/step-up?next=/people/sri")
    door.forget_codes("admin")
    shown = await _submit(door, "/step-up", "/step-up", admin, code=door.code("admin"), next="/people/sri")
    assert (shown.status_code, shown.headers["Location"]) == (303, "/people/sri")
    version = _hidden((await door.http.get("/people/sri", headers={"Cookie": f"{COOKIE}={admin.cookie}"})).text)
    stale = await _submit(door, "/people/sri", "/people/sri/disable", admin, **{**fields, "version": "1"})
    assert stale.status_code == 303
    assert (await door.parts.ledger.read(Ledger.person, "sri")).state == "active"
    done = await _submit(
        door, "/people/sri", "/people/sri/disable", admin, reason="left us", version=version["version"]
    )
    assert done.status_code == 303
    assert (await door.parts.ledger.read(Ledger.person, "sri")).state == "disabled"


async def test_the_table_of_roles_is_the_one_that_guards(door: FrontDoor) -> None:
    signed = await door.session_of("sri", Role.VIEWER)
    page = (await door.http.get("/roles", headers={"Cookie": f"{COOKIE}={signed.cookie}"})).text
    rows = re.findall(r'<th scope="row" class="mono">([\w.]+)</th>(.*?)</tr>', page, re.DOTALL)
    shown = {permission: [("✓" in cell) for cell in re.findall(r"<td>(.*?)</td>", cells)] for permission, cells in rows}
    assert shown == {str(p): [p in allowed for allowed in TABLE.values()] for p in Permission}


async def test_a_token_is_shown_once_and_ends_when_it_is_ended(door: FrontDoor) -> None:
    signed = await door.session_of("sri", Role.OPERATOR)
    made = await _submit(door, "/tokens", "/tokens", signed, name=EVIL[:20], scopes=["see"], days="7")
    found = re.search(r"palang_[\w-]{43}", made.text)
    assert found and EVIL[:20] not in made.text
    bearer = {"Authorization": f"Bearer {found[0]}"}
    assert (await door.http.get("/v1/roles", headers=bearer)).status_code == 200
    listed = await door.http.get("/tokens", headers={"Cookie": f"{COOKIE}={signed.cookie}"})
    assert found[0] not in listed.text and EVIL[:20] not in listed.text
    ended = await _submit(door, "/tokens", "/tokens/1/end", signed)
    assert ended.status_code == 303
    assert (await door.http.get("/v1/roles", headers=bearer)).status_code == 401


@pytest.mark.parametrize("role", Role)
async def test_people_are_shown_to_those_who_may_see_them(door: FrontDoor, role: Role) -> None:
    signed = await door.session_of("sri", role)
    answer = await door.http.get("/people", headers={"Cookie": f"{COOKIE}={signed.cookie}"})
    may = bool(TABLE[role] & {Permission.MANAGE_PEOPLE, Permission.READ_SETTINGS})
    assert answer.status_code == (200 if may else 403)
    assert ("Invite somebody" in answer.text) is (Permission.MANAGE_PEOPLE in TABLE[role])


async def test_every_page_carries_who_looks(door: FrontDoor) -> None:
    signed = await door.session_of("sri", Role.ADMIN)
    for path in ("/people", "/people/sri", "/roles", "/tokens", "/step-up", "/password"):
        answer = await door.http.get(path, headers={"Cookie": f"{COOKIE}={signed.cookie}"})
        assert answer.status_code == 200, path
        assert f"sri · <time data-clock>{datetime.now(UTC).astimezone():%Y}" in answer.text
