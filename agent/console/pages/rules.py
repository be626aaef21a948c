"""Rules: the list, and one page for a rule's way from idea through preview and shadow to enforcement, and back."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Form
from starlette.responses import HTMLResponse, Response

from agent.access import Permission
from agent.client import ApiError
from agent.console.labels import LABELS
from agent.console.page import House, Page, ThePage
from agent.console.words import _
from agent.night import is_night, local
from agent.settings_rules import RulesSettings

router = APIRouter()

ENDS: Final = (
    (3_600, _("1 hour")),
    (43_200, _("12 hours")),
    (86_400, _("1 day")),
    (3 * 86_400, _("3 days")),
    (7 * 86_400, _("7 days")),
    (14 * 86_400, _("14 days")),
    (30 * 86_400, _("30 days")),
)
"""The ends that a form offers, in seconds."""
WEEK: Final = 7 * 86_400
ONE_KEY: Final = "rolled back with one key"
_ROWS = 50

Short = Annotated[str, Form(max_length=32)]
Reason = Annotated[str, Form(max_length=400)]
Version = Annotated[int, Form(ge=0)]
Seconds = Annotated[int, Form(ge=60, le=31 * 86_400)]


@router.get("/rules")
async def rules(
    page: ThePage, mode: str = "", action: str = "", origin: str = "", ended: str = "", after: int | None = None
) -> Response:
    """The list."""
    words = {"mode": mode, "action": action, "origin": origin, "ended": ended}
    asked = {name: value or None for name, value in words.items()}
    found = await page.api.get("/v1/rules", **asked, after=after, limit=_ROWS)
    return _list(page, found, words)


@router.post("/rules/search")
async def search(page: ThePage, prefix: Short, after: Annotated[int | None, Form(ge=0)] = None) -> Response:
    """The rules around some leading digits; posted, so that no digits stand in a URL."""
    try:
        found = await page.api.post("/v1/rules/search", {"prefix": prefix, "after": after, "limit": _ROWS})
    except ApiError as error:
        return page.go("/rules", str(error), tone="bad")
    return _list(page, found, {}, prefix)


@router.get("/rules/new")
async def new(page: ThePage) -> Response:
    """The form for an idea."""
    return _new(page, {"subject": "", "action": "reject", "kinds": "both", "trunks": [], "reason": ""}, None)


@router.post("/rules/new")
async def made(
    page: ThePage,
    subject: Short,
    action: Short,
    kinds: Short,
    reason: Reason = "",
    trunks: Annotated[tuple[str, ...], Form(max_length=100)] = (),
    what: Short = "preview",
) -> Response:
    """Preview the idea, or propose it."""
    scope = {"subject": subject, "action": action, "kinds": kinds, "trunks": list(trunks)}
    try:
        if what == "propose":
            rule = await page.api.post("/v1/rules", {**scope, "reason": reason})
            return page.go(f"/rules/{rule['id']}", _("Proposed: it does nothing yet."))
        preview = await page.api.post("/v1/previews", {**scope, "except": []})
    except ApiError as error:
        return _new(page, {**scope, "reason": reason}, None, str(error))
    return _new(page, {**scope, "reason": reason}, preview)


@router.get("/rules/{rule}")
async def one(page: ThePage, rule: str) -> Response:
    """One rule: its four steps, what it would match, what it counts, and its history."""
    found = await page.api.get(f"/v1/rules/{rule}")
    steps = (await page.api.get(f"/v1/rules/{found['id']}/transitions", limit=20))["items"]
    waits = (await page.api.get("/v1/approvals", state="open", about=found["id"]))["items"]
    settings = _settings(page)
    return page.show(
        "rules/rule.html",
        _("Rule"),
        rule=found,
        steps=steps,
        back=_back(found, steps),
        waits=next((one for one in waits if one["act"] == "rule.enforce"), None),
        preview=await _preview(page, found),
        ends=ENDS,
        week=WEEK,
        one_key=ONE_KEY,
        night=is_night(page.now, settings),
        clock=f"{local(page.now, settings):%H:%M}",
        nights=settings,
        may={str(permission): page.may(permission) for permission in Permission},
    )


@router.get("/rules/{rule}/counts")
async def counts(page: ThePage, rule: str) -> Response:
    """The counts of one rule, as a piece of its page that is fetched again and again."""
    found = await page.api.get(f"/v1/rules/{rule}")
    return HTMLResponse(page.fragment("rules/counts.html", rule=found))


@router.post("/rules/{rule}/roll-back")
async def roll_back(page: ThePage, rule: str, version: Version, reason: Reason = ONE_KEY) -> Response:
    """Return the rule to how it stood before its last step, and say what that changed."""
    try:
        done = await page.api.post(f"/v1/rules/{rule}/roll-back", {"reason": reason}, version=version)
    except ApiError as error:
        return page.go(f"/rules/{rule}", str(error), tone="bad")
    return page.go(
        f"/rules/{rule}",
        _("Rolled back: {before} → {after}. Once more (key u) undoes it."),
        before=_state(page, done["before"]),
        after=_state(page, done["after"]),
    )


@router.post("/rules/{rule}/enforce")
async def enforce(
    page: ThePage,
    rule: str,
    version: Version,
    reason: Reason,
    expires_s: Seconds = WEEK,
    alone: Annotated[bool, Form()] = False,
) -> Response:
    """Enforce the rule, alone or not."""
    body = {"reason": reason, "expires_s": expires_s, "alone": alone}
    return await _act(page, rule, "enforce", body, version, _("It is enforced now."))


@router.post("/rules/{rule}/shadow")
async def shadow(page: ThePage, rule: str, version: Version, reason: Reason) -> Response:
    """Count what the rule would do."""
    return await _act(page, rule, "shadow", {"reason": reason}, version, _("It is in shadow now: counted, no more."))


@router.post("/rules/{rule}/renew")
async def renew(page: ThePage, rule: str, version: Version, reason: Reason, expires_s: Seconds = WEEK) -> Response:
    """Give the rule a new end."""
    body = {"reason": reason, "expires_s": expires_s}
    return await _act(page, rule, "renew", body, version, _("It has a new end."))


@router.post("/rules/{rule}/disable")
async def disable(page: ThePage, rule: str, version: Version, reason: Reason) -> Response:
    """Switch the rule off."""
    return await _act(page, rule, "disable", {"reason": reason}, version, _("It is disabled now."))


@router.post("/rules/{rule}/remove")
async def remove(page: ThePage, rule: str, version: Version, reason: Reason) -> Response:
    """End the rule for good."""
    return await _act(page, rule, "", {"reason": reason}, version, _("It has ended for good."))


async def _act(page: Page, rule: str, step: str, body: dict[str, Any], version: int, said: str) -> Response:
    path = f"/v1/rules/{rule}"
    try:
        if step:
            done = await page.api.post(f"{path}/{step}", body, version=version)
        else:
            done = await page.api.delete(path, body, version=version)
    except ApiError as error:
        return page.go(f"/rules/{rule}", str(error), tone="bad")
    if not done.get("approval"):
        return page.go(f"/rules/{rule}", said)
    if done["mode"] == "enforce" and body.get("alone"):
        return page.go(f"/rules/{rule}", _("It is enforced for a short time, and longer when somebody countersigns."))
    return page.go(f"/rules/{rule}", _("It waits for a second person, who has to approve it."))


def _list(page: Page, found: dict[str, Any], words: dict[str, str], prefix: str | None = None) -> Response:
    return page.show("rules/rules.html", _("Rules"), found=found, words=words, prefix=prefix)


def _new(page: Page, idea: dict[str, Any], preview: dict[str, Any] | None, problem: str = "") -> Response:
    parts = page.request.app.state.house.api.state.parts
    return page.show(
        "rules/new.html",
        _("New rule"),
        status=422 if problem else 200,
        idea=idea,
        preview=preview,
        problem=problem,
        trunks=[trunk.name for trunk in parts.settings.gateway.trunks],
    )


async def _preview(page: Page, rule: dict[str, Any]) -> dict[str, Any] | None:
    """What is known of the rule's reach; None when it can't be asked for."""
    try:
        found: dict[str, Any] = await page.api.get(f"/v1/rules/{rule['id']}/preview")
    except ApiError:
        return None
    return found


def _back(rule: dict[str, Any], steps: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Where a roll back would return the rule to, told before it is done; None where there is nothing."""
    if not rule["live"] or rule["authority"] != "noc" or not steps:
        return None
    mode = steps[0]["from_mode"] or "disabled"
    if steps[0]["from_mode"] is None and rule["mode"] == "disabled":
        return None
    return {"mode": mode, "expires_at": steps[0]["from_expires_at"]}


def _state(page: Page, state: dict[str, Any]) -> str:
    mode = page.say(LABELS.get(str(state["mode"]), str(state["mode"])))
    if not state["expires_at"]:
        return mode
    return page.say(_("{mode} until {time}"), mode=mode, time=state["expires_at"][:16].replace("T", " "))


def _settings(page: Page) -> RulesSettings:
    house: House = page.request.app.state.house
    found: RulesSettings = house.api.state.parts.settings.rules
    return found
