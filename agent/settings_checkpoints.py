"""The settings of where the journal's checkpoints go."""

from pydantic import Field

from config import Section


class CheckpointSettings(Section):
    """Where the journal's signed checkpoints go, so that they can't be cut together with it."""

    seconds: int = Field(
        300, ge=5, le=86_400, description="Longest time between two checkpoints when anything was added to the journal."
    )
    mqtt: bool = Field(
        True,
        description="Send them to the broker, retained, to palang/v1/<operator>/checkpoints; its ACL allows it.",
    )
    syslog: str = Field(
        "",
        pattern=r"^(|udp:[^\s]+:[0-9]{1,5}|unix:/[^\s]+)$",
        description="Send them to a syslog server (RFC 5424): udp:ADDRESS:PORT or unix:/dev/log; empty: to none.",
    )
    alarm_after_s: int = Field(
        900, ge=10, description="Seconds after which a checkpoint that reached no place raises checkpoint_not_sent."
    )
