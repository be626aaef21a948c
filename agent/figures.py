"""What the agent counts as it works: requests and sign-ins. The rest of its metrics is read when it is asked for.

Routes are counted by their template (/v1/orders/{order}), so no label can hold what somebody put into a path.
"""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import prometheus_client
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from sip_filter.exposition import Metric

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

SIGN_IN: Final = ("POST", "/v1/sessions")
"""The request that is a sign-in, the console's too."""
SIGN_INS: Final = {200: "ok", 401: "refused", 429: "throttled"}
"""What came of it, by the status of the answer."""
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

REQUESTS: Final = Metric(
    "palang_api_requests_total",
    "counter",
    "Requests to the API, by the template of their route, console pages among them.",
    ("method", "route", "status"),
)
SECONDS: Final = Metric(
    "palang_api_request_duration_seconds", "histogram", "How long the API took to answer.", ("route",)
)
SIGNED_IN: Final = Metric("palang_sign_ins_total", "counter", "Sign-ins of people, by what came of them.", ("outcome",))

COUNTED: Final = (REQUESTS, SECONDS, SIGNED_IN)

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]


class Figures:
    """The counters of one agent."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(REQUESTS.name, REQUESTS.help, REQUESTS.labels, registry=self._registry)
        self._seconds = Histogram(SECONDS.name, SECONDS.help, SECONDS.labels, registry=self._registry, buckets=_SECONDS)
        self._signed_in = Counter(SIGNED_IN.name, SIGNED_IN.help, SIGNED_IN.labels, registry=self._registry)
        for outcome in SIGN_INS.values():
            self._signed_in.labels(outcome)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        if (method, route) == SIGN_IN:
            self._signed_in.labels(SIGN_INS.get(status, "refused")).inc()

    def text(self) -> str:
        """The counters as a scrape gets them."""
        return generate_latest(self._registry).decode()


def counted(api: FastAPI, figures: Figures) -> FastAPI:
    """The same API, whose requests are counted."""
    api.add_middleware(Measured, figures=figures)
    return api


class Measured:
    """An ASGI application whose requests are counted."""

    def __init__(self, app: App, figures: Figures) -> None:
        self._app, self._figures = app, figures

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Serve and count."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began = 500, time.monotonic()

        async def note(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._figures.request(method, _template(scope), status, time.monotonic() - began)


def _template(scope: Scope) -> str:
    """The template of the route that was found; FastAPI may leave out the prefix that a router was included with."""
    template: str | None = getattr(scope.get("route"), "path", None)
    if template is None:
        return "none"
    under = scope["path"].startswith(f"{_PREFIX}/") and not template.startswith(f"{_PREFIX}/")
    return f"{_PREFIX}{template}" if under else template


_PREFIX: Final = "/v1"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
