"""The servers under test, as a table: how each is started, with the same list in force.

Palang is the gateway of the wheel with one worker. Kamailio runs `kamailio/filter.cfg`, its fastest honest
configuration. The echo is the floor: it sends back as many bytes as Palang's answer has, and reads none. `hook` and
`no_hook` are Kamailio with the Python script that we ship, once as it is and once with the question to the hook left
out. `direct` is no server at all: calls go to the callee.
"""

import json
import shutil
import site
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from perf.processes import Server, first_line, start, tree, wait_for
from sip_filter import Writer, list_digest

ROOT = Path(__file__).parent.parent
CONFIGS = Path(__file__).parent / "kamailio"
SHIPPED = ROOT / "config" / "switches" / "kamailio"
CALLERS = "127.0.2.0/24"
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


def load_list(stand: Stand) -> None:
    """Put the list of perf/rust/src/list.rs where Palang's processes map it."""
    x, lines = 0, []
    for _ in range(stand.numbers):
        lines.append(f"+62811{x:08}\torder reject enforce both")
        x = (21 * x + 7_654_321) % 100_000_000
    lines += [f"+77{i:02}*\tnoc reject enforce both" for i in range(100)]
    writer = Writer(stand.live, stand.folder / "state")
    writer.load(1, 1, lines, list_digest(lines), 0)
    writer.close()


def palang(stand: Stand) -> Server:
    settings = {
        "listen": ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"],
        "workers": 1,
        "node": "bench",
        "key": "ab" * 32,
        "trunks": [{"name": "intl", "sources": [CALLERS], "plan": "international", "trusted": True}],
        "next_hops": [{"name": "switch", "address": stand.callee, "networks": [f"{CALLEE_HOST}/32"]}],
    }
    log = stand.folder / "palang.log"
    command = [sys.executable, "-P", str(Path(__file__).with_name("palang_server.py"))]
    process = start("palang", [*command, str(stand.live), json.dumps(settings)], log)
    bound = json.loads(first_line("palang", process, log))
    return Server("palang", dict(address.split(":", 1) for address in bound), process, [process.pid])


def echo(stand: Stand) -> Server:
    log = stand.folder / "echo.log"
    process = start("echo", [stand.programs["echo"], "127.0.0.1:0", str(stand.echo_bytes)], log)
    return Server("echo", {"udp": f"127.0.0.1:{first_line('echo', process, log)}"}, process, [process.pid])


def direct(stand: Stand) -> Server:
    return Server("direct", {"udp": stand.callee})


def kamailio(stand: Stand) -> Server:
    tables = stand.folder / "tables"
    tables.mkdir(exist_ok=True)
    (tables / "version").write_text("table_name(string) table_version(int)\nprefixes:1\n")
    rows = "".join(f"+77{i:02}:1\n" for i in range(100))
    (tables / "prefixes").write_text(f"tprefix(string) tvalue(string)\n{rows}")
    terms = {"NEXT_HOP": stand.callee, "NUMBERS": str(stand.numbers), "FOLDER": str(tables)}
    return _kamailio("kamailio", stand, "filter.cfg", terms)


def hook(stand: Stand) -> Server:
    return _scripted("hook", stand, "palang.py")


def no_hook(stand: Stand) -> Server:
    return _scripted("no_hook", stand, "unasked.py")


RIVALS: dict[str, Callable[[Stand], Server]] = {
    "palang": palang,
    "kamailio": kamailio,
    "echo": echo,
    "direct": direct,
    "hook": hook,
    "no_hook": no_hook,
}


@contextmanager
def running(name: str, stand: Stand) -> Iterator[Server]:
    """A rival from start to stop."""
    server = RIVALS[name](stand)
    try:
        yield server
    finally:
        server.stop()


def _scripted(name: str, stand: Stand, script: str) -> Server:
    folder = stand.folder / name
    folder.mkdir()
    for source in (SHIPPED / "palang.py", CONFIGS / "unasked.py"):
        shutil.copy(source, folder)
    settings = f"""
site = "{site.getsitepackages()[0]}"
live = "{stand.live}"
next_hop = "sip:{stand.callee}"
protected = ["112"]
[[trunks]]
name = "intl"
sources = ["{CALLERS}"]
plan = "international"
trusted = true
"""
    (folder / "palang.toml").write_text(settings)
    return _kamailio(name, stand, "script.cfg", {"SCRIPT": str(folder / script)})


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
    command = [program, "-DD", "-E", "-m", "1024", "-M", "16", "-Y", str(folder), "-f", str(filled)]
    process = start(name, command, log)
    host, port = address.split(":")
    wait_for(name, process, lambda: _answers(host, int(port)), log)
    return Server(name, {"udp": address, "tcp": address}, process, tree(process.pid))


def _answers(host: str, port: int) -> bool:
    """Whether a Kamailio refuses a request that may go no further."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind((CALLERS.partition("/")[0], 0))
        peer.settimeout(0.2)
        here = "{}:{}".format(*peer.getsockname())
        lines = [
            "OPTIONS sip:x@127.0.0.1 SIP/2.0",
            f"Via: SIP/2.0/UDP {here};branch=z9hG4bKready;rport",
            "Max-Forwards: 0",
            "From: <sip:x@127.0.0.1>;tag=1",
            "To: <sip:x@127.0.0.1>",
            f"Call-ID: ready@{here}",
            "CSeq: 1 OPTIONS",
            "Content-Length: 0",
        ]
        try:
            peer.sendto("\r\n".join([*lines, "", ""]).encode(), (host, port))
            return peer.recv(2048).startswith(b"SIP/2.0 483 ")
        except OSError:
            return False


def free_port() -> int:
    """A port that is free for UDP and TCP on loopback."""
    while True:
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
