"""Writes every generated page: settings, example file, counters, metrics, contract, codes, order life. `make docs` runs
it.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import config
from agent import api
from agent import metrics as agent_metrics
from agent.api import openapi
from agent.settings import Settings
from sip_filter import metrics as node_metrics
from sip_filter._core import counter_meanings
from sip_filter.exposition import Metric
from sync import contract_docs, rule_life

ROOT = Path(__file__).resolve().parent.parent


def documents() -> dict[str, str]:
    """Each generated file, by its path in the repository."""
    return {
        "config/palang.example.toml": config.example(Settings),
        "docs/settings.md": config.page(Settings),
        "docs/api.md": openapi.page(*(noun.router for noun in api.NOUNS)),
        "docs/api/openapi.json": json.dumps(_described(), indent=1, ensure_ascii=False) + "\n",
        "docs/counters.md": _counters(),
        "docs/metrics.md": _metrics(),
        "docs/rule-life.md": rule_life.render(),
        **{f"docs/{name}": text for name, text in contract_docs.documents().items()},
    }


def write(root: Path = ROOT) -> list[str]:
    """Write them; which of them changed."""
    changed = []
    for name, text in documents().items():
        path = root / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            changed.append(name)
    return changed


def _described() -> dict[str, Any]:
    return openapi.Documented(*(noun.router for noun in api.NOUNS)).openapi()


def _counters() -> str:
    rows = "".join(f"| `{name}` | {meaning} |\n" for name, meaning in counter_meanings().items())
    return (
        "# Counters of a gateway\n\nEach grows from the gateway's start. Written from the Rust core (`make docs`).\n\n"
        f"| counter | what it counts |\n|---|---|\n{rows}"
    )


def _metrics() -> str:
    return (
        "# Metrics\n\nFor Prometheus, over HTTP at `/metrics`. Written from the tables that a scrape is made of"
        " (`make docs`). No label holds a subscriber's number.\n\n"
        "## A node\n\nAt `node.metrics`, 127.0.0.1:9465 by default. `/health/live`, `/health/ready` and `/health/stale`"
        " answer 200 or 503 and one line of JSON that says why.\n\n" + _metric_rows(node_metrics.METRICS) + "\n"
        "## The agent\n\nAt `agent.metrics`, 127.0.0.1:9464 by default, with the same three of health.\n\n"
        + _metric_rows(agent_metrics.ALL)
    )


def _metric_rows(rows: Sequence[Metric]) -> str:
    head = "| metric | type | labels | what it says |\n|---|---|---|---|\n"
    return head + "".join(
        f"| `{row.name}` | {row.kind} | {', '.join(f'`{label}`' for label in row.labels) or '—'} | {row.help} |\n"
        for row in rows
    )


if __name__ == "__main__":
    for changed in write():
        print(f"wrote {changed}")  # noqa: T201
