"""The settings of who comes in and how: sessions, invitations, tokens, and the address where people sign in."""

import ipaddress
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from config import Section


def _address(text: str) -> str:
    _, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise ValueError(f"address {text!r} must be <IP address>:<port 1 to 65535>, or empty for none")
    ip_of(text)
    return text


def ip_of(listen: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IP address in `<IP address>:<port>`; IPv6 in brackets. Raises ValueError."""
    host = listen.rpartition(":")[0]
    if host.startswith("[") != (":" in host):
        raise ValueError(f"address {listen!r}: an IPv6 address stands in brackets")
    return ipaddress.ip_address(host.strip("[]"))


class AccessSettings(Section):
    """Who comes in: sessions, the second factor, invitations, tokens."""

    session_minutes: int = Field(480, ge=5, le=1440, description="A session's longest life, whatever is done in it.")
    idle_minutes: int = Field(30, ge=1, le=480, description="A session ends when nothing came from it for so long.")
    step_up_minutes: int = Field(5, ge=1, le=60, description="How long a second factor that was shown again counts.")
    invitation_hours: int = Field(24, ge=1, le=168, description="How long an invitation's one-time word works.")
    token_days: int = Field(365, ge=1, le=365, description="Longest life of a program's token.")


class ConsoleSettings(Section):
    """The address where people sign in, and programs come in with tokens."""

    listen: Annotated[str, AfterValidator(lambda text: text and _address(text))] = Field(
        "127.0.0.1:8443", description="TCP address of console and API; empty: none. Beyond loopback it needs TLS."
    )
    certificate: Path | None = Field(None, description="Its certificate with the chain, PEM; TLS 1.2 or later.")
    key: Path | None = Field(None, description="The certificate's private key, PEM.")
    hosts: tuple[Annotated[str, Field(pattern=r"^[a-z0-9.-]{1,253}(:[0-9]{1,5})?$")], ...] = Field(
        (),
        description="Names by which browsers reach it, such as palang.noc.example:8443; others than these and the "
        "address itself are refused.",
    )

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key stand together, or neither does")
        if self.listen and self.certificate is None and not ip_of(self.listen).is_loopback:
            raise ValueError(
                f"listen {self.listen!r} is no loopback address: passwords would cross the network in the open; "
                "set certificate and key, or listen on 127.0.0.1"
            )
        return self
