"""The house: names are ours, imports run one way, generated pages are current."""

import subprocess
import sys
from pathlib import Path

import pytest

import agent
import config
import sip_filter
import sync
from agent.reference import ROOT, documents


@pytest.mark.parametrize("package", [agent, config, sip_filter, sync])
def test_a_package_with_a_common_name_is_ours(package: object) -> None:
    assert Path(str(package.__file__)).parent.parent == ROOT  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", documents())
def test_a_generated_page_is_current(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == documents()[name], "run `make docs`"


def test_importing_the_filter_loads_only_the_standard_library_and_the_core() -> None:
    script = (
        "import sys\nbefore = set(sys.modules)\nimport sip_filter\n"
        "print('\\n'.join(sorted({name.partition('.')[0] for name in set(sys.modules) - before})))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    strangers = set(done.stdout.split()) - sys.stdlib_module_names - {"sip_filter"}
    assert strangers == set()


def test_the_gateway_starts_without_the_command_lines_libraries() -> None:
    script = "import sys\nimport agent.gateway\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    assert not {"fastapi", "typer", "uvicorn", "sqlalchemy"} & set(done.stdout.split())
