"""Two real SIP user agents for the demo: a caller on an interconnect trunk, and the switch that answers calls.

They share nothing with the gateway's code and keep every packet, so that a step can assert on what was really sent
and received. A caller behaves as RFC 3261 §17.1.1 asks of a client transaction without retransmission.
"""

import asyncio
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

Address = tuple[str, int]


@dataclass
class Packet:
    """One SIP datagram: its text, the peer it was exchanged with, and its first line."""

    text: str
    peer: Address

    @property
    def start(self) -> str:
        """The request or status line."""
        return self.text.partition("\r\n")[0]

    @property
    def status(self) -> int:
        """The status code of a response; 0 for a request."""
        return int(self.text.split(" ", 2)[1]) if self.text.startswith("SIP/2.0 ") else 0

    def header(self, name: str) -> str:
        """The first value of a header; empty when there is none."""
        found = re.search(rf"^{name}\s*:\s*(.*?)\r$", self.text, re.MULTILINE | re.IGNORECASE)
        return found[1] if found else ""

    def headers(self, name: str) -> list[str]:
        """Every value of a header, in order."""
        return re.findall(rf"^{name}\s*:\s*(.*?)\r$", self.text, re.MULTILINE | re.IGNORECASE)


@dataclass
class Call:
    """What came of one call, as its caller saw it."""

    number: str
    call_id: str
    responses: list[Packet] = field(default_factory=list)

    @property
    def final(self) -> Packet | None:
        """The final response; None when none came."""
        return next((packet for packet in self.responses if packet.status >= 200), None)

    @property
    def status(self) -> int:
        """The final status; 0 when no final response came."""
        return self.final.status if self.final else 0


class Phone(asyncio.DatagramProtocol):
    """A UDP socket that hands each datagram to `received`."""

    transport: asyncio.DatagramTransport

    @property
    def address(self) -> Address:
        """Where it listens."""
        address: Address = self.transport.get_extra_info("sockname")
        return address

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)  # not a subclass of it before Python 3.12

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self.received(Packet(data.decode("utf-8", "replace"), addr))

    def received(self, packet: Packet) -> None:
        """Take one packet."""
        raise TypeError(f"{type(self).__name__} takes no packets")

    async def listen(self, address: Address) -> None:
        """Open the socket."""
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=address)

    def send(self, text: str, to: Address) -> None:
        """Send one datagram."""
        self.transport.sendto(text.encode(), to)

    def close(self) -> None:
        """Close the socket."""
        self.transport.close()


class Switch(Phone):
    """The operator's switch behind the gateway: it answers every call, and keeps every packet that reached it."""

    def __init__(self) -> None:
        self.packets: list[Packet] = []

    def invites(self, call_id: str) -> list[Packet]:
        """The INVITEs of one call that reached the switch."""
        return [p for p in self.packets if p.start.startswith("INVITE ") and p.header("Call-ID") == call_id]

    def calls(self) -> set[str]:
        """The Call-ID of every call that reached the switch, by whatever request."""
        return {packet.header("Call-ID") for packet in self.packets if not packet.start.startswith("OPTIONS ")}

    def received(self, packet: Packet) -> None:
        self.packets.append(packet)
        method = packet.start.partition(" ")[0]
        if method == "INVITE":
            self._answer(packet, "180 Ringing")
            self._answer(packet, "200 OK")
        elif method in ("BYE", "CANCEL", "OPTIONS"):
            self._answer(packet, "200 OK")

    def _answer(self, request: Packet, status: str) -> None:
        host, port = self.address
        lines = [f"SIP/2.0 {status}"]
        lines += [f"Via: {via}" for via in request.headers("Via")]
        lines += [f"Record-Route: {route}" for route in request.headers("Record-Route")]
        to = request.header("To")
        lines += [
            f"From: {request.header('From')}",
            f"To: {to if ';tag=' in to else to + ';tag=switch'}",
            f"Call-ID: {request.header('Call-ID')}",
            f"CSeq: {request.header('CSeq')}",
            f"Contact: <sip:{host}:{port}>",
            "Content-Length: 0",
        ]
        self.send("\r\n".join(lines) + "\r\n\r\n", request.peer)


class Caller(Phone):
    """A caller on an interconnect trunk: it places calls through the gateway, one at a time."""

    def __init__(self, gateway: Address) -> None:
        self._gateway = gateway
        self._calls: dict[str, Call] = {}
        self._arrived = asyncio.Event()

    def calls(self) -> set[str]:
        """The Call-ID of every call that it has placed."""
        return set(self._calls)

    def received(self, packet: Packet) -> None:
        if call := self._calls.get(packet.header("Call-ID")):
            call.responses.append(packet)
            self._arrived.set()

    async def call(self, number: str, to: str = "+622150001234", seconds: float = 3.0) -> Call:
        """Call `to` as `number`, hang up when it is answered, and say what came back."""
        call = Call(number, f"{uuid.uuid4()}@caller")
        self._calls[call.call_id] = call
        branch, tag = f"z9hG4bK{uuid.uuid4().hex}", uuid.uuid4().hex[:8]
        invite = self._request("INVITE", f"sip:{to}@{self._host(self._gateway)}", call, branch, tag, 1)
        self.send(invite, self._gateway)
        if not await self._wait(lambda: call.final is not None, seconds):
            return call
        final = call.final
        assert final is not None
        if final.status >= 300:
            # RFC 3261 §17.1.1.3: the ACK of a failure has the INVITE's branch and the response's To.
            ack = self._request("ACK", f"sip:{to}@{self._host(self._gateway)}", call, branch, tag, 1, final)
            self.send(ack, self._gateway)
            return call
        target = final.header("Contact").strip("<>")
        self.send(self._request("ACK", target, call, _branch(), tag, 1, final), self._gateway)
        self.send(self._request("BYE", target, call, _branch(), tag, 2, final), self._gateway)
        await self._wait(lambda: any("BYE" in p.header("CSeq") for p in call.responses), seconds)
        return call

    async def _wait(self, done: Callable[[], bool], seconds: float) -> bool:
        deadline = asyncio.get_running_loop().time() + seconds
        while not done():
            self._arrived.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._arrived.wait()
            except TimeoutError:
                return False
        return True

    def _request(
        self, method: str, uri: str, call: Call, branch: str, tag: str, cseq: int, final: Packet | None = None
    ) -> str:
        here = self._host(self.address)
        lines = [f"{method} {uri} SIP/2.0", f"Via: SIP/2.0/UDP {here};branch={branch};rport", "Max-Forwards: 70"]
        if final:
            lines += [f"Route: {route}" for route in reversed(final.headers("Record-Route"))]
        lines += [
            f"From: <sip:{call.number}@{here}>;tag={tag}",
            f"To: {final.header('To') if final else f'<{uri}>'}",
            f"Call-ID: {call.call_id}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:{here}>",
            "Content-Length: 0",
        ]
        return "\r\n".join(lines) + "\r\n\r\n"

    @staticmethod
    def _host(address: Address) -> str:
        return f"{address[0]}:{address[1]}"


def _branch() -> str:
    return f"z9hG4bK{uuid.uuid4().hex}"
