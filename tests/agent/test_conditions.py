"""Conditional writes and the question before a destructive command."""

import io

import httpx
import pytest
import typer
from fastapi import FastAPI, Response

from agent.api import errors
from agent.api.conditions import Expected, tag
from agent.cli import asking
from sync.ledger import versions


def _api(version: int) -> httpx.AsyncClient:
    api = FastAPI()
    errors.install(api)

    @api.post("/thing")
    async def change(expected: Expected, response: Response) -> dict[str, int]:
        versions.check("the thing", version, expected)
        tag(response, version + 1)
        return {"version": version + 1}

    return httpx.AsyncClient(transport=httpx.ASGITransport(app=api), base_url="http://test")


@pytest.mark.parametrize("condition", [{}, {"If-Match": '"7"'}, {"If-Match": "*"}])
async def test_a_change_of_the_version_looked_at_is_made(condition: dict[str, str]) -> None:
    async with _api(7) as http:
        answer = await http.post("/thing", headers=condition)
    assert (answer.status_code, answer.headers["ETag"]) == (200, '"8"')


@pytest.mark.parametrize(
    ("tag", "status", "code"),
    [('"6"', 412, "changed_meanwhile"), ('W/"7"', 422, "invalid"), ("7", 422, "invalid"), ('"7", "8"', 422, "invalid")],
)
async def test_a_change_of_another_version_is_not(tag: str, status: int, code: str) -> None:
    async with _api(7) as http:
        answer = await http.post("/thing", headers={"If-Match": tag})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stdin", "yes", "done"),
    [
        (Terminal("y\n"), False, True),
        (Terminal("n\n"), False, False),
        (Terminal("\n"), False, False),
        (io.StringIO("y\n"), False, False),
        (io.StringIO(""), True, True),
    ],
)
def test_a_destructive_command_shows_its_effect_and_asks(
    stdin: io.StringIO, yes: bool, done: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", stdin)
    if done:
        asking.sure("+77* ends for good", yes)
    else:
        with pytest.raises(typer.Exit) as ended:
            asking.sure("+77* ends for good", yes)
        assert ended.value.exit_code == 1
    said = capsys.readouterr()
    assert "+77* ends for good" in said.err
    assert "+77*" not in said.out
