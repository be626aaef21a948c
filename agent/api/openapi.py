"""The API described for programs (OpenAPI), and for readers as a table: written from the routes themselves.

Each operation says which permission opens it, and every error that it may answer in the one shape.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from agent.access import Permission, Viewer, needs
from agent.access.guard import permissions_of
from agent.access.people_door import COOKIE, CSRF_HEADER
from agent.api.once import HEADER as IDEMPOTENCY

router = APIRouter(tags=["openapi"])

PREFIX: Final = "/v1"

_INTRODUCTION: Final = f"""\
Every path begins with `{PREFIX}`. Numbers are masked, whoever asks. Every error has one shape; `code` is stable,
`message` says in a line what to do. Lists come a page at a time: `next` is what `after` takes to go on, or null.

Programs send `Authorization: Bearer palang_…`. A browser's session comes with its cookie; what changes something then
also carries the session's token in `{CSRF_HEADER}`. The agent's own unix socket asks for neither.

A POST or DELETE with `{IDEMPOTENCY}` (8 to 64 of letters, digits and `. _ : -`) that is sent again within 24 hours is
done once and told again. Records with a `version` carry it as `ETag`; a change with `If-Match` holds only for that one.
"""

_ERRORS: Final[dict[int, str]] = {
    401: "Nobody is known behind the request (`not_signed_in`).",
    403: "The table of roles does not allow it (`forbidden`), or the second factor is needed (`step_up_needed`).",
    404: "There is no such thing (`not_found`).",
    409: "Not as things stand (`refused`), or the idempotency key's first request is unclear (`cut_off`).",
    412: "It has changed since it was looked at (`changed_meanwhile`).",
    413: "The body is too large (`too_large`).",
    422: "The request can't be understood (`invalid`).",
    429: "Too often; `Retry-After` says when (`too_often`).",
    503: "The ledger can't be used now; nothing was done (`ledger_unavailable`).",
}
_ERROR: Final = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
        }
    },
}
_WAYS: Final = {
    "token": {"type": "http", "scheme": "bearer", "description": "A token of a person's, for programs."},
    "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "What signing in sets."},
}


class Documented(FastAPI):
    """An API that describes itself."""

    def __init__(self, *routers: APIRouter) -> None:
        """The routes of `routers`, each below the prefix."""
        super().__init__(title="Palang agent", version="1", docs_url=None, redoc_url=None, openapi_url=None)
        self._nouns = routers
        for noun in routers:
            self.include_router(noun, prefix=PREFIX)

    def openapi(self) -> dict[str, Any]:
        """The description, made when it is first asked for."""
        if self.openapi_schema is None:
            made = get_openapi(title=self.title, version=self.version, description=_INTRODUCTION, routes=self.routes)
            self.openapi_schema = _completed(made, self._nouns)
        return self.openapi_schema


@router.get("/openapi.json")
async def description(request: Request, viewer: Annotated[Viewer, needs(Permission.SEE)]) -> dict[str, Any]:
    """The API described for programs: OpenAPI 3.1."""
    api: FastAPI = request.app
    return api.openapi()


def page(*routers: APIRouter) -> str:
    """The table of routes for readers, in Markdown."""
    rows = sorted((f"{PREFIX}{route.path}", method, route) for route in _routes(routers) for method in _methods(route))
    head = "# The admin API\n\nWritten from the routes (`make docs`); `docs/api/openapi.json` has every field."
    lines = [f"{head}\n\n{_INTRODUCTION}"]
    lines += ["\n| request | permission | what |\n|---|---|---|\n"]
    lines += [f"| `{method} {path}` | {_opened_by(route)} | {_sentence(route)} |\n" for path, method, route in rows]
    lines += ["\n## Errors\n\n| status | when |\n|---|---|\n"]
    lines += [f"| {status} | {text} |\n" for status, text in _ERRORS.items()]
    return "".join(lines)


def _completed(made: dict[str, Any], routers: tuple[APIRouter, ...]) -> dict[str, Any]:
    schemas = made["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Error"] = _ERROR
    made["components"]["securitySchemes"] = _WAYS
    told = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    made["components"]["responses"] = {
        str(status): {"description": text, "content": told} for status, text in _ERRORS.items()
    }
    for route in _routes(routers):
        opened_by = permissions_of(route)
        for method in _methods(route):
            operation = made["paths"].get(f"{PREFIX}{route.path_format}", {}).get(method.lower())
            if operation is None:
                continue
            for status in map(str, _ERRORS):
                operation["responses"][status] = {"$ref": f"#/components/responses/{status}"}
            for answer in operation["responses"].values():
                if "description" in answer:
                    answer["description"] = "What was asked for, or what came of it."
            operation["security"] = [] if opened_by is None else [{"token": []}, {"session": []}]
            if opened_by is not None:
                operation["x-permissions"] = list(opened_by)
    return made


def _routes(routers: tuple[APIRouter, ...]) -> Iterator[APIRoute]:
    for router in routers:
        for route in router.routes:
            if isinstance(route, APIRoute) and route.include_in_schema:
                yield route


def _methods(route: APIRoute) -> list[str]:
    return sorted((route.methods or set()) - {"HEAD"})


def _opened_by(route: APIRoute) -> str:
    opened_by = permissions_of(route)
    if opened_by is None:
        return "none"
    return " or ".join(f"`{permission}`" for permission in opened_by) or "being signed in"


def _sentence(route: APIRoute) -> str:
    return " ".join((route.description or "").split()).replace("|", "\\|")
