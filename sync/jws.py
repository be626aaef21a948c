"""Signatures: Ed25519 over a compact JWS (RFC 7515, RFC 8037; the algorithm is named `Ed25519` by RFC 9864).

`Signer` signs with one key. `Keyring` verifies against the keys it knows, and refuses a revoked one at once.
A token has exactly the header {alg, typ, kid}: nothing in it can choose another algorithm, key or meaning.
Key files are JWKs (RFC 8037 §2), the private ones readable by their owner only.
"""

import base64
import binascii
import json
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from sync.codes import Code
from sync.contract import JWS_TYPE

ALGORITHM = "Ed25519"
# The size of a message is limited where it is read (contract.max_message_bytes); the library's own 128,000 bytes of
# payload would turn away a long list.
_REGISTRY = jws.JWSRegistry(algorithms=[ALGORITHM])
_REGISTRY.max_payload_length = 1 << 27


class JwsError(Exception):
    """A token that must not be believed: `code` says why for machines, the text for people."""

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class KeyFileError(Exception):
    """A key file that can't be used. Its text is one line naming the file."""


class Signer:
    """Signs with one private key; `kid` is its name in the other side's key ring."""

    def __init__(self, key: OKPKey, kid: str) -> None:
        if not key.is_private:
            raise ValueError(f"key {kid} has no private part to sign with")
        self._key = key
        self.kid = kid

    def sign(self, payload: bytes, kind: str = JWS_TYPE) -> bytes:
        """The compact JWS of `payload`; `kind` becomes its `typ`."""
        header = {"alg": ALGORITHM, "typ": kind, "kid": self.kid}
        return jws.serialize_compact(header, payload, self._key, registry=_REGISTRY).encode("ascii")

    def keyring(self) -> "Keyring":
        """A key ring that knows only this signer's public key."""
        return Keyring({self.kid: public_part(self._key)})


@dataclass(frozen=True)
class Verified:
    """What a good signature vouches for."""

    payload: bytes
    kid: str


class Keyring:
    """The public keys that may sign, by key id."""

    def __init__(self, keys: Mapping[str, OKPKey], revoked: Iterable[str] = ()) -> None:
        self._keys = dict(keys)
        self._revoked = frozenset(revoked)

    def verify(self, token: bytes, kind: str = JWS_TYPE) -> Verified:
        """The payload, when the signature is good. Raises JwsError."""
        head, _body, signature = _split(token)
        key, kid = self._choose(_header(head), kind)
        if not signature:
            raise JwsError(Code.UNSIGNED, "the signature is empty")
        try:
            found = jws.deserialize_compact(token, key, registry=_REGISTRY)
        except (JoseError, ValueError, TypeError) as error:
            raise JwsError(Code.BAD_SIGNATURE, f"the signature does not verify with key {kid}") from error
        return Verified(found.payload, kid)

    def thumbprints(self) -> list[tuple[str, str]]:
        """Each key's id and its thumbprint (RFC 7638), for people who compare keys."""
        return [(kid, str(key.thumbprint())) for kid, key in self._keys.items()]

    def _choose(self, header: dict[str, Any], kind: str) -> tuple[OKPKey, str]:
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm == "none":
            raise JwsError(Code.UNSIGNED, "the header says alg none")
        if algorithm != ALGORITHM:
            raise JwsError(Code.WRONG_ALGORITHM, f"the header says alg {str(algorithm)[:24]!r}, not {ALGORITHM}")
        if set(header) != {"alg", "typ", "kid"} or header["typ"] != kind or not isinstance(kid, str):
            raise JwsError(Code.MALFORMED, f"the header has to hold alg, kid and typ {kind}, and nothing else")
        if kid in self._revoked:
            raise JwsError(Code.REVOKED_KEY, f"key {kid[:64]!r} has been revoked")
        if kid not in self._keys:
            raise JwsError(Code.UNKNOWN_KEY, f"key {kid[:64]!r} is not in the key ring")
        return self._keys[kid], kid


