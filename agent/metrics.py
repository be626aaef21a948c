"""The agent's metrics: feed, ledger, Redis, orders, rules, nodes, alarms, as a scrape finds them.

The figures are those of the status report, so that what Prometheus sees and what people see can't differ.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, Final

from agent.alarms import KINDS, OPEN_HOURS
from agent.figures import COUNTED
from agent.status import DOWN, report
from agent.wiring import Parts
from sip_filter.exposition import PROCESS, Metric, Samples, expose, one, process
from sync.ledger import Ledger, LedgerUnavailable
from sync.order_life import State

_NODE: Final = ("node",)

METRICS: Final = (
    Metric("palang_build_info", "gauge", "Always 1; the version stands in the label.", ("version",)),
    Metric("palang_health", "gauge", "1 for the word that `palang status` has: healthy, degraded or down.", ("word",)),
    Metric("palang_broker_connected", "gauge", "1 while the connection to the regulator's broker is up."),
    Metric("palang_broker_connections_total", "counter", "Connections made to the broker."),
    Metric("palang_feed_age_seconds", "gauge", "How long nothing could be taken from the regulator; 0 while it can."),
    Metric(
        "palang_feed_last_message_timestamp_seconds", "gauge", "When the last message came; absent before the first."
    ),
    Metric("palang_feed_taken_total", "counter", "Messages taken into the ledger."),
    Metric("palang_feed_refused_total", "counter", "Messages refused before they were read: oversized or impossible."),
    Metric("palang_feed_serial", "gauge", "The regulator's highest serial that has come."),
    Metric("palang_feed_gaps", "gauge", "Runs of serials that are missing and were asked for."),
    Metric("palang_messages_refused_total", "counter", "Messages that the ledger refused, over all time."),
    Metric("palang_ledger_writable", "gauge", "1 when a row could be written and synced a moment ago."),
    Metric("palang_ledger_write_seconds", "gauge", "How long that took, with the wait for the ledger's thread."),
    Metric("palang_journal_records_total", "counter", "Records in the journal, over all time."),
    Metric("palang_list_epoch", "gauge", "Epoch of the ledger's list."),
    Metric("palang_list_revision", "gauge", "Revision of the ledger's list, within its epoch."),
    Metric("palang_list_entries", "gauge", "Subjects in the ledger's list."),
    Metric("palang_rules", "gauge", "Live rules.", ("authority", "mode")),
    Metric("palang_rule_next_end_timestamp_seconds", "gauge", "When the next rule ends; absent when none does."),
    Metric("palang_orders", "gauge", "Orders by state.", ("state",)),
    Metric("palang_orders_overdue", "gauge", "Open orders past their deadline."),
    Metric("palang_order_next_deadline_timestamp_seconds", "gauge", "The nearest deadline of an unproved order."),
    Metric("palang_outbox_waiting", "gauge", "Confirmations without the regulator's receipt."),
    Metric("palang_outbox_oldest_age_seconds", "gauge", "Age of the oldest of them; 0 when there is none."),
    Metric("palang_outbox_sent_total", "counter", "Messages that the broker accepted, repeats among them."),
    Metric("palang_redis_connected", "gauge", "1 while the publisher reaches Redis."),
    Metric("palang_redis_age_seconds", "gauge", "How long Redis is away; 0 while it is there."),
    Metric("palang_redis_rebuilds_total", "counter", "How often Redis was made anew from the ledger."),
    Metric("palang_redis_verified_timestamp_seconds", "gauge", "When every entry in Redis was last compared."),
    Metric("palang_node_answers", "gauge", "1 while a node of the roster answers on its control socket.", _NODE),
    Metric(
        "palang_node_revision_lag",
        "gauge",
        "Revisions that a node is behind the ledger; absent in another epoch.",
        _NODE,
    ),
    Metric(
        "palang_node_digest_equal", "gauge", "At the ledger's revision: 1 for the ledger's list, 0 for another.", _NODE
    ),
    Metric("palang_node_stale", "gauge", "1 while a node's list is not confirmed by Redis.", _NODE),
    Metric("palang_node_bypass", "gauge", "1 while a node judges nothing.", _NODE),
    Metric("palang_node_drained", "gauge", "1 while a node is taken out of service.", _NODE),
    Metric("palang_node_files_not_taken", "gauge", "Newer settings or certificates that a node could not use.", _NODE),
    Metric("palang_alarms_total", "counter", "Alarms raised since the agent's start.", ("kind", "severity")),
    Metric(
        "palang_alarms_open",
        "gauge",
        f"Alarms of the last {OPEN_HOURS} h that nobody acknowledged.",
        ("kind", "severity"),
    ),
    *PROCESS,
)
"""Every metric of the agent that is read when asked for; `COUNTED` has those that it counts itself."""

ALL: Final = (*METRICS, *COUNTED)
"""Every metric of the agent. docs/metrics.md is written from it."""


_REPORT_SECONDS = 2.0
_SILENT: Final[dict[str, Any]] = {
    "health": DOWN,
    "feed": dict.fromkeys(("missing_serials", "last_serial", "refused_messages")),
    "ledger": dict.fromkeys(("revision", "rules", "journal", "entries", "digest")),
    **dict.fromkeys(("orders", "overdue", "deadlines")),
    "outbox": dict.fromkeys(("waiting", "oldest")),
    "nodes": [],
}
"""The report of an agent whose ledger does not answer."""


async def scrape(parts: Parts, now: datetime, written: float | None) -> str:
    """The text of a scrape. `written` is how long a trial write took, in seconds; None when it failed."""
    status, ends = await _asked(parts, now)
    found: dict[str, Samples] = {
        **_feed(parts, status, now),
        **_ledger(status, ends, written, now),
        **_redis(parts, now),
        **_nodes(status),
        **_alarms(parts, now),
        "palang_build_info": {(metadata.version("palang"),): 1.0},
        "palang_health": {(status["health"],): 1.0},
        **process(),
    }
    return expose(METRICS, found) + parts.figures.text()


async def _asked(parts: Parts, now: datetime) -> tuple[dict[str, Any], datetime | None]:
    """The status report and when the next rule ends; what needs no ledger alone, while that does not answer."""
    try:
        async with asyncio.timeout(_REPORT_SECONDS):
            return await report(parts, now), await parts.ledger.read(Ledger.next_expiry)
    except (TimeoutError, LedgerUnavailable):
        return _SILENT, None


def feed_age(parts: Parts, now: datetime) -> float:
    """How long nothing could be taken from the regulator, in seconds: no broker, or a ledger that can't be written."""
    link, feed = parts.link.state, parts.feed.state
    since = [moment for moment in (feed.waiting_since, link.away_since) if moment is not None]
    return max(0.0, (now - min(since)).total_seconds()) if since else 0.0


