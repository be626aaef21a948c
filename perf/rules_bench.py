"""Server time of the console's rules pages over a ledger with 10^5 rules and 10^6 journal records.

Method: a ledger file is filled with rules of the NOC, each with the transition that made it, and with journal records
about them; another has the same number of orders' rules above a few of the NOC's. Pages are asked in this process, over
ASGI, as a signed-in operator: routing, permission, ledger's thread, templates and all, no socket. Each page some times:
median and worst of the time, median of the processor time, which neighbours on the machine don't stretch. Expected:
every page answers 200, and within 100 ms. Prints JSON.
"""

import argparse
import asyncio
import json
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
from fastapi import Request
from joserfc.jwk import OKPKey

from agent import api
from agent.access import Role, Viewer
from agent.alarms import Alarms
from agent.console import face
from agent.figures import Figures
from agent.ledger_thread import LedgerThread
from agent.look_ups import Pace
from agent.settings import Settings
from agent.traffic.collector import Collector
from agent.traffic.previews import Previews
from agent.traffic.store import TrafficStore
from agent.traffic.thread import TrafficThread
from agent.wiring import Parts
from sip_filter import _core
from sync.gate import Gate
from sync.jws import Signer
from sync.ledger import Ledger

LIMIT_MS = 100
_WEEK_MS = 604_800_000
_RULE = (
    "INSERT INTO rules (id, subject, authority, action, mode, kinds, trunks, expires_at, origin, order_id, reason,"
    " actor, created_at, version, warned) VALUES (?, ?, ?, ?, ?, 'both', '', ?, ?, ?, 'one-ring calls', 'b', ?, 1, 0)"
)


class _Operator:
    async def identify(self, request: Request) -> Viewer:
        """Everybody is one operator."""
        return Viewer.of("budi", frozenset({Role.OPERATOR}), "session")


async def measure(rules: int, records: int, rounds: int) -> dict[str, Any]:
    """Both ledgers' pages."""
    found: dict[str, Any] = {"rules": rules, "journal_records": records, "limit_ms": LIMIT_MS}
    with tempfile.TemporaryDirectory(prefix="palang-perf-") as folder:
        for name, of_noc in (("rules of the NOC", rules), ("rules of orders, 100 of the NOC", 100)):
            path = Path(folder) / f"{of_noc}.sqlite"
            house = _open(path)
            _fill(path, rules, of_noc, records)
            found[name] = await _pages(house, of_noc, rounds)
            house.traffic.close()
            house.ledger.close()
    found["worst_ms"] = max(
        page["worst_ms"] for part in found.values() if isinstance(part, dict) for page in part.values()
    )
    return found


def _open(path: Path) -> Any:
    settings = Settings()
    signer = Signer(OKPKey.generate_key("Ed25519"), "perf")
    ledger = LedgerThread(
        lambda: Ledger.open(path, gate=Gate(settings.gate), operator="perf", signer=signer, settings=settings.ledger)
    )
    traffic = TrafficThread(lambda: TrafficStore(path.with_suffix(".traffic"), _core.Sketch))
    collector = Collector(ledger, traffic, settings)
    return SimpleNamespace(
        settings=settings,
        ledger=ledger,
        alarms=Alarms(ledger),
        figures=Figures(),
        pace=Pace(settings.look_ups),
        traffic=traffic,
        collector=collector,
        previews=Previews(traffic, collector, settings, _core.Sketch),
    )


def _fill(path: Path, rules: int, of_noc: int, records: int) -> None:
    now = round(time.time() * 1000)
    modes, actions = ("shadow", "disabled", "disabled"), ("reject", "label", "reject", "reject")
    with sqlite3.connect(path) as ledger:
        ledger.execute("PRAGMA foreign_keys=OFF")
        ledger.executemany(
            _RULE,
            (
                (
                    n,
                    f"+77{n:07d}*",
                    "noc",
                    actions[n % 4],
                    "enforce" if n == 50 else modes[n % 3],
                    now + _WEEK_MS,
                    "noc",
                    None,
                    now,
                )
                if n <= of_noc
                else (n, f"+62812{n:07d}", "order", "reject", "enforce", None, "order", "an-order", now)
                for n in range(1, rules + 1)
            ),
        )
        ledger.executemany(
            "INSERT INTO transitions (rule, at, actor, cause, reason, to_mode)"
            " VALUES (?, ?, 'budi', 'propose', 'x', 'disabled')",
            ((n, now) for n in range(1, of_noc + 1)),
        )
        ledger.executemany(
            "INSERT INTO journal (seq, at, kind, actor, about, body, prev, hash)"
            " VALUES (?, ?, 'rule.propose', 'budi', ?, '{}', '', '')",
            ((n, now, f"r{n % rules + 1}") for n in range(1, records + 1)),
        )
        ledger.execute("UPDATE head SET last_rule = ?, journal_seq = ?", (rules, records))
    ledger.close()


async def _pages(house: Any, newest: int, rounds: int) -> dict[str, dict[str, float]]:
    pages: dict[str, tuple[str, dict[str, str] | None]] = {
        "list": ("/rules", None),
        "list, far down": (f"/rules?after={max(60, newest // 50)}", None),
        "list, the one that is enforced": ("/rules?mode=enforce", None),
        "list, labels": ("/rules?action=label", None),
        "list, with ended ones": ("/rules?ended=true", None),
        "search, two digits": ("/rules/search", {"prefix": "+77"}),
        "search, seven digits": ("/rules/search", {"prefix": "+7700000"}),
        "one rule": ("/rules/r50", None),
        "its counts": ("/rules/r50/counts", None),
        "approvals": ("/approvals", None),
    }
    transport = httpx.ASGITransport(app=face(api.app(cast(Parts, house), _Operator())))
    async with httpx.AsyncClient(transport=transport, base_url="http://perf") as http:
        token = (await http.get("/rules")).text.partition('name="csrf" value="')[2].partition('"')[0]
        return {name: await _page(http, path, form, token, rounds) for name, (path, form) in pages.items()}


async def _page(
    http: httpx.AsyncClient, path: str, form: dict[str, str] | None, token: str, rounds: int
) -> dict[str, float]:
    took, spent = [], []
    for _ in range(rounds):
        began, cpu = time.perf_counter(), time.process_time()
        answer = await (http.get(path) if form is None else http.post(path, data={**form, "csrf": token}))
        took.append((time.perf_counter() - began) * 1000)
        spent.append((time.process_time() - cpu) * 1000)
        assert answer.status_code == 200, (path, answer.status_code)
    median, cpu_median = statistics.median(took), statistics.median(spent)
    return {"median_ms": round(median, 1), "worst_ms": round(max(took), 1), "cpu_ms": round(cpu_median, 1)}


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rules", type=int, default=100_000)
    arguments.add_argument("--records", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=20)
    given = arguments.parse_args()
    print(json.dumps(asyncio.run(measure(given.rules, given.records, given.rounds)), indent=2))
