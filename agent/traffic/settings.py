"""Settings rows of traffic: how counts are kept, and when a rule is wide."""

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


class TrafficSettings(Section):
    """How long counts of calls are kept, and how often the nodes are asked. They are derived: no number is in them."""

    poll_s: float = Field(5.0, gt=0, le=60, description="Seconds between two questions to a node.")
    sketch_s: float = Field(60.0, gt=0, le=3600, description="Seconds between two questions for distinct callers.")
    timeout_s: float = Field(4.0, gt=0, le=60, description="Longest wait for one node's answer, in seconds.")
    minutes_h: int = Field(24, ge=24, le=168, description="Hours after which minutes are rolled up to hours.")
    keep_days: int = Field(8, ge=8, le=90, description="Days after which counts and sketches are removed.")
    watches: int = Field(
        500, ge=1, le=5_000, description="Most rules and proposals that nodes count by themselves; the newest go first."
    )


class BrakeSettings(Section):
    """When an enforced rule of the NOC is put into shadow by itself. An order never is."""

    factor: float = Field(
        3.0, gt=1, le=100, description="A rule that stops more than so many times what its preview promised is braked."
    )
    trunk_share: float = Field(
        0.01, gt=0, le=1, description="A rule that stops more than this share of a trunk's calls is braked."
    )
    floor: int = Field(
        20, ge=1, le=100_000, description="Stopped calls within a window up to which no rule is ever braked."
    )
    windows_min: tuple[int, ...] = Field(
        (5, 60), min_length=1, max_length=4, description="Sliding windows that are judged, in minutes, up to 60."
    )