def redis_age(parts: Parts, now: datetime) -> float:
    """How long the publisher has not reached Redis, in seconds."""
    state = parts.publisher.state
    return 0.0 if state.connected else max(0.0, now.timestamp() - state.since_ms / 1000)


def _feed(parts: Parts, status: Mapping[str, Any], now: datetime) -> dict[str, Samples]:
    link, feed, told = parts.link.state, parts.feed.state, status["feed"]
    gaps = told["missing_serials"]
    return {
        "palang_broker_connected": one(link.connected_since is not None),
        "palang_broker_connections_total": one(link.connections),
        "palang_feed_age_seconds": one(feed_age(parts, now)),
        "palang_feed_last_message_timestamp_seconds": one(_seconds(link.last_message_at)),
        "palang_feed_taken_total": one(feed.taken),
        "palang_feed_refused_total": one(feed.refused),
        "palang_feed_serial": one(told["last_serial"]),
        "palang_feed_gaps": one(None if gaps is None else len(gaps)),
        "palang_messages_refused_total": one(told["refused_messages"]),
        "palang_outbox_waiting": one(status["outbox"]["waiting"]),
        "palang_outbox_oldest_age_seconds": one(_age(status, now)),
        "palang_outbox_sent_total": one(parts.outbox.state.sent),
    }


