"""What the agent counts as it works: requests by the template of their route, sign-ins by what came of them."""

from fastapi import APIRouter, FastAPI, HTTPException
from httpx import ASGITransport, AsyncClient

from agent.figures import Figures, counted

NUMBER = "+6281234567890"


def _app(figures: Figures) -> FastAPI:
    """An API in which a sign-in answers with the status that the body asks for."""
    router = APIRouter(prefix="/sessions")

    @router.post("")
    async def sign_in(status: int) -> None:
        if status != 200:
            raise HTTPException(status)

    @router.get("/{name}")
    async def one(name: str) -> str:
        if name == "fails":
            raise RuntimeError
        return name

    api = FastAPI()
    api.include_router(router, prefix="/v1")
    return counted(api, figures)


async def test_paths_are_counted_by_template_and_sign_ins_by_outcome() -> None:
    figures = Figures()
    transport = ASGITransport(_app(figures), raise_app_exceptions=False)
    async with AsyncClient(transport=transport, base_url="http://x") as client:
        for status in (200, 401, 401, 422, 429):
            await client.post("/v1/sessions", params={"status": status})
        for path in (f"/v1/sessions/{NUMBER}", "/v1/sessions/fails", f"/{NUMBER}", f"/v1/{NUMBER}"):
            await client.get(path)
        await client.request(NUMBER.strip("+"), "/v1/sessions/x")
    text = figures.text()
    assert NUMBER not in text and NUMBER[1:] not in text
    for line in (
        'palang_sign_ins_total{outcome="ok"} 1.0',
        'palang_sign_ins_total{outcome="refused"} 3.0',
        'palang_sign_ins_total{outcome="throttled"} 1.0',
        'palang_api_requests_total{method="GET",route="/v1/sessions/{name}",status="200"} 1.0',
        'palang_api_requests_total{method="GET",route="/v1/sessions/{name}",status="500"} 1.0',
        'palang_api_requests_total{method="GET",route="none",status="404"} 2.0',
        'palang_api_request_duration_seconds_count{route="/v1/sessions"} 5.0',
    ):
        assert line in text.splitlines(), text
    assert 'method="other"' in text
