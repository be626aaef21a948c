"""The navigation as a table: each place, the key that goes there after `g`, and who sees it."""

from dataclasses import dataclass
from typing import Final

from agent.access import Permission, Viewer
from agent.console.words import _


@dataclass(frozen=True)
class Place:
    """One entry. It is shown to those with any of `permissions`, once a page is at `path`."""

    path: str
    name: str
    key: str
    permissions: tuple[Permission, ...] = (Permission.SEE,)


_P = Permission
PLACES: Final = (
    Place("/wall", _("Wall"), "w"),
    Place("/rules", _("Rules"), "r"),
    Place("/approvals", _("Approvals"), "a"),
    Place("/orders", _("Orders"), "o"),
    Place("/explain", _("Explain"), "e", (_P.LOOK_UP,)),
    Place("/clearances", _("Unblock desk"), "u"),
    Place("/shift", _("Shift"), "s"),
    Place("/reveals", _("Reveals"), "v", (_P.REVEAL, _P.READ_JOURNAL)),
    Place("/audit", _("Audit"), "j", (_P.READ_JOURNAL,)),
    Place("/settings", _("Settings"), "c", (_P.READ_SETTINGS, _P.MANAGE_PEOPLE)),
    Place("/people", _("People"), "p", (_P.MANAGE_PEOPLE, _P.READ_SETTINGS)),
)


def places(viewer: Viewer | None, paths: frozenset[str]) -> list[Place]:
    """What this viewer finds in the navigation."""
    if viewer is None:
        return []
    return [place for place in PLACES if place.path in paths and any(map(viewer.may, place.permissions))]
