"""The read-only view of settings: every row, where it came from, and nothing that is secret."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.access import TABLE, Role
from agent.keys import make_keys
from agent.settings import Settings
from agent.settings_view import view
from config import Section, load
from tests.agent.api_house import api_house

PASSWORD, NUMBER, SHARED = "correct horse battery", "+6281234567890", "5a" * 32
_FILE = """
[contract]
signing_key = "{folder}/operator.jwk"
regulator_keys = ["{folder}/regulator.pub.jwk"]

[redis]
url = "redis://palang:{password}@127.0.0.1:6379/0"

[gate]
protected = ["{number}"]

[[proof.roster]]
name = "gateway-1"
control = "/run/palang/gateway.sock"

[gateway]
key_file = "{folder}/gateway.key"
listen = ["udp:127.0.0.1:5060"]

[[gateway.trunks]]
name = "intl-a"
sources = ["192.0.2.0/28"]
mode = "shadow"

[[gateway.next_hops]]
name = "switch-1"
address = "192.0.2.9:5060"
networks = ["192.0.2.9/32"]
"""


@pytest.fixture
def place(tmp_path: Path) -> tuple[Settings, dict[str, str]]:
    """Settings from a file, the environment and a credential, and that environment."""
    for name in ("operator", "regulator"):
        make_keys(tmp_path, name)
    (tmp_path / "gateway.key").write_text(SHARED + "\n")
    file = tmp_path / "palang.toml"
    file.write_text(_FILE.format(folder=tmp_path, password=PASSWORD.replace(" ", "%20"), number=NUMBER))
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "mqtt__password").write_text(PASSWORD)
    environ = {"PALANG_MQTT__USERNAME": "operator-1", "CREDENTIALS_DIRECTORY": str(credentials)}
    return load(Settings, file, environ=environ), environ


def _row(shown: dict[str, Any], table: str, key: str) -> dict[str, Any]:
    [rows] = [found["rows"] for found in shown["tables"] if found["name"] == table]
    [row] = [row for row in rows if row["key"] == key]
    found: dict[str, Any] = row
    return found


def test_each_value_tells_where_it_came_from(place: tuple[Settings, dict[str, str]]) -> None:
    shown = view(*place)
    for table, key, value, origin in (
        ("feed", "batch", Settings().feed.batch, "default"),
        ("gateway.trunks[intl-a]", "mode", "shadow", "file"),
        ("mqtt", "username", "operator-1", "environment"),
    ):
        row = _row(shown, table, key)
        assert (row["value"], row["from"]) == (value, origin)
    assert _row(shown, "mqtt", "password")["from"] == "credential"
    assert _row(shown, "gateway.trunks[intl-a]", "mode")["default"] == "enforce"
    assert shown["trunks"] == [
        {"name": "intl-a", "plan": "international", "mode": "shadow", "response": "603", "role": "interconnect"}
    ]
    assert shown["roster"] == [{"node": "gateway-1", "control": "/run/palang/gateway.sock"}]
    assert {role["role"]: set(role["permissions"]) for role in shown["roles"]} == TABLE


def test_no_secret_no_private_key_and_no_number_is_in_it(
    place: tuple[Settings, dict[str, str]], tmp_path: Path
) -> None:
    shown = view(*place)
    private = json.loads((tmp_path / "operator.jwk").read_text())["d"]
    for text in (json.dumps(shown), str(shown)):
        for secret in (PASSWORD, PASSWORD.replace(" ", "%20"), SHARED, private, NUMBER[1:]):
            assert secret not in text
    keys = {key["what"]: key for key in shown["keys"]}
    for what in ("signs our confirmations", "verifies the regulator", "shared by the gateways"):
        [told] = keys[what]["fingerprints"]
        assert re.search(r"sha256:[0-9a-f]{4}( [0-9a-f]{4}){3}$", told) and keys[what]["error"] == ""
    assert _row(shown, "mqtt", "password")["value"].startswith("sha256:")
    assert _row(shown, "redis", "url")["value"] == "redis://•••@127.0.0.1:6379/0"


def test_a_key_that_cant_be_read_here_says_so_and_nothing_of_its_content(
    place: tuple[Settings, dict[str, str]], tmp_path: Path
) -> None:
    (tmp_path / "operator.jwk").unlink()
    (tmp_path / "gateway.key").write_text(f"{SHARED[:-2]}zz")
    keys = {key["what"]: key for key in view(*place)["keys"]}
    assert keys["signs our confirmations"]["error"] and keys["shared by the gateways"]["error"]
    assert SHARED[:8] not in json.dumps(keys)


def _leaves(section: Section) -> Iterator[str]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from _leaves(value)
        elif not (isinstance(value, tuple) and any(isinstance(item, Section) for item in value)):
            yield name


def test_every_setting_is_shown() -> None:
    settings = Settings()
    shown = [row["key"] for table in view(settings)["tables"] for row in table["rows"]]
    assert sorted(shown) == sorted(_leaves(settings))


@pytest.mark.parametrize("role", list(Role))
async def test_only_those_who_may_read_them_do(role: Role, tmp_path: Path) -> None:
    async with api_house(tmp_path) as house:
        status, _ = await house.ask("GET", "/settings", by=f"somebody {role}")
    assert status == (200 if "settings.read" in TABLE[role] else 403)
