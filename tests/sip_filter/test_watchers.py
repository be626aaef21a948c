"""Who watches a node: metrics and health over HTTP, true while Redis is away, and a listener that can't be held up."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sip_filter import settings
from sip_filter.exposition import Metric, expose
from sip_filter.keys import line_of
from sip_filter.listener import MAX_CONNECTIONS, REQUEST_LIMIT, Answer, Listener
from sip_filter.metrics import METRICS
from sip_filter.node import Node
from tests.book import BLOCK, Book, publishing
from tests.redis_server import RedisServer
from tests.sip_filter.test_node import FREE, Place
from tests.waiting import until


def get(address: str, path: str) -> tuple[int, str]:
    """What a path answers."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def ask(address: str, path: str) -> tuple[int, str]:
    """As `get`, from the loop."""
    return await asyncio.to_thread(get, address, path)


async def health(address: str, path: str) -> tuple[int, Any]:
    """Status and the one line, read."""
    status, text = await ask(address, f"/health/{path}")
    assert text.count("\n") == 1 and text.endswith("\n")
    return status, json.loads(text)


async def becomes(address: str, path: str, status: int) -> Any:
    """Wait until a health path has that status; its line."""
    found: list[Any] = []

    async def look() -> None:
        while True:
            answered, line = await health(address, path)
            found[:] = [line]
            if answered == status:
                return

    await asyncio.wait_for(look(), 15)
    return found[0]


# --- the listener


@asynccontextmanager
async def listening(address: str = "127.0.0.1:0", deadline: float = 5.0) -> AsyncIterator[Listener]:
    """A listener with one path that answers, one that fails and one that hangs."""

    async def fine() -> Answer:
        return Answer(200, "fine\n")

    async def fails() -> Answer:
        raise RuntimeError("+6281234567890 must not be told")

    async def hangs() -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    listener = Listener(address, {"/fine": fine, "/fails": fails, "/hangs": hangs}, deadline=deadline)
    task = asyncio.create_task(listener.run())
    await asyncio.wait_for(listener.listening.wait(), 5)
    try:
        yield listener
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def raw(listener: Listener, sent: bytes) -> bytes:
    """All that comes back for these bytes, until the listener closes."""
    host, _, port = listener.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /fine HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"GET /fine?x=1 HTTP/1.0\r\n\r\n", 200),
        (b"GET /nothing HTTP/1.1\r\n\r\n", 404),
        (b"GET /../etc/passwd HTTP/1.1\r\n\r\n", 404),
        (b"POST /fine HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 405),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"GET /fine\r\n\r\n", 400),
        (b"GET /fails HTTP/1.1\r\n\r\n", 500),
        (b"GET /fine HTTP/1.1\r\nX: " + b"a" * REQUEST_LIMIT * 4 + b"\r\n\r\n", 431),
    ],
)
async def test_the_listener_answers_get_and_refuses_the_rest(sent: bytes, status: int) -> None:
    async with listening() as listener:
        reply = await raw(listener, sent)
        assert reply.split(b" ")[1] == str(status).encode()
        assert b"6281234567890" not in reply
        assert (await ask(listener.address, "/fine")) == (200, "fine\n")


