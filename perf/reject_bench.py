"""What a rejected call costs the gateway: CPU time of its process per call.

Method: one gateway thread in a process of its own, with `--numbers` numbers in its list; this process sends INVITEs of
blocked callers over loopback, `--window` at a time, and reads every response. The gateway's CPU is read from
/proc/PID/stat (utime + stime, 10 ms units) around `--calls` calls, so the runs are long. Loopback charges the sender
with receive work, so this is the gateway's own share. Expected: every call gets exactly one 603, from the gateway. The
sender is Python: it does not saturate the gateway, and the figure stands for the rate printed beside it. Prints JSON.
"""

import argparse
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_SERVER = """
import json, sys
from sip_filter import Writer, list_digest
from sip_filter._core import Gateway
live, state, count, settings = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
lines = [f"+{6281000000000 + 7 * n}\\torder reject enforce both" for n in range(count)]
lines += [f"+{770 + n}*\\tnoc reject enforce both" for n in range(100)]
writer = Writer(live, state)
writer.load(1, 1, lines, list_digest(lines), 0)
gateway = Gateway(live, settings)
print(gateway.start()[0], flush=True)
sys.stdin.readline()
print(json.dumps(gateway.counters()), flush=True)
gateway.stop()
"""


def measure(calls: int, window: int, numbers: int) -> dict[str, Any]:
    """Send the calls; CPU µs per call and what the gateway counted."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as live, tempfile.TemporaryDirectory() as state:
        server = subprocess.Popen(
            [sys.executable, "-P", "-c", _SERVER, live, state, str(numbers), json.dumps(_settings())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert server.stdout and server.stdin
            host, port = server.stdout.readline().strip().removeprefix("udp:").rsplit(":", 1)
            _run(host, int(port), window * 20, window, numbers)  # warm
            before, began = _cpu(server.pid), time.monotonic()
            answered = _run(host, int(port), calls, window, numbers)
            seconds, cpu = time.monotonic() - began, _cpu(server.pid) - before
            server.stdin.write("\n")
            server.stdin.flush()
            counters = json.loads(server.stdout.readline())
        finally:
            server.stdin.close()
            server.wait(10)
    return {
        "numbers_in_list": numbers,
        "calls": calls,
        "answered_603": answered,
        "calls_per_s": round(calls / seconds),
        "cpu_us_per_call": round(cpu / calls * 1e6, 2),
        "counted_rejected": counters["rejected"],
    }


def _run(host: str, port: int, calls: int, window: int, numbers: int) -> int:
    """Send `calls` INVITEs, `window` at a time, and count the 603s."""
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    peer.bind(("127.0.0.2", 0))
    peer.connect((host, port))
    here = f"127.0.0.2:{peer.getsockname()[1]}"
    run = os.urandom(4).hex()
    answered = 0
    for first in range(0, calls, window):
        batch = [_invite(here, run, turn, numbers) for turn in range(first, min(first + window, calls))]
        for packet in batch:
            peer.send(packet)
        for _ in batch:
            if not select.select([peer], [], [], 2.0)[0]:
                raise TimeoutError(f"a call of the window at {first} got no answer within 2 s")
            answered += peer.recv(2048).startswith(b"SIP/2.0 603 ")
    peer.close()
    return answered


def _invite(here: str, run: str, turn: int, numbers: int) -> bytes:
    caller = 6281000000000 + 7 * (turn * 7919 % numbers)
    return (
        f"INVITE sip:+622150001234@gateway SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {here};branch=z9hG4bK{run}{turn:08x};rport\r\n"
        f"Max-Forwards: 70\r\n"
        f'From: "Caller" <sip:+{caller}@{here}>;tag={turn:08x}\r\n'
        f"To: <sip:+622150001234@gateway>\r\n"
        f"Call-ID: {run}-{turn:08x}@{here}\r\n"
        f"CSeq: 1 INVITE\r\n"
        f"Contact: <sip:+{caller}@{here}>\r\n"
        f"P-Asserted-Identity: <sip:+{caller}@{here}>\r\n"
        f"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\n"
        f"Content-Length: 0\r\n\r\n"
    ).encode()


def _settings() -> dict[str, Any]:
    return {
        "listen": ["udp:127.0.0.1:0"],
        "workers": 1,
        "node": "bench",
        "key": "ab" * 32,
        "protected": ["112"],
        "trunks": [{"name": "intl", "sources": ["127.0.0.2/32"], "plan": "international", "mode": "enforce"}],
        "next_hops": [{"name": "switch", "address": "127.0.0.1:9", "networks": ["127.0.0.1/32"]}],
    }


def _cpu(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    arguments = argparse.ArgumentParser(description="Measure rejected calls.")
    arguments.add_argument("--calls", type=int, default=200_000)
    arguments.add_argument("--window", type=int, default=256)
    arguments.add_argument("--numbers", type=int, default=1_000_000)
    chosen = arguments.parse_args()
    print(json.dumps(measure(chosen.calls, chosen.window, chosen.numbers), indent=2))


if __name__ == "__main__":
    main()
