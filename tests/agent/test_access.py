"""Coming in: passwords, second factor, sessions, invitations, tokens. Each guard has a test that fails without it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyotp
import pytest

from agent.access import NotSignedIn, Role, TooOften
from agent.access.people_door import COOKIE
from agent.access.secrets import step_of
from agent.access.throttle import Throttle
from sync.ledger import Ledger, LedgerError
from tests.agent.front_door import PASSWORD, FrontDoor, Signed, front_door
from tests.authenticator import Authenticator

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[FrontDoor]:
    async with front_door(tmp_path) as opened:
        yield opened


async def _enters(door: FrontDoor, signed: Signed) -> int:
    return (await door.ask("GET", "/v1/sessions/current", signed=signed)).status_code


# --- signing in


async def test_a_person_comes_in_with_password_and_code(door: FrontDoor) -> None:
    await door.person("sri", Role.OPERATOR)
    body = {"name": "sri", "password": PASSWORD, "code": door.code("sri")}
    answer = await door.ask("POST", "/v1/sessions", body)
    flags = {part.strip().lower() for part in answer.headers["Set-Cookie"].split(";")[1:]}
    assert answer.headers["Set-Cookie"].startswith(f"{COOKIE}=")
    assert {"secure", "httponly", "samesite=strict", "path=/"} == flags
    me = (await door.http.get("/v1/sessions/current")).json()
    assert (me["name"], me["display"], me["roles"], me["csrf"]) == ("sri", "Sri", ["operator"], answer.json()["csrf"])
    assert "rules.enforce" in me["permissions"] and "people.manage" not in me["permissions"]
    assert door.journal("session.begin") == [("session.begin", "sri", "sri", {"address": "192.0.2.7"})]


async def test_the_cookie_is_not_in_the_ledger(door: FrontDoor, tmp_path: Path) -> None:
    await door.person("sri", Role.OPERATOR)
    signed = await door.sign_in("sri")
    files = b"".join(path.read_bytes() for path in tmp_path.glob("ledger.sqlite*"))
    assert signed.csrf.encode() in files, "the search looks in the right place"
    assert signed.cookie.encode() not in files and PASSWORD.encode() not in files


async def test_signing_in_makes_a_new_session_whatever_cookie_came(door: FrontDoor) -> None:
    await door.person("sri", Role.OPERATOR)
    planted = "planted-by-somebody-else"
    body = {"name": "sri", "password": PASSWORD, "code": door.code("sri")}
    answer = await door.ask("POST", "/v1/sessions", body, Cookie=f"{COOKIE}={planted}")
    assert answer.cookies[COOKIE] != planted
    door.http.cookies.clear()
    assert await _enters(door, Signed(planted, "")) == 401
    again = await door.sign_in("sri")
    assert again.cookie != answer.cookies[COOKIE]


WRONG: dict[str, dict[str, str]] = {
    "name": {"name": "nobody"},
    "password": {"password": "wrong horse battery"},
    "code": {"code": "000000"},
    "an admin who has not enrolled": {"name": "budi"},
    "somebody disabled": {"name": "dewi"},
}


@pytest.mark.parametrize("what", WRONG)
async def test_whatever_was_wrong_the_answer_is_the_same(door: FrontDoor, what: str) -> None:
    now = datetime.now(UTC)
    await door.person("sri", Role.OPERATOR)
    await door.person("dewi", Role.OPERATOR)
    await door.ledger.change(Ledger.disable, "dewi", "local:test", "left us", now)
    await door.parts.entrance.invite("budi", "Budi", frozenset({Role.ADMIN}), "local:test", "new", now)
    wrong = WRONG[what]
    name = wrong.get("name", "sri")
    code = door.code(name) if name in door.phones else "123456"
    answer = await door.ask("POST", "/v1/sessions", {"name": name, "password": PASSWORD, "code": code, **wrong})
    told = answer.json()["error"]
    assert (answer.status_code, told["code"]) == (401, "not_signed_in")
    assert told["message"] == "name, password or code is wrong, or may not come in"
    assert "Set-Cookie" not in answer.headers
    refused = [(actor, about) for _, actor, about, _ in door.journal("session.refused")]
    assert refused == [("unknown", "sri" if name == "sri" else None)], "a name that is none may be a password"


@pytest.mark.parametrize("name", ["sri", "nobody", "budi"])
async def test_as_much_is_hashed_for_a_name_that_is_none(
    door: FrontDoor, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await door.person("sri", Role.OPERATOR)
    verified: list[str] = []
    real = door.parts.entrance._passwords._hasher.verify

    def counted(kept: str, password: str) -> Any:
        verified.append(kept.rsplit("$", 2)[0])
        return real(kept, password)

    monkeypatch.setattr(type(door.parts.entrance._passwords._hasher), "verify", lambda self, k, p: counted(k, p))
    await door.ask("POST", "/v1/sessions", {"name": name, "password": "wrong horse battery", "code": "000000"})
    assert verified == ["$argon2id$v=19$m=8,t=1,p=1"]


async def test_a_code_works_once(door: FrontDoor) -> None:
    await door.person("sri", Role.OPERATOR)
    code = door.code("sri")
    body = {"name": "sri", "password": PASSWORD, "code": code}
    assert (await door.ask("POST", "/v1/sessions", body)).status_code == 200
    door.http.cookies.clear()
    assert (await door.ask("POST", "/v1/sessions", body)).status_code == 401


async def test_a_code_works_once_also_for_two_at_the_same_moment(door: FrontDoor) -> None:
    await door.person("sri", Role.OPERATOR)
    now, step = datetime.now(UTC), door.phones["sri"].skip()
    ends = now + timedelta(hours=1)
    await door.ledger.change(Ledger.begin_session, "sri", "a" * 64, "x", ends, step, None, now)
    with pytest.raises(LedgerError, match="used already"):
        await door.ledger.change(Ledger.begin_session, "sri", "b" * 64, "x", ends, step, None, now)


def test_a_code_of_the_steps_around_now_is_taken_and_no_other() -> None:
    key = pyotp.random_base32()
    now = int(NOON.timestamp()) // 30
    totp = pyotp.TOTP(key)
    taken = [step - now for step in range(now - 5, now + 6) if step_of(key, totp.generate_otp(step), NOON, 0) == step]
    assert taken == [-1, 0, 1]
    assert step_of(key, totp.generate_otp(now), NOON, now) is None, "used"
    assert step_of(key, totp.generate_otp(now - 1), NOON, now) is None, "before one that was used"


# --- throttling


async def test_guessing_is_slowed_and_told_to_the_one_on_duty(door: FrontDoor) -> None:
    await door.person("sri", Role.OPERATOR)
    right = {"name": "sri", "password": PASSWORD, "code": door.code("sri")}
    wrong = {"password": "wrong horse battery", "code": "000000"}
    asked = [{**wrong, "name": "sri"}] * 8 + [right] + [{**wrong, "name": "nobody"}] * 8
    answers = [await door.ask("POST", "/v1/sessions", body) for body in asked]
    codes = [answer.status_code for answer in answers]
    assert codes[:9] == [401] * 5 + [429] * 4, "nothing is looked at meanwhile, not even what is right"
    assert codes[9:] == [401] * 5 + [429] * 3, "the same for a name that is none"
    assert {answer.headers["Retry-After"] for answer in answers if answer.status_code == 429} == {"1"}
    assert door.alarms == ["10 attempts to sign in have failed in a row"]


async def test_a_thousand_at_once_are_no_way_around_it(door: FrontDoor) -> None:
    throttle = Throttle()
    passed = 0
    for _ in range(1000):
        try:
            throttle.attempt("sri", None, NOON)
        except TooOften:
            continue
        passed += 1
    assert passed == 5


def test_the_wait_doubles_up_to_its_longest_and_is_forgotten() -> None:
    throttle, now, waits = Throttle(), NOON, []
    for _ in range(14):
        try:
            throttle.attempt("sri", "192.0.2.1", now)
        except TooOften as told:
            waits.append(told.seconds)
            now += timedelta(seconds=told.seconds)
            throttle.attempt("sri", "192.0.2.1", now)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    throttle.succeeded("sri", "192.0.2.1")
    assert throttle.attempt("sri", None, now) == 0


def test_an_address_waits_whatever_names_it_tries() -> None:
    throttle = Throttle()
    for number in range(20):
        throttle.attempt(f"name{number}", "192.0.2.1", NOON)
    with pytest.raises(TooOften):
        throttle.attempt("sri", "192.0.2.1", NOON)
    throttle.attempt("sri", "192.0.2.2", NOON)


# --- the end of a session


async def test_signing_out_ends_the_session_on_the_server(door: FrontDoor) -> None:
    signed = await door.session_of("sri", Role.OPERATOR)
    assert (await door.ask("DELETE", "/v1/sessions/current", signed=signed)).status_code == 200
    assert await _enters(door, signed) == 401


async def test_disabling_ends_sessions_and_tokens(door: FrontDoor) -> None:
    admin = await door.session_of("admin", Role.ADMIN)
    signed = await door.session_of("sri", Role.OPERATOR)
    made = await door.ask("POST", "/v1/tokens", {"name": "t", "scopes": ["see"]}, signed=signed)
    bearer = {"Authorization": f"Bearer {made.json()['token']}"}
    assert (await door.ask("GET", "/v1/roles", None, None, **bearer)).status_code == 200
    assert (await door.ask("POST", "/v1/people/sri/disable", {"reason": "left us"}, admin)).status_code == 200
    assert await _enters(door, signed) == 401
    assert (await door.ask("GET", "/v1/roles", None, None, **bearer)).status_code == 401
    assert (await door.ask("POST", "/v1/people/sri/enable", {"reason": "is back"}, admin)).status_code == 200
    assert await _enters(door, signed) == 401, "what ended stays ended"
    assert (await door.ask("GET", "/v1/roles", None, None, **bearer)).status_code == 401


async def test_a_change_of_roles_ends_the_sessions_and_narrows_the_tokens(door: FrontDoor) -> None:
    admin = await door.session_of("admin", Role.ADMIN)
    signed = await door.session_of("sri", Role.SUPERVISOR)
    made = await door.ask("POST", "/v1/tokens", {"name": "t", "scopes": ["see", "settings.read"]}, signed=signed)
    bearer = {"Authorization": f"Bearer {made.json()['token']}"}
    body = {"roles": ["viewer"], "reason": "another shift"}
    assert (await door.ask("POST", "/v1/people/sri/roles", body, admin)).status_code == 200
    assert await _enters(door, signed) == 401
    assert (await door.ask("GET", "/v1/sessions/current", **bearer)).json()["permissions"] == ["see"]


async def test_a_new_password_ends_every_session(door: FrontDoor) -> None:
    await door.person("sri", Role.OPERATOR)
    first, other = await door.sign_in("sri"), await door.session_of("sri")
    new = "a horse that is correct"
    door.forget_codes("sri")
    body = {"old": PASSWORD, "new": new, "code": door.code("sri")}
    wrong = await door.ask("POST", "/v1/sessions/current/password", {**body, "old": "x" * 12}, first)
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (403, "wrong")
    assert (await door.ask("POST", "/v1/sessions/current/password", body, first)).status_code == 200
    assert [await _enters(door, signed) for signed in (first, other)] == [401, 401]


@pytest.mark.parametrize(("minutes", "enters"), [(29, True), (31, False)])
async def test_a_session_ends_when_nothing_comes_from_it(door: FrontDoor, minutes: int, enters: bool) -> None:
    signed = await door.session_of("sri", Role.OPERATOR)
    later = datetime.now(UTC) + timedelta(minutes=minutes)
    assert (await door.parts.entrance.session(signed.cookie, later) is not None) is enters


async def test_a_session_ends_however_busy_it_is(door: FrontDoor) -> None:
    signed = await door.session_of("sri", Role.OPERATOR)
    began, minute, lived = datetime.now(UTC), 0, 0
    while minute < 600:
        minute += 20
        if await door.parts.entrance.session(signed.cookie, began + timedelta(minutes=minute)) is None:
            break
        lived = minute
    assert lived == 460, "session_minutes is 480"


# --- invitations


async def _invite(door: FrontDoor, admin: Signed, **fields: Any) -> Any:
    body = {"name": "sri", "display": "Sri", "roles": ["operator"], "reason": "new in the NOC", **fields}
    return await door.ask("POST", "/v1/people", body, admin)


async def test_from_the_invitation_to_the_first_session(door: FrontDoor) -> None:
    admin = await door.session_of("admin", Role.ADMIN)
    invited = (await _invite(door, admin)).json()
    assert (invited["state"], invited["roles"], invited["version"]) == ("invited", ["operator"], 1)
    word = invited["invitation"]
    enrolment = (await door.ask("POST", "/v1/enrolments", {"invitation": word, "password": PASSWORD})).json()
    assert enrolment["uri"].startswith("otpauth://totp/Palang:sri?")
    door.phones["sri"] = Authenticator(enrolment["key"])
    signing = {"name": "sri", "password": PASSWORD, "code": door.code("sri")}
    assert (await door.ask("POST", "/v1/sessions", signing)).status_code == 401, "nothing holds before the code"
    wrong = await door.ask("POST", "/v1/enrolments/confirm", {"invitation": word, "code": "000000"})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (403, "wrong")
    code = {"invitation": word, "code": door.code("sri")}
    assert (await door.ask("POST", "/v1/enrolments/confirm", code)).json()["state"] == "active"
    assert (await door.ask("POST", "/v1/enrolments/confirm", code)).status_code == 401, "the word works once"
    again = await door.ask("POST", "/v1/enrolments", {"invitation": word, "password": PASSWORD})
    assert again.status_code == 401
    await door.sign_in("sri")


async def test_an_invitation_ends_after_its_hours(door: FrontDoor) -> None:
    now = datetime.now(UTC)
    _, word = await door.parts.entrance.invite("sri", "Sri", frozenset({Role.VIEWER}), "local:test", "new", now)
    await door.parts.entrance.enrol(word, PASSWORD, None, now + timedelta(hours=23))
    with pytest.raises(NotSignedIn):
        await door.parts.entrance.enrol(word, PASSWORD, None, now + timedelta(hours=25))


async def test_inviting_again_takes_everything_away(door: FrontDoor) -> None:
    admin = await door.session_of("admin", Role.ADMIN)
    await door.person("sri", Role.OPERATOR)
    signed = await door.sign_in("sri")
    again = await door.ask("POST", "/v1/people/sri/invite", {"reason": "lost the phone"}, admin)
    assert (again.status_code, again.json()["state"]) == (200, "invited")
    assert await _enters(door, signed) == 401
    body = {"name": "sri", "password": PASSWORD, "code": door.code("sri")}
    assert (await door.ask("POST", "/v1/sessions", body)).status_code == 401


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("short", "12 to 128"),
        ("aaaaaaaaaaaab", "different characters"),
        ("sri is the best 1", "holds the name"),
        ("palang palang palang", "holds the name or 'palang'"),
    ],
)
async def test_a_password_that_is_guessed_at_once_is_refused(door: FrontDoor, password: str, said: str) -> None:
    admin = await door.session_of("admin", Role.ADMIN)
    word = (await _invite(door, admin)).json()["invitation"]
    answer = await door.ask("POST", "/v1/enrolments", {"invitation": word, "password": password})
    message = answer.json()["error"]["message"]
    assert answer.status_code == 422 and said in message and password not in message


# --- who decides on people


@pytest.mark.parametrize("act", ["roles", "disable"])
async def test_nobody_decides_on_their_own_access(door: FrontDoor, act: str) -> None:
    admin = await door.session_of("admin", Role.ADMIN)
    body: dict[str, Any] = {"reason": "because I can"} | ({"roles": ["supervisor"]} if act == "roles" else {})
    answer = await door.ask("POST", f"/v1/people/admin/{act}", body, admin)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "refused")


async def test_who_lets_people_in_does_not_act_on_numbers(door: FrontDoor) -> None:
    admin = await door.session_of("admin", Role.ADMIN)
    answer = await _invite(door, admin, roles=["admin", "operator"])
    assert answer.status_code == 422 and "operator" in answer.json()["error"]["message"]
    assert (await _invite(door, admin, roles=[])).status_code == 422
    assert (await _invite(door, admin, roles=["admin", "auditor"])).status_code == 200


async def test_access_is_changed_only_after_the_second_factor_was_shown_again(door: FrontDoor) -> None:
    await door.person("admin", Role.ADMIN)
    admin = await door.sign_in("admin")
    refused = await _invite(door, admin)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "step_up_needed")
    wrong = await door.ask("POST", "/v1/sessions/current/step-up", {"code": "000000"}, admin)
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (403, "wrong")
    right = await door.ask("POST", "/v1/sessions/current/step-up", {"code": door.code("admin")}, admin)
    assert right.status_code == 200
    assert (await _invite(door, admin)).status_code == 200


@pytest.mark.parametrize("field", ["created_by", "version", "totp", "password", "disabled_at", "state", "id"])
async def test_no_field_comes_in_by_the_side(door: FrontDoor, field: str) -> None:
    admin = await door.session_of("admin", Role.ADMIN)
    answer = await _invite(door, admin, **{field: "1"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid")
    signed = await door.session_of("budi", Role.OPERATOR)
    mass = {"name": "t", "scopes": ["see"], field: "1"}
    assert (await door.ask("POST", "/v1/tokens", mass, signed)).status_code == 422


async def test_a_change_that_somebody_else_made_meanwhile_is_not_written_over(door: FrontDoor) -> None:
    admin = await door.session_of("admin", Role.ADMIN)
    await _invite(door, admin)
    seen = (await door.ask("GET", "/v1/people/sri", signed=admin)).headers["ETag"]
    body = {"roles": ["viewer"], "reason": "for now"}
    first = await door.ask("POST", "/v1/people/sri/roles", body, admin, **{"If-Match": seen})
    second = await door.ask("POST", "/v1/people/sri/roles", body, admin, **{"If-Match": seen})
    assert [(a.status_code, a.headers.get("ETag")) for a in (first, second)] == [(200, '"2"'), (412, None)]


async def test_every_act_on_access_is_in_the_journal_with_who_and_why(door: FrontDoor) -> None:
    admin = await door.session_of("admin", Role.ADMIN)
    await _invite(door, admin)
    for act, more in (("roles", {"roles": ["viewer"]}), ("disable", {}), ("enable", {}), ("invite", {})):
        body = {"reason": f"why {act}", **more}
        assert (await door.ask("POST", f"/v1/people/sri/{act}", body, admin)).status_code == 200
    found = [record for record in door.journal() if record[1:3] == ("admin", "sri")]
    assert [(kind, body["reason"]) for kind, _, _, body in found] == [
        ("person.invite", "new in the NOC"),
        ("person.roles", "why roles"),
        ("person.disable", "why disable"),
        ("person.enable", "why enable"),
        ("person.invite", "why invite"),
    ]
    assert (await door.ledger.read(Ledger.verify)).whole


# --- tokens


async def test_a_token_opens_its_scopes_and_no_more(door: FrontDoor, tmp_path: Path) -> None:
    signed = await door.session_of("sri", Role.SUPERVISOR)
    made = (await door.ask("POST", "/v1/tokens", {"name": "export", "scopes": ["see"]}, signed)).json()
    bearer = {"Authorization": f"Bearer {made['token']}"}
    me = (await door.ask("GET", "/v1/sessions/current", None, None, **bearer)).json()
    assert (me["name"], me["way"], me["permissions"]) == ("sri", "token", ["see"])
    refused = await door.ask("POST", "/v1/explain", {"text": "112"}, None, **bearer)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
    files = b"".join(path.read_bytes() for path in tmp_path.glob("ledger.sqlite*"))
    assert made["token"].encode() not in files


async def test_a_token_has_no_more_than_its_person(door: FrontDoor) -> None:
    signed = await door.session_of("sri", Role.VIEWER)
    answer = await door.ask("POST", "/v1/tokens", {"name": "t", "scopes": ["see", "people.manage"]}, signed)
    assert answer.status_code == 403 and "people.manage" in answer.json()["error"]["message"]


async def test_a_token_makes_no_tokens_and_changes_no_access(door: FrontDoor) -> None:
    signed = await door.session_of("admin", Role.ADMIN)
    scopes = {"name": "t", "scopes": ["see", "people.manage"]}
    bearer = {"Authorization": f"Bearer {(await door.ask('POST', '/v1/tokens', scopes, signed)).json()['token']}"}
    made = await door.ask("POST", "/v1/tokens", {"name": "t", "scopes": ["see"]}, None, **bearer)
    assert (made.status_code, made.json()["error"]["code"]) == (403, "step_up_needed")
    invited = await door.ask(
        "POST", "/v1/people", {"name": "x2", "display": "X", "roles": ["viewer"], "reason": "xxx"}, None, **bearer
    )
    assert (invited.status_code, invited.json()["error"]["code"]) == (403, "step_up_needed")


async def test_a_token_expires(door: FrontDoor) -> None:
    signed = await door.session_of("sri", Role.VIEWER)
    made = (await door.ask("POST", "/v1/tokens", {"name": "t", "scopes": ["see"], "expires_s": 60}, signed)).json()
    now = datetime.now(UTC)
    assert await door.parts.entrance.holder(made["token"], now + timedelta(seconds=50)) is not None
    assert await door.parts.entrance.holder(made["token"], now + timedelta(seconds=70)) is None
    too_long = {"name": "t", "scopes": ["see"], "expires_s": 366 * 86_400}
    assert (await door.ask("POST", "/v1/tokens", too_long, signed)).status_code == 422


async def test_anothers_token_is_not_there(door: FrontDoor) -> None:
    sri, budi = await door.session_of("sri", Role.VIEWER), await door.session_of("budi", Role.SUPERVISOR)
    made = (await door.ask("POST", "/v1/tokens", {"name": "t", "scopes": ["see"]}, sri)).json()
    assert (await door.ask("GET", "/v1/tokens", signed=budi)).json()["items"] == []
    assert (await door.ask("DELETE", f"/v1/tokens/{made['id']}", signed=budi)).status_code == 404
    assert (await door.ask("DELETE", f"/v1/tokens/{made['id'] + 1}", signed=budi)).status_code == 404
    assert (
        await door.ask("POST", "/v1/tokens", {"name": "t", "scopes": ["see"], "person": "sri"}, budi)
    ).status_code == 403
    assert (await door.ask("DELETE", f"/v1/tokens/{made['id']}", signed=sri)).status_code == 200
    bearer = {"Authorization": f"Bearer {made['token']}"}
    assert (await door.ask("GET", "/v1/roles", None, None, **bearer)).status_code == 401


@pytest.mark.parametrize(
    "authorization", ["Bearer", "Bearer ", "Bearer palang_", "Bearer palang_\xe9", "Basic c3JpOng=", "palang_x", ""]
)
async def test_what_is_no_token_opens_nothing(door: FrontDoor, authorization: str) -> None:
    answer = await door.http.get("/v1/roles", headers=[(b"Authorization", authorization.encode("latin-1"))])
    assert answer.status_code == 401
