"""The signed card of a 608 (RFC 8688 §3.3): who refused the call, and where to have that looked at.

A JWS, ES256 with `x5u`, whose `jcard` claim is a jCard (RFC 7095). Receivers refuse one that is older than about a
minute, so it is signed anew every half minute, off the path of calls, into a file that the operator's web server hands
out at the URL which the gateway puts into Call-Info.
"""

import json
import os
from pathlib import Path

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from sip_filter import settings

ALGORITHM = "ES256"
_REGISTRY = jws.JWSRegistry(algorithms=[ALGORITHM])


class Card:
    """Signs and writes one card. Raises ValueError for a key that can't sign, OSError for a key that can't be read."""

    def __init__(self, redress: settings.Redress) -> None:
        self._redress = redress
        self._key = load_key(redress.card_key)

    def write(self, now: float) -> None:
        """Put the card of this moment in the file's place, whole or not at all. Raises OSError."""
        path = self._redress.card_file
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_text(self.sign(now), encoding="ascii")
        fresh.chmod(0o644)  # The web server's user reads it; there is nothing secret in it.
        os.replace(fresh, path)

    def sign(self, now: float) -> str:
        """The compact JWS at `now`, in seconds since 1970."""
        # RFC 8688 §3.2.1: exactly these; §3.2.2: iat and jcard.
        header = {"alg": ALGORITHM, "typ": "vcard+json", "x5u": self._redress.card_x5u}
        claims = {"iat": int(now), "jcard": jcard(self._redress)}
        return jws.serialize_compact(header, _compact(claims), self._key, registry=_REGISTRY)


def jcard(redress: settings.Redress) -> list[object]:
    """The jCard: a name, and every contact that there is."""
    rows: list[list[object]] = [["version", {}, "text", "4.0"], ["fn", {}, "text", redress.name]]
    for name, kind, value in (
        ("url", "uri", redress.url),
        ("email", "text", redress.email),
        ("tel", "uri", redress.tel and f"tel:{redress.tel}"),
    ):
        if value:
            rows.append([name, {"type": "work"}, kind, value])
    return ["vcard", rows]


def load_key(path: Path) -> ECKey:
    """A private P-256 key from a PEM or JWK file. Raises ValueError, OSError."""
    text = path.read_text(encoding="utf-8")
    try:
        key = ECKey.import_key(text if text.lstrip().startswith("-") else json.loads(text))
    except (JoseError, ValueError, TypeError, KeyError):
        raise ValueError(f"{path} holds no EC key, as PEM or JWK") from None
    if not key.is_private or key.curve_name != "P-256":
        raise ValueError(f"{path} must hold a private key on P-256, which ES256 signs with")
    return key


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
