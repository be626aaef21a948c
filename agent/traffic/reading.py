"""Reading: all that the store knows of a scope for a week, in one call in its thread."""

from collections.abc import Sequence
from dataclasses import dataclass

from agent.traffic.counts import ALL
from agent.traffic.preview import Known, first_minute
from agent.traffic.scope import Keys, Scope
from agent.traffic.store import HOUR, TrafficStore


@dataclass(frozen=True)
class Reading:
    """By the keys of digits, by the scope's own watch, and of all traffic (without sketches)."""

    digits: Known
    watched: Known
    everything: Known


def read(
    store: TrafficStore,
    scope: Scope,
    now: int,
    nodes: Sequence[str],
    *,
    by_watch: bool = True,
    sketches: bool = True,
) -> Reading:
    """What these nodes counted until the minute `now`; without `by_watch` the scope's watch is not looked at."""
    since = first_minute("week", now)

    def known(keys: Keys, key: str, trunks: Sequence[str], sketches: bool) -> Known:
        return Known(
            store.points(keys, since, trunks),
            store.sketches(keys, since // HOUR, trunks) if sketches else {},
            store.spans(key, nodes, since),
            len(nodes),
        )

    return Reading(
        known(scope.digits, ALL, scope.trunks, sketches),
        known(scope.watched, scope.watch, scope.trunks, sketches) if by_watch else Known((), {}, (), len(nodes)),
        known(Keys.one(ALL), ALL, (), False),
    )
