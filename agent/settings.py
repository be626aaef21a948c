"""The whole settings file: every package's sections under their tables, and the agent's own."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field

from agent.look_ups import LookUpSettings
from agent.regulator.settings import RegulatorSettings
from agent.settings_access import AccessSettings, ConsoleSettings
from agent.settings_checkpoints import CheckpointSettings
from agent.settings_rules import RulesSettings
from agent.traffic.settings import BrakeSettings, TrafficSettings, WidthSettings
from config import Section, load
from sip_filter.settings import Gateway, Name, Node, Redis, SocketPath, WatchAddress
from sync.settings import ContractSettings, GateSettings, LedgerSettings
from sync.settings_clearance import ClearanceSettings
from sync.settings_mqtt import FeedSettings, MqttSettings, OutboxSettings
from sync.settings_reveal import RevealSettings

CONFIG_VARIABLE = "PALANG_CONFIG"
PLACES = (Path(".palang/palang.toml"), Path("/etc/palang/palang.toml"))


class AgentSettings(Section):
    """The daemon that composes and supervises."""

    socket: SocketPath = Field(
        Path("/run/palang/agent.sock"), description="Unix socket of the local API, mode 0600; the commands use it."
    )
    metrics: WatchAddress = Field(
        "127.0.0.1:9464", description="Where metrics and health are asked for (HTTP, no sign-in); empty: nowhere."
    )
    stale_s: float = Field(
        300.0, ge=1, le=86_400, description="A feed or a Redis that is away for longer is stale, in seconds."
    )


class RosterNode(Section):
    """A node that every order must be proved on. Only a person takes one off the roster."""

    name: Name = Field(examples=["gateway-1"], description="The node's name, as its own settings give it.")
    control: SocketPath = Field(
        examples=["/run/palang/gateway.sock"], description="Its control socket, which answers synthetic requests."
    )


class ProofSettings(Section):
    """What a confirmation needs before it may say in force."""

    timeout_s: float = Field(5.0, gt=0, le=60, description="Longest wait for one node's answers, in seconds.")
    beyond: tuple[Annotated[str, Field(pattern=r"^[^:]{1,100}: .{1,300}$")], ...] = Field(
        (
            "on-net calls: they do not pass an interconnect trunk",
            "circuit-switched interconnects: no node sits on this path",
            "SMS: no node sits on this path",
        ),
        description="Paths that no node sits on, each as 'what: why'; every confirmation names them as not covered.",
    )
    roster: tuple[RosterNode, ...] = Field((), description="The expected nodes.")


class ProbeSettings(Section):
    """The synthetic call of `palang probe`."""

    bind: str = Field("127.0.0.1", description="Address that the call is placed from; a trunk must know it.")
    to: str = Field("+622150001234", description="Number that is called unless --to names another.")


class Settings(Section):
    """Palang's settings file."""

    agent: AgentSettings = AgentSettings()
    access: AccessSettings = AccessSettings()
    console: ConsoleSettings = ConsoleSettings()
    contract: ContractSettings = ContractSettings()
    gate: GateSettings = GateSettings()
    ledger: LedgerSettings = LedgerSettings()
    mqtt: MqttSettings = MqttSettings()
    feed: FeedSettings = FeedSettings()
    outbox: OutboxSettings = OutboxSettings()
    redis: Redis = Redis()
    proof: ProofSettings = ProofSettings()
    node: Node = Field(default_factory=Node)
    gateway: Gateway = Gateway()
    probe: ProbeSettings = ProbeSettings()
    traffic: TrafficSettings = TrafficSettings()
    rules: RulesSettings = RulesSettings()
    width: WidthSettings = WidthSettings()
    brake: BrakeSettings = BrakeSettings()
    regulator: RegulatorSettings = RegulatorSettings()
    reveal: RevealSettings = RevealSettings()
    clearance: ClearanceSettings = ClearanceSettings()
    look_ups: LookUpSettings = LookUpSettings()
    checkpoints: CheckpointSettings = CheckpointSettings()


def find(path: Path | None = None) -> Path | None:
    """The settings file: the one named, else $PALANG_CONFIG, else the first of `PLACES` that is there."""
    if path:
        return path
    if named := os.environ.get(CONFIG_VARIABLE):
        return Path(named)
    return next((place for place in PLACES if place.is_file()), None)


def read(path: Path | None = None) -> Settings:
    """The settings of `find(path)`, or the defaults when there is no file. Raises ConfigError."""
    return load(Settings, find(path))
