"""The command line against an agent elsewhere: over TLS, with a token; and completion for three shells."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.access import Role
from agent.cli import remote
from agent.cli.app import app
from tests.agent.front_door import FrontDoor, front_door
from tests.agent.test_edge import make_certificate, serving

PALANG = Path(sys.executable).parent / "palang"
TOKEN = "palang_" + "x" * 43


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[FrontDoor]:
    async with front_door(tmp_path) as opened:
        yield opened


async def _palang(*words: str, **environment: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(str(PALANG), *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "COLUMNS": "250", **environment},
    )
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, said.decode()


async def test_a_command_reaches_an_agent_elsewhere(door: FrontDoor, tmp_path: Path) -> None:
    signed = await door.session_of("sri", Role.OPERATOR)
    token = (await door.ask("POST", "/v1/tokens", {"name": "t", "scopes": ["see"]}, signed)).json()["token"]
    certificate, key = make_certificate(tmp_path)
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text(token)
    async with serving(door, certificate=certificate, key=key) as port:
        url = f"https://127.0.0.1:{port}"
        known = ("--ca", str(certificate))
        code, said = await _palang("roles", "--json", "--agent", url, *known, PALANG_TOKEN=token)
        assert code == 0 and json.loads(said)["items"][0]["role"] == "viewer", said
        code, said = await _palang("--token-file", str(file), "token", "list", f"--agent={url}", *known)
        assert code == 0 and re.search(r"1\s+sri\s+t\s+see", said), said
        code, said = await _palang("people", "list", PALANG_AGENT=url, PALANG_TOKEN=token, PALANG_CA=str(certificate))
        assert code == 1 and "[forbidden]" in said
        code, said = await _palang("roles", "--agent", url, PALANG_TOKEN=token)
        assert code == 2 and "certificate" in said.lower(), "nobody we trust has signed it"
        code, said = await _palang("admin", "create", "eve", "--agent", url, *known, PALANG_TOKEN=token)
        assert code == 1 and "own machine" in said


@pytest.mark.parametrize(
    "url",
    [
        *("http://192.0.2.1:8443", "http://noc.example", "http://127.0.0.1.evil.example", "ftp://127.0.0.1", "noc"),
        *("https://user@noc.example", "https://noc.example/path", "https://noc.example?x", "https://noc.example\n"),
    ],
)
def test_a_token_is_sent_nowhere_in_the_open(url: str) -> None:
    with pytest.raises(ValueError, match="--agent"):
        remote.checked(url)


@pytest.mark.parametrize(
    "url", ["https://noc.example:8443", "http://127.0.0.1:8443", "http://[::1]:1", "http://localhost"]
)
def test_tls_or_loopback_is_taken(url: str) -> None:
    assert remote.checked(url) == url


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_token_that_others_may_read_is_not_used(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(mode)
    with pytest.raises(ValueError, match="chmod 600") as told:
        remote.read_token(file)
    assert TOKEN not in str(told.value)
    file.chmod(0o600)
    assert remote.read_token(file) == TOKEN


@pytest.mark.parametrize("text", ["", "secret", "palang_x\r\nX-Evil: 1", "palang_"])
def test_what_is_no_token_is_not_sent(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(remote.TOKEN_VARIABLE, text)
    with pytest.raises(ValueError, match="token"):
        remote.read_token(None)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["status", "--agent", "https://x"], (["--agent", "https://x"], ["status"])),
        (
            ["--ca=a", "rule", "show", "r1", "--agent=y", "--json"],
            (["--ca=a", "--agent=y"], ["rule", "show", "r1", "--json"]),
        ),
        (["explain", "--", "--agent", "x"], ([], ["explain", "--", "--agent", "x"])),
        (["agent"], ([], ["agent"])),
        (["status", "--agent"], (["--agent"], ["status"])),
    ],
)
def test_the_options_may_stand_anywhere(words: list[str], expected: tuple[list[str], list[str]]) -> None:
    assert remote.in_front(words) == expected


def test_destructive_commands_are_refused_where_nobody_can_be_asked() -> None:
    for words in (
        ["people", "disable", "sri", "--reason", "left us"],
        ["people", "invite-again", "sri", "--reason", "lost it"],
        ["people", "roles", "sri", "--role", "viewer", "--reason", "another shift"],
        ["token", "end", "1"],
    ):
        done = CliRunner().invoke(app(words[0]), [*words, "--socket", "/nowhere"])
        assert done.exit_code == 1, words
        assert "--yes" in done.output
        done = CliRunner().invoke(app(words[0]), [*words, "--yes", "--socket", "/nowhere"])
        assert done.exit_code == 2, "asked for, and nobody answers there"


@pytest.mark.parametrize(
    ("shell", "mark", "asking"),
    [
        ("bash", "complete -o default -F _palang_completion palang", {"COMP_WORDS": "palang ", "COMP_CWORD": "1"}),
        ("zsh", "#compdef palang", {"_TYPER_COMPLETE_ARGS": "palang "}),
        (
            "fish",
            "complete --command palang",
            {"_TYPER_COMPLETE_ARGS": "palang ", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
        ),
    ],
)
def test_each_shell_completes_every_command(shell: str, mark: str, asking: dict[str, str]) -> None:
    def said(*words: str, **environment: str) -> str:
        done = subprocess.run(
            [PALANG, *words], capture_output=True, text=True, env={**os.environ, **environment}, check=True
        )
        return done.stdout

    assert mark in said("completion", shell)
    completed = said(_PALANG_COMPLETE=f"complete_{shell}", **asking)
    whole = app()
    commands = {named.name for named in (*whole.registered_groups, *whole.registered_commands)}
    assert {"status", "rule", "people", "check-config"} <= commands
    assert [command for command in sorted(filter(None, commands)) if command not in completed] == []
