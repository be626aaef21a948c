"""Settings rows of traffic: when a rule is wide."""

from pydantic import Field

from config import Section


class WidthSettings(Section):
    """When an enforced reject rule is wide: one person may then enforce it alone for a short time only."""

    share: float = Field(0.005, gt=0, le=1, description="A rule over more than this share of a day's calls is wide.")
    callers: int = Field(1_000, ge=1, description="A rule over more distinct callers a day than this is wide.")
    digits: int = Field(3, ge=1, le=14, description="A prefix of at most so many digits is wide.")
    unknown_is_wide: bool = Field(
        True,
        description="Whether a prefix is wide while the nodes have counted it for less than a day: what is not known"
        " is not small.",
    )
