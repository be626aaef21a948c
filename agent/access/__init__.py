"""Who may do what: roles as data, the viewer that each request comes from, and the guard at every route.

Begin with the table in roles.py; viewer.py says who asks, guard.py keeps routes to those who may. People and programs
come in by people_door.py; entrance.py is the one place where passwords, codes and tokens are looked at.
"""

from agent.access.entrance import Entrance, Wrong
from agent.access.guard import Door, LocalDoor, anyone, needs, needs_any, signed_in
from agent.access.people_door import PeopleDoor
from agent.access.roles import TABLE, Permission, Role
from agent.access.throttle import TooOften
from agent.access.viewer import Forbidden, NotSignedIn, StepUpNeeded, Viewer

__all__ = [
    "TABLE",
    "Door",
    "Entrance",
    "Forbidden",
    "LocalDoor",
    "NotSignedIn",
    "PeopleDoor",
    "Permission",
    "Role",
    "StepUpNeeded",
    "TooOften",
    "Viewer",
    "Wrong",
    "anyone",
    "needs",
    "needs_any",
    "signed_in",
]
