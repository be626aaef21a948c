"""How long an order takes until it is in force, and a monthly list of 3,104 numbers.

Method: the whole set of real processes on loopback (private Redis and Mosquitto, stand-in, agent, one gateway).
Single block orders are sent at a steady `--rate`, so that the figure is an order's own time and not a queue's. It runs
from the stand-in's commit of the order to the moment that our confirmation states as in force (the last node's proof),
and to the receipt's departure (closed); both are on one machine's clock. Mosquitto keeps each change on disk
(autosave), as the shipped settings do. Expected: every order confirmed in force. Prints JSON.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from agent.client import Api
from agent.demo.phones import Switch
from agent.stage import Stage


async def measure(count: int, rate: float) -> dict[str, Any]:
    """Send the orders and the list; the figures in milliseconds."""
    switch = Switch()
    await switch.listen(("127.0.0.1", 0))
    settings = "\n[gate]\nburst_floor = 1000000\n"
    with tempfile.TemporaryDirectory(prefix="palang-perf-") as folder:
        async with (
            Stage(Path(folder), switch.address, more_settings=settings) as stage,
            stage.regulator() as regulator,
        ):
            orders = await _send(regulator, count, rate)
            done = await _finished(regulator, orders)
            started = await regulator.post(
                "/orders", {"kind": "block", "subjects": [f"+62857{number:08d}" for number in range(3_104)]}
            )
            (listed,) = await _finished(regulator, {started["id"]})
    switch.close()
    in_force = sorted(order["effective_after_s"] * 1000 for order in done)
    closed = sorted(order["receipted_after_s"] * 1000 for order in done)
    return {
        "orders": len(done),
        "orders_per_s": rate,
        "in_force_ms": _percentiles(in_force),
        "closed_ms": _percentiles(closed),
        "list_of_3104_in_force_ms": round(listed["effective_after_s"] * 1000),
        "list_of_3104_closed_ms": round(listed["receipted_after_s"] * 1000),
    }


async def _send(regulator: Api, count: int, rate: float) -> set[str]:
    """One order every 1/rate seconds; their ids."""
    sent = set()
    began = time.monotonic()
    for turn in range(count):
        await asyncio.sleep(max(0.0, began + turn / rate - time.monotonic()))
        order = await regulator.post("/orders", {"kind": "block", "subjects": [f"+62812{turn:08d}"]})
        sent.add(order["id"])
    return sent


async def _finished(regulator: Api, orders: set[str], seconds: float = 120.0) -> list[dict[str, Any]]:
    """The stand-in's records of these orders once each is receipted."""
    deadline = time.monotonic() + seconds
    while True:
        messages = await regulator.get("/messages", limit=100_000)
        done = [m for m in messages if m["id"] in orders and m["receipted_after_s"] is not None]
        if len(done) == len(orders):
            return done
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(orders) - len(done)} of {len(orders)} orders are not closed after {seconds} s")
        await asyncio.sleep(0.5)


def _percentiles(ordered: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(ordered, n=100, method="inclusive")
    return {"p50": round(cuts[49], 1), "p99": round(cuts[98], 1), "max": round(ordered[-1], 1)}


def main() -> None:
    arguments = argparse.ArgumentParser(description="Measure orders from sending to in force.")
    arguments.add_argument("--orders", type=int, default=1_000)
    arguments.add_argument("--rate", type=float, default=10.0, help="Orders a second.")
    chosen = arguments.parse_args()
    print(json.dumps(asyncio.run(measure(chosen.orders, chosen.rate)), indent=2))


if __name__ == "__main__":
    main()