def _ledger(
    status: Mapping[str, Any], ends: datetime | None, written: float | None, now: datetime
) -> dict[str, Samples]:
    ledger, orders, deadlines = status["ledger"], status["orders"] or {}, status["deadlines"] or []
    epoch, _, n = (ledger["revision"] or "").partition(".")
    modes = ((*name.split(":", 1), count) for name, count in (ledger["rules"] or {}).items())
    states = [state for state in State if state is not State.NEW]
    return {
        "palang_ledger_writable": one(written is not None),
        "palang_ledger_write_seconds": one(written),
        "palang_journal_records_total": one(ledger["journal"]),
        "palang_list_epoch": one(int(epoch) if epoch else None),
        "palang_list_revision": one(int(n) if n else None),
        "palang_list_entries": one(ledger["entries"]),
        "palang_rules": {(authority, mode): count for authority, mode, count in modes},
        "palang_rule_next_end_timestamp_seconds": one(_seconds(ends)),
        "palang_orders": {(state,): orders.get(state, 0) for state in states} if status["orders"] is not None else {},
        "palang_orders_overdue": one(status["overdue"]),
        "palang_order_next_deadline_timestamp_seconds": one(
            _seconds(datetime.fromisoformat(deadlines[0]["deadline"])) if deadlines else None
        ),
    }


def _redis(parts: Parts, now: datetime) -> dict[str, Samples]:
    state = parts.publisher.state
    return {
        "palang_redis_connected": one(state.connected),
        "palang_redis_age_seconds": one(redis_age(parts, now)),
        "palang_redis_rebuilds_total": one(state.rebuilds),
        "palang_redis_verified_timestamp_seconds": one(state.verified_ms and state.verified_ms / 1000),
    }


def _nodes(status: Mapping[str, Any]) -> dict[str, Samples]:
    nodes = status["nodes"]
    answering = [node for node in nodes if node["answers"]]
    ledger = status["ledger"]
    at_head = [node for node in answering if node["revision"] == ledger["revision"]]
    return {
        "palang_node_answers": {(node["node"],): node["answers"] for node in nodes},
        "palang_node_revision_lag": {(node["node"],): node["lag"] for node in answering if node["lag"] is not None},
        "palang_node_digest_equal": {(node["node"],): node["digest"] == ledger["digest"] for node in at_head},
        "palang_node_stale": {(node["node"],): node["stale"] for node in answering},
        "palang_node_bypass": {(node["node"],): node["bypass"] for node in answering},
        "palang_node_drained": {(node["node"],): node["drained"] for node in answering},
        "palang_node_files_not_taken": {(node["node"],): len(node["not_taken"]) for node in answering},
    }


def _alarms(parts: Parts, now: datetime) -> dict[str, Samples]:
    open_ones = [alarm.kind for alarm in parts.alarms.lately(now, limit=1_000) if alarm.open(now)]
    raised = parts.alarms.raised
    return {
        "palang_alarms_total": {(kind.name, kind.severity): raised[kind.name] for kind in KINDS.values()},
        "palang_alarms_open": {(kind.name, kind.severity): open_ones.count(kind.name) for kind in KINDS.values()},
    }


def _age(status: Mapping[str, Any], now: datetime) -> float | None:
    if status["outbox"]["waiting"] is None:
        return None
    oldest = status["outbox"]["oldest"]
    return max(0.0, (now - datetime.fromisoformat(oldest)).total_seconds()) if oldest else 0.0


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.astimezone(UTC).timestamp()
