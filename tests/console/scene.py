"""A scene for the pages: a real agent with its gateway, people of every role, orders, rules, calls of a night.

`Scene.on(stage)` seeds it over the doors that everybody uses: the stand-in's, the agent's socket, the address where
people sign in. Texts that other people write carry what an attacker would write there.
"""

import asyncio
import base64
import contextlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, Self

import httpx

from agent.access import Role
from agent.access.people_door import COOKIE
from agent.client import Api, ApiError
from agent.demo.phones import Caller
from agent.stage import OPERATOR, Stage
from sync.contract import Order, new_id
from sync.jws import load_signer
from tests.authenticator import Authenticator
from tests.book import eventually

PASSWORD: Final = "correct horse battery"
NAMES: Final = {
    Role.VIEWER: "vina",
    Role.OPERATOR: "oki",
    Role.SUPERVISOR: "sari",
    Role.AUDITOR: "adi",
    Role.ADMIN: "ana",
    Role.LIAISON: "lia",
}
ATTACK: Final = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'><svg/onload=alert(3)>"
"""What must be shown as text, wherever it came in."""
CANARIES: Final = ("+6281299887766", "+77012345678", "+6281377665544", "+442071838750")
"""Numbers that are in the ledger, and in no page."""


@dataclass
class Signed:
    """One person's session, as a program holds it."""

    role: Role
    cookie: str
    http: httpx.AsyncClient

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """Have the API do something, as this person's page would."""
        return self._told(await self.http.post(path, json=body))

    async def get(self, path: str) -> Any:
        """Ask the API."""
        return self._told(await self.http.get(path))

    @staticmethod
    def _told(answer: httpx.Response) -> Any:
        assert answer.is_success, f"{answer.status_code} {answer.text}"
        return answer.json()


