"""Masking of texts and of JSON: wherever a number may stand among other things, in whatever form it is written.

At least five digits are hidden, behind always the same dots; what is left is at most the first four. What is certainly
no number stays: a date and time, a UUID, a SHA-256. Everything else with seven digits in a row, or with separators or
escapes between them, is taken for a number: a reference that is masked for nothing can still be looked up, a number
that is shown can't be taken back.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

LEAST_DIGITS: Final = 7
"""Fewer digits are no number of E.164 (and 112 is nobody's)."""
_HIDDEN, _SHOWN = 5, 4
_DIALLED: Final = 9
_DOTS: Final = "•••••"

_DIGIT = r"(?:\d|%3[0-9]|\\x3[0-9]|\\u003[0-9]|&#(?:4[89]|5[0-7]);|&#x3[0-9];)"
_ESCAPED = r"(?:%2[0-9A-Fa-f]|\\x2[0-9a-f]|\\u002[0-9a-f]|%[Cc]2%[Aa]0)"
_BETWEEN = rf"(?:[-.()/_\s\u2010-\u2015\u00ad\u00a0\u200b-\u200d\u2060]|{_ESCAPED}){{0,8}}"
_KEPT = (
    r"(?<![\w+])(?:"
    r"(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
    r"(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:?\d\d)?)?"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|(?=[0-9a-f]*[a-f])[0-9a-f]{64}"
    r")(?![\w•])"
)
_FOUND = re.compile(rf"({_KEPT})|(\+?{_DIGIT}(?:{_BETWEEN}{_DIGIT}){{{LEAST_DIGITS - 1},}})")
_ONE = re.compile(rf"{_ESCAPED}|({_DIGIT})")


def mask_text(text: str) -> str:
    """A text in which a number may stand in any form: of seven digits or more at most the first four are left."""
    return _FOUND.sub(lambda found: found[1] or _masked(found[2]), text)


def mask_reference(text: str) -> str:
    """A reference of another office, in which digits are usual: only what is written like a telephone number is masked.

    That is what begins with +, 0 or 62 and has nine digits or more, and ten digits in a row.
    """
    return _FOUND.sub(lambda found: _masked(found[2]) if found[2] and _dialled(found[2]) else found[0], text)


def mask_json(value: Any, counts: frozenset[str] = frozenset()) -> Any:
    """JSON in which numbers may stand, also as keys and as integers; integers under the keys `counts` stay."""
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return value if len(re.sub(r"\D", "", str(value))) < LEAST_DIGITS else _DOTS
    if isinstance(value, Mapping):
        return {
            mask_text(str(name)): item if name in counts and isinstance(item, int) else mask_json(item, counts)
            for name, item in value.items()
        }
    return [mask_json(item, counts) for item in value]


def _dialled(written: str) -> bool:
    count = sum(1 for one in _ONE.finditer(written) if one[1])
    begins = written.startswith(("+", "0", "62", "%30", "%36%32", "٠", "０"))
    return (begins and count >= _DIALLED) or re.search(r"\d{10}", written) is not None


def _masked(written: str) -> str:
    digits = [one.end() for one in _ONE.finditer(written) if one[1]]
    left = min(_SHOWN, len(digits) - _HIDDEN)  # two at least: a number has seven
    return written[: digits[left - 1]] + _DOTS
