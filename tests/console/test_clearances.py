"""The unblock desk's pages over the real API in one process: the way through, forms, hashes, no number anywhere."""

import hashlib
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from fastapi import Request

from agent import api
from agent.access import NotSignedIn, Role, Viewer
from agent.access.people_door import VIEWER
from agent.console import face
from agent.console.forms import FIELD
from agent.console.static_files import HERE
from tests.agent.inside import Inside, inside, person
from tests.sync.house import order

A, B = "+6281234567890", "+6281234567891"
CANARY = "81234567"
DOCUMENT = "ab" * 32
EVIDENCE = {"reference": "KL-2026-7", "document": DOCUMENT, "reason": "holder came with passport", "exception": "true"}
PEOPLE = {
    "sri": person("sri", Role.OPERATOR),
    "budi": person("budi", Role.SUPERVISOR),
    "vina": person("vina", Role.VIEWER),
}


class CookieDoor:
    """Whoever the cookie names, or the console hands over."""

    async def identify(self, request: Request) -> Viewer:
        known = request.scope.get(VIEWER) or PEOPLE.get(request.cookies.get("person", ""))
        if not isinstance(known, Viewer):
            raise NotSignedIn("sign in first")
        return known


class Browser:
    """Somebody without JavaScript: pages are fetched, forms are filled in and posted."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def see(self, path: str) -> str:
        answer = await self._http.get(path)
        assert answer.status_code == 200, (path, answer.status_code)
        assert CANARY not in answer.text
        return answer.text

    async def post(self, path: str, fields: dict[str, str], status: int = 200, **files: bytes) -> str:
        token = re.search(rf'name="{FIELD}" value="([^"]+)"', await self.see("/clearances"))
        assert token is not None
        sent = {name: (f"{name}.pdf", content) for name, content in files.items()}
        answer = await self._http.post(
            path, data={FIELD: token[1], **fields}, files=sent or None, follow_redirects=True
        )
        assert answer.status_code == status, answer.text
        assert CANARY not in answer.text and CANARY not in str(answer.url)
        return answer.text


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Inside]:
    async with inside(tmp_path) as agent:
        yield agent


@pytest.fixture
async def browsers(agent: Inside) -> AsyncIterator[dict[str, Browser]]:
    asked = api.app(agent.parts, CookieDoor())
    transport = httpx.ASGITransport(app=face(asked))
    clients = {
        name: httpx.AsyncClient(transport=transport, base_url="http://console", cookies={"person": name})
        for name in PEOPLE
    }
    yield {name: Browser(http) for name, http in clients.items()}
    for http in clients.values():
        await http.aclose()


async def _blocked(agent: Inside, *numbers: str) -> str:
    block = order(1, *numbers, at=datetime.now(UTC))
    await agent.take(block)
    return block.id


async def test_one_opens_another_approves(agent: Inside, browsers: dict[str, Browser]) -> None:
    block = await _blocked(agent, A)
    sri, budi, vina = (browsers[name] for name in ("sri", "budi", "vina"))
    assert "Nothing waits here." in await sri.see("/clearances")
    assert "/clearances/open" not in await vina.see("/clearances")
    opened = await sri.post("/clearances/open", {"number": A, **EVIDENCE})
    for text in ("Opened. It waits", "c1", "•890", "KL-2026-7", "ends with the lift", "T-1", "PM Kominfo 5/2021"):
        assert text in opened, text
    assert block in opened and "/clearances/c1/approve" not in opened
    assert "/clearances/c1/approve" not in await vina.see("/clearances/c1")
    seen = await budi.see("/clearances/c1")
    assert 'action="/clearances/c1/approve"' in seen and 'formaction="/clearances/c1/refuse"' in seen
    assert "data-until" in await sri.see("/clearances")
    await sri.post("/clearances/c1/approve", {"reason": "it is mine"})
    assert "asked" in await sri.see("/clearances?state=asked") or "waits for two" in await sri.see("/clearances")
    done = await budi.post("/clearances/c1/approve", {"reason": "letter read"})
    assert "Approved." in done and "letter read" in done and "Lifted with revision" in done
    assert "There is none in this state." in await sri.see("/clearances?state=closed")


async def test_its_author_is_told_that_somebody_else_decides(agent: Inside, browsers: dict[str, Browser]) -> None:
    await _blocked(agent, A)
    opened = await browsers["budi"].post("/clearances/open", {"number": A, **EVIDENCE})
    assert "You asked for this; somebody else decides." in opened and "c1/approve" not in opened
    refused = await browsers["budi"].post("/clearances/c1/approve", {"reason": "my own"})
    assert "by its author" in refused


@pytest.mark.parametrize(
    ("fields", "status", "why"),
    [
        ({"number": "6,28E+12"}, 422, "shortened by a spreadsheet"),
        ({"number": "081234567890"}, 422, "does not begin with + and a country code"),
        ({"number": B}, 409, "nothing blocks this number"),
        ({"document": "ab"}, 422, "document: "),
        ({"reference": "12345678"}, 422, "reference: "),
    ],
)
async def test_what_is_refused_comes_back_without_the_number(
    agent: Inside, browsers: dict[str, Browser], fields: dict[str, str], status: int, why: str
) -> None:
    await _blocked(agent, A)
    page = await browsers["sri"].post("/clearances/open", {"number": A, **EVIDENCE, **fields}, status)
    assert why in page and "The number is not kept; give it again." in page
    assert 'value="holder came with passport"' in page
    assert re.search(r'<input type="tel"[^>]*>', page) and not re.search(r'<input type="tel"[^>]*value', page)


async def test_a_documents_hash_is_computed_and_the_document_dropped(
    agent: Inside, browsers: dict[str, Browser], tmp_path: Path
) -> None:
    content = b"%PDF a clarification"
    page = await browsers["sri"].post("/clearances/document", {"about": ""}, file=content)
    assert hashlib.sha256(content).hexdigest() in page
    assert not any(content in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    await browsers["sri"].post("/clearances/document", {"about": ""}, 413, file=b"x" * 1_024_001)


async def test_a_list_is_counted_opened_and_decided(agent: Inside, browsers: dict[str, Browser]) -> None:
    await _blocked(agent, A, B)
    sri = browsers["sri"]
    fields = {"numbers": f"# June\n{A}\n{B}\n+6281100000000\n", "reason": "sold again", "act": "count"}
    counted = await sri.post("/clearances/reassigned", fields)
    assert "3 numbers, 2 of them blocked, 0 with an open clearance: 2 reviews would be opened" in counted
    bad = await sri.post("/clearances/reassigned", {**fields, "numbers": f"{A}\n6,28E+12", "act": "open"}, 422)
    assert "line 2" in bad and "Nothing was done" in bad
    binary = await sri.post("/clearances/reassigned", {**fields, "numbers": ""}, 422, file=b"\xff\xfe6281")
    assert "not UTF-8" in binary
    opened = await sri.post(
        "/clearances/reassigned", {"reason": "sold again", "act": "open"}, file=f"{A}\n{B}\n".encode()
    )
    assert "2 reviews opened." in opened and "c1" in opened and "c2" in opened
    kept = await sri.post("/clearances/c1/keep", {"reason": "the scam goes on"})
    assert "The block stays." in kept and "block kept" in kept
    asked = await sri.post("/clearances/c2/lift", EVIDENCE)
    assert "waits for two" in asked
    assert "can&#39;t take the event" in await sri.post("/clearances/c1/lift", EVIDENCE)


async def test_who_may_not_open_is_told_so(agent: Inside, browsers: dict[str, Browser]) -> None:
    await _blocked(agent, A)
    await browsers["vina"].post("/clearances/open", {"number": A, **EVIDENCE}, 403)
    await browsers["vina"].post("/clearances/reassigned", {"numbers": A, "reason": "sold", "act": "count"}, 403)


def test_the_script_computes_what_we_compute() -> None:
    assert "crypto.subtle.digest" in (HERE / "clearances.js").read_text()