@dataclass
class Scene:
    """A seeded stage. `orders`, `rules` and `clearances` are ids by what they show."""

    stage: Stage
    url: str
    attack: str
    phones: dict[Role, Authenticator] = field(default_factory=dict)
    signed: dict[Role, Signed] = field(default_factory=dict)
    orders: dict[str, str] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)
    clearances: dict[str, str] = field(default_factory=dict)

    @classmethod
    async def on(cls, stage: Stage, *, hostile: bool = True) -> Self:
        """Seed the stage; without `hostile` everybody writes what they should."""
        scene = cls(stage, f"http://{stage.console}", f" {ATTACK}" if hostile else "")
        await asyncio.gather(scene._people(), scene._orders())
        await scene._rules()
        await scene._clearances()
        await scene._calls()
        return scene

    def code(self, role: Role) -> str:
        """A code of this person's second factor that was not used."""
        return self.phones[role].code()

    async def sign_in(self, role: Role) -> Signed:
        """The session of the person with that role, begun once."""
        if role not in self.signed:
            http = httpx.AsyncClient(base_url=self.url, timeout=30)
            body = {"name": NAMES[role], "password": PASSWORD, "code": self.code(role)}
            told = await http.post("/v1/sessions", json=body)
            assert told.status_code == 200, told.text
            cookie = told.cookies[COOKIE]
            http.cookies.clear()
            http.headers["Cookie"] = f"{COOKIE}={cookie}"
            http.headers["X-Palang-CSRF"] = told.json()["csrf"]
            http.headers["Origin"] = self.url
            http.headers["Sec-Fetch-Site"] = "same-origin"
            self.signed[role] = Signed(role, cookie, http)
        return self.signed[role]

    async def close(self) -> None:
        """Let the connections go."""
        for signed in self.signed.values():
            await signed.http.aclose()

    async def _people(self) -> None:
        async with self.stage.agent() as agent:
            for role, name in NAMES.items():
                asked = {"name": name, "display": name.title(), "roles": [role], "reason": "a scene for the pages"}
                word = (await agent.post("/v1/people", asked))["invitation"]
                made = await agent.post("/v1/enrolments", {"invitation": word, "password": PASSWORD})
                self.phones[role] = Authenticator(made["key"])
                await agent.post("/v1/enrolments/confirm", {"invitation": word, "code": self.code(role)})

    async def _orders(self) -> None:
        block, foreign, other, held = CANARIES
        asked: dict[str, dict[str, Any]] = {
            "closed": {"kind": "block", "subjects": [block]},
            "many": {"kind": "block", "subjects": [other, *(f"+62813776655{n:02}" for n in range(45, 60))]},
            "lifted": {"kind": "unblock", "subjects": [other]},
            "held": {"kind": "block", "subjects": ["+628*"], "category": f"wangiri{self.attack}"[:64]},
            "foreign": {"kind": "block", "subjects": [foreign, held]},
        }
        async with self.stage.regulator() as regulator:
            for name, body in asked.items():
                self.orders[name] = str((await regulator.post("/orders", body))["id"])
            await regulator.post("/advisories", {"prefix": "+77*", "reason": f"wangiri{self.attack}"})
        async with self.stage.agent() as agent:
            for name, state in (("closed", "closed"), ("held", "held"), ("foreign", "closed")):
                await eventually(partial(self._stands, agent, name, state), f"{name} {state}", 60)
        if self.attack:
            await self._hostile_order()
        else:
            self.orders["hostile"] = self.orders["held"]

    async def _hostile_order(self) -> None:
        """An order whose every free text is an attack: signed rightly, as a clerk's careless copying would be."""
        signer = load_signer(self.stage.folder / "keys" / "regulator.jwk")
        now = datetime.now(UTC)
        async with self.stage.agent() as agent, self.stage.regulator() as regulator:
            status = await agent.get("/v1/status")
            order = Order(
                id=new_id(),
                operator=OPERATOR,
                issued_at=now,
                serial=status["feed"]["last_serial"] + 1,
                kind="block",
                ticket=ATTACK[:64],
                category=ATTACK[:64],
                office=ATTACK,
                legal_basis=ATTACK,
                deadline=now + timedelta(hours=2),
                count=1,
                subjects=("+62*",),
            )
            self.orders["hostile"] = order.id
            await regulator.post("/raw", {"base64": base64.b64encode(signer.sign(order.to_json())).decode()})
            await eventually(partial(self._stands, agent, "hostile", "held"), "hostile held", 60)

    async def _stands(self, agent: Api, name: str, state: str) -> bool:
        with contextlib.suppress(ApiError):
            return bool((await agent.get(f"/v1/orders/{self.orders[name]}"))["state"] == state)
        return False

    async def _rules(self) -> None:
        operator = await self.sign_in(Role.OPERATOR)
        asked = {
            "proposed": {"subject": "+8821*", "action": "reject", "reason": "satellite range, one ring each night"},
            "shadowed": {"subject": "+2217*", "action": "reject", "reason": f"wangiri since 02:10{self.attack}"},
            "enforced": {"subject": "+37127*", "action": "reject", "reason": "one ring, 400 calls in ten minutes"},
        }
        for name, body in asked.items():
            self.rules[name] = str((await operator.post("/v1/rules", body))["id"])
        for name, step in (("shadowed", "shadow"), ("enforced", "shadow"), ("enforced", "enforce")):
            await operator.post(f"/v1/rules/{self.rules[name]}/{step}", {"reason": "seen on the wall"})

    async def _clearances(self) -> None:
        operator = await self.sign_in(Role.OPERATOR)
        evidence = {"reference": "KL-2026-7", "document": "ab12" * 16, "reason": f"holder has a passport{self.attack}"}
        asked = await operator.post("/v1/clearances", {"number": CANARIES[0], **evidence})
        self.clearances["asked"] = str(asked["id"])

    async def _calls(self) -> None:
        caller = Caller(self.stage.gateway)
        await caller.listen((self.stage.caller, 0))
        try:
            for number in (CANARIES[0], "+221771234567", "+6221500100", "+12025550142"):
                await caller.call(number)
        finally:
            caller.close()
