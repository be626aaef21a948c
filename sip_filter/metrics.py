"""A node's metrics, and what it says of its health. Loaded only after the first packet can be answered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sip_filter import _core
from sip_filter.exposition import PROCESS, Metric, Samples, one, process
from sip_filter.listener import Answer, verdict

if TYPE_CHECKING:
    from sip_filter._core import HopState

_TRUNK: Final = ("judged", "rejected", "labelled", "shadowed", "unreadable", "shed", "isup")
"""Counters that the core keeps for each trunk too."""

_NODE: Final = {
    "revisions_applied": "Revisions of the list taken over one by one.",
    "snapshots_loaded": "Lists loaded whole.",
    "snapshots_refused": "Whole lists not loaded: their digest did not fit, or they would have dropped too much.",
    "redis_errors": "Failed turns with Redis.",
    "hits_sent": "Hits sent to Redis.",
    "hits_dropped": "Hits dropped because more waited than are kept.",
    "hits_lost": "Hits that the gateway's threads had no place for, as the node read them.",
    "reports_failed": "Reports of the node that Redis did not take.",
    "reloads": "Settings, certificates or keys taken over while running.",
    "reloads_refused": "Those that could not be used; what was in force stayed.",
}

METRICS: Final = (
    Metric("palang_build_info", "gauge", "Always 1; the version stands in the label.", ("version",)),
    *(Metric(f"palang_gateway_{name}_total", "counter", meaning) for name, meaning in _core.counter_meanings().items()),
    *(
        Metric(
            f"palang_gateway_trunk_{name}_total", "counter", f"Per trunk: {_core.counter_meanings()[name]}", ("trunk",)
        )
        for name in _TRUNK
    ),
    *(Metric(f"palang_gateway_node_{name}_total", "counter", meaning) for name, meaning in _NODE.items()),
    Metric(
        "palang_gateway_trunk_mode",
        "gauge",
        "1 for the mode that a trunk is in: enforce, shadow or off.",
        ("trunk", "mode"),
    ),
    Metric("palang_gateway_next_hop_healthy", "gauge", "1 while a next hop answers its checks.", ("next_hop",)),
    Metric(
        "palang_gateway_next_hop_drained", "gauge", "1 while a next hop gets no new calls by choice.", ("next_hop",)
    ),
    Metric("palang_gateway_list_epoch", "gauge", "Epoch of the list in force."),
    Metric("palang_gateway_list_revision", "gauge", "Revision of the list in force, within its epoch."),
    Metric("palang_gateway_list_entries", "gauge", "Subjects in the list.", ("kind",)),
    Metric("palang_gateway_list_bytes", "gauge", "Size of the mapped list."),
    Metric(
        "palang_gateway_list_age_seconds",
        "gauge",
        "How long the list has not been confirmed by Redis, since the start at most; 0 while it is each second.",
    ),
    Metric("palang_gateway_list_stale", "gauge", "1 while the list is not confirmed by Redis."),
    Metric("palang_gateway_bypass", "gauge", "1 while the gateway is bypassed: nothing is judged."),
    Metric("palang_gateway_drained", "gauge", "1 while the node is taken out of service."),
    Metric("palang_gateway_files_not_taken", "gauge", "Newer settings, certificates or keys that could not be used."),
    Metric("palang_gateway_card_failing", "gauge", "1 while the card of a 608 can't be signed: 603 is sent instead."),
    *PROCESS,
)
"""Every metric of a node. docs/metrics.md is written from it."""


@dataclass(frozen=True)
class Facts:
    """What a node is at one moment."""

    counters: Mapping[str, int]
    own: Mapping[str, int]
    """Those of the node around the core: `_NODE`."""
    trunks: Mapping[str, Mapping[str, int]]
    modes: Mapping[str, str]
    next_hops: "Sequence[HopState]"
    epoch: int
    n: int
    sizes: Mapping[str, int]
    stale: str
    stale_s: float
    bypass: bool
    drained: bool
    not_taken: int
    card_error: str
    version: str


def samples(facts: Facts) -> dict[str, Samples]:
    """The figures of a scrape, by the metric's name."""
    per_trunk: dict[str, Samples] = {
        f"palang_gateway_trunk_{name}_total": {(trunk,): counted[name] for trunk, counted in facts.trunks.items()}
        for name in _TRUNK
    }
    hops = facts.next_hops
    return {
        "palang_build_info": {(facts.version,): 1},
        **{f"palang_gateway_{name}_total": one(value) for name, value in facts.counters.items()},
        **{f"palang_gateway_node_{name}_total": one(facts.own[name]) for name in _NODE},
        **per_trunk,
        "palang_gateway_trunk_mode": dict.fromkeys(facts.modes.items(), 1),
        "palang_gateway_next_hop_healthy": {(hop["name"],): hop["healthy"] for hop in hops},
        "palang_gateway_next_hop_drained": {(hop["name"],): hop["drain"] for hop in hops},
        "palang_gateway_list_epoch": one(facts.epoch),
        "palang_gateway_list_revision": one(facts.n),
        "palang_gateway_list_entries": {(kind,): facts.sizes[kind] for kind in ("numbers", "prefixes")},
        "palang_gateway_list_bytes": one(facts.sizes["bytes"]),
        "palang_gateway_list_age_seconds": one(round(facts.stale_s, 3)),
        "palang_gateway_list_stale": one(bool(facts.stale)),
        "palang_gateway_bypass": one(facts.bypass),
        "palang_gateway_drained": one(facts.drained),
        "palang_gateway_files_not_taken": one(facts.not_taken),
        "palang_gateway_card_failing": one(bool(facts.card_error)),
        **process(),
    }


def live() -> Answer:
    """That the loop turns: an answer is the proof."""
    return verdict("live", [])


def ready(facts: Facts) -> Answer:
    """Whether calls can be judged and go on."""
    because = []
    if (facts.epoch, facts.n) == (1, 0):
        because.append("there is no list: every call is forwarded until Redis has one")
    if facts.drained:
        because.append("the node is drained: OPTIONS gets 503, so that peers go around it")
    if facts.next_hops and not any(hop["healthy"] and not hop["drain"] for hop in facts.next_hops):
        because.append("no next hop takes calls: new ones get 500")
    return verdict("ready", because, **_standing(facts))


def stale(facts: Facts, limit: float) -> Answer:
    """503 when the list was not confirmed for more than `limit` seconds; it stays in force all the same."""
    because = []
    if facts.stale and facts.stale_s > limit:
        because.append(f"the list was not confirmed for {facts.stale_s:.0f} s; the limit is {limit:g} s: {facts.stale}")
    return verdict("fresh", because, **_standing(facts))


def _standing(facts: Facts) -> dict[str, Any]:
    return {
        "revision": f"{facts.epoch}.{facts.n}",
        "list_age_s": round(facts.stale_s, 1),
        "bypass": facts.bypass,
    }
