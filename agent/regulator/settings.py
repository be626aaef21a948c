"""The settings of the regulator's stand-in. Names of regulator bodies are rows here, never constants."""

from pathlib import Path

from pydantic import Field

from config import Section
from sync.settings_mqtt import MqttSettings


class RegulatorMqttSettings(MqttSettings):
    """The broker, as the regulator's stand-in reaches it."""

    client_id: str = Field(
        "palang-regulator", min_length=1, description="MQTT client id of the stand-in; never the agent's."
    )


class RegulatorSettings(Section):
    """The regulator's stand-in, for demonstrations and tests."""

    state: Path = Field(Path("regulator.sqlite"), description="Its books: tickets, messages, confirmations.")
    socket: Path = Field(Path("regulator.sock"), description="Unix socket of its local API, mode 0600.")
    signing_key: Path = Field(
        Path("keys/regulator.jwk"),
        description="Its private Ed25519 key (JWK, mode 0600); it signs orders and receipts.",
    )
    operator_keys: tuple[Path, ...] = Field(
        (Path("keys/operator.pub.jwk"),), description="Public keys (JWK) by which it verifies confirmations."
    )
    operator: str = Field(
        "operator",
        pattern=r"^[a-z0-9][a-z0-9-]{0,31}$",
        description="The operator that it sends orders to, as named in the contract.",
    )
    office: str = Field(
        "Komdigi", min_length=1, max_length=200, description="Name of the office that issues orders and advisories."
    )
    legal_basis: str = Field(
        "PM Kominfo 5/2021", min_length=1, max_length=400, description="Legal basis that each order names."
    )
    reference: str = Field("SMARTPPI", pattern=r"^[A-Z0-9]{1,16}$", description="First word of its ticket references.")
    deadline_hours: float = Field(
        24.0, gt=0, le=720, description="Hours that an order gives until it must be in force."
    )
    republish_first_s: float = Field(
        30.0, gt=0, description="Seconds until an order without any confirmation is published again, doubled each time."
    )
    republish_cap_s: float = Field(900.0, gt=0, description="Longest wait between two publications of an order.")
    mqtt: RegulatorMqttSettings = RegulatorMqttSettings()
