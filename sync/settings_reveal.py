"""The settings of a reveal: how many, how long, for which reasons, and what about one is unusual."""

from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from config import Section
from sip_filter.number import Number


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone; one looks like Asia/Jakarta") from None
    return name


def _number(text: str) -> str:
    return str(Number.parse(text))


class RevealSettings(Section):
    """A masked number shown in clear to one person, for a reason, for a moment."""

    seconds: int = Field(60, ge=10, le=300, description="Seconds for which a revealed number can be read.")
    per_hour: int = Field(
        20, ge=1, description="Reveals of one person within an hour; above it a second person has to agree to each."
    )
    per_day: int = Field(100, ge=1, description="Reveals of one person within 24 hours; above it likewise.")
    approved_s: int = Field(
        3_600, ge=60, description="Seconds within which a reveal that a second person agreed to has to be made."
    )
    codes: tuple[Annotated[str, Field(pattern=r"^[a-z][a-z_]{1,31}$")], ...] = Field(
        ("clarification", "complaint", "order_check", "fault", "law_enforcement", "data_subject"),
        min_length=1,
        description="The reasons that a person can choose from.",
    )
    zone: Annotated[str, AfterValidator(_known_zone)] = Field(
        "Asia/Jakarta", description="The operator's time zone; it says when it is night."
    )
    night_from: int = Field(22, ge=0, le=23, description="Hour of the day at which the night begins.")
    night_until: int = Field(5, ge=0, le=23, description="Hour of the day at which it ends; equal: there is no night.")
    sequential: int = Field(
        3, ge=2, description="So many reveals of one person within 24 hours whose numbers lie side by side are unusual."
    )
    sequential_span: int = Field(20, ge=1, description="Numbers that differ by at most so much lie side by side.")
    baseline_days: int = Field(28, ge=2, le=365, description="Days that a person's own baseline is made of.")
    baseline_sigma: float = Field(
        3.0, gt=0, description="Standard deviations above a person's own daily mean from which a day is unusual."
    )
    baseline_floor: int = Field(5, ge=0, description="Reveals of a day that are never unusual by their count alone.")
    honey: tuple[Annotated[str, AfterValidator(_number)], ...] = Field(
        (),
        description="Numbers that were never assigned (+6281200000000): revealing one alarms at once.",
    )
