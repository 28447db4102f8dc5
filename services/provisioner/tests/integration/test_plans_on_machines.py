"""A cluster of one node of each role, brought up by its plans alone on the sandbox's emulated machines.

The agents, the TLS listener, the certificates and the mirror are real; the programs act on what the plans wrote.
"""

import asyncio
import gzip
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from slipway_chassis.clock import SystemClock
from slipway_chassis.releases import Release, load_releases
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
from slipway_sandbox.machines.image import RUNTIME, Image
from slipway_sandbox.machines.mirror import PACKAGES, make_mirror
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
async def some_machines(cloud: FakeServers, image: Image | None = None) -> AsyncIterator[MachineRunner]:
    """Each server of the cloud gets an emulated machine."""
    runner = MachineRunner(cloud, World(pace=Pace(boot=0.0), image=image))
    running = asyncio.create_task(runner.run(0.2))
    try:
        yield runner
    finally:
        running.cancel()
        await asyncio.wait([running])
        await runner.close()


@dataclass
class Nodes:
    """One node of each role: their plans, their machines, and the folder of the mirror."""

    bench: Interfaces
    runner: MachineRunner
    mirror: Path

    async def reach(self, words: dict[Role, str]) -> None:
        """Wait until these nodes are as far as the words say, each a part of what is said."""

        async def is_so() -> bool:
            found = await applied(self.bench)
            return all(said in found[role] for role, said in words.items())

        try:
            await eventually(is_so, f"nodes say {words}", within=BOUND)
        except AssertionError:
            pytest.fail(str(await applied(self.bench)))


@asynccontextmanager
async def a_cluster(
    folder: Path, *, image: Image | None = None, release: Release | None = None, spoil: str | None = None
) -> AsyncIterator[Nodes]:
    """Its nodes have their plans. `spoil` names a file of the mirror that is another one than releases.yaml says."""
    subnet = f"127.{30 + os.getpid() % 60}.{os.getpid() // 60 % 250}"
    release = release or load_releases(make_mirror(folder / "mirror", [RELEASE])).named(RELEASE)
    if spoil is not None:
        (folder / "mirror" / RELEASE / spoil).write_bytes(gzip.compress(b"a miner"))
    cloud = FakeServers()
    async with (
        a_listener(folder) as bench,
        serve_app(build_mirror(folder / "mirror"), 0) as mirror,
        some_machines(cloud, image) as runner,
    ):
        for role in Role:
            inputs = plan_inputs(role, subnet=subnet, etcd_addresses=(f"{subnet}.11",), release=release, mirror=mirror)
            inputs = replace(inputs, endpoint=Endpoint(f"{subnet}.21", 6443))
            await bench.keep(inputs)
            cloud.servers[role] = CloudServer(
                role, inputs.node.name, "ACTIVE", "az1", inputs.address, await bench.user_data(role), boots=1
            )
        yield Nodes(bench, runner, folder / "mirror" / RELEASE)


EVERYTHING = dict.fromkeys(Role, "applied")


async def test_a_cluster_comes_up_on_emulated_machines(tmp_path: Path) -> None:
    async with a_cluster(tmp_path) as nodes:
        await nodes.reach(EVERYTHING)
        worker = nodes.runner.machines[Role.WORKER].host
        assert worker.disk.find("/usr/local/bin/containerd") is None, "the image has one"
        assert worker.disk.find("/etc/systemd/system/containerd.service") is None


async def test_machines_without_a_runtime_come_up_with_the_mirrors(tmp_path: Path) -> None:
    async with a_cluster(tmp_path, image=Image(lacks=RUNTIME)) as nodes:
        await nodes.reach(EVERYTHING)
        worker = nodes.runner.machines[Role.WORKER].host
        for path in ("/usr/local/bin/containerd", "/usr/local/sbin/runc", "/opt/cni/bin/portmap"):
            assert worker.disk.find(path), path
        assert worker.unit_states(["containerd.service"]) == {"containerd.service": "active"}
        assert nodes.runner.machines[Role.ETCD].host.disk.find("/usr/local/bin/containerd") is None
        await nodes.runner.machines[Role.WORKER].reboot()

        async def runs_again() -> bool:
            return set(worker.unit_states(["containerd.service", "kubelet.service"]).values()) == {"active"}

        await eventually(runs_again, "the worker's units run after a boot", within=BOUND)


async def test_a_wrong_archive_stops_the_node_with_that_cause_until_the_mirror_is_mended(tmp_path: Path) -> None:
    async with a_cluster(tmp_path, image=Image(lacks=RUNTIME), spoil=PACKAGES["containerd"]) as nodes:
        says = f"{PACKAGES['containerd']} has SHA-256"
        await nodes.reach({Role.ETCD: "applied", Role.CONTROLLER: says, Role.WORKER: says})
        worker = nodes.runner.machines[Role.WORKER].host
        assert not worker.exists("/usr/local/bin/containerd")
        assert worker.unit_states(["containerd.service"]) == {"containerd.service": "absent"}
        make_mirror(nodes.mirror.parent, [RELEASE])
        await nodes.reach(EVERYTHING)


async def test_an_archive_with_a_runtime_out_of_range_stops_the_node(tmp_path: Path) -> None:
    """The mirror's maker has put an old containerd there, with its right digest."""
    made = make_mirror(tmp_path / "mirror", [RELEASE])
    old = "containerd-1.7.28-linux-amd64.tar.gz"
    shutil.copy(tmp_path / "mirror" / RELEASE / PACKAGES["containerd"], tmp_path / "mirror" / RELEASE / old)
    table = load_releases(made).named(RELEASE)
    named = table.artifacts | {
        "containerd": table.artifacts["containerd"].model_copy(update={"file": f"{RELEASE}/{old}"})
    }
    async with a_cluster(
        tmp_path, image=Image(lacks=RUNTIME), release=table.model_copy(update={"artifacts": named})
    ) as nodes:
        await nodes.reach({Role.WORKER: "containerd is 1.7.28; this release needs 2.0.0 or newer"})
