"""The admin API: HTTP and JSON, one file a noun. Console and command line use nothing else.

Every path begins with /v1. Numbers are masked here, on the server, whoever asks. Every error has one shape
(errors.py), every list one way to go on (paging.py). `app` puts the routes together for one door
(agent/access/guard.py): the agent's own unix socket, or the address where people sign in.
"""

from fastapi import FastAPI

from agent.access import Door, LocalDoor
from agent.api import (
    alarms,
    approvals,
    clearances,
    enrolments,
    errors,
    explain,
    journal,
    look_ups,
    openapi,
    orders,
    people,
    previews,
    reveals,
    roles,
    rules,
    sessions,
    settings,
    shift,
    status,
    store,
    tokens,
    wall,
)
from agent.api.once import Once
from agent.wiring import Parts

NOUNS = (
    alarms,
    approvals,
    clearances,
    enrolments,
    explain,
    journal,
    openapi,
    orders,
    people,
    previews,
    reveals,
    roles,
    rules,
    sessions,
    settings,
    shift,
    status,
    store,
    tokens,
    wall,
)
"""Every file of routes; a line each."""


def app(parts: Parts, door: Door | None = None) -> FastAPI:
    """The API over the agent's parts, for those who come by `door`."""
    api = openapi.Documented(*(noun.router for noun in NOUNS))
    api.state.parts = parts
    api.state.door = door or LocalDoor()
    errors.install(api)
    look_ups.install(api)
    api.add_middleware(Once)
    return api
