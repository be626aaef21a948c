"""docs/metrics.md and the tables that scrapes are made of are one, and their names follow Prometheus' practice."""

import re

from agent import metrics as agent_metrics
from agent.reference import ROOT
from sip_filter import metrics as node_metrics

ROWS = (*node_metrics.METRICS, *agent_metrics.ALL)


def test_the_page_has_every_metric_and_no_other() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", page, re.MULTILINE)
    written = [(name, kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows]
    assert written == [(row.name, row.kind, row.labels) for row in ROWS]


def test_names_follow_prometheus_practice() -> None:
    for table in (node_metrics.METRICS, agent_metrics.ALL):
        bare = [row.name.removesuffix("_total") for row in table]
        assert len(set(bare)) == len(bare), "OpenMetrics takes _total off a counter's name"
    for row in ROWS:
        assert re.fullmatch(r"(palang|process)_[a-z0-9_]+", row.name)
        assert row.name.endswith("_total") is (row.kind == "counter")
        assert not re.search(r"_(ms|milliseconds|minutes|hours|mib|kb)(_|$)", row.name), "base units: seconds, bytes"
        assert row.help.endswith(".")
