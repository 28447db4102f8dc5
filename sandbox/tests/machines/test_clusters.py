"""Whole clusters on emulated machines: the node agent's own code applies real plans, and then things break."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from slipway_sandbox.machines.kubernetes import KubernetesModel, Storage
from slipway_sandbox.machines.kubernetes.rbac import MASTER
from slipway_sandbox.machines.runner import MachineRunner, run_machines
from slipway_sandbox.machines.servers import CloudServer
from slipway_sandbox.machines.testing.plans import PKI, Layout
from slipway_sandbox.machines.testing.slipway import FakeServers, FakeSlipway, serve_slipway
from slipway_sandbox.machines.testing.waiting import until
from slipway_sandbox.machines.world import Pace

NET = f"127.{100 + os.getpid() % 100}"
FAST = Pace(
    boot=0.0,
    program_start=0.02,
    command=0.0,
    static_pod_start=0.02,
    kubelet_heartbeat=0.2,
    kubelet_unready_look=0.05,
    kubelet_retry=0.05,
    controllers=0.05,
    agent_speed=10.0,
)
FLANNEL = {
    "metadata": {"name": "kube-flannel-ds"},
    "spec": {
        "selector": {"matchLabels": {"app": "flannel"}},
        "template": {
            "metadata": {"labels": {"app": "flannel"}},
            "spec": {
                "hostNetwork": True,
                "tolerations": [{"operator": "Exists"}],
                "containers": [{"name": "flannel", "image": "flannel:1"}],
                "volumes": [{"name": "cni", "hostPath": {"path": "/etc/cni/net.d"}}],
            },
        },
    },
}


@dataclass
class Cluster:
    """A running cluster and all that can be done to it."""

    slipway: FakeSlipway
    servers: FakeServers
    runner: MachineRunner

    @property
    def storage(self) -> Storage:
        return self.runner.world.etcd.all()[0].storage

    def request(self, method: str, path: str, body: Any = None) -> Any:
        model = KubernetesModel(self.storage, self.runner.world.now)
        status, answer = model.handle(method, path, {}, {"content-type": "application/merge-patch+json"}, body, MASTER)
        assert status < 300, answer
        return answer

    def ready(self) -> dict[str, str]:
        return {
            node["metadata"]["name"]: condition["status"]
            for node in self.storage.objects("nodes")
            for condition in node["status"]["conditions"]
            if condition["type"] == "Ready"
        }

    def probe(self, node: str, name: str) -> bool | None:
        probes = self.slipway.observations.get(node, {}).get("probes", [])
        return next((probe["healthy"] for probe in probes if probe["name"] == name), None)

    async def built(self) -> None:
        await until(lambda: len(self.slipway.reports) == len(self.servers.servers))
        await until(lambda: set(self.slipway.states().values()) == {"done"})


@asynccontextmanager
async def a_cluster(folder: Path, third: int, etcd: int = 3, workers: int = 1) -> AsyncIterator[Cluster]:
    """On loopback addresses of its own, so that clusters of parallel tests do not meet."""
    layout = Layout(
        etcd={f"e{n}": f"{NET}.{third}.{10 + n}" for n in range(etcd)},
        controllers={"c0": f"{NET}.{third}.20"},
        workers={f"w{n}": f"{NET}.{third}.{30 + n}" for n in range(workers)},
        endpoint=f"{NET}.{third}.20:6443",
        cluster=str(folder),
    )
    async with serve_slipway(layout, folder) as slipway:
        servers = FakeServers()
        for name, address in (layout.etcd | layout.controllers | layout.workers).items():
            server = CloudServer(name, name, "ACTIVE", "zone-1", address, slipway.user_data(name), 1)
            servers.servers[name] = server
        async with run_machines(servers, every=0.05, pace=FAST, seed=1) as runner:
            yield Cluster(slipway, servers, runner)


async def test_plans_alone_make_a_cluster_whose_nodes_are_ready_once_flannel_runs(tmp_path: Path) -> None:
    async with a_cluster(tmp_path, 201) as cluster:
        await cluster.built()
        await until(lambda: cluster.ready() == {"c0": "False", "w0": "False"})
        cluster.request("POST", "/api/v1/namespaces", {"metadata": {"name": "kube-flannel"}})
        cluster.request("POST", "/apis/apps/v1/namespaces/kube-flannel/daemonsets", FLANNEL)
        await until(lambda: cluster.ready() == {"c0": "True", "w0": "True"})
        node = cluster.request("GET", "/api/v1/nodes/w0")
        assert node["spec"]["providerID"] == "openstack:///w0"
        assert node["metadata"]["labels"]["slipway.dev/pool"] == "a"
        assert node["status"]["nodeInfo"]["kubeletVersion"] == "v1.36.3"
        assert {"type": "InternalIP", "address": f"{NET}.201.30"} in node["status"]["addresses"]
        controller = cluster.runner.find("c0")
        assert "kube-apiserver" in controller.describe()["pods"]
        assert not controller.host.exists("/etc/kubernetes/admin.conf")


async def test_etcd_loses_its_quorum_and_gets_it_back_with_its_data(tmp_path: Path) -> None:
    async with a_cluster(tmp_path, 202) as cluster:
        await cluster.built()
        await until(lambda: cluster.probe("c0", "api") is True)
        cluster.request("POST", "/api/v1/namespaces", {"metadata": {"name": "kept"}})
        await cluster.runner.find("e0").kill()
        await cluster.runner.find("e1").kill()
        await until(lambda: cluster.probe("c0", "api") is False)
        await until(lambda: cluster.probe("e2", "etcd") is False)
        await cluster.runner.find("e0").reboot()
        await until(lambda: cluster.probe("c0", "api") is True)
        assert cluster.request("GET", "/api/v1/namespaces/kept")


async def test_what_all_members_lost_is_lost(tmp_path: Path) -> None:
    async with a_cluster(tmp_path, 203, etcd=1) as cluster:
        await cluster.built()
        before = cluster.storage
        del cluster.servers.servers["e0"]
        clusters = cluster.runner.world.etcd
        await until(lambda: all(found.storage is not before for found in clusters.all()))


async def test_a_lost_agent_takes_nothing_with_it(tmp_path: Path) -> None:
    async with a_cluster(tmp_path, 204, etcd=1) as cluster:
        await cluster.built()
        worker = cluster.runner.find("w0")
        await until(lambda: "w0" in cluster.ready())
        await worker.stop("agent")
        lease = ("leases.coordination.k8s.io", "kube-node-lease", "w0")
        await until(lambda: cluster.storage.get(*lease) is not None)
        before = cluster.storage.get(*lease)
        await until(lambda: cluster.storage.get(*lease) != before)
        assert "kubelet.service" in worker.units.running()
        assert "slipway-agent.service" not in worker.units.running()


async def test_containers_outlive_their_kubelet(tmp_path: Path) -> None:
    async with a_cluster(tmp_path, 205, etcd=1) as cluster:
        await cluster.built()
        await cluster.runner.find("c0").stop("kubelet")
        await until(lambda: cluster.probe("c0", "kubelet") is False)
        await until(lambda: cluster.probe("c0", "api") is True)


async def test_a_partitioned_agent_is_silent_until_the_partition_ends(tmp_path: Path) -> None:
    async with a_cluster(tmp_path, 206, etcd=1) as cluster:
        await cluster.built()
        worker = cluster.runner.find("w0")
        worker.set_faults(partitioned=True)
        await until(lambda: any("Connection timed out" in line for line in worker.host.console))
        worker.set_faults(partitioned=False)
        cluster.slipway.observations.pop("w0", None)
        await until(lambda: "w0" in cluster.slipway.observations)


async def test_a_reboot_brings_everything_back_with_another_boot_id(tmp_path: Path) -> None:
    async with a_cluster(tmp_path, 207, etcd=1) as cluster:
        await cluster.built()
        await until(lambda: "w0" in cluster.slipway.observations)
        before = cluster.slipway.observations["w0"]["boot_id"]
        cluster.servers.servers["w0"] = replace(cluster.servers.servers["w0"], boots=2)
        await until(lambda: cluster.slipway.observations["w0"]["boot_id"] != before)
        await until(lambda: cluster.probe("w0", "kubelet") is True)


async def test_a_node_that_was_deleted_registers_again_only_with_a_new_kubelet(tmp_path: Path) -> None:
    async with a_cluster(tmp_path, 208, etcd=1) as cluster:
        await cluster.built()
        await until(lambda: "w0" in cluster.ready())
        cluster.request("DELETE", "/api/v1/nodes/w0")
        worker = cluster.runner.find("w0")
        await until(lambda: any("not found" in line for line in worker.host.console))
        assert "w0" not in cluster.ready()
        worker.start("kubelet")
        await until(lambda: "w0" in cluster.ready())


@pytest.mark.parametrize(
    ("third", "node", "broken", "says"),
    [
        pytest.param(
            209, "c0", lambda plan: drop(plan, f"{PKI}/sa.pub"), "couldn't load certificates or keys", id="no sa.pub"
        ),
        pytest.param(
            210, "c0", lambda plan: replaced(plan, "kubernetesVersion", "x"), "kubernetesVersion", id="kubeadm"
        ),
        pytest.param(
            211, "w0", lambda plan: replaced(plan, "slipway.dev/pool", "kubernetes.io/x"), "labels", id="label"
        ),
        pytest.param(
            212, "e0", lambda plan: replaced(plan, "--name=e0", "--name=x"), "--initial-cluster has", id="name"
        ),
    ],
)
async def test_a_mistake_in_a_plan_surfaces(tmp_path: Path, third: int, node: str, broken: Any, says: str) -> None:
    async with a_cluster(tmp_path, third, etcd=1) as cluster:
        broken(cluster.slipway.plan(node))
        await until(lambda: any(says in str(line) for line in evidence(cluster, node)))


def evidence(cluster: Cluster, node: str) -> list[str]:
    """What an operator could read: the report and the console."""
    machine = cluster.runner.machines.get(node)
    return [str(cluster.slipway.reports.get(node)), *(machine.host.console if machine else ())]


def drop(plan: Any, path: str) -> None:
    for step in plan.steps:
        step["actions"] = [action for action in step["actions"] if action.get("path") != path]


def replaced(plan: Any, old: str, new: str) -> None:
    for step in plan.steps:
        for action in step["actions"]:
            if action.get("content"):
                action["content"] = action["content"].replace(old, new)