def generate_key() -> OKPKey:
    """A fresh Ed25519 key."""
    return OKPKey.generate_key("Ed25519")


def public_part(key: OKPKey) -> OKPKey:
    """The key without its private part."""
    return OKPKey.import_key(key.as_dict(private=False))


def thumbprint(key: OKPKey) -> str:
    """The key's RFC 7638 thumbprint, shortened: a key id that nobody has to invent."""
    return key.thumbprint()[:16]


def write_key(path: Path, key: OKPKey, kid: str, *, private: bool) -> None:
    """Write a JWK file that must not exist yet; a private one is readable by its owner only. Raises KeyFileError."""
    text = json.dumps({**key.as_dict(private=private), "kid": kid, "alg": ALGORITHM}, indent=1) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o644)
    except FileExistsError:
        raise KeyFileError(f"{path}: exists already; a key is never overwritten") from None
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def load_signer(path: Path) -> Signer:
    """The signer of a private key file. Raises KeyFileError, also when others can read the file."""
    key, kid = _load(path)
    if not key.is_private:
        raise KeyFileError(f"{path}: holds a public key; a private one is needed to sign")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise KeyFileError(f"{path}: mode {mode:04o} lets others read the private key; it has to be 0600")
    return Signer(key, kid)


def load_keyring(paths: Iterable[Path], revoked: Iterable[str] = ()) -> Keyring:
    """The key ring of public key files. Raises KeyFileError."""
    keys: dict[str, OKPKey] = {}
    for path in paths:
        key, kid = _load(path)
        if kid in keys:
            raise KeyFileError(f"{path}: key id {kid} is named by two files")
        keys[kid] = public_part(key)
    return Keyring(keys, revoked)


def _load(path: Path) -> tuple[OKPKey, str]:
    try:
        fields = json.loads(path.read_text(encoding="ascii"))
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise KeyFileError(f"{path}: not a JWK") from None
    if not isinstance(fields, dict) or fields.get("kty") != "OKP" or fields.get("crv") != "Ed25519":
        raise KeyFileError(f"{path}: not an Ed25519 JWK (kty OKP, crv Ed25519; RFC 8037)")
    try:
        key = OKPKey.import_key({name: fields[name] for name in ("kty", "crv", "x", "d") if name in fields})
    except (JoseError, ValueError, TypeError) as error:
        raise KeyFileError(f"{path}: {error}") from None
    kid = fields.get("kid")
    return key, kid if isinstance(kid, str) and kid else thumbprint(key)


def payload_of(token: bytes) -> bytes:
    """What a token of our own says, unverified: it comes from the ledger. Raises JwsError for what is no token."""
    return _split(token)[1]


def _split(token: bytes) -> tuple[bytes, bytes, bytes]:
    if token.lstrip()[:1] in (b"{", b"["):
        raise JwsError(Code.UNSIGNED, "bare JSON without a signature")
    parts = token.split(b".")
    if len(parts) != 3:
        raise JwsError(Code.MALFORMED, f"a compact JWS has 3 parts, this has {len(parts)}")
    head, body, signature = (_decode(part) for part in parts)
    return head, body, signature


def _decode(part: bytes) -> bytes:
    # The last character of base64url has spare bits: without the comparison, four tokens would share one signature.
    try:
        decoded = base64.b64decode(part + b"=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise JwsError(Code.MALFORMED, "a part of the token is not base64url") from None
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != part:
        raise JwsError(Code.MALFORMED, "a part of the token is not canonical base64url")
    return decoded


def _header(head: bytes) -> dict[str, Any]:
    try:
        header = json.loads(head.decode("ascii"), object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise JwsError(Code.MALFORMED, "the token's header is not JSON") from None
    if not isinstance(header, dict):
        raise JwsError(Code.MALFORMED, "the token's header is not a JSON object")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate key")
    return found
