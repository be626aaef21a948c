"""A trial in one line: the gateway between your own peers, its rules in a text file, and nothing else.

`palang gateway --listen … --trunk … --next-hop … --rules FILE` runs it without Redis, agent or settings file. The list
lies in a folder of its own in memory that is gone at the end. Each trunk is taken as trusted, since no `allow` could
show its effect otherwise. Each new call is told in a line, with what became of it; the gateway watches for that beside
the packets' way, which is the very same as in a node.

`read_rules` reads a rules file, `read_options` the words of the command line, `Trial` runs them.
"""

import os
import re
import secrets
import signal
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import ValidationError

from config import Section
from sip_filter import settings
from sip_filter._core import Gateway, Writer, list_digest, trunk_key
from sip_filter.number import PREFIX_DIGITS, Number, Prefix, Subject, parse_subject, read_subject
from sip_filter.rule import Action, Authority, Clause, Stack, entry_line

if TYPE_CHECKING:
    from sip_filter._core import HopState, Sight

MOST_BYTES: Final = 64 * 2**20
"""Longest rules file: some three million rules."""
MOST_TOLD: Final = 50
"""Lines at a time about single calls; what is beyond is told as a count."""

_MEMORY = Path("/dev/shm")  # noqa: S108  a folder of ours with a random name is made inside
_LOOK_SECONDS = 0.25
_TELL_SECONDS = 1.0
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_EPOCH = 1


class RulesError(ValueError):
    """A rules file that can't be used. Its text is one line: file, line, value, limit."""


# --- what is given


def read_rules(text: str, name: str) -> list[str]:
    """The entry lines of a rules file: `reject`, `allow` or `label`, then a number or prefix, one rule a line.

    `name` is the file's name in errors. Raises RulesError for the first line that is no rule.
    """
    found: dict[Subject, tuple[Action, int]] = {}
    for at, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            action, subject = _rule(words)
            before, where = found.setdefault(subject, (action, at))
            if before != action:
                raise ValueError(f"{subject} is there with {before} on line {where}; a subject has one action")
        except ValueError as error:
            raise RulesError(f"{name}:{at}: {error}") from None
    return [
        entry_line(subject, Stack.of([Clause(Authority.NOC, action)]))
        for subject, (action, _) in sorted(found.items(), key=lambda item: str(item[0]))
    ]


def _rule(words: Sequence[str]) -> tuple[Action, Subject]:
    actions = ", ".join(Action)
    if words[0] not in list(Action):
        raise ValueError(f"action {words[0][:40]!r} must be one of {actions}")
    if len(words) != 2:
        raise ValueError(f"{len(words)} words; a rule has 2: one of {actions}, then a number or prefix such as +77")
    digits = words[1].removeprefix("+")
    if digits.isdecimal() and len(digits) < PREFIX_DIGITS[0]:
        return Action(words[0]), Prefix(digits)  # which says how short a prefix may be
    return Action(words[0]), parse_subject(words[1])


@dataclass(frozen=True, slots=True)
class Options:
    """A trial's peers, valid, and the file with its rules."""

    listen: tuple[str, ...]
    trunks: tuple[settings.Trunk, ...]
    next_hops: tuple[settings.NextHop, ...]
    rules: Path

    def gateway(self, key_file: Path) -> settings.Gateway:
        """They as a node's gateway settings. Raises ValueError."""
        fields = {"listen": self.listen, "trunks": self.trunks, "next_hops": self.next_hops, "key_file": key_file}
        # Where there is nothing to choose from, a user agent that answers no OPTIONS must not end the trial.
        checks = {} if len(self.next_hops) > 1 else {"checks": settings.Checks(seconds=0)}
        return _checked(settings.Gateway, {**fields, **checks}, "")

    def source(self, key: int) -> str:
        """The network of the trunk that hits name by `key`."""
        return next((", ".join(t.sources) for t in self.trunks if trunk_key(t.name) == key), "a trunk")


def read_options(listen: Iterable[str], trunks: Iterable[str], next_hops: Iterable[str], rules: Path) -> Options:
    """The words of the command line: addresses, `NETWORK=PLAN`, addresses, a file.

    Raises ValueError with one line that names option, value and limit.
    """
    options = Options(
        tuple(listen),
        tuple(_trunk(f"trunk-{at}", text) for at, text in enumerate(trunks, 1)),
        tuple(_next_hop(f"next-hop-{at}", text) for at, text in enumerate(next_hops, 1)),
        rules,
    )
    options.gateway(Path("unused"))
    own = {_bare(address) for address in options.listen}
    for hop in options.next_hops:
        if _bare(hop.address) in own:
            raise ValueError(f"--next-hop {hop.address}: that is an address of --listen; name the switch behind")
    for at, address in enumerate(options.listen):
        if address in options.listen[:at] and not address.endswith(":0"):
            raise ValueError(f"--listen {address} is given {options.listen.count(address)} times; once is enough")
    return options


