"""The servers under test, as a table: how each is started, with the same list in force.

Palang is the gateway of the wheel with one worker; `uncounted` is the same without its counts of traffic. Kamailio
runs `kamailio/filter.cfg`, its fastest honest configuration. The echo is the floor: it sends back as many bytes as
Palang's answer has, and reads none. `hook` and `no_hook` are one Kamailio with the Python script that we ship, as it
is and with the question to the hook left out. `changing` is Palang while its list's writer applies changes; `direct`
is no server at all: calls go to the callee.
"""

import json
import shutil
import site
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from perf.processes import CORES, BenchError, Server, first_line, start, tree, wait_for
from sip_filter import Writer, list_digest

ROOT = Path(__file__).parent.parent
CONFIGS = Path(__file__).parent / "kamailio"
SHIPPED = ROOT / "config" / "switches" / "kamailio"
CALLERS, PEER = "127.0.2.0/24", "127.0.2.0"
ASK, LEAVE = "127.0.4.1", "127.0.4.2"
"""Whoever calls from these turns the question to the hook on or off."""
CALLEE_HOST = "127.0.3.1"


@dataclass(frozen=True)
class Stand:
    """What all servers share: a folder, the list's size, the callee behind them, the programs, the echo's length."""

    folder: Path
    numbers: int
    callee: str
    programs: dict[str, str]
    echo_bytes: int = 0

    @property
    def live(self) -> Path:
        return self.folder / "live"

    @property
    def state(self) -> Path:
        return self.folder / "state"


def load_list(stand: Stand) -> None:
    """Put the list of perf/rust/src/list.rs where Palang's processes map it."""
    x, lines = 0, []
    for _ in range(stand.numbers):
        lines.append(f"+62811{x:08}\torder reject enforce both")
        x = (21 * x + 7_654_321) % 100_000_000
    lines += [f"+77{i:02}*\tnoc reject enforce both" for i in range(100)]
    writer = Writer(stand.live, stand.state)
    writer.load(1, 1, lines, list_digest(lines), 0)
    writer.close()


def palang(stand: Stand) -> list[Server]:
    quiet = _gateway("palang", stand)
    return [quiet, Server("changing", quiet.addresses, None, quiet.pids, partial(_changing, stand))]


def uncounted(stand: Stand) -> list[Server]:
    return [_gateway("uncounted", stand, count_traffic=False)]


def _gateway(name: str, stand: Stand, **more: object) -> Server:
    settings = {
        "listen": ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"],
        "workers": 1,
        "node": "bench",
        "key": "ab" * 32,
        "trunks": [{"name": "intl", "sources": [CALLERS], "plan": "international", "trusted": True}],
        "next_hops": [{"name": "switch", "address": stand.callee, "networks": [f"{CALLEE_HOST}/32"]}],
        **more,
    }
    log = stand.folder / f"{name}.log"
    command = [sys.executable, "-P", str(Path(__file__).with_name("palang_server.py"))]
    process = start(name, [*command, str(stand.live), json.dumps(settings)], log)
    bound = json.loads(first_line(name, process, log))
    return Server(name, dict(address.split(":", 1) for address in bound), process, [process.pid])


