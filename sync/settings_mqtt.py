"""The settings of the conversation over MQTT: the broker, the feed that reads orders, the outbox that answers."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr

from config import Section

OptionalPath = Annotated[Path | None, BeforeValidator(lambda value: value or None)]


class MqttSettings(Section):
    """The broker that carries orders and confirmations."""

    host: str = Field("127.0.0.1", description="Host name or address of the broker.")
    port: int = Field(1883, ge=1, le=65535, description="TCP port of the broker; 8883 is usual with TLS.")
    client_id: str = Field(
        "palang-agent", min_length=1, description="MQTT client id; the broker keeps the session by it, so it is unique."
    )
    username: str = Field("", description="User name at the broker; empty: none is sent.")
    password: SecretStr = Field(SecretStr(""), description="Password at the broker; best given as a credential.")
    tls: bool = Field(False, description="Speak TLS to the broker and check its certificate and name.")
    ca_file: OptionalPath = Field(None, description="CA that signed the broker's certificate; empty: the system's.")
    certificate_file: OptionalPath = Field(None, description="Our client certificate; empty: none is shown.")
    key_file: OptionalPath = Field(None, description="Private key of our client certificate.")
    session_expiry_s: int = Field(
        604_800, ge=3600, le=4_294_967_294, description="Seconds for which the broker keeps our session while away."
    )
    keepalive_s: int = Field(
        30, ge=5, le=40, description="Seconds between keepalives; a silent peer is noticed within twice as long."
    )
    timeout_s: float = Field(10.0, gt=0, le=60, description="Longest wait for the broker's answer to one packet.")
    receive_maximum: int = Field(
        64, ge=1, le=65_535, description="Messages that the broker may have under way to us unacknowledged."
    )
    queue_bytes: int = Field(
        67_108_864, ge=1_048_576, description="Most bytes of unacknowledged messages held in memory."
    )
    max_message_bytes: int = Field(
        8_388_608, ge=4096, description="Largest message that is read; a larger one is refused as oversized."
    )
    backoff_first_s: float = Field(0.2, gt=0, description="Wait before the first try to connect again.")
    backoff_cap_s: float = Field(30.0, gt=0, description="Longest wait between tries to connect.")


class FeedSettings(Section):
    """How orders are taken from the broker into the ledger."""

    batch: int = Field(64, ge=1, le=1000, description="Most messages that share one commit of the ledger.")
    tries: int = Field(
        3, ge=1, le=100, description="Tries for one message that fails alone; then it is refused on record."
    )
    retry_first_s: float = Field(0.1, gt=0, description="Wait before a batch is tried again.")
    retry_cap_s: float = Field(5.0, gt=0, description="Longest wait between tries while the ledger can't be written.")


class OutboxSettings(Section):
    """How confirmations leave for the regulator."""

    window: int = Field(16, ge=1, le=20, description="Most confirmations under way to the broker at once.")
    poll_s: float = Field(1.0, gt=0, description="Longest sleep between two looks at what is due.")
    retry_cap_s: float = Field(30.0, gt=0, description="Longest wait after the broker or the ledger refused.")
