"""Secrets: passwords, the second factor's codes, and random words. What is stored of them is named beside each.

A password is kept as argon2id; a word (cookie, invitation, token) has 256 random bits and is kept as its SHA-256; the
second factor's key has to be kept as it is, since codes are computed from it (RFC 6238).
"""

import asyncio
import hashlib
import hmac
import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import cached_property
from typing import Final

import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST_PASSWORD: Final = 12
LONGEST_PASSWORD: Final = 128
TOKEN_PREFIX: Final = "palang_"  # noqa: S105  so that a leaked one is found by those who search for leaks

_STEP_SECONDS: Final = 30
_SKEW: Final = (0, -1, 1)
_FEWEST_KINDS: Final = 6


class Passwords:
    """argon2id in a thread of its own: 160 ms and 64 MiB each, so two at a time."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="passwords")

    async def hash(self, password: str) -> str:
        """What is kept of a password."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._hasher.hash, password)

    async def matches(self, kept: str | None, password: str) -> bool:
        """Whether the password is the one that was kept. Where there is none it takes as long, and is False."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._matches, kept, password)

    @cached_property
    def _nobodys(self) -> str:
        return self._hasher.hash(secrets.token_urlsafe())

    def _matches(self, kept: str | None, password: str) -> bool:
        nobodys = self._nobodys  # made with the first password that is asked about, somebody's or nobody's
        try:
            return self._hasher.verify(kept or nobodys, password) and kept is not None
        except (VerificationError, InvalidHashError):
            return False


def check_password(password: str, name: str) -> None:
    """Raises ValueError, which does not repeat it, for a password that is guessed at once."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise ValueError(
            f"the password has {len(password)} characters; {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} are taken"
        )
    if len(set(password)) < _FEWEST_KINDS:
        raise ValueError(f"the password has {len(set(password))} different characters; at least {_FEWEST_KINDS}")
    if name in password.lower() or "palang" in password.lower():
        raise ValueError("the password holds the name or 'palang', which is guessed first")


def new_word() -> str:
    """A random word: a cookie, an invitation."""
    return secrets.token_urlsafe(32)


def new_token() -> str:
    """A program's token."""
    return TOKEN_PREFIX + new_word()


def digest(word: str) -> str:
    """What is kept of a random word. Its 256 bits are why a fast hash is enough."""
    return hashlib.sha256(word.encode()).hexdigest()


def same(one: str, other: str) -> bool:
    """Whether two secrets are the same, in a time that does not tell where they differ."""
    return hmac.compare_digest(one.encode(), other.encode())


def new_second_factor() -> str:
    """A key for codes, base32."""
    return pyotp.random_base32()


def second_factor_uri(key: str, name: str) -> str:
    """What a phone's authenticator reads from the picture."""
    return pyotp.TOTP(key).provisioning_uri(name=name, issuer_name="Palang")


def step_of(key: str, code: str, now: datetime, after: int) -> int | None:
    """The time step that the code belongs to, one of three around `now` and behind the step `after`; None for none.

    A phone's clock may be half a minute off; a step that was used, and all before it, are not taken again.
    """
    present = int(now.timestamp()) // _STEP_SECONDS
    otp = pyotp.TOTP(key)
    found = None
    for step in (present + skew for skew in _SKEW):
        if same(otp.generate_otp(step), code) and step > after and found is None:
            found = step
    return found
