"""The controllers on a stepping clock: nodes that go silent, workloads, evictions."""

from datetime import timedelta
from typing import Any

import pytest

PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
UNREACHABLE = "node.kubernetes.io/unreachable"


def ready(api: Any, name: str) -> str:
    conditions = api.ok("GET", f"/api/v1/nodes/{name}")["status"]["conditions"]
    return next(item["status"] for item in conditions if item["type"] == "Ready")


def taints(api: Any, name: str) -> set[str]:
    return {taint["key"] for taint in api.ok("GET", f"/api/v1/nodes/{name}")["spec"].get("taints", [])}


def a_workload(name: str = "web", replicas: int = 2, **spec: Any) -> dict[str, Any]:
    pod = {"containers": [{"name": "c", "image": "x"}], **spec}
    template = {"metadata": {"labels": {"app": name}}, "spec": pod}
    body = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"metadata": {"name": name}, "spec": body}


def pods(api: Any) -> list[Any]:
    return list(api.ok("GET", "/api/v1/pods")["items"])


def test_a_silent_node_becomes_unknown_after_40_seconds(api: Any) -> None:
    api.node("n1")
    api.settle()
    api.clock.step(39)
    api.settle()
    assert ready(api, "n1") == "True"
    api.clock.step(2)
    api.settle()
    assert (ready(api, "n1"), UNREACHABLE in taints(api, "n1")) == ("Unknown", True)


def test_a_node_that_speaks_again_loses_its_taints(api: Any) -> None:
    api.node("n1")
    api.settle()
    api.clock.step(60)
    api.settle()
    api.heartbeat("n1")
    condition = {"type": "Ready", "status": "True"}
    api.ok("PATCH", "/api/v1/nodes/n1/status", {"status": {"conditions": [condition]}})
    api.settle()
    assert (ready(api, "n1"), taints(api, "n1")) == ("True", set())


def test_a_node_whose_clock_is_wrong_is_alive_while_its_lease_moves(api: Any) -> None:
    api.node("n1")
    for _ in range(5):
        api.clock.step(30)
        spec = {"renewTime": (api.clock() - timedelta(hours=1)).isoformat()}
        api.ok("PATCH", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1", {"spec": spec})
        api.settle()
        assert ready(api, "n1") == "True"


def test_a_settled_cluster_is_not_written_to(api: Any) -> None:
    api.node("n1")
    api.ok("POST", DEPLOYMENTS, a_workload())
    api.settle(10)
    before = api.model.storage.revision
    api.settle()
    assert api.model.storage.revision == before


def test_nodes_get_pod_networks_of_their_own(api: Any) -> None:
    for name in ("n1", "n2", "n3"):
        api.node(name)
    api.settle()
    networks = {node["spec"]["podCIDR"] for node in api.ok("GET", "/api/v1/nodes")["items"]}
    assert len(networks) == 3


def test_a_deployment_becomes_available_on_ready_nodes(api: Any) -> None:
    api.ok("POST", DEPLOYMENTS, a_workload())
    api.settle()
    assert api.ok("GET", f"{DEPLOYMENTS}/web")["status"]["availableReplicas"] == 0
    api.node("n1")
    api.settle()
    assert api.ok("GET", f"{DEPLOYMENTS}/web")["status"]["availableReplicas"] == 2


def test_a_new_template_replaces_the_pods(api: Any) -> None:
    api.node("n1")
    api.ok("POST", DEPLOYMENTS, a_workload())
    api.settle()
    before = {pod["metadata"]["uid"] for pod in pods(api)}
    container = {"name": "c", "image": "x:2"}
    api.ok("PATCH", f"{DEPLOYMENTS}/web", {"spec": {"template": {"spec": {"containers": [container]}}}})
    api.settle()
    images = [pod["spec"]["containers"][0]["image"] for pod in pods(api)]
    assert images == ["x:2", "x:2"]
    assert before.isdisjoint(pod["metadata"]["uid"] for pod in pods(api))


@pytest.mark.parametrize(
    ("tolerations", "expected"),
    [
        pytest.param([], {"n1"}, id="not on a tainted node"),
        pytest.param([{"operator": "Exists"}], {"n1", "n2"}, id="everywhere when all is tolerated"),
    ],
)
def test_a_daemon_set_runs_where_its_tolerations_let_it(api: Any, tolerations: list[Any], expected: set[str]) -> None:
    api.node("n1")
    api.node("n2")
    taint = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}
    api.ok("PATCH", "/api/v1/nodes/n2", {"spec": {"taints": [taint]}})
    path = "/apis/apps/v1/namespaces/default/daemonsets"
    api.ok("POST", path, a_workload("d", tolerations=tolerations))
    api.settle()
    assert {pod["spec"]["nodeName"] for pod in pods(api)} == expected
    assert api.ok("GET", f"{path}/d")["status"]["numberReady"] == len(expected)


def test_a_cordoned_node_gets_no_new_pods(api: Any) -> None:
    api.node("n1")
    api.node("n2")
    api.ok("PATCH", "/api/v1/nodes/n1", {"spec": {"unschedulable": True}})
    api.ok("POST", DEPLOYMENTS, a_workload(replicas=3))
    api.settle()
    assert {pod["spec"]["nodeName"] for pod in pods(api)} == {"n2"}


def evict(api: Any, pod: Any) -> tuple[int, Any]:
    name = pod["metadata"]["name"]
    status, answer = api.send("POST", f"{PODS}/{name}/eviction", {"metadata": {"name": name}})
    return status, answer


def test_an_evicted_pod_comes_up_elsewhere(api: Any) -> None:
    api.node("n1")
    api.ok("POST", DEPLOYMENTS, a_workload(replicas=1))
    api.settle()
    api.node("n2")
    api.ok("PATCH", "/api/v1/nodes/n1", {"spec": {"unschedulable": True}})
    api.settle()
    assert evict(api, pods(api)[0])[0] == 201
    api.settle()
    assert [pod["spec"]["nodeName"] for pod in pods(api)] == ["n2"]


def test_a_disruption_budget_allows_one_after_the_other(api: Any) -> None:
    api.node("n1")
    api.ok("POST", DEPLOYMENTS, a_workload())
    budget = {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}}
    api.ok("POST", "/apis/policy/v1/namespaces/default/poddisruptionbudgets", budget)
    api.settle()
    first, second = pods(api)
    assert evict(api, first)[0] == 201
    status, answer = evict(api, second)
    assert (status, answer["reason"], answer["details"]["retryAfterSeconds"]) == (429, "TooManyRequests", 10)
    api.settle()
    assert evict(api, second)[0] == 201


def test_pods_of_a_dead_node_end_only_with_its_node_object(api: Any) -> None:
    api.node("n1")
    api.ok("POST", DEPLOYMENTS, a_workload(replicas=1))
    api.settle()
    lost = pods(api)[0]["metadata"]["name"]
    api.clock.step(60)
    api.settle()
    api.clock.step(301)
    api.settle()
    assert api.ok("GET", f"{PODS}/{lost}")["metadata"]["deletionTimestamp"]
    api.ok("DELETE", "/api/v1/nodes/n1")
    api.settle()
    assert api.send("GET", f"{PODS}/{lost}")[0] == 404


def test_what_a_deployment_owned_goes_with_it(api: Any) -> None:
    api.node("n1")
    api.ok("POST", DEPLOYMENTS, a_workload())
    api.settle()
    api.ok("DELETE", f"{DEPLOYMENTS}/web")
    api.settle()
    assert pods(api) == []
    assert api.ok("GET", "/apis/apps/v1/replicasets")["items"] == []
