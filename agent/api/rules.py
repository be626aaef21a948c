"""Rules: the NOC's own, from proposal through shadow to enforcement, and back with one act.

A change may carry `If-Match` with the version that its author looked at; every record of a rule is answered with it.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from agent.access import Forbidden, Permission, Viewer, needs
from agent.api.approvals import outcome
from agent.api.bodies import Body, Reason, TheParts
from agent.api.conditions import Expected, tag
from agent.api.paging import After, Limit, page
from agent.explain import plan_of
from agent.judging import judge
from agent.night import is_night, local
from agent.views import rolled_back_record, rule_record, transition_record
from agent.wiring import Parts
from sip_filter.number import parse_subject
from sync.ledger import Ledger, LedgerError, RuleView

router = APIRouter(prefix="/rules", tags=["rules"])

Reader = Annotated[Viewer, needs(Permission.SEE)]
Enforcer = Annotated[Viewer, needs(Permission.ENFORCE)]

MostSeconds = Annotated[
    int | None, Field(ge=60, le=31 * 86_400, description="Seconds until it ends; absent: the ledger's default.")
]


class NewRule(Body):
    """A rule that somebody at the NOC proposes."""

    subject: str = Field(max_length=32)
    action: Literal["reject", "allow", "label"]
    kinds: Literal["call", "message", "both"] = "both"
    trunks: tuple[str, ...] = Field((), max_length=100)
    expires_s: MostSeconds = None
    reason: str = Field(min_length=3, max_length=400)


class Timed(Reason):
    """A step that gives the rule a new end."""

    expires_s: MostSeconds = None


class Enforcement(Timed):
    """Enforcing a rule; `alone`: a wide one for a short time without a second person, at night."""

    alone: bool = False


Mode = Literal["enforce", "shadow", "disabled"]
Action = Literal["reject", "allow", "label"]
Origin = Literal["noc", "advisory"]


class Search(Body):
    """Which rules to find, around some leading digits; in a body, since a number must never stand in a URL."""

    prefix: str = Field(max_length=32, pattern=r"^\s*\+?[0-9]{1,15}\*?\s*$")
    mode: Mode | None = None
    action: Action | None = None
    origin: Origin | None = None
    ended: bool = False
    after: int | None = Field(None, ge=0)
    limit: int = Field(100, ge=1, le=1000)


@router.get("")
async def rules(
    parts: TheParts,
    viewer: Reader,
    mode: Mode | None = None,
    action: Action | None = None,
    origin: Origin | None = None,
    ended: Annotated[bool, Query(description="Also those that have ended.")] = False,
    after: After = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """The rules that are not an order's own, the newest first."""
    found = await parts.ledger.read(
        Ledger.rules, limit=limit + 1, after=after, mode=mode, action=action, origin=origin, ended=ended
    )
    return page(found, limit, _place, rule_record)


@router.post("/search")
async def search(body: Search, parts: TheParts, viewer: Reader) -> dict[str, Any]:
    """Rules around some leading digits: those that cover them, and those inside them.

    Rules on single numbers are found by at most four digits: whether one number is in the list, explain answers.
    """
    found = await parts.ledger.read(
        Ledger.rules,
        limit=body.limit + 1,
        after=body.after,
        mode=body.mode,
        action=body.action,
        origin=body.origin,
        digits=body.prefix.strip(" +*"),
        ended=body.ended,
    )
    return page(found, body.limit, _place, rule_record)


@router.post("")
async def propose(
    body: NewRule, parts: TheParts, viewer: Annotated[Viewer, needs(Permission.PROPOSE)], response: Response
) -> dict[str, Any]:
    """Propose a rule; it does nothing until it is shadowed or enforced. Its trunks have to be in the settings."""
    for trunk in body.trunks:
        plan_of(parts.settings, trunk)
    rule = await parts.ledger.change(
        Ledger.propose_rule,
        *(str(parse_subject(body.subject)), body.action, body.reason, viewer.name, datetime.now(UTC)),
        kinds=body.kinds,
        trunks=body.trunks,
        expires_s=body.expires_s,
    )
    return _tagged(rule, response)


@router.get("/{rule}")
async def one_rule(rule: str, parts: TheParts, viewer: Reader, response: Response) -> dict[str, Any]:
    """One rule with its hits."""
    return _tagged(await parts.ledger.read(Ledger.rule, rule), response)


@router.get("/{rule}/transitions")
async def transitions(
    rule: str, parts: TheParts, viewer: Reader, after: After = None, limit: Limit = 100
) -> dict[str, Any]:
    """The rule's steps, the newest first: who took each, why, and how the rule stood before and after."""
    found = await parts.ledger.read(Ledger.transitions, rule, after, limit + 1)
    return page(found, limit, lambda transition: transition.id, transition_record)


