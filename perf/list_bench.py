"""What the list costs: memory, load, start, look-ups, the hook.

Method: `--numbers N` scattered Indonesian mobile numbers under three policies are loaded through the Python face, as a
node takes a snapshot. Then everything is measured over the mapped files that gateways read:

* **load** from entry lines (as they come from Redis) to a list in force: read, digest verified, tables filled,
  snapshot written and fsynced; and from a snapshot on disk to the same, as after a reboot;
* **start**, page cache warm: open to the first answer in Rust, with the live folder as a killed writer leaves it and
  with none; and the whole process, from exec of `palang gateway` to the first right answer on the wire, Redis away;
* **look-ups** of up to a million numbers in random order, all present; the single ones each wait for the one before;
* **the hook** in process: a 900-byte INVITE, and a number, blocked and good.

A wrong answer ends the run: the digest and count of what was loaded, the verdicts of a thousand numbers, and the status
of the call on the wire are known beforehand. `cpu` figures are of processor time (user and system), which says more
than `wall` where others use the machine; a start is the median of five. Expected: at most 12 bytes a number, five
million numbers a second of processor time, 10^7 numbers open within 0.3 s and the whole process within 1 s. The files
lie in /dev/shm (live) and in `--state`, a folder on the disk that a node would use. Prints JSON.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from agent.children import free_port
from sip_filter import Hook, List, Writer, list_digest
from sip_filter._core import bench_lookup

STACKS = {
    "order reject enforce both": "reject",
    "noc reject enforce call": "reject",
    "noc label shadow both @intl-a": "pass",
}
FREE = "+6279999999999"
STARTS = 5

T = TypeVar("T")


class Cost(NamedTuple):
    wall: float
    cpu: float
    """Both in seconds."""


def main() -> None:
    arguments = argparse.ArgumentParser(description="Measure the list.")
    arguments.add_argument("--numbers", type=int, default=1_000_000)
    arguments.add_argument("--state", type=Path, default=None)
    chosen = arguments.parse_args()
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as live, tempfile.TemporaryDirectory(dir=chosen.state) as state:
        print(json.dumps(measure(chosen.numbers, Path(live), Path(state)), indent=2))


def measure(count: int, live: Path, state: Path) -> dict[str, object]:
    writer = Writer(live, state)
    load = loading(writer, live, count)
    sizes = writer.sizes()
    single_ns, batch_ns = bench_lookup(live, 1_000_000)
    figures: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "numbers": count,
        "bytes_per_number": round(sizes["bytes"] / count, 2),
        "longest_probe": sizes["longest_probe"],
        "load_lines_numbers_per_cpu_s": round(count / load.cpu),
        "load_lines_numbers_per_wall_s": round(count / load.wall),
        "lookup_ns": round(single_ns, 1),
        "lookup_ns_batch_of_64": round(batch_ns, 1),
        "apply_ms_of_1000_changes": round(applying(writer), 2),
        **hooking(live),
    }
    writer.checkpoint()
    writer.close()
    killed, rebooted = (opening(live, state, cleared=cleared) for cleared in (False, True))
    process = median([starting(live, state) for _ in range(STARTS)])
    return figures | {
        "load_snapshot_numbers_per_cpu_s": round(count / rebooted.cpu),
        "open_to_first_answer_s": {"wall": round(killed.wall, 3), "cpu": round(killed.cpu, 3)},
        "open_to_first_answer_after_reboot_s": {"wall": round(rebooted.wall, 3), "cpu": round(rebooted.cpu, 3)},
        "process_to_first_answer_s": {"wall": round(process.wall, 3), "cpu": round(process.cpu, 3)},
    }


def loading(writer: Writer, live: Path, count: int) -> Cost:
    entries = list(lines(count))
    digest = list_digest(entries)
    cost, _ = timed(lambda: writer.load(1, 1, entries, digest, 0))
    assert (writer.sizes()["numbers"], writer.digest) == (count, digest), writer.sizes()
    prove(List(live), entries)
    return cost


def lines(count: int) -> Iterator[str]:
    """Entry lines of distinct numbers: the step has no factor in common with the range."""
    stacks = list(STACKS)
    for turn in range(count):
        value = turn * 4_999_999_937 % 8_000_000_000
        yield f"+{6_281_000_000_000 + value}\t{stacks[value % 3]}"


def prove(reader: List, entries: list[str]) -> None:
    """Ask for a thousand numbers of the list, and for their neighbours far away, and know the answers."""
    for line in entries[:: max(1, len(entries) // 1000)]:
        number, _, stack = line.partition("\t")
        assert reader.judge([(number, True)], "intl-a").verdict == STACKS[stack], stack
        stranger = f"+{int(number) + 10**10}"
        assert reader.judge([(stranger, True)], "intl-a").verdict == "pass"


# --- start


def opening(live: Path, state: Path, *, cleared: bool) -> Cost:
    """Open to the first answer in Rust; `cleared` takes the live folder away first, as a reboot does."""

    def start() -> tuple[Writer, str]:
        writer = Writer(live, state)
        return writer, List(live).judge([(BLOCKED, True)], "intl-a").verdict

    costs = []
    for _ in range(STARTS):
        if cleared:
            shutil.rmtree(live)
        cost, (writer, verdict) = timed(start)
        assert verdict == "reject", verdict
        writer.close()
        costs.append(cost)
    return median(costs)


def starting(live: Path, state: Path) -> Cost:
    """From exec of `palang gateway` to its 603 for a blocked caller."""
    caller, port = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
    caller.bind(("127.0.0.2", 0))
    caller.connect(("127.0.0.1", port))
    caller.settimeout(0.002)
    config = state / "palang.toml"
    config.write_text(CONFIG.format(live=live, state=state, port=port))
    (state / "key").write_text("ab" * 32)
    packet = invite(BLOCKED, *caller.getsockname())
    program = [str(Path(sys.executable).with_name("palang")), "gateway", "--config", str(config)]
    # A node that is installed has its bytecode; so has this one from its second start on.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    gateway = subprocess.Popen(program, stderr=subprocess.DEVNULL, env=environment)
    try:
        while time.perf_counter() - began < 60 and gateway.poll() is None:
            try:
                caller.send(packet)
                answer = caller.recv(2048)
            except (ConnectionRefusedError, TimeoutError):
                time.sleep(0.001)
                continue
            cost = Cost(time.perf_counter() - began, cpu_of(gateway.pid))
            assert answer.startswith(b"SIP/2.0 603 "), answer
            return cost
        raise TimeoutError(f"no answer within 60 s; palang gateway exited with {gateway.poll()}")
    finally:
        gateway.kill()
        gateway.wait()
        caller.close()


BLOCKED = next(lines(1)).partition("\t")[0]
CONFIG = """
[node]
name = "bench"
live = "{live}"
state = "{state}"
control = "{state}/gateway.sock"

