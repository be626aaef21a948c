"""Rules, unit tests of alerts, runbooks and dashboards: whole, well formed, and each belonging to the others."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from agent.alarms import KINDS
from agent.cli.app import app
from agent.reference import ROOT
from tests.prometheus.watched import DASHBOARDS, EXAMPLE, RULES, RUNBOOKS, UNIT_TESTS, alerts, dashboard, panels


def _promtool(*arguments: str | Path) -> str:
    program = shutil.which("promtool")
    assert program, "promtool is not installed: apt-get install prometheus"
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_promtool_takes_rules_and_example() -> None:
    assert "rules found" in _promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)
    assert "SUCCESS" in _promtool("check", "config", EXAMPLE)


def test_every_alert_fires_when_it_should_and_is_quiet_when_not() -> None:
    _promtool("test", "rules", UNIT_TESTS)
    cases = yaml.safe_load(UNIT_TESTS.read_text(encoding="utf-8"))["tests"]
    expected = {f"{alert['alert']} {what}" for alert in alerts() for what in ("fires", "is quiet")}
    assert {case["name"] for case in cases} == expected
    for case in cases:
        [asked] = case["promql_expr_test"]
        name, _, what = case["name"].partition(" ")
        assert f'alertname="{name}"' in asked["expr"] and bool(asked["exp_samples"]) is (what == "fires")
        assert case["input_series"], "an alert that is quiet for want of data shows nothing"


def test_promtool_sees_an_alert_that_lost_its_guard(tmp_path: Path) -> None:
    """The unit tests can fail: without its threshold an alert fires when it should be quiet."""
    tests = yaml.safe_load(UNIT_TESTS.read_text(encoding="utf-8"))
    tests["rule_files"] = [str(tmp_path / RULES.name)]
    tests["tests"] = [case for case in tests["tests"] if case["name"].startswith("PalangOutboxOld")]
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump(tests), encoding="utf-8")
    rules = RULES.read_text(encoding="utf-8")
    assert "palang_outbox_oldest_age_seconds > 3600" in rules
    rules = rules.replace("palang_outbox_oldest_age_seconds > 3600", "palang_outbox_oldest_age_seconds > 36")
    (tmp_path / RULES.name).write_text(rules, encoding="utf-8")
    with pytest.raises(AssertionError, match="PalangOutboxOld"):
        _promtool("test", "rules", tmp_path / "alerts.yml")


def test_every_alert_says_what_it_is_and_where_to_read_on() -> None:
    for alert in alerts():
        name = alert["alert"]
        assert name.startswith("Palang") and alert["labels"] == {"severity": alert["labels"]["severity"]}
        assert alert["labels"]["severity"] in {"page", "warn"}
        assert {*alert["annotations"]} == {"summary", "description", "runbook_url"}
        words = re.sub(r"(?<!^)(?=[A-Z])", "-", name.removeprefix("Palang")).lower()
        assert alert["annotations"]["runbook_url"] == f"docs/runbooks/{words}.md"
        page = (ROOT / alert["annotations"]["runbook_url"]).read_text(encoding="utf-8")
        assert f"`{name}`, severity {alert['labels']['severity']}." in page


def test_every_runbook_says_what_to_do_and_belongs_to_an_alert_or_an_alarm() -> None:
    wanted = {Path(alert["annotations"]["runbook_url"]).name for alert in alerts()}
    wanted |= {Path(kind.runbook).name for kind in KINDS.values()}
    assert {page.name for page in RUNBOOKS.glob("*.md")} == wanted
    for page in RUNBOOKS.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        for part in ("**It means.**", "**Look.**", "**Do.**"):
            assert part in text, f"{page.name} lacks {part}"
        for link in re.findall(r"\]\(([^)]+)\)", text):
            assert (page.parent / link).is_file(), f"{page.name}: {link}"
        assert len(text.splitlines()) < 60, f"{page.name}: nobody reads that much at three in the morning"


def test_every_kind_of_alarm_stands_on_the_alarms_page() -> None:
    page = (RUNBOOKS / "alarm.md").read_text(encoding="utf-8")
    assert re.findall(r"^- `(\w+)`: \[", page, re.MULTILINE) == list(KINDS)


# --- dashboards: Grafana itself is not run here; these are its basics, and what breaks an import


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_can_be_imported_anywhere(path: Path) -> None:
    board = dashboard(path)
    assert board["uid"] == path.stem and "id" not in board and len(board["uid"]) <= 40
    assert board["title"].startswith("Palang") and board["schemaVersion"] >= 30 and "palang" in board["tags"]
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource" and variables["datasource"]["query"] == "prometheus"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in panels(board):
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["title"] and panel["targets"] and panel["fieldConfig"]["defaults"]["unit"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_its_panels_stand_side_by_side(path: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard(path)["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells


def test_three_dashboards() -> None:
    assert [path.stem for path in DASHBOARDS] == ["palang-gateway", "palang-noc", "palang-regulator"]


# --- commands


def _exists(words: list[str]) -> bool:
    """Whether `palang WORDS…` is a command that has the options that are named."""
    if words[0] == "gateway":
        return words[1] in {"drain", "undrain"} and all(not w.startswith("-") or w == "--hop" for w in words[2:])
    command: Any = typer.main.get_command(app())
    while words and hasattr(command, "commands"):
        found = command.commands.get(words[0])
        if found is None:
            return False
        command, words = found, words[1:]
    options = {name for parameter in command.params for name in parameter.opts}
    return not hasattr(command, "commands") and {w for w in words if w.startswith("--")} <= options


def test_the_commands_on_the_pages_exist() -> None:
    told = set()
    for page in RUNBOOKS.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        for line in re.findall(r"(?:^ {4}|`)palang ([a-z][^`\n|]*)", text, re.MULTILINE):
            words = line.split()
            assert _exists(words), f"{page.name}: palang {line}"
            told.add(words[0])
    assert {"status", "shift", "order", "gateway", "audit", "rule"} <= told
    assert not _exists(["statsu"]) and not _exists(["order"]) and not _exists(["order", "list", "--nothing"])
