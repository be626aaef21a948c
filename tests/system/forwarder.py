"""A plain SIP forwarder: what a gateway is that enforces nothing. The demo must notice it."""

import asyncio
from typing import cast

Address = tuple[str, int]


class Forwarder(asyncio.DatagramProtocol):
    """Sends what comes from the switch to the last caller, and everything else to the switch."""

    transport: asyncio.DatagramTransport

    def __init__(self, switch: Address) -> None:
        self._switch = switch
        self._caller: Address | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)  # not a subclass of it before Python 3.12

    def datagram_received(self, data: bytes, addr: Address) -> None:
        if addr != self._switch:
            self._caller = addr
            self.transport.sendto(data, self._switch)
        elif self._caller:
            self.transport.sendto(data, self._caller)


async def forwarder(gateway: Address, switch: Address) -> Address:
    """Start one on loopback, in front of `switch`; where it listens."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Forwarder(switch), local_addr=("127.0.0.1", 0)
    )
    address: Address = transport.get_extra_info("sockname")
    return address
