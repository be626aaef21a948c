"""The control socket: answers its own user in one shape, and no peer can hold it up."""

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from sip_filter.control import LINE_LIMIT, MAX_CONNECTIONS, AskError, Control, ask
from tests.book import eventually


async def echo(request: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"heard": request.get("text", "")}


async def hang(request: Mapping[str, Any]) -> Mapping[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


async def refuse(request: Mapping[str, Any]) -> Mapping[str, Any]:
    raise AskError("malformed", "no")


async def fail(request: Mapping[str, Any]) -> Mapping[str, Any]:
    raise RuntimeError("+6281234567890")


@pytest.fixture
def path() -> Any:
    with TemporaryDirectory(prefix="palang-") as folder:
        yield Path(folder) / "node.sock"


@asynccontextmanager
async def serving(path: Path, deadline: float = 5.0) -> AsyncIterator[Control]:
    handlers = {"echo": echo, "hang": hang, "refuse": refuse, "fail": fail}
    control = Control(path, handlers, deadline=deadline)
    await control.start()
    try:
        yield control
    finally:
        await control.close()


async def raw(path: Path, data: bytes) -> dict[str, Any]:
    reader, writer = await asyncio.open_unix_connection(path, limit=LINE_LIMIT)
    writer.write(data)
    line = await reader.readline()
    writer.close()
    return dict(json.loads(line))


async def test_an_answer(path: Path) -> None:
    async with serving(path):
        assert await ask(path, {"ask": "echo", "text": "halo"}) == {"heard": "halo"}
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


async def test_many_lines_on_one_connection_and_a_large_one(path: Path) -> None:
    async with serving(path):
        reader, writer = await asyncio.open_unix_connection(path, limit=LINE_LIMIT)
        for text in ("a", "b" * 2_000_000, "c"):
            writer.write(json.dumps({"ask": "echo", "text": text}).encode() + b"\n")
            assert json.loads(await reader.readline()) == {"heard": text}
        writer.close()


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"\n", "malformed"),
        (b"{\n", "malformed"),
        (b"[]\n", "malformed"),
        (b"\xff\xfe\n", "malformed"),
        (b"{}\n", "unknown"),
        (b'{"ask":["echo"]}\n', "unknown"),
        (b'{"ask":"echo2"}\n', "unknown"),
        (b'{"ask":"refuse"}\n', "malformed"),
        (b'{"ask":"fail"}\n', "failed"),
        (b'{"ask":"hang"}\n', "timeout"),
        (b'{"ask":"ec', "timeout"),
        (b"x" * (LINE_LIMIT + 2), "oversized"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value[:20]),
)
async def test_every_refusal_has_one_shape(path: Path, line: bytes, code: str) -> None:
    async with serving(path, deadline=0.3 if code == "timeout" else 10):
        answer = await raw(path, line)
        assert set(answer) == {"error"} and set(answer["error"]) == {"code", "message"}
        assert answer["error"]["code"] == code and answer["error"]["message"]
        assert "6281234567890" not in json.dumps(answer)
        assert await ask(path, {"ask": "echo"}) == {"heard": ""}, "others are served"


async def test_idle_peers_do_not_lock_others_out_for_ever(path: Path) -> None:
    async with serving(path):
        idle = [await asyncio.open_unix_connection(path) for _ in range(MAX_CONNECTIONS)]
        with pytest.raises(AskError, match="busy"):
            await ask(path, {"ask": "echo"})
        idle[0][1].close()
        await idle[0][1].wait_closed()

        async def answered() -> bool:
            try:
                return await ask(path, {"ask": "echo"}) == {"heard": ""}
            except AskError:
                return False

        await eventually(answered, "one more is served")
        for _, writer in idle[1:]:
            writer.close()


async def test_a_dead_nodes_socket_is_replaced_and_a_file_is_not(path: Path) -> None:
    async with serving(path):
        pass
    dead = Control(path, {"echo": echo})
    await dead.start()
    async with serving(path):
        assert await ask(path, {"ask": "echo"}) == {"heard": ""}
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="not a socket"):
        await Control(path, {}).start()
    assert path.read_text() == "precious"
    await dead.close()


async def test_nobody_there(path: Path) -> None:
    with pytest.raises(AskError) as caught:
        await ask(path, {"ask": "state"})
    assert caught.value.code == "unreachable" and str(path) in caught.value.message


async def test_an_answer_in_time_or_none(path: Path) -> None:
    async with serving(path):
        with pytest.raises(AskError) as caught:
            await ask(path, {"ask": "hang"}, 0.05)
        assert caught.value.code == "timeout" and "0.05 s" in caught.value.message


async def test_another_user_may_not_ask(path: Path) -> None:
    control = Control(path, {"echo": echo}, uid=os.geteuid() + 1)
    await control.start()
    with pytest.raises(AskError) as caught:
        await ask(path, {"ask": "echo", "text": "x" * 1_000_000})
    assert caught.value.code == "forbidden" and f"uid {os.geteuid()} may not ask" in caught.value.message
    await control.close()
