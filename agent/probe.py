"""One synthetic call, placed as a real user agent would: pyVoIP in a process of its own.

pyVoIP is GPL and an optional extra, so nothing else imports it: `palang probe` starts this module with one JSON record
on stdin (numbers stay out of the process list) and reads one from stdout. Only pyVoIP's messages are used. Its
telephone always registers and hangs on an immediate final response, so the transaction (RFC 3261 §17.1.1) is kept
here: retransmit by T1, ACK every final response, BYE what was answered.
"""

import json
import re
import socket
import sys
import time
import uuid
from typing import Any

import pyVoIP.VoIP  # noqa: F401  pyVoIP.SIP can't be imported first
from pyVoIP.RTP import PayloadType, TransmitType
from pyVoIP.SIP import SIPClient, SIPMessage, SIPParseError

T1 = 0.5
TIMER_B = 64 * T1


class Probe(SIPClient):
    """A user agent on a socket of its own, that never registers."""

    def __init__(self, gateway: tuple[str, int], caller: str, bind: str) -> None:
        no_phone: Any = None  # it would register; the messages need none
        super().__init__(*gateway, caller, "", phone=no_phone, myIP=bind, myPort=0)
        self._gateway = gateway
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((bind, 0))
        self.myPort = self._socket.getsockname()[1]

    def call(self, to: str, seconds: float) -> dict[str, object]:
        """Call `to`; what came back: `status` (0: nothing), `reason`, `ms`."""
        branch, call_id = f"z9hG4bK{uuid.uuid4().hex}", f"{uuid.uuid4()}@probe"
        media: Any = {40000: {0: PayloadType.PCMU}}  # pyVoIP's own annotation says str keys; its code wants codes
        invite: str = self.gen_invite(to, "1", media, TransmitType.SENDRECV, branch, call_id)
        began = time.monotonic()
        raw = self._final(invite, call_id, began + min(seconds, TIMER_B))
        took = round((time.monotonic() - began) * 1000, 1)
        if raw is None:
            return {"status": 0, "reason": "no final response", "ms": took}
        status = int(SIPMessage(raw).status)
        self._acknowledge(invite, raw, status)
        return {"status": status, "reason": raw.split(b"\r\n", 1)[0].decode().split(" ", 2)[2], "ms": took}

    def _final(self, invite: str, call_id: str, deadline: float) -> bytes | None:
        """Send the INVITE, again by T1 until anything comes, and wait for its final response."""
        interval, answered = T1, False
        while time.monotonic() < deadline:
            if not answered:
                self._socket.sendto(invite.encode(), self._gateway)
            until = min(deadline, time.monotonic() + interval)
            while (left := until - time.monotonic()) > 0:
                self._socket.settimeout(left)
                try:
                    raw = self._socket.recv(65_535)
                    message = SIPMessage(raw)
                except (TimeoutError, SIPParseError):
                    continue
                if message.headers.get("Call-ID") != call_id:
                    continue
                answered = True
                if int(message.status) >= 200:
                    return raw
            interval *= 2
        return None

    def _acknowledge(self, invite: str, response: bytes, status: int) -> None:
        """ACK a final response with its own To (RFC 3261 §17.1.1.3, §13.2.2.4); hang up when it was an answer."""
        text = response.decode("utf-8", "replace")
        request = _lines(invite, ("Via", "Max-Forwards", "From", "Call-ID"))
        routes = [f"Route: {route}" for route in reversed(_values(text, "Record-Route"))]
        to = f"To: {_values(text, 'To')[0]}"
        target = invite.split(" ", 2)[1]
        if status < 300:
            target = _values(text, "Contact")[0].partition(">")[0].rpartition("<")[2]
        for method, sequence in (("ACK", 1), ("BYE", 2))[: 2 if status < 300 else 1]:
            lines = [
                f"{method} {target} SIP/2.0",
                *request,
                *routes,
                to,
                f"CSeq: {sequence} {method}",
                "Content-Length: 0",
            ]
            message = "\r\n".join(lines) + "\r\n\r\n"
            if status < 300:  # a 2xx's ACK and the BYE are transactions of their own
                message = re.sub(r"branch=[^;\r]+", f"branch=z9hG4bK{uuid.uuid4().hex}", message, count=1)
            self._socket.sendto(message.encode(), self._gateway)


def _values(text: str, name: str) -> list[str]:
    return re.findall(rf"^{name}\s*:\s*(.*?)\r?$", text, re.MULTILINE | re.IGNORECASE)


def _lines(text: str, names: tuple[str, ...]) -> list[str]:
    return [f"{name}: {_values(text, name)[0]}" for name in names]


def main() -> None:
    """Read the question from stdin, place the call, print the answer."""
    ask = json.load(sys.stdin)
    probe = Probe((ask["host"], int(ask["port"])), ask["number"], ask["bind"])
    json.dump(probe.call(ask["to"], float(ask["seconds"])), sys.stdout)


if __name__ == "__main__":
    main()