@contextmanager
def _changing(stand: Stand) -> Iterator[None]:
    """While the list's writer applies changes on the load's core."""
    program = [sys.executable, "-P", str(Path(__file__).with_name("changer.py"))]
    command = ["taskset", "-c", str(CORES[-1]), *program, str(stand.live), str(stand.state)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        yield
        changes = int(process.communicate("")[0] or 0)
    if not changes:
        raise BenchError(f"the list's writer ended with {process.returncode} during a run beside it")


def echo(stand: Stand) -> list[Server]:
    log = stand.folder / "echo.log"
    process = start("echo", [stand.programs["echo"], "127.0.0.1:0", str(stand.echo_bytes)], log)
    return [Server("echo", {"udp": f"127.0.0.1:{first_line('echo', process, log)}"}, process, [process.pid])]


def direct(stand: Stand) -> list[Server]:
    return [Server("direct", {"udp": stand.callee})]


def kamailio(stand: Stand) -> list[Server]:
    tables = stand.folder / "tables"
    tables.mkdir(exist_ok=True)
    (tables / "version").write_text("table_name(string) table_version(int)\nprefixes:1\n")
    rows = "".join(f"+77{i:02}:1\n" for i in range(100))
    (tables / "prefixes").write_text(f"tprefix(string) tvalue(string)\n{rows}")
    terms = {"NEXT_HOP": stand.callee, "NUMBERS": str(stand.numbers), "FOLDER": str(tables)}
    return [_kamailio("kamailio", stand, "filter.cfg", terms)]


def scripted(stand: Stand) -> list[Server]:
    """Kamailio under the script that we ship: one process, asking the hook or not."""
    folder = stand.folder / "scripted"
    folder.mkdir()
    for source in (SHIPPED / "palang.py", CONFIGS / "script.py"):
        shutil.copy(source, folder)
    settings = f"""
site = "{site.getsitepackages()[0]}"
live = "{stand.live}"
next_hop = "sip:{stand.callee}"
protected = ["112"]
"""
    for name, network in {"intl": CALLERS, "ask": f"{ASK}/32", "leave": f"{LEAVE}/32"}.items():
        settings += f"""
[[trunks]]
name = "{name}"
sources = ["{network}"]
plan = "international"
trusted = true
"""
    (folder / "palang.toml").write_text(settings)
    asking = _kamailio("hook", stand, "script.cfg", {"SCRIPT": str(folder / "script.py")})
    host, port = asking.addresses["udp"].split(":")

    @contextmanager
    def turned(source: str) -> Iterator[None]:
        # A core that is taken away for a moment answers late.
        if not any(_status(host, int(port), source, hops=70) for _ in range(20)):
            raise BenchError(f"{asking.name} did not answer {source}")
        yield

    asking.around = partial(turned, ASK)
    leaving = Server("no_hook", asking.addresses, None, asking.pids, partial(turned, LEAVE))
    return [asking, leaving]


STARTS: dict[str, Callable[[Stand], list[Server]]] = {
    "palang": palang,
    "changing": palang,
    "uncounted": uncounted,
    "kamailio": kamailio,
    "echo": echo,
    "direct": direct,
    "hook": scripted,
    "no_hook": scripted,
}
"""What starts each rival; one start may bring several."""


@contextmanager
def started(start: Callable[[Stand], list[Server]], stand: Stand) -> Iterator[list[Server]]:
    """Rivals until they are stopped."""
    servers = start(stand)
    try:
        yield servers
    finally:
        for server in servers:
            server.stop()


def _kamailio(name: str, stand: Stand, config: str, terms: dict[str, str]) -> Server:
    address = f"127.0.0.1:{free_port()}"
    text = (CONFIGS / config).read_text()
    for word, value in {"ADDRESS": address, **terms}.items():
        text = text.replace(f"<{word}>", value)
    folder, log = stand.folder / name, stand.folder / f"{name}.log"
    folder.mkdir(exist_ok=True)
    filled = folder / config
    filled.write_text(text)
    program = shutil.which("kamailio", path="/usr/sbin:/usr/local/sbin:/usr/bin") or "kamailio"
    # Debian's default allocator (qm) searches long lists: twice the CPU of a forwarded call. tlsf is its fastest.
    command = [program, "-DD", "-E", "-m", "1024", "-M", "16", "-x", "tlsf", "-X", "tlsf"]
    command += ["-Y", str(folder), "-f", str(filled)]
    process = start(name, command, log)
    host, port = address.split(":")
    wait_for(name, process, lambda: _status(host, int(port), PEER, hops=0) is not None, log)
    return Server(name, {"udp": address, "tcp": address}, process, tree(process.pid))


def _status(host: str, port: int, source: str, hops: int) -> int | None:
    """What a Kamailio answers to an INVITE of a blocked caller; None when it doesn't."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind((source, 0))
        peer.settimeout(0.2)
        here = "{}:{}".format(*peer.getsockname())
        lines = [
            "INVITE sip:+622150001234@127.0.0.1 SIP/2.0",
            f"Via: SIP/2.0/UDP {here};branch=z9hG4bKready;rport",
            f"Max-Forwards: {hops}",
            "From: <sip:+77001234567@127.0.0.1>;tag=1",
            "To: <sip:+622150001234@127.0.0.1>",
            f"Call-ID: ready@{here}",
            "CSeq: 1 INVITE",
            "Content-Length: 0",
        ]
        try:
            peer.sendto("\r\n".join([*lines, "", ""]).encode(), (host, port))
            return int(peer.recv(2048)[8:11])
        except OSError:
            return None


def free_port() -> int:
    """A port that is free for UDP and TCP on loopback. Raises BenchError after a hundred that are not."""
    for _ in range(100):
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
        ):
            stream.bind(("127.0.0.1", 0))
            port: int = stream.getsockname()[1]
            try:
                datagram.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise BenchError("no port of loopback is free for both UDP and TCP")
