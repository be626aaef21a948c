"""`palang gateway drain`, against a node that runs."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent import gateway
from agent.status import _node_complaints
from sip_filter import settings
from sip_filter.control import AskError, ask
from sip_filter.node import Node
from tests.sip_filter.test_node import Place

Run = Callable[..., Any]


@pytest.fixture
def place(tmp_path: Path) -> Any:
    place = Place(tmp_path)
    yield place
    place.close()


@asynccontextmanager
async def running(place: Place, folder: Path) -> AsyncIterator[Node]:
    """A node without Redis."""
    node = Node(place.node, settings.Redis(url=f"unix://{folder}/nobody.sock"), place.gateway)
    task = asyncio.create_task(node.run())
    await node.ready.wait()
    (folder / "palang.toml").write_text(f'[node]\ncontrol = "{place.node.control}"\n')
    try:
        yield node
    finally:
        node.stop()
        await asyncio.wait_for(task, 10)


async def test_drain_and_undrain(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def palang(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        code = await asyncio.to_thread(gateway.main, [*words, "--config", str(tmp_path / "palang.toml")])
        said = capsys.readouterr()
        return code, said.out + said.err

    async with running(place, tmp_path):
        code, said = await palang("drain")
        assert code == 0 and "node gw1 is drained" in said and "next hop switch-1 takes calls" in said
        state = await ask(place.node.control, {"ask": "state"})
        assert state["drained"]
        code, said = await palang("drain", "--hop", "switch-1")
        assert code == 0 and "next hop switch-1 is drained" in said and "no next hop takes calls" in said
        code, said = await palang("drain", "--hop", "switch-9")
        assert code == 1 and 'next hop "switch-9" is not configured (known: switch-1)' in said
        for words in (("undrain", "--hop", "switch-1"), ("undrain",)):
            code, said = await palang(*words, "--json")
            assert code == 0
        answer = json.loads(said[said.index("{\n") :])
        assert (answer["drained"], answer["next_hops"][0]["drain"]) == (False, False)
        with pytest.raises(AskError, match="malformed"):
            await ask(place.node.control, {"ask": "drain", "hop": 7})
    code, said = await palang("drain")
    assert code == 2 and str(place.node.control) in said


async def test_the_status_tells_what_is_wrong_with_a_node() -> None:
    node = {
        "node": "gw1",
        "stale": False,
        "bypass": False,
        "drained": True,
        "not_taken": ["files: tls.key: none"],
        "card_error": "no space",
        "next_hops": [],
        "revision": "1.1",
        "digest": "x",
    }
    assert _node_complaints(node, None) == [
        "node gw1 is drained: OPTIONS gets 503 there, so that peers go around it",
        "node gw1 keeps what it had; newer files: tls.key: none",
        "node gw1 can't sign the card of a 608, and answers 603: no space",
    ]
