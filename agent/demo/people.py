"""Two operators for the demo: invited, enrolled with a second factor, and asking by their own tokens over TCP."""

import secrets
from typing import Final

import pyotp

from agent.access import Permission, Role
from agent.client import Api

NAMES: Final = ("first", "second")
_MAY: Final = (
    *(Permission.SEE, Permission.SHADOW, Permission.ENFORCE, Permission.ROLL_BACK),
    Permission.COUNTERSIGN_RULES,
)


async def two_operators(noc: Api, console: str) -> tuple[Api, Api]:
    """Make them by the agent's own socket; each asks the agent at `console` as nobody but themselves."""
    first, second = [Api.remote(f"http://{console}", await _token(noc, name)) for name in NAMES]
    return first, second


async def _token(noc: Api, name: str) -> str:
    asked = {"name": name, "display": name.title(), "roles": [Role.OPERATOR], "reason": "demo"}
    word = (await noc.post("/v1/people", asked))["invitation"]
    made = await noc.post("/v1/enrolments", {"invitation": word, "password": secrets.token_urlsafe(18)})
    code = pyotp.TOTP(made["key"]).now()
    await noc.post("/v1/enrolments/confirm", {"invitation": word, "code": code})
    token = await noc.post("/v1/tokens", {"name": "demo", "scopes": list(_MAY), "person": name})
    return str(token["token"])
