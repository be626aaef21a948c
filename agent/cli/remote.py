"""Which agent a command asks: the local one by its socket unless `--agent`, with a token, names one elsewhere.

The token is a secret: it comes from the environment or from a file that only its owner reads, never from the command
line, where every process list shows it.
"""

import ipaddress
import os
import re
import ssl
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from agent.cli.output import UNUSABLE, fail
from agent.client import Api

TOKEN_VARIABLE: Final = "PALANG_TOKEN"  # noqa: S105

_TOKEN = re.compile(r"palang_[A-Za-z0-9_-]{8,128}")
_URL = re.compile(r"(https?)://(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(?::\d{1,5})?/?")
_OPTIONS: Final = ("--agent", "--token-file", "--ca")


@dataclass(frozen=True, repr=False)
class Remote:
    """An agent elsewhere."""

    url: str
    token: str
    ca: Path | None

    def api(self) -> Api:
        """The way to ask it. Ends the command when the certificates to trust can't be read."""
        try:
            return Api.remote(self.url, self.token, self.ca)
        except (OSError, ssl.SSLError) as error:
            fail(f"--ca {self.ca}: {error}", UNUSABLE)


_chosen: list[tuple[str, Path | None, Path | None]] = []


def choose(
    agent: Annotated[
        str | None,
        typer.Option("--agent", envvar="PALANG_AGENT", help="An agent elsewhere, https://HOST:PORT."),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", envvar="PALANG_TOKEN_FILE", help="Its token, mode 0600; else $PALANG_TOKEN."),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option("--ca", envvar="PALANG_CA", help="Who signed its certificate, PEM."),
    ] = None,
) -> None:
    """Palang enforces the regulator's block orders at the SIP edge, and proves it."""
    _chosen[:] = [(agent, token_file, ca)] if agent else []


def chosen() -> Remote | None:
    """The agent elsewhere that this command is to ask, if one is named. Ends the command when it can't be asked."""
    if not _chosen:
        return None
    url, token_file, ca = _chosen[0]
    try:
        return Remote(checked(url), read_token(token_file), ca)
    except (OSError, ValueError) as error:
        fail(str(error), UNUSABLE)


def checked(url: str) -> str:
    """The address itself. Raises ValueError for one that a token can't be sent to."""
    found = _URL.fullmatch(url)
    if found is None:
        raise ValueError(f"--agent {url!r} must be https://HOST or https://HOST:PORT")
    if found[1] == "http" and not _is_loopback(found[2]):
        raise ValueError(
            f"--agent {url!r}: a token crosses no network in the open; use https://, or http:// on loopback"
        )
    return url.rstrip("/")


def read_token(file: Path | None) -> str:
    """The token, of the file or of $PALANG_TOKEN. Raises ValueError, which does not repeat it, and OSError."""
    if file is not None:
        with file.open(encoding="ascii", errors="replace") as opened:
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
            if mode & 0o077:
                raise ValueError(f"{file} has mode {mode:04o}: others may read the token; chmod 600 {file}")
            token = opened.read(256).strip()
    else:
        token = os.environ.get(TOKEN_VARIABLE, "")
        if not token:
            raise ValueError(f"--agent needs a token: set {TOKEN_VARIABLE}, or --token-file FILE")
    if not _TOKEN.fullmatch(token):
        raise ValueError(f"what {file or TOKEN_VARIABLE} holds is no token: one begins with palang_")
    return token


def in_front(words: Iterable[str]) -> tuple[list[str], list[str]]:
    """These options of a command line, which the program expects first, wherever they stood; and the other words."""
    first: list[str] = []
    rest: list[str] = []
    waiting = iter(words)
    for word in waiting:
        if word == "--":
            rest += [word, *waiting]
        elif word in _OPTIONS:
            first += [word, *(value for value in [next(waiting, None)] if value is not None)]
        elif word.startswith(tuple(f"{option}=" for option in _OPTIONS)):
            first.append(word)
        else:
            rest.append(word)
    return first, rest


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
