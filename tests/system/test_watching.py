"""Who watches: a real agent and a real node, scraped; what they say of their health while parts of them are away."""

import re
import sqlite3
from collections.abc import AsyncIterator, Iterable

import pytest
import pytest_asyncio
from prometheus_client import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from agent import metrics as agent_metrics
from agent.alarms import KINDS
from agent.demo.phones import Switch
from agent.stage import NODE, Stage
from sip_filter import metrics as node_metrics
from sip_filter.exposition import Metric
from tests.sip_filter.test_watchers import ask, becomes, health
from tests.system.conversation import Conversation

pytestmark = pytest.mark.asyncio(loop_scope="module")

Values = dict[tuple[str, ...], float]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory, switch: Switch) -> AsyncIterator[Stage]:
    """The whole set, for which a second is stale."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PALANG_AGENT__STALE_S", "1")
        patch.setenv("PALANG_NODE__STALE_S", "1")
        async with Stage(tmp_path_factory.mktemp("watched"), switch.address) as started:
            yield started


async def scrape(address: str) -> tuple[list[Family], Values]:
    """The families of a scrape, and its values by name and labels."""
    status, text = await ask(address, "/metrics")
    assert status == 200, text
    families = list(text_string_to_metric_families(text))
    return families, {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def compared(rows: Iterable[Metric], families: Iterable[Family], absent: set[str]) -> None:
    """That rows and scrape say the same: names, types, labels, both ways; only those `absent` may lack samples."""
    expected = {row.name.removesuffix("_total"): (row.kind, set(row.labels)) for row in rows}
    found = {family.name: family for family in families}
    assert {name: kind for name, (kind, _) in expected.items()} == {name: f.type for name, f in found.items()}
    without = {name for name, family in found.items() if not family.samples}
    assert without <= absent
    for name, family in found.items():
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == expected[name][1], name


async def test_the_agents_scrape_is_its_table(stage: Stage, conversation: Conversation) -> None:
    async with stage.agent() as agent:
        await agent.get("/v1/rules")
    families, value = await scrape(stage.agent_metrics)
    compared(agent_metrics.ALL, families, {"palang_rule_next_end_timestamp_seconds", *_UNTIL_DUE})
    for name in ("broker_connected", "ledger_writable", "redis_connected"):
        assert value[f"palang_{name}",] == 1
    assert value["palang_node_answers", NODE] == 1 and value["palang_node_revision_lag", NODE] == 0
    assert value["palang_node_digest_equal", NODE] == 1 and value["palang_node_stale", NODE] == 0
    assert value["palang_orders", "closed"] >= 1 and value["palang_feed_taken_total",] >= 1
    assert value["palang_api_requests_total", "GET", "/v1/rules", "200"] >= 1
    assert {kind for name, kind, *_ in (k for k in value if len(k) > 1) if name == "palang_alarms_total"} == set(KINDS)


_UNTIL_DUE = {"palang_order_next_deadline_timestamp_seconds"}


async def test_the_nodes_scrape_is_its_table_and_has_no_number(stage: Stage, conversation: Conversation) -> None:
    families, value = await scrape(stage.node_metrics)
    compared(node_metrics.METRICS, families, set())
    assert value["palang_gateway_rejected_total",] >= 1


async def test_no_scrape_has_anything_like_a_number_in_a_label(stage: Stage, conversation: Conversation) -> None:
    async with stage.agent() as agent:
        for path in ("/v1/rules/%2B6281234567890", "/v1/orders/%2B6281234567890", "/%2B6281234567890"):
            with pytest.raises(Exception, match=r"no |nothing"):
                await agent.get(path)
    for address in (stage.agent_metrics, stage.node_metrics):
        _, text = await ask(address, "/metrics")
        assert not re.findall(r'="[^"]*\d{7}[^"]*"', text)


# --- the truth during faults


async def test_without_redis_the_agent_is_not_ready_then_stale(stage: Stage, conversation: Conversation) -> None:
    assert (await becomes(stage.agent_metrics, "ready", 200))["ready"] is True
    await stage.children["redis"].kill()
    line = await becomes(stage.agent_metrics, "ready", 503)
    assert any("Redis is away" in why for why in line["because"])
    line = await becomes(stage.agent_metrics, "stale", 503)
    assert "the redis is" in line["because"][0] and "agent.stale_s" in line["because"][0]
    assert (await health(stage.agent_metrics, "live"))[0] == 200
    _, value = await scrape(stage.agent_metrics)
    assert value["palang_redis_connected",] == 0 and value["palang_redis_age_seconds",] > 1
    await stage.start_child("redis")
    for path in ("ready", "stale"):
        await becomes(stage.agent_metrics, path, 200)


async def test_without_the_broker_it_is_not_ready_then_stale(stage: Stage, conversation: Conversation) -> None:
    await stage.children["mosquitto"].kill()
    line = await becomes(stage.agent_metrics, "ready", 503)
    assert any("the broker is away" in why for why in line["because"])
    assert "the feed is" in (await becomes(stage.agent_metrics, "stale", 503))["because"][0]
    _, value = await scrape(stage.agent_metrics)
    assert value["palang_broker_connected",] == 0 and value["palang_feed_age_seconds",] > 1
    await stage.start_child("mosquitto")
    for path in ("ready", "stale"):
        await becomes(stage.agent_metrics, path, 200)


async def test_a_ledger_that_takes_no_write_is_seen_by_writing(stage: Stage, conversation: Conversation) -> None:
    holder = sqlite3.connect(stage.folder / "ledger.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        line = await becomes(stage.agent_metrics, "ready", 503)
        assert any(why.startswith("the ledger ") for why in line["because"])
        assert (await health(stage.agent_metrics, "live"))[0] == 200
        _, value = await scrape(stage.agent_metrics)
        assert value["palang_ledger_writable",] == 0 and ("palang_ledger_write_seconds",) not in value
    finally:
        holder.execute("ROLLBACK")
        holder.close()
    await becomes(stage.agent_metrics, "ready", 200)


async def test_a_node_that_is_away_is_said_so(stage: Stage, conversation: Conversation) -> None:
    await stage.children["gateway"].kill()
    _, value = await scrape(stage.agent_metrics)
    assert value["palang_node_answers", NODE] == 0 and ("palang_node_stale", NODE) not in value
    await stage.start_child("gateway")
    await stage.children["gateway"].ready(stage.healthy)
    assert (await health(stage.node_metrics, "ready"))[0] == 200
