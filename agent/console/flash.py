"""One line that the next page shows, carried in a signed cookie: no query, no state on our side.

What it says is masked before it is carried: a cookie lies in a browser's store.
"""

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Final, Literal, Self

from agent.views import mask_digits

COOKIE: Final = "palang_said"
_MOST: Final = 600
"""Characters of the line; a cookie may have 4096 bytes."""

Tone = Literal["good", "bad"]


@dataclass(frozen=True)
class Flash:
    """What was done or why not. `text` is English, put into the reader's language when it is shown."""

    tone: Tone
    text: str
    values: dict[str, str]

    def carried(self, key: bytes, owner: str) -> str:
        """The cookie's value; only for `owner`, so that one person's line can't be shown to another."""
        values = {name: mask_digits(value)[:_MOST] for name, value in self.values.items()}
        packed = json.dumps([self.tone, mask_digits(self.text)[:_MOST], values]).encode()
        return f"{_text(packed)}.{_text(_seal(key, owner, packed))}"

    @classmethod
    def read(cls, cookie: str, key: bytes, owner: str) -> Self | None:
        """The line in a cookie of ours, else None."""
        try:
            packed, seal = (base64.urlsafe_b64decode(part) for part in cookie.split("."))
        except (ValueError, binascii.Error):
            return None
        if not hmac.compare_digest(seal, _seal(key, owner, packed)):
            return None
        return cls(*json.loads(packed))


def _seal(key: bytes, owner: str, packed: bytes) -> bytes:
    return hmac.digest(key, b"flash\0" + owner.encode() + b"\0" + packed, hashlib.sha256)


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode()
