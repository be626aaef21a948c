"""Who may do what: roles as data, the viewer that each request comes from, and the guard at every route.

Begin with the table in roles.py; viewer.py says who asks, guard.py keeps routes to those who may.
"""

from agent.access.guard import Door, LocalDoor, needs, needs_any
from agent.access.roles import TABLE, Permission, Role
from agent.access.viewer import Forbidden, NotSignedIn, StepUpNeeded, Viewer

__all__ = [
    "TABLE",
    "Door",
    "Forbidden",
    "LocalDoor",
    "NotSignedIn",
    "Permission",
    "Role",
    "StepUpNeeded",
    "Viewer",
    "needs",
    "needs_any",
]
