"""The house: names are ours, imports run one way, generated pages are current."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import agent
import config
import sip_filter
import sync
from agent.reference import ROOT, documents
from agent.settings import Settings
from config import load


@pytest.mark.parametrize("package", [agent, config, sip_filter, sync])
def test_a_package_with_a_common_name_is_ours(package: object) -> None:
    assert Path(str(package.__file__)).parent.parent == ROOT  # type: ignore[attr-defined]


LAYOUT = {
    *(".ci", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "agent", "config"),
    *("docs", "perf", "pyproject.toml", "requirements.lock", "sip_filter", "sync", "tests"),
}
OTHER_WORDS = {  # what others call it -> our word (docs/vocabulary.md)
    "blacklist": "list",
    "blocklist": "list",
    "denylist": "list",
    "whitelist": "an allow rule",
    "allowlist": "an allow rule",
    "takedown": "order",
    "block request": "order",
    "audit log": "journal",
    "whitelisted": "allowed",
    "blacklisted": "rejected",
    "acknowledgment": "receipt",
    "dry run": "shadow",
    "dry-run": "shadow",
}


def _ours() -> list[Path]:
    """Every text file that git tracks."""
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_the_layout_is_the_designs() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in _ours()} == LAYOUT
    assert not list((ROOT / "tests").rglob("__init__.py")), "tests/sync would shadow sync"


def test_the_vocabulary_is_the_designs() -> None:
    mine = Path(__file__).resolve()
    found = {
        f"{path.relative_to(ROOT)} says {word!r}: the word is {ours}"
        for path in _ours()
        if path != mine and path.suffix in {".py", ".rs", ".md", ".toml", ".lua", ".pyi", ".json"}
        for word, ours in OTHER_WORDS.items()
        if word in path.read_text(encoding="utf-8").lower()
    }
    assert found == set()


@pytest.mark.parametrize("name", documents())
def test_a_generated_page_is_current(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == documents()[name], "run `make docs`"


def test_the_shipped_example_is_usable_and_says_the_defaults() -> None:
    assert load(Settings, ROOT / "config" / "palang.example.toml", environ={}) == Settings()


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "switches").glob("*.md")), ids=lambda page: page.stem)
def test_the_settings_on_a_switchs_page_are_usable(page: Path, tmp_path: Path) -> None:
    blocks = re.findall(r"(?:^ {4,}\S.*\n|^\n)+", page.read_text(), re.MULTILINE)
    tables = re.compile(rf"\s*\[+({'|'.join(Settings.model_fields)})\b")
    config = tmp_path / "palang.toml"
    config.write_text("\n".join(textwrap.dedent(block) for block in blocks if tables.match(block)))
    assert load(Settings, config, environ={}).gateway.trunks


def test_importing_the_filter_loads_only_the_standard_library_and_the_core() -> None:
    script = (
        "import sys\nbefore = set(sys.modules)\nimport sip_filter\n"
        "print('\\n'.join(sorted({name.partition('.')[0] for name in set(sys.modules) - before})))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    strangers = set(done.stdout.split()) - sys.stdlib_module_names - {"sip_filter"}
    assert strangers == set()


def test_the_gateway_starts_without_the_command_lines_libraries() -> None:
    script = (
        "import sys\nfrom agent.main import main\nsys.argv[1:] = ['gateway', '--help']\n"
        "try:\n main()\nexcept SystemExit: print('\\n'.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    assert "agent.gateway" in done.stdout.split()
    late = {
        "redis",
        "joserfc",
        "cryptography",
        "sip_filter.metrics",
        "sip_filter.listener",
        "sip_filter.exposition",
    }  # Loaded after the first packet can be answered, or never.
    assert not {"fastapi", "typer", "uvicorn", "sqlalchemy", "rich", *late} & set(done.stdout.split())
