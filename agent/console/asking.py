"""How a page asks the API: in this process, as its viewer, through the same routes as everyone else."""

from pathlib import Path

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.access import Viewer
from agent.access.people_door import VIEWER
from agent.client import Api


class InProcess(Api):
    """The API, asked by one viewer without a socket. Every method raises ApiError."""

    def __init__(self, app: ASGIApp, viewer: Viewer | None) -> None:
        async def as_viewer(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, VIEWER: viewer} if viewer else scope, receive, send)

        self._socket = Path("the agent itself")
        self._http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=as_viewer),
            base_url="http://local",
            trust_env=False,
        )
