"""Style sheet, scripts and the sign: read once at the start, served under names that change with their content."""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from starlette.requests import Request
from starlette.responses import Response

HERE: Final = Path(__file__).parent / "static"
FILES: Final = {
    "clearances.js": "text/javascript",
    "palang.css": "text/css",
    "palang.js": "text/javascript",
    "wall.js": "text/javascript",
    "traffic.js": "text/javascript",
    "palang.svg": "image/svg+xml",
    "vendor/htmx.min.js": "text/javascript",
    "vendor/sse.min.js": "text/javascript",
    "vendor/uPlot.iife.min.js": "text/javascript",
    "vendor/uPlot.min.css": "text/css",
}
"""All that is served; nothing else in the folder is reachable."""
_FOR_GOOD: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Static:
    """The files' bytes and marks."""

    bodies: dict[str, bytes]
    marks: dict[str, str]

    @classmethod
    def read(cls) -> Self:
        """Read them all. Raises FileNotFoundError where `make setup` has not run."""
        bodies = {name: (HERE / name).read_bytes() for name in FILES}
        return cls(bodies, {name: _mark(body) for name, body in bodies.items()})

    def path(self, name: str) -> str:
        """Where a page finds the file. Raises KeyError for one that is not in the table."""
        return f"/static/{self.marks[name]}/{name}"

    def answer(self, mark: str, name: str, request: Request) -> Response | None:
        """The file; None when there is none of that name. A name of before is answered with what is there now."""
        if name not in self.bodies:
            return None
        headers = {
            "Cache-Control": _FOR_GOOD if mark == self.marks[name] else "no-cache",
            "ETag": f'"{self.marks[name]}"',
        }
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(self.bodies[name], media_type=FILES[name], headers=headers)


def _mark(body: bytes) -> str:
    """Ten letters of the content's hash; letters only, so that no run of digits stands in a path."""
    letters = base64.b16encode(hashlib.sha256(body).digest())[:10].lower()
    return letters.translate(bytes.maketrans(b"0123456789", b"ghijklmnop")).decode()
