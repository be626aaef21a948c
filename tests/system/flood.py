"""A hostile peer: sends one kind of traffic from one address, as fast as it can, until its stdin closes.

    python -P tests/system/flood.py KIND SOURCE GATEWAY PORT

Prints `ready`, and at the end how many datagrams or connections it sent.
"""

import os
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count

from tests.system.burst import Burst

_COPIES = 4096
"""Different datagrams; after these the same come again, as retransmissions do."""
_OPEN = 50
"""Connections held at a time."""

Address = tuple[str, int]


def invite(here: str, call: str, caller: str = "+77012345678") -> bytes:
    """A call as a trunk brings it."""
    lines = [
        "INVITE sip:+62215550100@b.example SIP/2.0",
        f"Via: SIP/2.0/UDP {here};branch=z9hG4bK{call};rport",
        f'From: "A caller" <sip:{caller}@a.example>;tag=from1',
        "To: <sip:+62215550100@b.example>",
        f"Call-ID: {call}",
        "CSeq: 1 INVITE",
        "Max-Forwards: 70",
        f"Contact: <sip:{caller}@{here}>",
        f"P-Asserted-Identity: <sip:{caller}@a.example>",
        "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS",
        "Content-Length: 0",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def _valid(here: str, n: int) -> bytes:
    return invite(here, f"{os.getpid()}-{n}")


MALFORMED: dict[str, Callable[[bytes], bytes]] = {
    "bad-cseq": lambda m: m.replace(b"CSeq: 1 INVITE", b"CSeq: x INVITE"),
    "two-from": lambda m: m.replace(b"To:", b"From:"),
    "bad-length": lambda m: m.replace(b"Content-Length: 0", b"Content-Length: 9"),
    "no-via": lambda m: m.replace(b"Via:", b"Vib:"),
    "cut": lambda m: m[: len(m) // 2],
    "binary": lambda m: b"\x00\xff" * (len(m) // 2),
    "open-quote": lambda m: m.replace(b'"A caller"', b'"' + b"\\" * 8),
    "no-lines": lambda m: m.replace(b"\r\n", b":;,<"),
    "all-commas": lambda m: m.replace(b"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS", b"Via: " + b"," * 35),
}
"""What is wrong with a call, each in its own way."""


def _broken(*names: str) -> Callable[[str, int], bytes]:
    return lambda here, n: MALFORMED[names[n % len(names)]](_valid(here, n))


def _datagrams(make: Callable[[str, int], bytes], source: str, gateway: Address) -> Iterator[int]:
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind((source, 0))
    peer.connect(gateway)
    here = f"{source}:{peer.getsockname()[1]}"
    burst = Burst([make(here, n) for n in range(_COPIES)])
    yield 0
    while True:
        yield burst.send(peer)


def _connections(speak: Callable[[socket.socket, int], object], source: str, gateway: Address) -> Iterator[int]:
    yield 0
    open_ones: list[socket.socket] = []
    for n in count():
        if len(open_ones) >= _OPEN:
            open_ones.pop(n % _OPEN).close()
        peer = socket.socket()
        peer.bind((source, 0))
        peer.settimeout(1)
        with suppress(OSError):
            peer.connect(gateway)
            open_ones.append(peer)
        for other in open_ones:
            with suppress(OSError):
                other.setblocking(False)
                speak(other, n)
        yield 1


def _slow(peer: socket.socket, n: int) -> object:
    """A message that never ends, a byte at a time."""
    message = _valid("127.0.0.1:1", 1)
    return peer.send(message[n % 200 : n % 200 + 1])


def _junk(peer: socket.socket, n: int) -> object:
    """Bytes that are neither TLS nor SIP; every third connection sends nothing."""
    return n % 3 and peer.send(os.urandom(512))


KINDS: dict[str, Callable[[str, Address], Iterator[int]]] = {
    "valid": lambda source, gateway: _datagrams(_valid, source, gateway),
    "malformed": lambda source, gateway: _datagrams(_broken(*MALFORMED), source, gateway),
    "slow": lambda source, gateway: _connections(_slow, source, gateway),
    "junk": lambda source, gateway: _connections(_junk, source, gateway),
    **{
        name: lambda source, gateway, name=name: _datagrams(_broken(name), source, gateway)  # type: ignore[misc]
        for name in MALFORMED
    },
}


def main() -> None:
    kind, source, host, port = sys.argv[1:]
    flood = KINDS[kind](source, (host, int(port)))
    sent, deadline = next(flood), time.monotonic() + 120
    _say("ready")
    while time.monotonic() < deadline and not select.select([sys.stdin], [], [], 0)[0]:
        sent += next(flood)
    _say(str(sent))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