[redis]
url = "unix://{state}/no-redis.sock"

[gateway]
listen = ["udp:127.0.0.1:{port}"]
key_file = "{state}/key"

[[gateway.trunks]]
name = "intl-a"
sources = ["127.0.0.2/32"]
plan = "international"

[[gateway.next_hops]]
name = "switch"
address = "127.0.0.1:9"
networks = ["127.0.0.1/32"]
"""


# --- what one decision and one revision cost


def hooking(live: Path) -> dict[str, float]:
    """Processor time in µs for each call of the hook, blocked and good callers by turns."""
    hook = Hook(live, "intl-a")
    blocked, good = (invite(number, "192.0.2.1", 5060) for number in (BLOCKED, FREE))
    assert [hook.judge_message(raw).verdict for raw in (blocked, good)] == ["reject", "pass"]
    assert [hook.judge([number]).verdict for number in (BLOCKED, FREE)] == ["reject", "pass"]
    acts: dict[str, Callable[[], object]] = {
        "hook_us_message_blocked": lambda: hook.judge_message(blocked),
        "hook_us_message_good": lambda: hook.judge_message(good),
        "hook_us_number_blocked": lambda: hook.judge([BLOCKED]),
        "hook_us_number_good": lambda: hook.judge([FREE]),
    }
    return {name: round(each(act) * 1e6, 2) for name, act in acts.items()}


def applying(writer: Writer) -> float:
    """Milliseconds of wall time for a revision of a thousand changes, on disk and in force."""
    changes = [f"+1202555{value:04}\torder reject enforce both" for value in range(1000)]
    total = int(writer.digest, 16) + int(list_digest(changes), 16)
    epoch, n = writer.revision
    cost, _ = timed(lambda: writer.apply(epoch, n + 1, changes, f"{total % 2**128:032x}", 0))
    return cost.wall * 1e3


def invite(caller: str, host: str, port: int) -> bytes:
    """An INVITE of about 900 bytes."""
    head = (
        f"INVITE sip:+622150001234@gateway SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{time.time_ns():x};rport\r\n"
        f"Max-Forwards: 70\r\n"
        f'From: "Caller" <sip:{caller}@{host}>;tag=8a7c\r\n'
        f"To: <sip:+622150001234@gateway>\r\n"
        f"Call-ID: {time.time_ns():x}@{host}\r\n"
        f"CSeq: 1 INVITE\r\n"
        f"Contact: <sip:{caller}@{host}>\r\n"
        f"P-Asserted-Identity: <sip:{caller}@{host}>\r\n"
        f"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO\r\n"
        f"Supported: 100rel, timer, replaces\r\nUser-Agent: switch/4.2\r\n"
        f"Content-Type: application/sdp\r\n"
    )
    body = f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 8 18 101\r\n"
    body += "".join(f"a=rtpmap:{row}\r\n" for row in ("0 PCMU/8000", "8 PCMA/8000", "18 G729/8000"))
    body += "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


# --- clocks


def timed(act: Callable[[], T]) -> tuple[Cost, T]:
    began, used = time.perf_counter(), own_cpu()
    outcome = act()
    return Cost(time.perf_counter() - began, own_cpu() - used), outcome


def each(act: Callable[[], object], rounds: int = 7, calls: int = 20_000) -> float:
    """Seconds of processor time for one call: the median round."""
    found = []
    for _ in range(rounds):
        began = own_cpu()
        for _ in range(calls):
            act()
        found.append((own_cpu() - began) / calls)
    return statistics.median(found)


def own_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def median(costs: list[Cost]) -> Cost:
    return Cost(*(statistics.median(values) for values in zip(*costs, strict=True)))


if __name__ == "__main__":
    main()
