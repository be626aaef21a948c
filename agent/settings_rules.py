"""Settings rows of the NOC's rules: when one person may enforce a wide one alone, and for how long."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator

from config import Section


class RulesSettings(Section):
    """The NOC's own rules: what one person may do alone at night."""

    night: str = Field(
        "22:00-06:00",
        pattern=r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$",
        description="When one person may enforce a wide rule alone, as from-until in the time zone below.",
    )
    timezone: str = Field("Asia/Jakarta", description="The NOC's time zone, by its IANA name.")
    alone_minutes: int = Field(
        60, ge=1, le=60, description="Minutes after which it falls back to shadow unless a second person countersigns."
    )

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{name!r} is no time zone of this machine; the default is Asia/Jakarta") from None
        return name
