"""A cluster of one node of each role, brought up by its plans alone on the sandbox's emulated machines.

The agents, the TLS listener, the certificates and the mirror are real; the programs act on what the plans wrote.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from slipway_chassis.clock import SystemClock
from slipway_chassis.releases import load_releases
from slipway_chassis.testing import a_database, eventually
from slipway_chassis.tls import make_service_pki
from slipway_contracts.values import Role
from slipway_provisioner.domain.pki import Authority
from slipway_provisioner.domain.plans.model import Endpoint
from slipway_provisioner.domain.plans.testing import plan_inputs
from slipway_provisioner.peers import PeerAuthorities
from slipway_provisioner.plan_progress import plan_progress
from slipway_provisioner.servers import build_application, server_context, serving
from slipway_provisioner.store import metadata
from slipway_provisioner.testing.interfaces import Interfaces
from slipway_sandbox.machines.cli import build_mirror, serve_app
from slipway_sandbox.machines.mirror import make_mirror
from slipway_sandbox.machines.runner import MachineRunner
from slipway_sandbox.machines.servers import CloudServer
from slipway_sandbox.machines.testing.slipway import FakeServers
from slipway_sandbox.machines.world import Pace, World

machines = pytest.importorskip(
    "slipway_sandbox.machines.runner", reason="install the workspace: uv sync --all-packages"
)

RELEASE = "v1.36.3"
BOUND = 60.0
"""Seconds."""


async def applied(bench: Interfaces) -> dict[Role, str]:
    """How far each node's plan is, in words."""
    words = {}
    async with bench.database.reading() as session:
        for role in Role:
            progress = await plan_progress(session, plan_inputs(role).node.node_id, bench.clock.now())
            cause = progress.cause or progress.waiting
            words[role] = "applied" if progress.applied else f"{progress.percent} %: {cause}"
    return words


@asynccontextmanager
async def a_listener(folder: Path) -> AsyncIterator[Interfaces]:
    """The agents' interface behind its TLS listener, with a database and PKI in this folder."""
    pki = folder / "pki"
    make_service_pki(pki, ["127.0.0.1"])
    bench = Interfaces(await a_database(folder, metadata), clock=SystemClock())
    agents_pem = (pki / "agent-ca.pem").read_text()
    agents = Authority(agents_pem, (pki / "agent-ca.key").read_text())
    bench.adopt(PeerAuthorities((pki / "ca.pem").read_text(), agents_pem), agents)
    await bench.add_cluster()
    application = build_application(bench.agent_api.dispatch, bench.signing_api.dispatch, bench.authorities)
    tls = server_context(pki / "provisioner.pem", pki / "provisioner.key", bench.authorities)
    try:
        async with serving(application, tls, "127.0.0.1", 0, bench.agent_api.stop) as port:
            bench.url = f"https://127.0.0.1:{port}"
            yield bench
    finally:
        await bench.database.close()


@asynccontextmanager
async def some_machines(cloud: FakeServers) -> AsyncIterator[None]:
    """Each server of the cloud gets an emulated machine."""
    runner = MachineRunner(cloud, World(pace=Pace(boot=0.0)))
    running = asyncio.create_task(runner.run(0.2))
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])
        await runner.close()


async def test_a_cluster_comes_up_on_emulated_machines(tmp_path: Path) -> None:
    subnet = f"127.{30 + os.getpid() % 60}.{os.getpid() // 60 % 250}"
    make_mirror(tmp_path / "mirror", [RELEASE])
    release = load_releases(tmp_path / "mirror" / "releases.yaml").named(RELEASE)
    endpoint = Endpoint(f"{subnet}.21", 6443)
    cloud = FakeServers()
    async with (
        a_listener(tmp_path) as bench,
        serve_app(build_mirror(tmp_path / "mirror"), 0) as mirror,
        some_machines(cloud),
    ):
        for role in Role:
            inputs = plan_inputs(role, subnet=subnet, etcd_addresses=(f"{subnet}.11",), release=release, mirror=mirror)
            inputs = replace(inputs, endpoint=endpoint)
            await bench.keep(inputs)
            cloud.servers[role] = CloudServer(
                role, inputs.node.name, "ACTIVE", "az1", inputs.address, await bench.user_data(role), boots=1
            )

        async def is_up() -> bool:
            return set((await applied(bench)).values()) == {"applied"}

        try:
            await eventually(is_up, "all plans are applied", within=BOUND)
        except AssertionError:
            pytest.fail(str(await applied(bench)))
