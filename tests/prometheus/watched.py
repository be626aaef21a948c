"""The rules, dashboards and runbooks that Palang ships, read for the tests."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from agent.reference import ROOT

RULES: Final = ROOT / "config" / "prometheus" / "palang.rules.yml"
EXAMPLE: Final = ROOT / "config" / "prometheus" / "prometheus.example.yml"
UNIT_TESTS: Final = ROOT / "tests" / "prometheus" / "alerts.yml"
RUNBOOKS: Final = ROOT / "docs" / "runbooks"
DASHBOARDS: Final = sorted((ROOT / "config" / "grafana").glob("*.json"))


def rules() -> list[dict[str, Any]]:
    """Every rule, recording and alerting."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    """Every alert."""
    return [rule for rule in rules() if "alert" in rule]


def dashboard(path: Path) -> dict[str, Any]:
    """One dashboard."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Its panels, rows left out."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression that is shipped, with where it stands; Grafana's variables are put in."""
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    for path in DASHBOARDS:
        for panel in panels(dashboard(path)):
            for target in panel["targets"]:
                expression = target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*")
                assert "$" not in expression, f"{path.name}: {expression}"
                yield f"{path.name}: {panel['title']}", expression


def metrics_in(expression: str) -> set[str]:
    """The names of metrics in an expression."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    return set(re.findall(r"\b(?:palang[_:]|process_)[a-z0-9_:]+|\bup\b", bare))
