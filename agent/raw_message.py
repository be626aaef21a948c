"""A SIP message on its way to being explained: how long it may be, and its parts as a person may see them."""

import re
from typing import Final

MOST_RAW: Final = 65_535
"""Bytes of the longest message: what an IP packet can carry."""
MOST_RAW_TEXT: Final = (MOST_RAW + 2) // 3 * 4
"""The same in base64."""

_DIGIT = r"(?:[0-9]|%[0-9A-Fa-f]{2}|\\x[0-9a-f]{2})"
_BETWEEN = r"[-.() ]*"
_NUMBER = re.compile(rf"( of \d{{4}}-\d\d-\d\d$)|(\+?{_DIGIT}(?:{_BETWEEN}{_DIGIT}){{3}})(?:{_BETWEEN}{_DIGIT}){{3,}}")
"""The date of a plan's edition, which stays; or the first four digits and the rest of what could be a number."""


def mask_written(text: str) -> str:
    """A text in which a number may stand in any form, separated or escaped: only its first four digits are left."""
    return _NUMBER.sub(lambda found: found[1] or f"{found[2]}•••••", text)
