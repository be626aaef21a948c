"""Canary numbers: invented, put wherever a number can stand, and found again in whatever form they come out.

`Canaries.found` undoes every way in which a number may be written (separators, other scripts' digits, percent, HTML and
JSON escapes, base64) and looks for seven digits in a row of any canary.
"""

import base64
import binascii
import html
import itertools
import json
import random
import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import quote, unquote_plus

_BETWEEN = re.compile(r"(?<=\d)[-.()/_\s\u2010-\u2015\u00ad\u00a0\u200b-\u200d\u2060]+(?=\d)|(?<=\d)\)\s*\(?(?=\d)")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{12,}={0,2}")
_BY_CHANCE = re.compile(
    r"\b20[0-9]{2}-[01][0-9]-[0-3][0-9]"  # 2026-11-23, or 2026-11-23T15:00:00.123456
    r"(?:[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?)?"
    r"|(?<![0-9.])1[789][0-9]{8}(?:[0-9]{3}|\.[0-9]+)?(?![0-9.])"  # seconds or milliseconds since 1970
    r"|\b(?=[0-9]*[a-f])[0-9a-f]{32,64}\b"  # a digest
    r"|\b[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b"  # a random UUID
)
"""Moments, digests and ids: so many of them leave that one would have seven digits of a canary by and by."""
_UNICODE = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})")
RUN = 7
_POOL = 80


class Canaries:
    """The canaries of one test; `take()` gives the next as `+62812…`, `foreign()` one of another country."""

    def __init__(self, seed: int = 4) -> None:
        self._random = random.Random(seed)
        self._windows: dict[str, str] = {}
        self.numbers: list[str] = []
        self._home = itertools.cycle([self._new("62812", 8) for _ in range(_POOL)])
        self._abroad = itertools.cycle([self._new("7701", 7) for _ in range(_POOL // 4)])

    def take(self) -> str:
        """A number at home."""
        return next(self._home)

    def foreign(self) -> str:
        """A number abroad."""
        return next(self._abroad)

    def _new(self, begins: str, more: int) -> str:
        """One that shares no seven digits with another: what is found has one name."""
        while True:
            digits = f"{begins}{self._random.randrange(10 ** (more - 1), 10**more)}"
            windows = {digits[begin : begin + RUN] for begin in range(1, len(digits) - RUN + 1)}
            if not windows & self._windows.keys():
                break
        self._windows.update(dict.fromkeys(windows, f"+{digits}"))
        self.numbers.append(f"+{digits}")
        return f"+{digits}"

    def said(self) -> str:
        """A sentence with canaries in four forms."""
        one, two, three, four = (self.take()[3:] for _ in range(4))
        return f"call 0{one}, +62 {two[:3]}-{two[3:7]}-{two[7:]} or {quote('+62')}{three} (62.{four[:4]}.{four[4:]})"

    def found(self, content: str | bytes) -> list[str]:
        """The canaries that can be read in `content`."""
        text = content.decode("utf-8", "replace") if isinstance(content, bytes) else content
        return sorted({number for form in _forms(_BY_CHANCE.sub("", text)) for number in self._in(form)})

    def _in(self, text: str) -> Iterator[str]:
        for run in re.findall(rf"[0-9]{{{RUN},}}", text):
            for begin in range(len(run) - RUN + 1):
                if number := self._windows.get(run[begin : begin + RUN]):
                    yield number


def _forms(text: str) -> Iterator[str]:
    for form in _unescaped(text):
        yield form
        for token in set(_BASE64.findall(form)):
            decoded = _decoded(token)
            if decoded and sum(map(str.isdigit, decoded)) >= RUN:
                yield from _unescaped(decoded)


def _unescaped(text: str) -> Iterator[str]:
    plain = _UNICODE.sub(lambda found: chr(int(found[1] or found[2], 16)), html.unescape(unquote_plus(text)))
    for form in {text, plain, unquote_plus(html.unescape(plain))}:
        digits = "".join(str(unicodedata.digit(c, c)) if c.isdigit() else c for c in form)
        yield digits
        yield _BETWEEN.sub("", digits)


def _decoded(token: str) -> str | None:
    padded = token.rstrip("=") + "=" * (-len(token.rstrip("=")) % 4)
    try:
        return base64.b64decode(padded, altchars=b"-_" if set("-_") & set(token) else b"+/").decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return None


def forms_of(number: str) -> list[str]:
    """Ways to write one number that `found` has to see through."""
    digits = number.removeprefix("+")
    national = "0" + digits[2:]
    return [
        *(
            number,
            digits,
            national,
            quote(number),
            f"sip:{digits}@host;user=phone",
            f"{national[:4]}-{national[4:8]}-{national[8:]}",
        ),
        *(f"+62 ({digits[2:5]}) {digits[5:9]} {digits[9:]}", ".".join([digits[:2], digits[2:5], digits[5:]])),
        *(
            html.escape(f"&{number}"),
            "".join(f"&#{ord(c)};" for c in digits),
            "".join(f"%{ord(c):02x}" for c in digits),
        ),
        *("".join(f"\\u{ord(c):04x}" for c in digits), json.dumps({"x": [number]})),
        base64.b64encode(f"From: <sip:{digits}@host>".encode()).decode(),
        base64.urlsafe_b64encode(json.dumps({"subject": number}).encode()).decode().rstrip("="),
        digits.translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")),
        digits.translate(str.maketrans("0123456789", "０１２３４５６７８９")),
        digits[-RUN:],
    ]
