"""P1: what Slipway itself adds to a heal: fault visible to replacement ready, without policy waits, cloud and machine.

Two intervals are ours, read from the events' own times on one clock:

    front  the provisioner says that the server is gone -> it has accepted the replacement and begins with its port
           (message, decision, two commits, message)
    back   the replacement's plan is applied to its end -> the monitor says that the node is ready

The floor, measured in the same run, is a bare chain of the same two hops on the same broker and disk: a message, a fact
and its commit, a reconciliation that commits and says something, and the same once more at the other side.
"""

import asyncio
import statistics
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis import facts, work
from slipway_chassis.clock import SystemClock
from slipway_chassis.runner import App, running
from slipway_chassis.service import Service
from slipway_chassis.settings import ServiceSettings
from slipway_chassis.testing import a_database, eventually
from slipway_chassis.work import Lease
from slipway_contracts.api import ClusterSpec, ClusterSpecChanged
from slipway_contracts.healer import ClusterHold, ClusterHoldChanged, Hold
from slipway_contracts.monitor import NodeReady
from slipway_contracts.provisioner import NodeProvisioned, NodeState, ServerState
from slipway_contracts.testing import a_cluster_spec
from slipway_platform.demo import sandbox_region
from slipway_platform.platform import Platform, remove_namespace
from slipway_platform.platform import running as platform_running
from tests.bench.events import listening

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

HEALS = 10
CHAINS = 200


def test_heal_overhead(amqp_url: str, tmp_path: Path) -> None:
    with platform_running(Platform(tmp_path, amqp_url, sandbox_region())) as platform:
        slipway(platform, "cluster", "create", "bench", "--etcd", "1", "--controllers", "1", "--workers", "3")
        heals = [asyncio.run(one_heal(platform, amqp_url)) for _ in range(HEALS)]
        slipway(platform, "cluster", "delete", "bench", "--yes")
    floor = asyncio.run(bare_chains(amqp_url, tmp_path))
    report("floor (one hop and back)", floor)
    report("front", [front for front, _ in heals])
    report("back", [back for _, back in heals])
    report("overhead (front + back)", [front + back for front, back in heals])
    ratio = statistics.median(front for front, _ in heals) / statistics.median(floor)
    print(f"front / floor, medians: {ratio:.1f}")


def report(what: str, seconds: list[float]) -> None:
    ordered = sorted(value * 1000 for value in seconds)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(f"{what}: p50 {statistics.median(ordered):.0f} ms, p99 {p99:.0f} ms, n {len(ordered)}")


def slipway(platform: Platform, *arguments: str) -> None:
    environment = {
        "OS_CLIENT_CONFIG_FILE": str(platform.clouds_yaml),
        "OS_CLOUD": platform.cloud_access.user,
        "SLIPWAY_ENDPOINT": platform.endpoint,
        "PATH": "/usr/bin:/bin",
    }
    command = [sys.executable, "-m", "slipway_cli", *arguments]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=300)


async def one_heal(platform: Platform, amqp_url: str) -> tuple[float, float]:
    """Make a worker's server vanish; returns the two intervals in seconds."""
    async with listening(amqp_url, platform.namespace) as events:
        async with httpx.AsyncClient() as client:
            servers = (await client.get(f"{platform.cloud_control}/servers")).json()["servers"]
            victim = next(each for each in servers if "-worker-" in each["name"] and each["status"] == "ACTIVE")
            how = {"mode": "vanish"}
            (await client.post(f"{platform.cloud_control}/servers/{victim['id']}/kill", json=how)).raise_for_status()
        gone = accepted = provisioned = None
        replacement = ""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            event = await asyncio.wait_for(events.get(), timeout=120)
            body = event.data
            if isinstance(body, NodeState) and body.row.name == victim["name"]:
                if body.server_state is ServerState.GONE and gone is None:
                    gone = event.time
            elif isinstance(body, NodeState) and gone is not None and accepted is None:
                accepted, replacement = event.time, body.node_id
            elif isinstance(event, NodeProvisioned) and body.node_id == replacement and provisioned is None:
                provisioned = event.time
            elif isinstance(event, NodeReady) and body.node_id == replacement:
                assert gone is not None
                assert accepted is not None
                # the monitor may see the kubelet ready before the agent has reported the end of its plan
                back = (event.time - provisioned).total_seconds() if provisioned else 0.0
                return (accepted - gone).total_seconds(), max(back, 0.0)
    raise AssertionError("the worker was not replaced within 120 s")


class Echo:
    """Answers each generation of a cluster with a hold that names it: the least that a service can do."""

    kind = "cluster"

    def __init__(self) -> None:
        self.service: Service

    async def reconcile(self, lease: Lease) -> timedelta | None:
        async with self.service.transaction() as session:
            await work.require(session, lease)
            spec = await facts.fact_of(session, ClusterSpec, f"clusters/{lease.key}")
            assert spec is not None
            hold = ClusterHold(
                cluster_id=lease.key,
                hold=Hold.NONE,
                operation_id=spec.body.operation_id,
                since=spec.body.created_at,
            )
            await self.service.announce(session, ClusterHoldChanged, f"clusters/{lease.key}/hold", hold)
        return timedelta(minutes=1)

    async def refused(self, session: AsyncSession, key: str, refusal: Any) -> None:
        raise AssertionError("nothing is refused here")


async def bare_chains(amqp_url: str, folder: Path) -> list[float]:
    """The round trip api -> echo -> api, each with a fact and a commit, in seconds."""
    namespace, clock, echo = "bench-floor", SystemClock(), Echo()
    answered: asyncio.Queue[str] = asyncio.Queue()

    async def on_spec(session: AsyncSession, event: ClusterSpecChanged) -> None:
        await work.mark_dirty(session, "cluster", event.data.cluster_id, clock.now())

    async def on_hold(session: AsyncSession, event: ClusterHoldChanged) -> None:
        answered.put_nowait(event.data.operation_id or "")

    def service(name: str, region: str, database: Any, routes: Any, reconcilers: Any) -> Service:
        return Service(name, region, database, clock, MetaData(), routes, reconcilers)

    databases = [await a_database(folder, name=name) for name in ("floor-api", "floor-echo")]
    api = service("api", "global", databases[0], {ClusterHoldChanged: on_hold}, [])
    healer = service("healer", "tokyo", databases[1], {ClusterSpecChanged: on_spec}, [echo])
    echo.service = healer
    settings = ServiceSettings(amqp_url=amqp_url, bus_namespace=namespace, workers=1)
    taken = []
    try:
        async with running(App(api, settings)) as one, running(App(healer, settings)) as other:
            await eventually(one.is_ready, "the api consumes")
            await eventually(other.is_ready, "the echo consumes")
            for generation in range(1, CHAINS + 1):
                began = time.perf_counter()
                spec = a_cluster_spec(generation=generation)
                async with api.transaction() as session:
                    await api.announce(session, ClusterSpecChanged, "clusters/c1", spec, region="tokyo")
                while await asyncio.wait_for(answered.get(), timeout=30) != spec.operation_id:
                    pass
                taken.append(time.perf_counter() - began)
    finally:
        for database in databases:
            await database.close()
        await remove_namespace(amqp_url, namespace, "tokyo")
    return taken
