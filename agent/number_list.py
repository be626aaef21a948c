"""Numbers as people hand them in, one a line: each is read for certain, or refused; none is guessed.

Pure. What is said of a bad line names the line and the limit; of what stands there at most four digits are repeated.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agent.views import mask_digits
from sip_filter.number import Number

MOST_CHARACTERS: Final = 64
"""Of one line; a number has at most 16."""
_TOLD: Final = 3

_SHORTENED = re.compile(r"[+-]?\d+(?:[.,]\d+)?[eE][+-]?\d+")
_SEPARATORS = re.compile(r"[ \t\u00a0-]")


@dataclass(frozen=True)
class BadLine:
    """A line, counted from 1, that holds no number, and why not."""

    line: int
    why: str


def read_number(text: str) -> str:
    """The number in canonical form. Spaces and hyphens are nothing. Raises ValueError naming what is wrong."""
    written = text.strip().removeprefix("'").strip('"')
    if len(written) > MOST_CHARACTERS:
        raise ValueError(f"{len(written)} characters; a number has at most {MOST_CHARACTERS} with its separators")
    if _SHORTENED.fullmatch(written):
        raise ValueError(
            f'"{mask_digits(written)}" was shortened by a spreadsheet, and its last digits are lost; '
            "export the column as text"
        )
    plain = _SEPARATORS.sub("", written)
    if not plain.startswith("+"):
        raise ValueError(
            f'"{mask_digits(written)}" does not begin with + and a country code; digits alone are not guessed'
        )
    try:
        return str(Number(plain[1:]))
    except ValueError as error:
        raise ValueError(mask_digits(str(error))) from None


def read_lines(lines: Sequence[str], most: int) -> tuple[list[str], list[BadLine]]:
    """The numbers of a list, and its bad lines; empty lines and what follows a # are passed over.

    Raises ValueError when it has more than `most` numbers, or none.
    """
    numbers: list[str] = []
    bad: list[BadLine] = []
    for place, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            numbers.append(read_number(text))
        except ValueError as error:
            bad.append(BadLine(place, str(error)))
    count = len(numbers) + len(bad)
    if count > most:
        raise ValueError(f"the list has {count:,} numbers; the most at once are {most:,} (clearance.most_numbers)")
    if count == 0:
        raise ValueError("the list holds no number")
    return numbers, bad


def told(bad: Sequence[BadLine]) -> str:
    """What is wrong with a list, in one line."""
    first = "; ".join(f"line {each.line}: {each.why}" for each in bad[:_TOLD])
    more = f"; and {len(bad) - _TOLD} more lines" if len(bad) > _TOLD else ""
    return f"{first}{more}. Nothing was done"