def _bare(address: str) -> str:
    return re.sub(r"^[a-z]+:", "", address)


def _trunk(name: str, text: str) -> settings.Trunk:
    network, equals, plan = text.partition("=")
    if not equals:
        raise ValueError(f"--trunk {text}: must be NETWORK=PLAN, such as 192.0.2.0/24=international")
    if plan not in settings.BUILT_IN_PLANS:
        raise ValueError(f"--trunk {text}: plan {plan!r} is none of {', '.join(settings.BUILT_IN_PLANS)}")
    fields = {"name": name, "sources": [network], "plan": plan, "trusted": True}
    return _checked(settings.Trunk, fields, f"--trunk {text}: ")


def _next_hop(name: str, text: str) -> settings.NextHop:
    host = _bare(text).rpartition(":")[0].strip("[]")
    return _checked(settings.NextHop, {"name": name, "address": text, "networks": [host]}, f"--next-hop {text}: ")


_Row = TypeVar("_Row", bound=Section)


def _checked(row: type[_Row], fields: Mapping[str, Any], head: str) -> _Row:
    try:
        return row.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = head or (f"--{str(first['loc'][0]).replace('_', '-').removesuffix('s')}: " if first["loc"] else "")
        raise ValueError(f"{place}{first['msg'].removeprefix('Value error, ')}") from None


# --- the file


class RulesFile:
    """The rules file under watch: read anew when it has changed and then rested, so that no half of it is taken."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._taken: object = None
        self._seen: object = None

    def read(self) -> list[str]:
        """Its entry lines as it is now. Raises RulesError."""
        self._seen = self._taken = self._look()
        if isinstance(self._taken, str):
            raise RulesError(f"{self._path}: {self._taken}")
        try:
            with self._path.open("rb") as file:
                content = file.read(MOST_BYTES + 1)
            if len(content) > MOST_BYTES:
                raise RulesError(f"{self._path}: more than {MOST_BYTES} bytes; that is the most")
            return read_rules(content.decode("utf-8-sig"), str(self._path))
        except OSError as error:
            raise RulesError(f"{self._path}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise RulesError(f"{self._path}: not UTF-8 at byte {error.start}; save it as plain text in UTF-8") from None

    def changed(self) -> bool:
        """Whether it is another than `read` took, and the same as at the last look: its writer has finished."""
        last, self._seen = self._seen, self._look()
        return self._seen != self._taken and self._seen == last

    def _look(self) -> object:
        """What tells one state of the file from another; a text says why it can't be read."""
        try:
            found = self._path.stat()
        except OSError as error:
            return error.strerror
        if not stat.S_ISREG(found.st_mode):
            return "not a regular file"
        return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


# --- what is told


def tell_calls(sights: "Sequence[Sight]", more: int, source: Callable[[int], str]) -> list[str]:
    """A line for each new call or message and what became of it, numbers masked; beyond `MOST_TOLD` a count."""
    lines = [_call(sight, source) for sight in sights[:MOST_TOLD]]
    if more := max(0, len(sights) - MOST_TOLD) + more:
        lines.append(f"{_clock(time.time())}  and {more} more calls and messages, too many to tell one by one")
    return lines


def _call(sight: "Sight", source: Callable[[int], str]) -> str:
    numbers = [Number.parse(caller).masked() for caller in sight["callers"]]
    done, fate = "passed", f"on to {sight['to']}"
    if sight["answer"]:
        done, fate = "refused", sight["answer"]
    elif not sight["to"]:
        done, fate = "dropped", "no answer"
    if sight["rule"]:
        action, subject = sight["rule"]
        read = read_subject(subject)
        done = done if sight["answer"] else "labelled"
        fate = f"{action} {read.masked() if isinstance(read, Number) else read}, {fate}"
    who = " and ".join(numbers) or "a caller without a readable number"
    return f"{_clock(sight['at_ms'] / 1000)}  {done:<8}  a {sight['kind']} from {source(sight['trunk'])}, {who}: {fate}"


def tell_next_hops(before: "Sequence[HopState]", now: "Sequence[HopState]", at: float) -> list[str]:
    """A line for each next hop that fell silent or came back."""
    was = {hop["name"]: hop["healthy"] for hop in before}
    said = {True: "answers again", False: "does not answer; new calls go to the others, or get 500"}
    changed = [hop for hop in now if was.get(hop["name"], True) != hop["healthy"]]
    return [f"{_clock(at)}  next hop  {hop['address']} {said[hop['healthy']]}" for hop in changed]


_COUNTED: Final = (
    ("unknown_source", "dropped", "from an address that no --trunk and no --next-hop names"),
    ("not_sip", "dropped", "that is not SIP, or has no Via"),
    ("not_allowed", "refused", "for its method (405)"),
    ("hop_unreachable", "failed", "to reach their next hop: sent to another, or answered 500"),
    ("receive_errors", "failed", "to arrive: perhaps nobody listens at a next hop"),
    ("send_errors", "failed", "to be sent"),
)
"""Counters that are told when they grow, since no call's line tells of it: name, what was done, to what."""


