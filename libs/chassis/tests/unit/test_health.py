"""/livez, /readyz and /metrics: what they say when something is missing, late or broken."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter
from starlette.responses import PlainTextResponse

from slipway_chassis import health
from slipway_chassis.health import Cause, Check, build_health


async def there() -> bool:
    return True


async def gone() -> bool:
    return False


async def never() -> bool:
    await asyncio.Event().wait()
    return True


async def mistaken() -> bool:
    raise KeyError("a mistake of ours")


async def ask(path: str, checks: Mapping[str, Check], causes: Mapping[str, Cause] | None = None) -> httpx.Response:
    registry = CollectorRegistry()
    Counter("slipway_looks", "Looks", registry=registry).inc()
    app = build_health(checks, registry, PlainTextResponse("the service's own"), causes)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
        return await client.get(path)


@pytest.mark.parametrize(
    ("bus", "status", "said"),
    [
        (there, 200, {"ready": True, "checks": {"database": True, "bus": True}, "causes": {}}),
        (gone, 503, {"ready": False, "checks": {"database": True, "bus": False}, "causes": {"bus": "no way there"}}),
        (never, 503, {"ready": False, "checks": {"database": True, "bus": False}, "causes": {"bus": "no way there"}}),
        (
            mistaken,
            503,
            {"ready": False, "checks": {"database": True, "bus": False}, "causes": {"bus": "no way there"}},
        ),
    ],
    ids=["all is there", "the bus is gone", "the bus does not answer", "asking the bus fails"],
)
async def test_readiness_says_what_is_missing(
    bus: Check, status: int, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "CHECKED_WITHIN", 0.05)
    causes: dict[str, Cause] = {"database": lambda: "not asked for", "bus": lambda: "no way there"}
    answer = await ask("/readyz", {"database": there, "bus": bus}, causes)
    assert (answer.status_code, answer.json()) == (status, said)


async def test_liveness_depends_on_nothing_outside() -> None:
    assert (await ask("/livez", {"database": never})).status_code == 200


async def test_metrics_are_those_of_the_service_and_all_else_is_its_own() -> None:
    assert "slipway_looks_total 1.0" in (await ask("/metrics", {})).text
    assert (await ask("/v1/clusters", {})).text == "the service's own"
