"""A cluster of real machines from its creation to its end, by the command alone."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from urllib.parse import urlsplit

import httpx

from slipway_platform.testing import User, until
from tests.e2e.kubectl import Kubectl

CLUSTER = "booted"
IMAGE = "busybox:1.35"
CREATED_WITHIN, REPLACED_WITHIN, DELETED_WITHIN = 480.0, 240.0, 180.0
"""Seconds; several times what they take where nothing else runs."""

Say = Callable[[str], None]
Step = Callable[[str], AbstractContextManager[None]]

DEPLOYMENT = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 1
      topologySpreadConstraints:
      - maxSkew: 1
        topologyKey: kubernetes.io/hostname
        whenUnsatisfiable: DoNotSchedule
        labelSelector: {{matchLabels: {{app: web}}}}
      containers:
      - name: web
        image: {IMAGE}
        command: [sh, -c, "hostname > /tmp/name && exec httpd -f -p 8080 -h /tmp"]
        readinessProbe: {{httpGet: {{path: /name, port: 8080}}, periodSeconds: 1}}
"""


def test_a_cluster_of_servers_that_boot(user: User, kubectl: Kubectl, step: Step, say: Say) -> None:
    before = user.inventory()
    try:
        with step("slipway cluster create: 1 etcd, 1 controller, 2 workers"):
            _create(user)
        say(_timings(user))
        with step("kubectl get nodes: three are Ready, through the load balancer"):
            _kubectl_sees_the_nodes(user, kubectl)
        with step("a pod resolves a name of the cluster and ends; its log is read"):
            _a_pod_runs_to_its_end(kubectl)
        with step("a Deployment's pods on both workers answer behind a Service, over VXLAN; exec and port-forward"):
            _a_deployment_is_served_from_two_nodes(kubectl)
        with step("a worker's server is deleted behind Slipway's back: another one is Ready, its pod runs on it"):
            _a_lost_worker_is_replaced(user, kubectl)
    finally:
        if any(each["name"] == CLUSTER for each in user.get("/v1/clusters")["items"]):
            with step("slipway cluster delete"):
                user.slipway("cluster", "delete", CLUSTER, "--yes", within=DELETED_WITHIN)
    assert user.inventory() - before == set()


def _create(user: User) -> None:
    user.slipway(
        "cluster", "create", CLUSTER, "--etcd", "1", "--controllers", "1", "--workers", "2", within=CREATED_WITHIN
    )


def _timings(user: User) -> str:
    """By node the seconds from when it was named to the end of each step."""
    lines = []
    for node in user.nodes(CLUSTER):
        detail = user.get(f"/v1/clusters/{CLUSTER}/nodes/{node['id']}")
        named = datetime.fromisoformat(detail["created_at"])
        ends = [
            (datetime.fromisoformat(each["since"]) - named, each["name"]) for each in detail["steps"] if each["since"]
        ]
        lines.append(f"          {node['role']}: " + ", ".join(f"{name} {after.seconds}" for after, name in ends))
    return "\n".join(sorted(lines))


def _kubectl_sees_the_nodes(user: User, kubectl: Kubectl) -> None:
    user.slipway("cluster", "kubeconfig", CLUSTER, "--output", str(kubectl.kubeconfig))
    assert kubectl.kubeconfig.stat().st_mode & 0o077 == 0
    expected = {node["name"] for node in user.nodes(CLUSTER) if node["role"] != "etcd"}
    assert len(expected) == 3
    assert kubectl.ready_nodes() == expected
    endpoint = str(user.get(f"/v1/clusters/{CLUSTER}")["endpoint"])
    assert endpoint in kubectl("config", "view")
    assert urlsplit(endpoint).hostname not in {each for node in user.nodes(CLUSTER) for each in node["addresses"]}


def _a_pod_runs_to_its_end(kubectl: Kubectl) -> None:
    # Addons count as installed when they are applied; the pods of the cluster's DNS follow once a worker is ready.
    kubectl.rolled_out("deployment/coredns", "--namespace=kube-system")
    name = "kubernetes.default.svc.cluster.local"
    kubectl("run", "asks", f"--image={IMAGE}", "--restart=Never", "--", "nslookup", name)
    until(lambda: kubectl.phase("asks") in ("Succeeded", "Failed"), "the pod ends", within=90)
    log = kubectl("logs", "asks")
    assert kubectl.phase("asks") == "Succeeded", log
    assert "10.96.0.1" in log
    assert "Completed" in kubectl("get", "pod", "asks")


def _a_deployment_is_served_from_two_nodes(kubectl: Kubectl) -> None:
    kubectl.apply(DEPLOYMENT)
    kubectl("expose", "deployment/web", "--port=80", "--target-port=8080")
    kubectl.rolled_out("deployment/web")
    assert len(kubectl.hosts("app=web")) == 2, "the pods are spread over both workers"
    # Each pod asks every pod, its own and the other node's: by address over VXLAN, and by the Service's name.
    pods = kubectl.get("pods", "-l", "app=web")["items"]
    for pod in pods:
        name = pod["metadata"]["name"]
        for other in pods:
            address = other["status"]["podIP"]
            seen = kubectl("exec", name, "--", "wget", "-qO-", f"http://{address}:8080/name")
            assert seen.strip() == other["metadata"]["name"]
    asking = pods[0]["metadata"]["name"]
    names = {kubectl("exec", asking, "--", "wget", "-qO-", "http://web.default.svc/name").strip() for _ in range(20)}
    assert names == {pod["metadata"]["name"] for pod in pods}, "the Service answers from both pods"
    with kubectl.forwarded("deployment/web", 8080) as url:
        assert httpx.get(f"{url}/name", timeout=20).text.strip() in names


def _a_lost_worker_is_replaced(user: User, kubectl: Kubectl) -> None:
    before = {node["name"] for node in user.nodes(CLUSTER) if node["role"] == "worker"}
    lost = next(node for node in user.nodes(CLUSTER) if node["role"] == "worker")
    user.cloud.compute.delete_server(lost["server_id"])
    (controller,) = (node["name"] for node in user.nodes(CLUSTER) if node["role"] == "controller")

    def another_is_ready() -> str | None:
        ready = {node["name"] for node in user.nodes(CLUSTER) if node["role"] == "worker" and node["state"] == "ready"}
        new = ready - before
        return new.pop() if new and kubectl.ready_nodes() == {controller, *ready} and len(ready) == 2 else None

    worker = until(another_is_ready, "another worker is ready, and the lost one's Node is gone", within=REPLACED_WITHIN)
    # Kubernetes itself gives up pods of a Node that is gone after up to a minute.
    until(lambda: worker in kubectl.hosts("app=web"), "a pod runs on the new worker", within=REPLACED_WITHIN)
