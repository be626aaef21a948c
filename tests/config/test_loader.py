"""The settings loader: what it reads, and the one line it says about what it can't use."""

from pathlib import Path

import pytest
from pydantic import Field, SecretStr

import config
from config import ConfigError, Section, load


class Redis(Section):
    """Where the list is published."""

    url: str = Field("unix:///run/redis.sock", description="Address of the server.")
    password: SecretStr | None = Field(None, description="Password, best given as a credential.")
    ca_file: Path | None = Field(None, description="CA of the server.")
    pool: int = Field(4, ge=1, le=64, description="Connections kept open.")


class Trunk(Section):
    """An interconnect peer."""

    name: str = Field(examples=["intl-a"], description="Its name.")
    sources: tuple[str, ...] = Field((), description="Networks it sends from.")


class Gateway(Section):
    """The gateway."""

    workers: int = Field(1, ge=1, le=64, description="Threads.")
    trunks: tuple[Trunk, ...] = Field((), description="Interconnect peers.")


class Settings(Section):
    """Everything."""

    redis: Redis = Field(default_factory=Redis)
    gateway: Gateway = Field(default_factory=Gateway)


GOOD = """\
[redis]
url = "redis://127.0.0.1:6379"

[[gateway.trunks]]
name = "intl-a"

[[gateway.trunks]]
name = "intl-b"
sources = ["127.0.0.2/32"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "palang.toml"
    path.write_text(GOOD)
    return path


def test_the_package_is_ours() -> None:
    assert Path(config.__file__ or "").parent == Path(__file__).parents[2] / "config"


def test_defaults_need_no_file() -> None:
    assert load(Settings, environ={}) == Settings()


def test_later_sources_win(file: Path, tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "redis__password").write_text("hunter2\n")
    (credentials / "unrelated").write_text("not ours")
    environ = {"PALANG_REDIS__POOL": "7", "PALANG_GATEWAY__WORKERS": "2", "HOME": "/", "PALANG_KILL_AT": "x"}
    settings = load(Settings, file, environ={**environ, "CREDENTIALS_DIRECTORY": str(credentials)})
    assert settings.redis.url == "redis://127.0.0.1:6379"
    assert settings.redis.pool == 7
    assert settings.redis.password is not None
    assert settings.redis.password.get_secret_value() == "hunter2"
    assert [trunk.name for trunk in settings.gateway.trunks] == ["intl-a", "intl-b"]


def test_a_credential_is_the_file_that_a_setting_names(file: Path, tmp_path: Path) -> None:
    credential = tmp_path / "redis__ca_file"
    credential.write_text("-----BEGIN …\n")
    settings = load(Settings, file, environ={}, credentials=tmp_path)
    assert settings.redis.ca_file == credential


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[redis]\nurll = 'x'\n", "palang.toml:2: unknown key redis.urll; the nearest known key is url"),
        ("[rediss]\n", "palang.toml:1: unknown key rediss; the nearest known key is redis"),
        (
            GOOD + "plam = 'x'\n",
            "palang.toml:10: unknown key gateway.trunks.1.plam; the nearest known key is name",
        ),
        (
            "[gateway]\nworkers = 0\n",
            "palang.toml:2: gateway.workers: Input should be greater than or equal to 1 (got 0)",
        ),
        (
            "[redis]\n\npool = 'many'\n",
            "palang.toml:3: redis.pool: Input should be a valid integer, unable to parse string as an integer"
            " (got 'many')",
        ),
        ("[[gateway.trunks]]\nsources = []\n", "palang.toml:1: gateway.trunks.0.name: Field required"),
        ("gateway.workers = 99\n", "palang.toml:1: gateway.workers: Input should be less than or equal to 64 (got 99)"),
    ],
)
def test_a_wrong_file_is_told_in_one_line(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "palang.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(Settings, path, environ={})
    assert str(caught.value) == line


@pytest.mark.parametrize("text", ["[redis\n", "url = \n", "a = 1\na = 2\n", "\x00"])
def test_half_a_file_is_an_error_with_its_place(tmp_path: Path, text: str) -> None:
    path = tmp_path / "palang.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"line \d+, column \d+|end of document"):
        load(Settings, path, environ={})


def test_a_missing_file_and_bytes_that_are_not_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(Settings, tmp_path / "none.toml", environ={})
    (tmp_path / "latin.toml").write_bytes(b"# \xe9\n")
    with pytest.raises(ConfigError, match="not UTF-8 at byte 2"):
        load(Settings, tmp_path / "latin.toml", environ={})


def test_a_misspelt_variable_is_refused_by_name() -> None:
    with pytest.raises(ConfigError) as caught:
        load(Settings, environ={"PALANG_REDIS__URI": "x"})
    assert str(caught.value) == "$PALANG_REDIS__URI: unknown key redis.uri; the nearest known key is url"


def test_a_secret_is_never_quoted(tmp_path: Path) -> None:
    path = tmp_path / "palang.toml"
    path.write_text("[redis]\npassword = 12345678901\n")
    with pytest.raises(ConfigError) as caught:
        load(Settings, path, environ={})
    assert "12345678901" not in str(caught.value)


def test_the_example_is_read_back_as_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "palang.toml"
    path.write_text(config.example(Settings))
    settings = load(Settings, path, environ={})
    assert settings == Settings()
    assert '# name = "intl-a"' in path.read_text()


def test_the_page_has_a_row_for_each_setting() -> None:
    page = config.page(Settings)
    assert "| `pool` | `int` | `4` | Connections kept open. |" in page
    assert "## `[[gateway.trunks]]`" in page
    assert "| `name` | `str` | required | Its name. |" in page
