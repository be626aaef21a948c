"""How commands speak: tables for people, `--json` for scripts, errors in one line, exit codes that mean something."""

import asyncio
import json
import re
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agent.client import ApiError, Unreachable
from config import ConfigError

OK, FAILED, UNUSABLE = 0, 1, 2

T = TypeVar("T")
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Number = Annotated[str, typer.Argument(metavar="NUMBER", help="A number; - reads it from stdin, out of the history.")]

_WIDTH = 160
"""Least width of a table: an id cut in two could not be copied; a narrow terminal wraps the line."""
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?Z")

console = Console(highlight=False, soft_wrap=True, width=max(shutil.get_terminal_size().columns, _WIDTH))


def run(awaitable: Awaitable[T]) -> T:
    """Await one command; a refusal or an unreachable process ends it with one line and the exit code it means."""

    async def main() -> T:
        return await awaitable

    try:
        return asyncio.run(main())
    except ApiError as error:
        fail(f"{error} [{error.code}]", FAILED)
    except (Unreachable, ConfigError) as error:
        fail(str(error), UNUSABLE)


def fail(line: str, code: int = FAILED) -> NoReturn:
    """Say one line on stderr and end with `code`."""
    print(f"palang: {line}", file=sys.stderr)  # noqa: T201
    raise typer.Exit(code)


def show(record: Any, as_json: bool, people: Callable[[Any], None]) -> None:
    """Print a record: as JSON, or the way that people read it."""
    if as_json:
        print(json.dumps(record, ensure_ascii=False, indent=2))  # noqa: T201
    else:
        people(record)


def say(line: str) -> None:
    """Print one line for people, as it is: what comes from outside is never read as markup."""
    console.print(_readable(line), markup=False)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """Print rows under their heads, or one line when there are none."""
    drawn = Table(*heads, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        drawn.add_row(*(_cell(value) for value in row))
    if drawn.row_count:
        console.print(drawn, markup=False)
    else:
        say(empty)


def stdin_or(text: str) -> str:
    """The argument itself, or the first line of stdin when it is `-`."""
    return sys.stdin.readline(256).strip() if text == "-" else text


def _cell(value: object) -> Text:
    return Text("—" if value is None else _readable(str(value)), no_wrap=True)


def _readable(text: str) -> str:
    """Times as people read them; `--json` keeps them whole."""
    return _MOMENT.sub(r"\1 \2Z", text)
