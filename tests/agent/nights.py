"""Settings in which it is night now, or is not: whenever a test runs, and for an hour from then."""

from datetime import UTC, datetime, timedelta

from agent.settings_rules import RulesSettings


def at_night() -> RulesSettings:
    """It is night."""
    return _from(-1)


def by_day() -> RulesSettings:
    """The night lies half a day away."""
    return _from(11)


def _from(hours: int) -> RulesSettings:
    begins = datetime.now(UTC) + timedelta(hours=hours)
    night = f"{begins:%H:%M}-{begins + timedelta(hours=3):%H:%M}"
    return RulesSettings(night=night, timezone="UTC")
