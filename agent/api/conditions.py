"""Conditional writes: a record's ETag is its version in quotes; `If-Match` makes a change hold only for that version.

The comparison itself is made in the change's own transaction (sync/ledger/versions.py); a difference is answered 412.
"""

import re
from typing import Annotated

from fastapi import Depends, Header, Response

_ETAG = re.compile(r'"(\d{1,15})"', re.ASCII)


def _expected(
    if_match: Annotated[
        str | None, Header(max_length=64, description='The ETag that the change is for, `"7"`.')
    ] = None,
) -> int | None:
    if if_match is None or if_match == "*":
        return None
    found = _ETAG.fullmatch(if_match)
    if found is None:
        raise ValueError(f'If-Match has {len(if_match)} characters and is no ETag of ours, such as "7"')
    return int(found[1])


Expected = Annotated[int | None, Depends(_expected)]
"""The version that the client looked at, as a route's argument; None when it sets no condition."""


def tag(response: Response, version: int) -> None:
    """Give an answer the ETag of its record."""
    response.headers["ETag"] = f'"{version}"'
