"""A real gateway on loopback between scripted peers: a trusted and an untrusted trunk, a switch, a stranger."""

import json
import socket
import time
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Any

from sip_filter import Writer, list_digest
from sip_filter._core import Gateway

KEY = "5a" * 32
_calls = count(1)


class Peer:
    """A UDP socket that talks to the gateway."""

    def __init__(self, host: str) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.settimeout(5)
        self.host, self.port = self.socket.getsockname()
        self.gateway = ("", 0)

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def send(self, message: bytes) -> None:
        self.socket.sendto(message, self.gateway)

    def receive(self) -> bytes:
        return self.socket.recv(65_536)

    def waiting(self) -> list[bytes]:
        """What has come already."""
        self.socket.setblocking(False)
        found = []
        try:
            while True:
                found.append(self.socket.recv(65_536))
        except BlockingIOError:
            return found
        finally:
            self.socket.settimeout(5)


class Bench:
    """Gateway, list and peers. `send` returns what each peer got from one datagram."""

    def __init__(self, folder: Path, lines: Iterable[str] = (), **settings: Any) -> None:
        self.trunk, self.other, self.switch, self.stranger = (
            Peer(host) for host in ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")
        )
        self.peers: tuple[Peer, ...] = (self.trunk, self.other, self.switch, self.stranger)
        self.live = folder / "live"
        self.writer = Writer(str(self.live), str(folder / "state"))
        self._n = 0
        self.gateway: Gateway = None  # type: ignore[assignment]  # Before `start` there is nobody to wait for.
        self.rule(lines)
        self.settings: dict[str, Any] = {
            "listen": ["udp:127.0.0.1:0"],
            "workers": 1,
            "node": "gw1",
            "key": KEY,
            "protected": ["112"],
            "trunks": [
                self.trunk_row("intl-a", "127.0.0.2/32", trusted=True),
                self.trunk_row("intl-b", "127.0.0.3/32", trusted=False),
            ],
            "next_hops": [{"name": "switch-1", "address": self.switch.address, "networks": ["127.0.0.4/32"]}],
            **settings,
        }
        self.start(Gateway(str(self.live), json.dumps(self.settings)))

    def start(self, gateway: Gateway) -> None:
        """Take a gateway into use; the first address that it listens on is the peers'."""
        self.gateway = gateway
        self.bound = [address.removeprefix("udp:") for address in gateway.start()]
        self.address = self.bound[0]
        host, _, port = self.address.rpartition(":")
        for peer in self.peers:
            peer.gateway = (host, int(port))

    @staticmethod
    def trunk_row(name: str, network: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "sources": [network], "plan": "international", "mode": "enforce", **more}

    def rule(self, lines: Iterable[str]) -> None:
        """Make these entry lines the whole list, and wait until calls are judged by it."""
        self._n += 1
        beacon = f"+99900{self._n:07}"  # A number that no test uses tells whether the workers have the list.
        lines = [*lines, f"{beacon}\torder reject enforce both"]
        self.writer.load(1, self._n, lines, list_digest(lines), 0)
        deadline = time.monotonic() + 5
        while self.gateway and self.gateway.synthetic(self.settings["trunks"][0]["name"], [beacon])[0][1] == 0:
            assert time.monotonic() < deadline, "the gateway did not take the list over"

    def configure(self, **settings: Any) -> None:
        self.settings |= settings
        self.gateway.configure(json.dumps(self.settings))

    def send(self, sender: Peer, message: bytes) -> dict[Peer, list[bytes]]:
        """Send one datagram and collect what came of it, once a later one has been answered."""
        sender.send(message)
        fence = Message(self.trunk, method="OPTIONS", target=f"sip:{self.address}")
        self.trunk.send(fence.bytes())
        got: dict[Peer, list[bytes]] = {peer: [] for peer in self.peers}
        while True:
            reply = self.trunk.receive()
            if fence.call_id.encode() in reply:
                break
            got[self.trunk].append(reply)
        for peer in self.peers:
            got[peer] += peer.waiting()
        return got

    def close(self) -> None:
        self.gateway.stop()
        self.writer.close()
        for peer in self.peers:
            peer.socket.close()


class Message:
    """A request as a peer would send it; attributes are the parts that tests change."""

    def __init__(
        self,
        sender: Peer,
        caller: str = "<sip:+77012345678@a.example>",
        method: str = "INVITE",
        target: str = "sip:+62215550100@b.example",
    ) -> None:
        number = next(_calls)
        self.method, self.target, self.caller = method, target, caller
        self.sender = sender
        self.call_id = f"call-{number}@a.example"
        self.branch = f"z9hG4bK-peer-{number}"
        self.to_tag = ""
        self.cseq = 1
        self.headers: list[str] = []
        self.body = b""

    def bytes(self, method: str | None = None) -> bytes:
        """The datagram; with `method`, one of the same transaction (CANCEL, ACK of a failure)."""
        method = method or self.method
        lines = [
            f"{method} {self.target} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.sender.address};branch={self.branch};rport",
            f"From: {self.caller};tag=from1",
            f"To: <{self.target}>" + (f";tag={self.to_tag}" if self.to_tag else ""),
            f"Call-ID: {self.call_id}",
            f"CSeq: {self.cseq} {method}",
            "Max-Forwards: 70",
            *self.headers,
            f"Content-Length: {len(self.body)}",
        ]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def status(datagram: bytes) -> int:
    """The status code of a response; 0 for a request."""
    return int(datagram[8:11]) if datagram.startswith(b"SIP/2.0 ") else 0


def headers(datagram: bytes, name: str) -> list[str]:
    """The values of all header fields of that name, as written."""
    lines = datagram.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return [line.partition(":")[2].strip() for line in lines if line.partition(":")[0] == name]


def respond(request: bytes, code: str, to_tag: str = "switch1") -> bytes:
    """The response of a switch to what it got."""
    lines = request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    kept = [
        line for line in lines if line.partition(":")[0] in {"Via", "From", "To", "Call-ID", "CSeq", "Record-Route"}
    ]
    kept = [f"{line};tag={to_tag}" if line.startswith("To:") and ";tag=" not in line else line for line in kept]
    return "\r\n".join([f"SIP/2.0 {code}", *kept, "Content-Length: 0", "", ""]).encode()
