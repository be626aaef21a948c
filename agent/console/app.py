"""The console and the API on one listener: /v1 and what machines ask goes to the API, the rest is pages."""

import secrets
from typing import Final

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.console import errors, forms, look, pages
from agent.console.page import House
from agent.console.static_files import Static

API_PATHS: Final = ("/v1/", "/openapi.json", "/metrics", "/live", "/ready", "/health")
"""Beginnings of the paths that are the API's."""


def face(api: FastAPI) -> ASGIApp:
    """One application: the pages, and the API that they ask. Raises FileNotFoundError before `make setup`."""
    console = FastAPI(title="Palang console", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    static = Static.read()
    nouns = [page.router for page in pages.PAGES]
    paths = frozenset(getattr(route, "path", "") for router in nouns for route in router.routes)
    console.state.house = House(api, look.templates(static), static, secrets.token_bytes(32), paths)
    for router in nouns:
        console.include_router(router, dependencies=[forms.CHECKED])
    errors.install(console)

    async def listener(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(API_PATHS):
            await api(scope, receive, send)
            return
        try:
            await console(scope, receive, send)
        except Exception:  # noqa: BLE001  answered and logged by errors.py; the server would print what it quotes
            return

    return listener
