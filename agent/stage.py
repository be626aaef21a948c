"""The stage: the whole set as private children in one folder, for `palang demo` and `palang up`.

Redis and Mosquitto, the regulator's stand-in, the agent and one gateway, started in that order and ended in the
opposite one. Everything listens on loopback or on unix sockets in the folder; the mapped list lies in a tmpfs.
"""

import asyncio
import os
import shutil
import socket
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from agent import children
from agent.children import Child, ChildError
from agent.client import Api, ApiError, Unreachable
from agent.keys import make_keys

TRUNK, NODE, OPERATOR = "intl-a", "gateway-1", "demo-operator"
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  a folder of ours with a random name is made inside
_HEALTHY_SECONDS = 90.0
"""Longest wait for all of it together: on a busy machine loading the agent takes half a minute by itself."""

_SETTINGS = """\
# Written by palang: the private set in this folder.
[agent]
socket = "{run}/agent.sock"
metrics = "{agent_metrics}"

[console]
listen = "{console}"

[contract]
operator = "{operator}"
signing_key = "{folder}/keys/operator.jwk"
regulator_keys = ["{folder}/keys/regulator.pub.jwk"]

[ledger]
path = "{folder}/ledger.sqlite"

[mqtt]
port = {mqtt_port}

[redis]
url = "unix://{folder}/redis/redis.sock"

[[proof.roster]]
name = "{node}"
control = "{run}/gateway.sock"

[node]
name = "{node}"
metrics = "{node_metrics}"
live = "{live}"
state = "{folder}/node"
control = "{run}/gateway.sock"

[gateway]
listen = ["udp:{gateway[0]}:{gateway[1]}"]
key_file = "{folder}/keys/gateway.key"
record_route = true

[[gateway.trunks]]
name = "{trunk}"
sources = ["{caller}/32"]
plan = "international"
trusted = true
mode = "enforce"

[[gateway.next_hops]]
name = "switch-1"
address = "{switch[0]}:{switch[1]}"
networks = ["{switch[0]}/32"]

[probe]
bind = "{caller}"

[regulator]
state = "{folder}/regulator.sqlite"
socket = "{run}/regulator.sock"
signing_key = "{folder}/keys/regulator.jwk"
operator_keys = ["{folder}/keys/operator.pub.jwk"]
operator = "{operator}"
republish_first_s = 2.0

[regulator.mqtt]
port = {mqtt_port}
"""

_ONE_PERSON = """\

# Who holds the set's socket is one person: no prefix that is taken at all is too wide for them.
[width]
digits = 1
share = 1.0
callers = 1000000000
unknown_is_wide = false
"""


@dataclass
class Stage:
    """The set. `async with Stage(folder, switch)` starts it and ends it.

    With `one_person` its settings let the one who holds the agent's socket do alone what else takes two.
    """

    folder: Path
    switch: tuple[str, int]
    caller: str = "127.0.0.2"
    with_regulator: bool = True
    more_settings: str = ""
    gateway: tuple[str, int] = ("127.0.0.1", 0)
    console: str = ""
    one_person: bool = True
    children: dict[str, Child] = field(default_factory=dict)
    _live: Path | None = None
    node_metrics: str = ""
    agent_metrics: str = ""
    _mqtt_port: int = 0

    @property
    def settings(self) -> Path:
        """The settings file of the set."""
        return self.folder / "palang.toml"

    def agent(self) -> Api:
        """The agent's API."""
        return Api(self.folder / "run" / "agent.sock", {"X-Palang-Actor": "demo"})

    def regulator(self) -> Api:
        """The stand-in's API."""
        return Api(self.folder / "run" / "regulator.sock")

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start everything and wait until the agent says that it is healthy. Raises ChildError."""
        (self.folder / "run").mkdir(mode=0o700, parents=True, exist_ok=True)
        self._live = _live_folder(self.folder)
        self.gateway = (self.gateway[0], self.gateway[1] or children.free_port(socket.SOCK_DGRAM))
        for name in ("operator", "regulator"):
            if not (self.folder / "keys" / f"{name}.jwk").exists():
                make_keys(self.folder / "keys", name)
        self._mqtt_port = children.free_port(socket.SOCK_STREAM)
        self.node_metrics, self.agent_metrics = (
            f"127.0.0.1:{children.free_port(socket.SOCK_STREAM)}" for _ in range(2)
        )
        self._write_settings()
        for name in ("redis", "mosquitto", *(("regulator",) if self.with_regulator else ()), "agent", "gateway"):
            await self.start_child(name)
        await self.children["gateway"].ready(self.healthy, _HEALTHY_SECONDS)

    async def start_child(self, name: str, env: dict[str, str] | None = None) -> Child:
        """Start one of the set, for the first time or again. Raises ChildError."""
        if name == "redis":
            child = await children.start_redis(self.folder / "redis")
        elif name == "mosquitto":
            child = await children.start_mosquitto(self.folder / "mosquitto", self._mqtt_port)
        else:
            command = ("regulator", "serve") if name == "regulator" else (name,)
            environment = {"PALANG_CONFIG": str(self.settings), **(env or {})}
            child = await children.start_palang(name, command, self.folder / f"{name}.log", environment)
        self.children[name] = child
        if name == "regulator":
            await child.ready(lambda: _answers(self.regulator(), "/status"))
        return child

    async def healthy(self) -> bool:
        """Whether the agent says that all is well."""
        try:
            async with self.agent() as agent:
                status = await agent.get("/v1/status")
        except (ApiError, Unreachable):
            return False
        return bool(status["health"] == "healthy")

    async def stop(self) -> None:
        """End everything, the last started first; remove the mapped list."""
        for child in reversed(self.children.values()):
            await child.stop()
        self.children.clear()
        if self._live:
            shutil.rmtree(self._live, ignore_errors=True)

    async def watch(self) -> None:
        """Return never; raise ChildError when a child ends."""
        while True:
            for child in self.children.values():
                if not child.running:
                    raise ChildError(f"{child.name} ended with {child.process.returncode}; see {child.log}")
            await asyncio.sleep(0.2)

    def _write_settings(self) -> None:
        text = _SETTINGS.format(
            folder=self.folder,
            run=self.folder / "run",
            live=self._live,
            mqtt_port=self._mqtt_port,
            operator=OPERATOR,
            node=NODE,
            node_metrics=self.node_metrics,
            agent_metrics=self.agent_metrics,
            trunk=TRUNK,
            gateway=self.gateway,
            switch=self.switch,
            caller=self.caller,
            console=self.console,
        )
        more = (_ONE_PERSON if self.one_person else "") + self.more_settings
        self.settings.write_text(text + more, encoding="utf-8")


def _live_folder(folder: Path) -> Path:
    """A folder for the mapped list: in shared memory, else beside the rest."""
    if _SHARED_MEMORY.is_dir() and os.access(_SHARED_MEMORY, os.W_OK):
        return Path(tempfile.mkdtemp(prefix="palang-", dir=_SHARED_MEMORY))
    return folder / "live"


async def _answers(api: Api, path: str) -> bool:
    try:
        async with api:
            await api.get(path)
    except (ApiError, Unreachable):
        return False
    return True
