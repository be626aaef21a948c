"""Asking a Palang process: a local one over its unix socket, an agent elsewhere over HTTPS with a token.

The agent and the stand-in speak the same HTTP and JSON.
"""

import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

Record = dict[str, Any]


class ApiError(Exception):
    """The other side refused: `code` is stable, the text says why, naming value and limit."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Unreachable(Exception):
    """Nobody answers there. Its text names the socket or address."""


class Api:
    """Requests to one process. Every method raises ApiError or Unreachable."""

    def __init__(self, socket: Path, headers: Mapping[str, str] | None = None, seconds: float = 30.0) -> None:
        """A local process at its socket."""
        self._socket: Path | str = socket
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(socket)),
            base_url="http://local",
            timeout=seconds,
            headers=dict(headers or {}),
        )

    @classmethod
    def remote(cls, url: str, token: str, ca: Path | None = None, seconds: float = 30.0) -> Self:
        """An agent elsewhere, as the token's person. `ca` is trusted beside nobody else. Raises OSError, ssl.SSLError.

        Nothing is followed elsewhere, and no proxy is asked: the token goes to that address alone.
        """
        made = cls.__new__(cls)
        made._socket = url
        made._http = httpx.AsyncClient(
            base_url=url,
            verify=ssl.create_default_context(cafile=str(ca) if ca else None),
            timeout=seconds,
            headers={"Authorization": f"Bearer {token}"},
            follow_redirects=False,
            trust_env=False,
        )
        return made

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def get(self, path: str, **query: str | int | None) -> Any:
        """Ask for a record or a list of records."""
        return await self._send("GET", path, params={k: v for k, v in query.items() if v is not None})

    async def download(self, path: str, folder: Path, query: Mapping[str, str]) -> tuple[Path, int]:
        """Write an export under the name that it bears; where it is, and its bytes. Raises OSError too."""
        response = await self._request("GET", path, params=dict(query))
        named = response.headers.get("Content-Disposition", "").partition('filename="')[2].partition('"')[0]
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]{0,120}", named):
            raise ApiError(response.status_code, "unexpected", f"GET {path}: the answer bears no name of a file")
        target = folder / named
        with target.open("xb") as file:
            file.write(response.content)
        return target, len(response.content)

    async def post(self, path: str, body: Record | None = None, *, version: int | None = None) -> Any:
        """Ask for an act; returns what came of it. With `version` it holds only for that version of the thing."""
        return await self._send("POST", path, json=body or {}, headers=_condition(version))

    async def delete(self, path: str, body: Record | None = None, *, version: int | None = None) -> Any:
        """Ask for something to be removed, likewise."""
        return await self._send("DELETE", path, json=body or {}, headers=_condition(version))

    async def _send(self, method: str, path: str, **parts: Any) -> Any:
        return (await self._request(method, path, **parts)).json()

    async def _request(self, method: str, path: str, **parts: Any) -> httpx.Response:
        try:
            response = await self._http.request(method, path, **parts)
        except httpx.TransportError as error:
            raise Unreachable(f"nobody answers at {self._socket}: {error or type(error).__name__}") from None
        if response.is_success:
            return response
        try:
            told = response.json()["error"]
            raise ApiError(response.status_code, str(told["code"]), str(told["message"]))
        except (ValueError, KeyError, TypeError):
            raise ApiError(response.status_code, "unexpected", f"{method} {path}: {response.text[:200]}") from None


def _condition(version: int | None) -> dict[str, str]:
    return {} if version is None else {"If-Match": f'"{version}"'}
