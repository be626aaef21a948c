"""The settings of the unblock desk: how long a wrongly blocked number may wait, and how much is taken at once."""

from pydantic import Field

from config import Section


class ClearanceSettings(Section):
    """The unblock desk."""

    hours: float = Field(
        24.0, gt=0, le=720, description="Hours in which a clearance has to end; an alarm tells of one that has not."
    )
    most_numbers: int = Field(
        10_000, ge=1, le=100_000, description="Most numbers in one list of numbers that have new subscribers."
    )
