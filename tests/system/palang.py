"""`palang` as people and scripts run it: words, stdin and environment in; what was said and the exit code out.

Each command is a process of its own, forked from one that has loaded all commands: loading takes longer than most of
what they do. That the program itself starts is shown where it is started by its path (test_demo, test_trial,
test_remote).
"""

import asyncio
import itertools
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SECONDS = 60
_LOADED = """
import json, os, sys
from agent.cli.app import app
from agent.main import main

app()
for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if child == 0:
        for descriptor, name in enumerate(asked["files"]):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT, 0o600), descriptor)
        os.environ.update(asked["environment"])
        sys.argv = ["palang", *asked["words"]]
        sys.exit(main())
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Palang:
    """Runs `palang`, one command after another; an asynchronous context manager. `environment` comes on top of ours."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = dict(environment)
        self._turns = itertools.count(1)

    async def __aenter__(self) -> "Palang":
        self._loaded = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-c", _LOADED),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "COLUMNS": "250"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._loaded.stdin
        self._loaded.stdin.close()
        await asyncio.wait_for(self._loaded.wait(), _SECONDS)

    async def run(self, *words: str, stdin: str = "") -> tuple[int, str]:
        """One command: its exit code, and what it said on stdout, then on stderr."""
        assert self._loaded.stdin and self._loaded.stdout
        turn = self._folder / f"{next(self._turns)}"
        turn.mkdir(parents=True)
        files = [turn / name for name in ("stdin", "stdout", "stderr")]
        files[0].write_text(stdin)
        asked = {"words": words, "files": list(map(str, files)), "environment": self._environment}
        self._loaded.stdin.write(json.dumps(asked).encode() + b"\n")
        code = int(await asyncio.wait_for(self._loaded.stdout.readline(), _SECONDS))
        return code, files[1].read_text() + files[2].read_text()

    async def __call__(self, *words: str, stdin: str = "", exit_code: int = 0) -> str:
        code, said = await self.run(*words, stdin=stdin)
        assert code == exit_code, (words, code, said)
        return said

    async def json(self, *words: str, stdin: str = "", exit_code: int = 0) -> Any:
        """The record that a command prints."""
        said = await self(*words, "--json", stdin=stdin, exit_code=exit_code)
        return json.JSONDecoder().raw_decode(said)[0]  # behind it: what was said on stderr, such as a command's effect
