"""Thousands of calls through a real gateway, each from a number of its own, as fast as the answers come back."""

import asyncio
from collections.abc import Sequence
from typing import cast

from tests.system.flood import invite

Address = tuple[str, int]
_T1 = 0.5
_COPIED = (b"via:", b"from:", b"to:", b"call-id:", b"cseq:", b"record-route:")


class Answering(asyncio.DatagramProtocol):
    """A switch that lets each call ring and answers it; it knows nothing of dialogs."""

    transport: asyncio.DatagramTransport
    calls = 0

    async def listen(self) -> None:
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))

    @property
    def address(self) -> Address:
        return cast(Address, self.transport.get_extra_info("sockname"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        method = data.partition(b" ")[0]
        if method not in (b"INVITE", b"OPTIONS"):
            return
        copied = [line for line in data.split(b"\r\n") if line.lower().startswith(_COPIED)]
        self.calls += method == b"INVITE"
        for status in (b"180 Ringing", b"200 OK") if method == b"INVITE" else (b"200 OK",):
            lines = (b"SIP/2.0 " + status, *copied, b"Content-Length: 0", b"", b"")
            self.transport.sendto(b"\r\n".join(lines), addr)


class Pouring(asyncio.DatagramProtocol):
    """A peer with many subscribers: `pour` places one call for each number and says what each got."""

    def __init__(self, source: str, gateway: Address) -> None:
        self._source, self._gateway = source, gateway
        self._statuses: dict[str, int] = {}
        self._open: dict[str, bytes] = {}
        self._changed = asyncio.Event()
        self._placed = 0

    async def listen(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, local_addr=(self._source, 0))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        status = int(data[8:11])
        if status >= 200:
            call = data.lower().partition(b"call-id: ")[2].partition(b"\r\n")[0].decode()
            self._statuses.setdefault(call, status)
            self._open.pop(call, None)
            self._changed.set()

    def close(self) -> None:
        self.transport.close()

    async def pour(self, callers: Sequence[str], window: int = 64, seconds: float = 60.0) -> list[int]:
        """The final status of one call from each number, in order. Fails when answers stay away."""
        host, port = self.transport.get_extra_info("sockname")
        calls: list[str] = []
        async with asyncio.timeout(seconds):
            for caller in callers:
                while len(self._open) >= window:
                    await self._more()
                self._placed += 1
                calls.append(f"poured-{port}-{self._placed}")
                self._open[calls[-1]] = invite(f"{host}:{port}", calls[-1], caller)
                self.transport.sendto(self._open[calls[-1]], self._gateway)
            while self._open:
                await self._more()
        return [self._statuses[call] for call in calls]

    async def _more(self) -> None:
        """Wait for an answer; what has none after T1 is sent again, as a user agent would (RFC 3261 17.1.1.2)."""
        self._changed.clear()
        try:
            async with asyncio.timeout(_T1):
                await self._changed.wait()
        except TimeoutError:
            for datagram in self._open.values():
                self.transport.sendto(datagram, self._gateway)
