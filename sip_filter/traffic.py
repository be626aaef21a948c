"""A node's answers about traffic: what came in each minute, and sketches of who called whom in each hour.

`traffic` and `sketches` are questions on the control socket; what the figures mean is in `docs/traffic.md`. They are
counted by the gateway's own threads (`_core.Gateway.traffic`); here they are only asked for and put into words.
"""

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from sip_filter import _core
from sip_filter.control import AskError

_MOST = 2**53
"""Above every minute and hour; JSON's whole numbers end here."""

Handler = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


def handlers(
    gateway: _core.Gateway,
    node: str,
    clock: Callable[[], float] = time.time,
    counts: Callable[[], bool] = lambda: True,
) -> dict[str, Handler]:
    """What answers `traffic` and `sketches` for the node of that name.

    While `counts` says no, both are refused: minutes in which nothing is counted must not look like silent ones.
    """

    def must_count() -> None:
        if not counts():
            raise AskError("not_counting", "gateway.count_traffic is off: this node counts no traffic")

    async def traffic(request: Mapping[str, Any]) -> Mapping[str, Any]:
        """The closed minutes after `after`, the open ones, and what is watched from now on."""
        must_count()
        after = _whole(request, "after", 0)
        watches = request.get("watches")
        if watches is not None and not isinstance(watches, list):
            raise AskError("malformed", "watches must be a list, or be left out for what is watched already")
        text = None if watches is None else json.dumps(watches)
        try:
            told = await asyncio.to_thread(gateway.traffic, after, text)
        except ValueError as error:
            raise AskError("malformed", str(error)) from None
        return {"node": node, "now_ms": int(clock() * 1000), **told}

    async def sketches(request: Mapping[str, Any]) -> Mapping[str, Any]:
        """The sketches of one hour, from a cursor on."""
        must_count()
        hour = _whole(request, "hour", None)
        after = None if request.get("after") is None else min(_whole(request, "after", 0), 2**32 - 1)
        told = await asyncio.to_thread(gateway.sketches, hour, after)
        rows = [(trunk, key, _text(callers), _text(callees)) for trunk, key, callers, callees in told["sketches"]]
        return {"node": node, "now_ms": int(clock() * 1000), "hour": hour, **told, "sketches": rows}

    return {"traffic": traffic, "sketches": sketches}


def _whole(request: Mapping[str, Any], key: str, default: int | None) -> int:
    value = request.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MOST:
        raise AskError("malformed", f"{key} must be a whole number from 0 to {_MOST - 1}")
    return value


def _text(sketch: bytes) -> str:
    return base64.b64encode(sketch).decode()
