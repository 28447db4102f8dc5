"""The Kubernetes adapter against an emulated API server: real TLS, real client certificates, real RBAC."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from slipway_chassis.errors import RetryLater
from slipway_provisioner.adapters.kubernetes import KubernetesClusters
from slipway_provisioner.domain.bindings import PROVISIONER
from slipway_provisioner.domain.kubernetes_nodes import Upkeep
from slipway_provisioner.ports import ClusterAccess, Eviction
from slipway_sandbox.machines.testing import KubernetesEndpoint, serve_kubernetes

API = KubernetesClusters(timedelta(seconds=5))


@dataclass
class Cluster:
    """An emulated cluster with the provisioner's two accesses."""

    endpoint: KubernetesEndpoint
    own: ClusterAccess
    master: ClusterAccess


def an_access(endpoint: KubernetesEndpoint, user: str, *groups: str) -> ClusterAccess:
    issued = endpoint.credential(user, groups)
    return ClusterAccess(endpoint.url, endpoint.ca_pem, issued.certificate_pem, issued.key_pem)


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    """A cluster nobody has bound anything in yet."""
    async with serve_kubernetes(control_every=None) as endpoint:
        yield Cluster(endpoint, an_access(endpoint, PROVISIONER), an_access(endpoint, PROVISIONER, "system:masters"))


@pytest.fixture
async def bound(cluster: Cluster) -> Cluster:
    """A cluster with the services' bindings."""
    await API.ensure_bindings(cluster.master)
    return cluster


def a_pod(name: str, node: str, **metadata: object) -> dict[str, object]:
    return {
        "metadata": {"name": name, "namespace": "default", "labels": {"app": name}, **metadata},
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": "busybox"}]},
        "status": {"phase": "Running"},
    }


async def test_an_api_without_etcd_is_not_ready(cluster: Cluster) -> None:
    assert await API.is_ready(cluster.own)
    cluster.endpoint.etcd_ready = False
    assert not await API.is_ready(cluster.own)


async def test_nothing_listening_is_not_ready(cluster: Cluster) -> None:
    nowhere = replace(cluster.own, endpoint="https://127.0.0.1:1")
    assert not await API.is_ready(nowhere)
    with pytest.raises(RetryLater):
        await API.nodes(nowhere)


async def test_bindings_are_written_once_and_seen_by_our_own_user(cluster: Cluster) -> None:
    assert not await API.is_bound(cluster.own)
    for _ in range(2):
        await API.ensure_bindings(cluster.master)
    assert await API.is_bound(cluster.own)


async def test_a_changed_binding_is_seen_and_put_right(bound: Cluster) -> None:
    path = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{PROVISIONER}"
    rules = bound.endpoint.request("GET", path)["rules"]
    bound.endpoint.request("PATCH", path, {"rules": rules[:-1]})
    assert not await API.is_bound(bound.own)
    await API.ensure_bindings(bound.master)
    assert await API.is_bound(bound.own)


async def test_our_own_user_may_not_write_bindings(bound: Cluster) -> None:
    with pytest.raises(RetryLater):
        await API.ensure_bindings(bound.own)


async def test_nodes_are_listed_labelled_cordoned_and_deleted(bound: Cluster) -> None:
    bound.endpoint.add_node("worker-1", provider_id="openstack:///server-1")
    (node,) = await API.nodes(bound.own)
    assert await API.keep_node(bound.own, node, Upkeep(labels={"node-role.kubernetes.io/worker": ""}))
    await API.cordon(bound.own, "worker-1", on=True)
    (node,) = await API.nodes(bound.own)
    assert (node.name, node.ready, node.unschedulable) == ("worker-1", True, True)
    assert node.provider_id == "openstack:///server-1"
    assert "node-role.kubernetes.io/worker" in node.labels
    assert node.kubelet_version == "v1.36.3"
    await API.delete_node(bound.own, "worker-1", "openstack:///server-2")
    assert len(await API.nodes(bound.own)) == 1
    for _ in range(2):
        await API.delete_node(bound.own, "worker-1", "openstack:///server-1")
    assert await API.nodes(bound.own) == ()
    await API.cordon(bound.own, "worker-1", on=False)


async def test_labels_and_taints_are_kept_only_as_the_node_was_seen(bound: Cluster) -> None:
    bound.endpoint.add_node("worker-1")
    gpu = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
    (seen,) = await API.nodes(bound.own)
    assert await API.keep_node(bound.own, seen, Upkeep(labels={"a": "b", "c": "d"}, taints=(gpu,), kept="note"))
    (node,) = await API.nodes(bound.own)
    assert (node.labels.items() >= {"a": "b", "c": "d"}.items(), node.taints, node.kept) == (True, (gpu,), "note")
    assert not await API.keep_node(bound.own, seen, Upkeep(taints=())), "it has changed since"
    assert await API.keep_node(bound.own, node, Upkeep(labels={"a": None}))
    (node,) = await API.nodes(bound.own)
    assert ("a" in node.labels, node.labels["c"], node.taints, node.kept) == (False, "d", (gpu,), "note")
    await API.delete_node(bound.own, "worker-1", None)
    assert not await API.keep_node(bound.own, node, Upkeep(taints=())), "it is gone"


async def test_pods_are_evicted_but_for_those_that_belong_to_the_node(bound: Cluster) -> None:
    endpoint = bound.endpoint
    endpoint.add_node("worker-1")
    owner = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "flannel", "uid": "1", "controller": True}
    pods = (
        a_pod("app", "worker-1"),
        a_pod("elsewhere", "worker-2"),
        a_pod("flannel", "worker-1", ownerReferences=[owner]),
        a_pod("static", "worker-1", annotations={"kubernetes.io/config.mirror": "x"}),
    )
    for pod in pods:
        endpoint.request("POST", "/api/v1/namespaces/default/pods", pod)
    assert await API.evict(bound.own, "worker-1") == Eviction(remaining=1, refused=0)
    assert await API.evict(bound.own, "worker-1") == Eviction(remaining=1, refused=0), "it has its grace period"
    endpoint.request("DELETE", "/api/v1/namespaces/default/pods/app", {"gracePeriodSeconds": 0})
    assert await API.evict(bound.own, "worker-1") == Eviction(remaining=0, refused=0)


async def test_a_budget_keeps_a_pod(bound: Cluster) -> None:
    endpoint = bound.endpoint
    endpoint.add_node("worker-1")
    endpoint.request("POST", "/api/v1/namespaces/default/pods", a_pod("app", "worker-1"))
    budget = {
        "metadata": {"name": "keep", "namespace": "default"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "app"}}},
    }
    endpoint.request("POST", "/apis/policy/v1/namespaces/default/poddisruptionbudgets", budget)
    endpoint.controllers.step()
    assert await API.evict(bound.own, "worker-1") == Eviction(remaining=1, refused=1)


async def test_an_expired_certificate_is_refused(bound: Cluster) -> None:
    bound.endpoint.clock_ahead = timedelta(days=4000)
    with pytest.raises(RetryLater):
        await API.nodes(bound.own)
