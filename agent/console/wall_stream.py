"""The wall's pieces as events: rendered once for each language, and only those that changed, for all who look.

Who begins gets every piece; who missed a look gets every piece again. A piece has no viewer in it.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from agent.console.page import House
from agent.wall import Wall
from agent.wall.wall import Look

PIECES: Final = {
    "figures": ("calls", "nodes", "orders"),
    "alarms": ("alarms", "health", "because"),
    "trunks": ("calls",),
    "nodes": ("nodes",),
    "parts": ("broker", "feed", "ledger", "redis", "outbox"),
    "orders": ("orders",),
    "deadlines": ("deadlines",),
    "changes": ("changes",),
}
"""Each piece of the page, and what of the record it shows. Its template is wall/<piece>.html."""
STILL_IN_SECONDS: Final = 20
"""How often it is looked whether the one who watches is still signed in."""


@dataclass
class _Rendered:
    """The newest look in one language: every piece, those that changed, and after which look that holds."""

    n: int = 0
    before: int = 0
    marks: dict[str, str] = field(default_factory=dict)
    pieces: dict[str, bytes] = field(default_factory=dict)
    changed: bytes = b""
    whole: bytes = b""


class WallStream:
    """The streams of one console."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._rendered: dict[str, _Rendered] = {}

    async def pieces(self, wall: Wall, language: str, still_in: Callable[[], Awaitable[bool]]) -> AsyncIterator[bytes]:
        """What one viewer gets, until they leave or are signed out."""
        seen = asked = 0
        async for look in wall.follow():
            asked += 1
            if asked % STILL_IN_SECONDS == 0 and not await still_in():
                return
            rendered = self._render(look, language)
            yield rendered.changed if seen == rendered.before else rendered.whole
            seen = rendered.n

    def _render(self, look: Look, language: str) -> _Rendered:
        known = self._rendered.setdefault(language, _Rendered())
        if known.n == look.n:
            return known
        marks = {piece: _mark(look.record, parts) for piece, parts in PIECES.items()}
        new = {piece: self._piece(piece, look, language) for piece in PIECES if known.marks.get(piece) != marks[piece]}
        beat = _event("beat", json.dumps(_beat(look), separators=(",", ":")))
        pieces = known.pieces | new
        rendered = _Rendered(look.n, known.n, marks, pieces, b"".join([*new.values(), beat]))
        rendered.whole = b"".join([*pieces.values(), beat])
        self._rendered[language] = rendered
        return rendered

    def _piece(self, piece: str, look: Look, language: str) -> bytes:
        template = self._house.templates.get_template(f"wall/{piece}.html")
        return _event(piece, template.render(wall=look.record, language=language, now=datetime.now(UTC)))


def _mark(record: dict[str, Any], parts: tuple[str, ...]) -> str:
    """What a piece shows, without when it was looked at."""
    shown = {part: record.get(part) for part in parts}
    return json.dumps({part: _without_age(value) for part, value in shown.items()}, sort_keys=True)


def _without_age(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    items = [{k: v for k, v in item.items() if k != "seen_at"} for item in value.get("items", [])]
    return {k: v for k, v in value.items() if k not in ("at", "items")} | {"items": items}


def _beat(look: Look) -> dict[str, Any]:
    """The course's newest point, and the age of each part."""
    record = look.record
    ages = {part: value["at"] for part, value in record.items() if isinstance(value, dict) and "at" in value}
    ages |= {f"node-{node['node']}": node["seen_at"] for node in record["nodes"]["items"] if node["seen_at"]}
    return {"point": look.point, "ages": ages}


def _event(name: str, text: str) -> bytes:
    lines = "".join(f"data: {line}\n" for line in text.splitlines())
    return f"event: {name}\n{lines}\n".encode()