def tell_growth(before: Mapping[str, int], now: Mapping[str, int], at: float) -> list[str]:
    """Lines about what no call's line tells."""
    grown = [(done, now.get(name, 0) - before.get(name, 0), what) for name, done, what in _COUNTED]
    return [f"{_clock(at)}  {done:<8}  {count} {what}" for done, count, what in grown if count > 0]


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at).strftime("%H:%M:%S")


# --- the run


class Trial:
    """One trial. `run` returns at SIGTERM, SIGHUP or Ctrl-C; `say` gets the lines, `warn` what is wrong."""

    def __init__(self, options: Options, say: Callable[[str], None], warn: Callable[[str], None]) -> None:
        self._options, self._say, self._warn = options, say, warn
        self._file = RulesFile(options.rules)
        self._n = 0
        self._told: Mapping[str, int] = {}
        self._hops: list[HopState] = []

    def run(self) -> None:
        """Raises before a packet is read: RulesError, ValueError for settings, OSError for folders and addresses."""
        lines = self._file.read()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        try:
            with ExitStack() as ending:
                home = _MEMORY if os.access(_MEMORY, os.W_OK) else None
                name = f"palang-trial-{os.getpid()}-"
                folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix=name, dir=home)))
                self._serve(ending, folder, lines)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _serve(self, ending: ExitStack, folder: Path, lines: list[str]) -> None:
        key_file = folder / "gateway.key"
        key_file.write_text(secrets.token_hex(settings.KEY_BYTES))
        writer = Writer(folder / "live", folder / "state")
        ending.callback(writer.close)
        self._load(writer, lines)
        gateway = Gateway(str(folder / "live"), self._options.gateway(key_file).to_core_json("trial"))
        listening = _start(gateway)
        ending.callback(gateway.stop)
        gateway.watched()
        self._introduce(listening, len(lines))
        tell_at = time.monotonic() + _TELL_SECONDS
        while signal.sigtimedwait(_ENDING, _LOOK_SECONDS) is None:
            if self._file.changed():
                self._reload(writer)
            self._tell_calls(gateway)
            if time.monotonic() >= tell_at:
                tell_at = time.monotonic() + _TELL_SECONDS
                writer.heartbeat(int(time.time() * 1000))
                self._tell_growth(gateway)
        self._tell_calls(gateway)
        self._tell_growth(gateway)

    def _introduce(self, listening: Sequence[str], rules: int) -> None:
        for address in listening:
            self._say(f"listening on {address}")
        for trunk in self._options.trunks:
            self._say(f"calls from {', '.join(trunk.sources)} are read by the plan {trunk.plan}")
        self._say(f"what passes goes on to {', '.join(hop.address for hop in self._options.next_hops)}")
        self._say("a trial trusts the numbers that its trunks assert, so that allow works; a node is told per trunk")
        self._say(f"{_count(rules)} in force from {self._options.rules}, read anew when it changes; Ctrl-C ends it")

    def _load(self, writer: Writer, lines: list[str]) -> None:
        writer.load(_EPOCH, self._n + 1, lines, list_digest(lines), int(time.time()))
        self._n += 1

    def _reload(self, writer: Writer) -> None:
        try:
            lines = self._file.read()
            self._load(writer, lines)
        except (RulesError, OSError) as error:
            self._warn(f"{_clock(time.time())}  {error}; the {_count(writer.sizes())} before stay in force")
        else:
            self._say(f"{_clock(time.time())}  {_count(len(lines))} in force from {self._options.rules}")

    def _tell_calls(self, gateway: Gateway) -> None:
        sights, more = gateway.watched()
        for line in tell_calls(sights, more, self._options.source):
            self._say(line)

    def _tell_growth(self, gateway: Gateway) -> None:
        counters = gateway.counters()
        for line in tell_growth(self._told, counters, time.time()):
            self._say(line)
        self._told = counters
        hops = gateway.next_hops()
        for line in tell_next_hops(self._hops, hops, time.time()):
            self._say(line)
        self._hops = hops


_HINTS: Final = {
    "Address already in use": "another program listens there: `ss -lnptu` names it; end it or take another port",
    "Cannot assign requested address": "this machine has no such address: `ip address` lists those that it has",
    "Permission denied": "a port below 1024 is root's; take one above, such as 5060",
}


def _start(gateway: Gateway) -> list[str]:
    """Start it; an address that can't be had is told with what to do."""
    try:
        return gateway.start()
    except OSError as error:
        hint = next((hint for said, hint in _HINTS.items() if said in str(error)), "")
        raise OSError(f"--listen {error}{'; ' if hint else ''}{hint}") from None


def _count(rules: int | Mapping[str, int]) -> str:
    number = rules if isinstance(rules, int) else rules["numbers"] + rules["prefixes"]
    return f"{number} rule" if number == 1 else f"{number} rules"
