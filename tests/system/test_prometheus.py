"""A real Prometheus with our rules, at a real agent and a real node: every target up, every expression answered."""

import asyncio
import json
import socket
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import yaml

from agent import children
from agent.stage import Stage
from tests.prometheus.watched import EXAMPLE, RULES, alerts, expressions, metrics_in, rules
from tests.system.conversation import Conversation

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Prometheus:
    """One that runs on loopback for the tests of this file."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def api(self, path: str, **query: str) -> Any:
        """What its API answers."""
        return await asyncio.to_thread(self._ask, path, query)

    def _ask(self, path: str, query: dict[str, str]) -> Any:
        url = f"http://{self._address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as reply:
            answer = json.load(reply)
        assert answer["status"] == "success", answer
        return answer["data"]

    async def ready(self) -> bool:
        """Whether it has scraped all its targets and evaluated all its rules."""
        try:
            targets = (await self.api("targets", state="active"))["activeTargets"]
            groups = (await self.api("rules"))["groups"]
        except OSError:
            return False
        evaluated = all(rule["health"] != "unknown" for group in groups for rule in group["rules"])
        return bool(targets) and all(target["health"] == "up" for target in targets) and bool(groups) and evaluated


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def prometheus(
    tmp_path_factory: pytest.TempPathFactory, stage: Stage, conversation: Conversation
) -> AsyncIterator[Prometheus]:
    """Prometheus with the shipped example, asked to look at the stage and more often."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / RULES.name).write_text(RULES.read_text(encoding="utf-8").replace("interval: 30s", "interval: 2s"))
    config = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "2s"}
    for job, address in zip(config["scrape_configs"], (stage.agent_metrics, stage.node_metrics), strict=True):
        job["static_configs"] = [{"targets": [address]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{children.free_port(socket.SOCK_STREAM)}"
    child = await children.start(
        "prometheus",
        [
            children.program("prometheus"),
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address={address}",
        ],
        folder / "prometheus.log",
    )
    found = Prometheus(address)
    try:
        await child.ready(found.ready, seconds=90)
        yield found
    finally:
        await child.stop()


async def test_all_targets_are_up_and_all_rules_are_well(prometheus: Prometheus) -> None:
    targets = (await prometheus.api("targets", state="active"))["activeTargets"]
    assert {(t["labels"]["job"], t["health"], t["lastError"]) for t in targets} == {
        ("palang-agent", "up", ""),
        ("palang-gateway", "up", ""),
    }
    loaded = [rule for group in (await prometheus.api("rules"))["groups"] for rule in group["rules"]]
    assert len(loaded) == len(rules())
    assert [rule for rule in loaded if rule["health"] != "ok"] == []


async def test_every_expression_is_answered_and_names_metrics_that_exist(prometheus: Prometheus) -> None:
    scraped = set(await prometheus.api("metadata"))
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    known = scraped | recorded | {"up"} | {f"{name}_bucket" for name in scraped}
    for place, expression in expressions():
        answer = await prometheus.api("query", query=expression)
        assert answer["resultType"] in {"vector", "scalar"}, place
        named = metrics_in(expression)
        assert named and named <= known, f"{place}: {named - known}"


async def test_the_dashboards_show_the_calls_that_are_made(prometheus: Prometheus) -> None:
    """That expressions give figures, not only no error: the sentinels are called throughout."""

    async def flows(expression: str) -> None:
        while True:
            answer = (await prometheus.api("query", query=expression))["result"]
            if any(float(series["value"][1]) > 0 for series in answer):
                return
            await asyncio.sleep(0.2)

    for expression in ("palang:gateway_rejected:rate5m", "palang:gateway_trunk_rejected:ratio5m"):
        await asyncio.wait_for(flows(expression), 60)
    assert (await prometheus.api("query", query="palang_health"))["result"][0]["metric"]["word"] == "healthy"


async def test_nothing_fires_on_a_healthy_set_and_a_killed_gateway_does(prometheus: Prometheus, stage: Stage) -> None:
    firing = (await prometheus.api("alerts"))["alerts"]
    names = {alert["labels"]["alertname"] for alert in firing if alert["state"] == "firing"}
    assert names <= {"PalangRedisRebuilt"}, "a new Redis is made from the ledger at the start"
    await stage.children["gateway"].kill()

    async def pending() -> None:
        while True:
            found = {alert["labels"]["alertname"] for alert in (await prometheus.api("alerts"))["alerts"]}
            if {"PalangGatewayDown", "PalangNodeAway"} <= found:
                return
            await asyncio.sleep(0.2)

    await asyncio.wait_for(pending(), 60)
    assert {"PalangGatewayDown", "PalangNodeAway"} <= {alert["alert"] for alert in alerts()}
    await stage.start_child("gateway")
    await stage.children["gateway"].ready(stage.healthy)