async def test_slow_and_hanging_requests_end_at_the_deadline() -> None:
    async with listening(deadline=0.2) as listener:
        assert (await raw(listener, b"GET /fine HTT")).startswith(b"HTTP/1.1 408")
        assert (await raw(listener, b"GET /hangs HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 503")


async def test_many_idle_connections_leave_it_answering() -> None:
    async with listening(deadline=0.5) as listener:
        host, _, port = listener.address.rpartition(":")
        idle = [await asyncio.open_connection(host, int(port)) for _ in range(MAX_CONNECTIONS + 8)]
        answers = await asyncio.gather(*(reader.read() for reader, _ in idle))
        assert len([answer for answer in answers if not answer]) == 8, "those over the limit are closed at once"
        assert (await ask(listener.address, "/fine"))[0] == 200
        for _, writer in idle:
            writer.close()


async def test_an_address_that_is_taken_stops_nothing_and_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sip_filter.listener._AGAIN_SECONDS", 0.01)
    async with listening() as first:
        second = Listener(first.address, {})
        task = asyncio.create_task(second.run())
        await until(lambda: not task.done())
    await asyncio.wait_for(second.listening.wait(), 5)
    assert not task.done()
    task.cancel()


def test_what_stands_in_a_label_is_quoted_and_a_stranger_is_a_fault() -> None:
    row = Metric("palang_x_total", "counter", "A\nhelp.", ("name",))
    text = expose([row], {"palang_x_total": {('a"b\\c\nd',): 2}})
    [family] = text_string_to_metric_families(text)
    assert [(s.labels, s.value) for s in family.samples] == [({"name": 'a"b\\c\nd'}, 2.0)]
    with pytest.raises(KeyError):
        expose([row], {"palang_y": {}})


# --- the node


def _book() -> Book:
    book = Book()
    book.commit(line_of("+77*", BLOCK))
    return book


async def _calls(place: Place) -> list[str]:
    """What a free caller's call and a blocked one's come to."""
    return [await asyncio.to_thread(place.call, caller) for caller in (FREE, "+77012345678")]


@pytest.fixture
def place() -> Iterator[Place]:
    with TemporaryDirectory(prefix="palang-") as folder:
        place = Place(Path(folder))
        place.node = place.node.model_copy(update={"metrics": "127.0.0.1:0", "stale_s": 1.0})
        yield place
        place.close()


@asynccontextmanager
async def watched(place: Place, url: str) -> AsyncIterator[tuple[Node, str]]:
    """A node at work and the address where it is watched."""
    node = Node(place.node, settings.Redis(url=url), place.gateway)
    task = asyncio.create_task(node.run())
    try:
        await until(lambda: node.watchers and node.watchers.listening.is_set())
        assert node.watchers is not None
        place.aim(node.addresses[0])
        yield node, node.watchers.address
    finally:
        node.stop()
        await asyncio.wait_for(task, 10)


async def test_metrics_are_those_of_the_table_and_count_calls(place: Place, redis_server: RedisServer) -> None:
    async with publishing(redis_server, _book()), watched(place, redis_server.url) as (node, address):
        await becomes(address, "stale", 200)
        await becomes(address, "ready", 200)
        before = node.report().counters
        assert await _calls(place) == ["passed", "603"]
        status, text = await ask(address, "/metrics")
        families = {family.name: family for family in text_string_to_metric_families(text)}

    assert status == 200 and "77012345678" not in text and FREE[1:] not in text
    # The parser takes _total off a counter's name.
    assert {(row.name.removesuffix("_total"), row.kind) for row in METRICS} == {
        (family.name.removesuffix("_total"), family.type) for family in families.values()
    }
    labels = {row.name.removesuffix("_total"): set(row.labels) for row in METRICS}
    for name, family in families.items():
        assert family.samples, f"{name} has no samples"
        assert all(set(sample.labels) == labels[name.removesuffix("_total")] for sample in family.samples)
    value = {(s.name, *s.labels.values()): s.value for family in families.values() for s in family.samples}
    assert value["palang_gateway_judged_total",] == before["judged"] + 2
    assert value["palang_gateway_trunk_rejected_total", "intl-a"] == 1
    assert value["palang_gateway_trunk_mode", "intl-b", "shadow"] == 1
    assert value["palang_gateway_list_entries", "prefixes"] == 1 and value["palang_gateway_list_stale",] == 0
    assert value["process_open_fds",] > 3 and value["process_start_time_seconds",] > 1.6e9


async def test_every_counter_of_a_node_is_a_metric(place: Place) -> None:
    async with watched(place, "unix:///nobody.sock") as (node, _):
        named = {row.name for row in METRICS}
        facts = await node._facts()
        wanted = {f"palang_gateway_{name}_total" for name in facts.counters}
        wanted |= {f"palang_gateway_node_{name}_total" for name in facts.own}
        wanted |= {f"palang_gateway_trunk_{name}_total" for counted in facts.trunks.values() for name in counted}
        assert wanted == {name for name in named if name.startswith("palang_gateway_") and name.endswith("_total")}


async def test_health_tells_the_truth_while_redis_is_away(place: Place, redis_server: RedisServer) -> None:
    async with publishing(redis_server, _book()), watched(place, redis_server.url) as (_, address):
        await becomes(address, "ready", 200)
        redis_server.kill()
        line = await becomes(address, "stale", 503)
        assert (
            line["fresh"] is False
            and "redis is away" in line["because"][0]
            and "the limit is 1 s" in line["because"][0]
        )
        assert (await health(address, "ready"))[0] == 200, "the last list is in force"
        assert await health(address, "live") == (200, {"live": True, "because": []})
        assert await _calls(place) == ["passed", "603"]
        redis_server.start()
        await becomes(address, "stale", 200)


async def test_a_node_without_a_list_is_not_ready_and_says_so(place: Place) -> None:
    async with watched(place, "unix:///nobody.sock") as (_, address):
        status, line = await health(address, "ready")
        assert (status, line["ready"]) == (503, False) and "there is no list" in line["because"][0]
        assert (await health(address, "live"))[0] == 200
        assert (await becomes(address, "stale", 503))["list_age_s"] >= 1


async def test_a_drained_node_is_not_ready(place: Place, redis_server: RedisServer) -> None:
    async with publishing(redis_server, _book()), watched(place, redis_server.url) as (node, address):
        await becomes(address, "ready", 200)
        node._gateway.drain()
        assert "drained" in (await becomes(address, "ready", 503))["because"][0]


async def test_an_empty_setting_listens_nowhere(place: Place) -> None:
    place.node = place.node.model_copy(update={"metrics": ""})
    node = Node(place.node, settings.Redis(url="unix:///nobody.sock"), place.gateway)
    task = asyncio.create_task(node.run())
    await asyncio.wait_for(node.ready.wait(), 10)
    assert node.watchers is None
    node.stop()
    await asyncio.wait_for(task, 10)