@router.post("/{rule}/shadow")
async def shadow(
    rule: str,
    body: Timed,
    parts: TheParts,
    viewer: Annotated[Viewer, needs(Permission.SHADOW)],
    version: Expected,
    response: Response,
) -> dict[str, Any]:
    """Count what the rule would do, and do nothing else."""
    act = partial(Ledger.shadow_rule, expires_s=body.expires_s)
    return await _simply(act, parts, rule, viewer, body, version, response)


@router.post("/{rule}/enforce")
async def enforce(
    rule: str, body: Enforcement, parts: TheParts, viewer: Enforcer, version: Expected, response: Response
) -> dict[str, Any]:
    """Enforce the rule. A wide one waits for a second person (202); at night `alone` enforces it for a short time."""
    found = await parts.ledger.read(Ledger.rule, rule)
    if found.mode == "enforce" and found.live and found.authority == "noc":
        raise LedgerError(f"rule {rule} is enforced already; renew gives it a new end")
    return await _enforce(parts, viewer, found, body, body.alone, version, response)


@router.post("/{rule}/renew")
async def renew(
    rule: str,
    body: Timed,
    parts: TheParts,
    viewer: Annotated[Viewer, needs(Permission.SHADOW)],
    version: Expected,
    response: Response,
) -> dict[str, Any]:
    """Give the rule a new end. A wide one that is enforced waits for a second person, as it did at first."""
    found = await parts.ledger.read(Ledger.rule, rule)
    if found.mode == "enforce" and found.live:
        _must(viewer, Permission.ENFORCE)
        return await _enforce(parts, viewer, found, body, False, version, response)
    act = partial(Ledger.renew_rule, expires_s=body.expires_s)
    return await _simply(act, parts, rule, viewer, body, version, response)


@router.post("/{rule}/disable")
async def disable(
    rule: str, body: Reason, parts: TheParts, viewer: Enforcer, version: Expected, response: Response
) -> dict[str, Any]:
    """Switch the rule off and keep it."""
    return await _simply(Ledger.disable_rule, parts, rule, viewer, body, version, response)


@router.post("/{rule}/roll-back")
async def roll_back(
    rule: str,
    body: Reason,
    parts: TheParts,
    viewer: Annotated[Viewer, needs(Permission.ROLL_BACK)],
    version: Expected,
    response: Response,
) -> dict[str, Any]:
    """Return the rule to how it stood before its last step, whatever that was; doing it again undoes it."""
    found = await parts.ledger.read(Ledger.rule, rule)
    last = await parts.ledger.read(Ledger.transitions, rule, limit=1)
    if last and last[0].from_mode == "enforce":
        _must(viewer, Permission.ENFORCE)
    version = found.version if version is None else version
    done = await parts.ledger.change(
        Ledger.roll_back_rule, rule, viewer.name, body.reason, datetime.now(UTC), version=version
    )
    tag(response, done.rule.version)
    return rolled_back_record(done)


@router.delete("/{rule}")
async def remove(
    rule: str,
    body: Reason,
    parts: TheParts,
    viewer: Annotated[Viewer, needs(Permission.REMOVE)],
    version: Expected,
    response: Response,
) -> dict[str, Any]:
    """End the rule for good; its history stays."""
    return await _simply(Ledger.remove_rule, parts, rule, viewer, body, version, response)


async def _simply(
    act: Callable[..., RuleView],
    parts: Parts,
    rule: str,
    viewer: Viewer,
    body: Reason,
    version: int | None,
    response: Response,
) -> dict[str, Any]:
    done = await parts.ledger.change(act, rule, viewer.name, body.reason, datetime.now(UTC), version=version)
    return _tagged(done, response)


async def _enforce(
    parts: Parts,
    viewer: Viewer,
    rule: RuleView,
    body: Timed,
    alone: bool,
    version: int | None,
    response: Response,
) -> dict[str, Any]:
    judged = await judge(parts, rule)
    now, settings = datetime.now(UTC), parts.settings.rules
    if alone and judged.wide and not is_night(now, settings):
        raise LedgerError(
            f"it is {local(now, settings):%H:%M} in {settings.timezone}: one person may enforce a wide rule alone only"
            f" at night, {settings.night} (rules.night); without `alone` it waits for a second person"
        )
    done = await parts.ledger.change(
        Ledger.enforce_rule,
        *(rule.id, viewer.name, body.reason, now),
        expires_s=body.expires_s,
        wide=judged.wide,
        alone_minutes=settings.alone_minutes if alone else None,
        expected=judged.expected,
        version=rule.version if version is None else version,
    )
    tag(response, done.record.version)
    return {**outcome(done, rule_record, response), "wide": list(judged.wide)}


def _place(rule: RuleView) -> int:
    return int(rule.id[1:])


def _must(viewer: Viewer, permission: Permission) -> None:
    if not viewer.may(permission):
        raise Forbidden(f"this needs the permission {permission}")


def _tagged(rule: RuleView, response: Response) -> dict[str, Any]:
    tag(response, rule.version)
    return rule_record(rule)
