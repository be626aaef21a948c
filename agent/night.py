"""Night: whether one person may enforce a wide rule alone now. Pure."""

from datetime import datetime, time
from zoneinfo import ZoneInfo

from agent.settings_rules import RulesSettings


def is_night(now: datetime, settings: RulesSettings) -> bool:
    """Whether `now` lies in the night of the settings; its end is day already."""
    first, last = map(time.fromisoformat, settings.night.split("-"))
    here = local(now, settings).time()
    return first <= here < last if first <= last else here >= first or here < last


def local(now: datetime, settings: RulesSettings) -> datetime:
    """The moment on the NOC's clock."""
    return now.astimezone(ZoneInfo(settings.timezone))
