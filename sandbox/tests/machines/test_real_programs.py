"""Machines whose etcd and control plane are real processes: a cluster works on them, and they live as machines do."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from slipway_sandbox.machines.binaries import PROGRAMS, find_binaries
from slipway_sandbox.machines.programs.kube_client import KubeClient
from slipway_sandbox.machines.runner import MachineRunner, run_machines
from slipway_sandbox.machines.servers import CloudServer
from slipway_sandbox.machines.testing.plans import Layout
from slipway_sandbox.machines.testing.slipway import FakeServers, FakeSlipway, serve_slipway
from slipway_sandbox.machines.testing.waiting import until
from slipway_sandbox.machines.world import Pace

ASSETS = Path(os.environ.get("KUBEBUILDER_ASSETS", "/nowhere"))
HOW = f"no real programs: set KUBEBUILDER_ASSETS to a folder with {', '.join(PROGRAMS)}"
pytestmark = [
    pytest.mark.skipif(not all((ASSETS / program).exists() for program in PROGRAMS), reason=HOW),
    pytest.mark.timeout(240),
]

NET = f"127.{100 + os.getpid() % 100}.220"
LAYOUT = Layout({"e0": f"{NET}.10"}, {"c0": f"{NET}.20"}, {"w0": f"{NET}.30"}, f"{NET}.20:6443")
BOUND = 90.0
"""Seconds, on a busy machine."""


@dataclass
class RealCluster:
    """One node of each role."""

    slipway: FakeSlipway
    servers: FakeServers
    runner: MachineRunner
    hosts: Path
    admin: KubeClient

    async def ok(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        status, answer = await self.admin.send(method, path, body)
        assert status < 300, answer
        return answer

    async def applied(self) -> None:
        await until(lambda: len(self.slipway.reports) == 3 and set(self.slipway.states().values()) == {"done"}, BOUND)

    async def eventually(self, path: str, holds: Callable[[Any], bool]) -> None:
        """Returns as soon as this holds for what is at the path."""

        async def look() -> bool:
            status, answer = await self.admin.send("GET", path)
            return status == 200 and holds(answer)

        await until(look, BOUND)


@asynccontextmanager
async def a_real_cluster(folder: Path) -> AsyncIterator[RealCluster]:
    hosts = folder / "hosts"
    async with serve_slipway(LAYOUT, folder / "mirror") as slipway:
        servers = FakeServers()
        for name, address in (LAYOUT.etcd | LAYOUT.controllers | LAYOUT.workers).items():
            servers.servers[name] = CloudServer(name, name, "ACTIVE", "zone-1", address, slipway.user_data(name), 1)
        binaries = find_binaries([ASSETS], hosts)
        pace = Pace(boot=0.0, kubelet_heartbeat=1.0, agent_speed=4.0)
        async with run_machines(servers, every=0.05, pace=pace, binaries=binaries) as runner:
            authority = slipway.authorities["kubernetes"]
            issued = authority.issue("admin", ("system:masters",))
            admin = KubeClient(
                f"https://{LAYOUT.endpoint}",
                authority.certificate_pem,
                issued.certificate_pem,
                issued.key_pem,
                runner.world.http,
            )
            yield RealCluster(slipway, servers, runner, hosts, admin)


def processes(of: Path) -> list[str]:
    """Command lines of this computer that name the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0")
        except (OSError, UnicodeDecodeError):
            continue
        if any(str(of) in word for word in words[1:]):
            found.append(Path(words[0]).name)
    return sorted(found)


def ready(nodes: dict[str, Any]) -> dict[str, str]:
    return {
        node["metadata"]["name"]: condition["status"]
        for node in nodes["items"]
        for condition in node["status"]["conditions"]
        if condition["type"] == "Ready"
    }


def workload(kind: str, name: str, volumes: tuple[str, ...] = (), **spec: Any) -> dict[str, Any]:
    labels = {"app": name}
    pod = {
        "containers": [{"name": "main", "image": f"{name}:1"}],
        "volumes": [{"name": f"v{n}", "hostPath": {"path": path}} for n, path in enumerate(volumes)],
        "hostNetwork": bool(volumes),
        "tolerations": [{"operator": "Exists"}],
    }
    template = {"metadata": {"labels": labels}, "spec": pod}
    body = {"selector": {"matchLabels": labels}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": body}


async def test_a_cluster_works_and_dies_with_its_machines(tmp_path: Path) -> None:
    apps, pods = "/apis/apps/v1/namespaces/default", "/api/v1/namespaces/default/pods"
    async with a_real_cluster(tmp_path) as cluster:
        await cluster.applied()
        await cluster.eventually("/api/v1/namespaces/default/serviceaccounts/default", lambda _: True)
        await cluster.ok("POST", f"{apps}/daemonsets", workload("DaemonSet", "flannel", ("/etc/cni/net.d",)))
        await cluster.ok("POST", f"{apps}/deployments", workload("Deployment", "web", replicas=2))
        await cluster.eventually(f"{apps}/deployments/web", lambda found: found["status"].get("availableReplicas") == 2)
        await cluster.eventually("/api/v1/nodes", lambda found: ready(found) == {"c0": "True", "w0": "True"})

        found = (await cluster.ok("GET", f"{pods}?labelSelector=app%3Dweb"))["items"]
        name = found[0]["metadata"]["name"]
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        await cluster.ok("POST", f"{pods}/{name}/eviction", eviction)
        await cluster.eventually(
            f"{pods}?labelSelector=app%3Dweb",
            lambda found: (
                name not in {pod["metadata"]["name"] for pod in found["items"]}
                and [pod["status"]["phase"] for pod in found["items"]] == ["Running", "Running"]
            ),
        )

        await cluster.runner.find("e0").reboot()
        await cluster.eventually(f"{apps}/deployments/web", lambda found: found["status"]["availableReplicas"] == 2)

        api_servers = cluster.hosts / "c0"
        assert processes(api_servers) == ["kube-apiserver", "kube-controller-manager", "kube-scheduler"]
        await cluster.runner.find("c0").kill()
        assert processes(api_servers) == []
        assert processes(cluster.hosts / "e0") == ["etcd"]
        assert (cluster.hosts / "e0" / "var/lib/etcd/member").exists()
        del cluster.servers.servers["e0"]
        await until(lambda: not (cluster.hosts / "e0").exists())
    assert processes(cluster.hosts) == []
