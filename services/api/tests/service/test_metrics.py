"""The REST API is observable: by path patterns, never by objects."""

import httpx
from prometheus_client import generate_latest

from slipway_api.testing_platform import Platform


async def test_requests_are_counted_by_the_pattern_of_their_path(platform: Platform, alice: httpx.AsyncClient) -> None:
    await alice.post("/v1/clusters", json={"name": "shop"})
    for path in ("/v1/clusters/shop", "/v1/clusters/nobody", "/nonsense"):
        await alice.get(path)
    told = generate_latest(platform.service.registry).decode()
    for line in (
        'slipway_api_requests_total{method="POST",path="/v1/clusters",status="202"} 1.0',
        'slipway_api_requests_total{method="GET",path="/v1/clusters/{cluster}",status="200"} 1.0',
        'slipway_api_requests_total{method="GET",path="/v1/clusters/{cluster}",status="404"} 1.0',
        'slipway_api_requests_total{method="GET",path="other",status="404"} 1.0',
        "slipway_api_streams 0.0",
    ):
        assert line in told
    assert "shop" not in told
