"""Requests of our own services, counted: by known routes only, and /metrics for Prometheus alone."""

import asyncio

import httpx
from prometheus_client.parser import text_string_to_metric_families
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from ai102.metrics.asgi import Counted
from tests.api.stand_in import api


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/broken":
        raise RuntimeError("a defect")
    await PlainTextResponse("here", 200 if scope["path"] == "/known" else 404)(scope, receive, send)


def client_of(counted: Counted) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(counted, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://service")


def samples(text: str, name: str) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(text)
    rows = [sample for family in families for sample in family.samples if sample.name == name]
    return {tuple(row.labels.values()): row.value for row in rows}


def test_requests_are_counted_by_known_routes_and_status() -> None:
    async def run() -> str:
        async with client_of(Counted(application, ["/known", "/broken"])) as client:
            for path in ("/known", "/known", "/made-up-1", "/made-up-2", "/broken"):
                await client.get(path)
            return (await client.get("/metrics")).text

    text = asyncio.run(run())
    assert samples(text, "ai102_http_requests_total") == {
        ("/known", "200"): 2, ("other", "404"): 2, ("/broken", "499"): 1,
    }  # fmt: skip
    assert samples(text, "ai102_http_in_flight") == {(): 0}
    assert samples(text, "process_resident_memory_bytes")[()] > 1e6


def test_metrics_are_not_for_those_in_front_of_a_gateway() -> None:
    async def run() -> list[int]:
        async with client_of(Counted(application, ["/known"])) as client:
            forwarded = await client.get("/metrics", headers={"X-Forwarded-For": "10.0.0.1"})
            return [(await client.get("/metrics")).status_code, forwarded.status_code]

    assert asyncio.run(run()) == [200, 404]


def test_the_friendly_api_counts_its_routes() -> None:
    async def run() -> str:
        async with api() as served:
            assert (await served.http.post("/v1/embed", json={"text": "hello"})).status_code == 200
            return (await served.http.get("/metrics")).text

    assert samples(asyncio.run(run()), "ai102_http_requests_total")["/v1/embed", "200"] == 1
