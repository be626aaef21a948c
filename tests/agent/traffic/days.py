"""A few days of calls, told to a store as nodes would tell them, and counted naively beside it."""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from agent.traffic.counts import Counts, Row, Told
from agent.traffic.preview import windows
from agent.traffic.reading import read
from agent.traffic.scope import Scope
from agent.traffic.store import TrafficStore
from tests.agent.hyperloglog import Sketch

NOON = 29_600_040  # minutes since 1970, and a whole hour


@dataclass(frozen=True)
class Call:
    """One judged call."""

    minute: int
    trunk: str
    caller: str
    callee: str
    message: bool = False
    rejected: bool = False
    rang: bool = False
    answered: bool = False
    brief: bool = False

    @property
    def counts(self) -> Counts:
        return Counts(
            int(not self.message),
            int(self.message),
            int(self.rejected),
            0,
            int(self.rang),
            int(self.answered),
            int(self.brief),
        )


def matches(scope: Scope, call: Call) -> bool:
    """Naively."""
    return (
        _in(scope.subject, call.caller)
        and not any(_in(exception, call.caller) for exception in scope.exceptions)
        and (not scope.trunks or call.trunk in scope.trunks)
        and (scope.kinds == "both" or (scope.kinds == "message") == call.message)
    )


def _in(subject: str, number: str) -> bool:
    digits = subject.strip("+*")
    return number.startswith(digits) if subject.endswith("*") else number == digits


def some_calls(seed: int, count: int, first: int, last: int) -> list[Call]:
    """Calls of a few callers that share digits, over minutes and two trunks."""
    chance = random.Random(seed)
    calls = []
    for _ in range(count):
        rejected = chance.random() < 0.1
        rang = not rejected and chance.random() < 0.8
        fate = chance.random()
        calls.append(
            Call(
                chance.randint(first, last),
                chance.choice(("intl-a", "intl-b")),
                chance.choice(("7701", "7702", "7801", "6281")) + f"{chance.randint(0, 300):07}",
                f"62811{chance.randint(0, 200):06}",
                chance.random() < 0.2,
                rejected,
                rang,
                rang and fate < 0.4,
                rang and fate > 0.8,
            )
        )
    return calls


def tell(
    store: TrafficStore,
    calls: Sequence[Call],
    watches: Iterable[Scope],
    first: int,
    last: int,
    node: str = "gw1",
    run: str = "a",
    watches_since: int | None = None,
) -> None:
    """Have a node that counted the closed minutes `first` to `last`, and the one after it so far, tell of them."""
    watched = {scope.watch: scope for scope in watches}
    rows: dict[tuple[int, str, str], Counts] = defaultdict(Counts)
    sketches: dict[int, dict[tuple[str, str], tuple[Sketch, Sketch]]] = defaultdict(dict)
    for call in calls:
        if not first <= call.minute <= last + 1:
            continue
        for key in (call.caller[:4], *(name for name, scope in watched.items() if matches(scope, call))):
            place = (call.minute, call.trunk, key)
            rows[place] = rows[place].plus(call.counts)
            pair = sketches[call.minute // 60].setdefault((call.trunk, key), (Sketch(), Sketch()))
            pair[0].add(call.caller)
            pair[1].add(call.callee)
    told = [Row(minute, trunk, key, counts) for (minute, trunk, key), counts in rows.items()]
    now_ms = (last + 1) * 60_000 + 30_000
    since = dict.fromkeys(watched, (first - 1) * 60000 + 1 if watches_since is None else watches_since)
    store.take(Told(node, run, now_ms, first, last, tuple(told), since))
    for hour, pairs in sketches.items():
        united = [(trunk, key, *(s.to_bytes() for s in pair)) for (trunk, key), pair in pairs.items()]
        store.unite(hour, "secret", united)


def previewed(store: TrafficStore, scope: Scope, now: int, nodes: Sequence[str] = ("gw1",)) -> dict[str, Any]:
    """The preview's windows at half past the minute `now`."""
    found = read(store, scope, now, nodes)
    return windows(scope, found.digits, found.watched, found.everything, now * 60_000 + 30_000, Sketch)
