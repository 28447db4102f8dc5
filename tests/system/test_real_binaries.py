"""A cluster whose etcd and control plane are real processes: what the emulation promises holds on the programs too."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from slipway_platform.broker import PrivateBroker
from slipway_platform.demo import sandbox_region
from slipway_platform.platform import Platform, running
from slipway_platform.testing import User, until
from slipway_sandbox.machines.binaries import PROGRAMS
from tests.system import cluster_api
from tests.writer import writing

ASSETS = Path(os.environ.get("KUBEBUILDER_ASSETS", "/nowhere"))
HOW = f"no real programs: set KUBEBUILDER_ASSETS to a folder with {', '.join(PROGRAMS)}"
pytestmark = [
    pytest.mark.skipif(not all((ASSETS / program).exists() for program in PROGRAMS), reason=HOW),
    pytest.mark.timeout(500),
]
CLUSTER = "real"
APPS, PODS = "/apis/apps/v1/namespaces/default/deployments", "/api/v1/namespaces/default/pods"


@pytest.fixture(scope="module")
def real_platform(
    amqp_url: str, broker: PrivateBroker | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    """A platform of its own, whose machines really run etcd and control planes."""
    url = broker.url if broker else amqp_url
    with running(Platform(tmp_path_factory.mktemp("real"), url, sandbox_region(), binaries=(ASSETS,))) as platform:
        yield platform


@pytest.fixture(scope="module")
def owner(real_platform: Platform) -> Iterator[User]:
    """Who owns the cluster of five etcd, three controllers and three workers."""
    somebody = User(real_platform)
    somebody.slipway("cluster", "create", CLUSTER, within=390)
    yield somebody
    somebody.close()


@pytest.fixture(scope="module")
def kubeconfig(owner: User, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the owner is handed out."""
    path = tmp_path_factory.mktemp("kubeconfig") / CLUSTER
    owner.slipway("cluster", "kubeconfig", CLUSTER, "-o", str(path))
    return path


@pytest.fixture(scope="module")
def api(kubeconfig: Path) -> Iterator[httpx.Client]:
    """The cluster's API through its endpoint."""
    with cluster_api.opened(kubeconfig) as client:
        yield client


def servers(user: User, role: str) -> dict[str, str]:
    """Server ids of a role's nodes by name."""
    names = [each["name"] for each in user.nodes(CLUSTER) if each["role"] == role]
    return {each.name: each.id for each in user.cloud.compute.servers() if each.name in names}


def processes(platform: Platform) -> list[str]:
    """The programs of the machines that run now, one entry a process."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0")
        except (OSError, UnicodeDecodeError):
            continue
        if Path(words[0]).name in PROGRAMS and any(str(platform.hosts) in word for word in words):
            found.append(Path(words[0]).name)
    return sorted(found)


def asked_of_etcd(platform: Platform, user: User, name: str, path: str, question: dict[str, Any]) -> Any:
    """What one member answers, asked with that machine's own certificates."""
    pki = platform.hosts / servers(user, "etcd")[name] / "etc/etcd/pki"
    context = cluster_api.mutual_tls(pki / "ca.crt", pki / "healthcheck-client.crt", pki / "healthcheck-client.key")
    (address,) = next(each["addresses"] for each in user.nodes(CLUSTER) if each["name"] == name)
    with httpx.Client(base_url=f"https://{address}:2379", verify=context, timeout=10) as client:
        return client.post(f"/v3/{path}", json=question).raise_for_status().json()


def a_deployment(name: str, replicas: int) -> dict[str, Any]:
    labels = {"app": name}
    pod = {"containers": [{"name": "main", "image": "registry.invalid/web:1"}]}
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module")
def deployed(api: httpx.Client) -> str:
    """The name of an available Deployment of two pods."""
    api.post(APPS, json=a_deployment("web", 2)).raise_for_status()
    until(
        lambda: cluster_api.got(api, f"{APPS}/web")["status"].get("availableReplicas") == 2,
        "the Deployment is available",
        60,
    )
    return "web"


def test_five_etcd_and_three_of_each_other_are_real_and_ready(
    real_platform: Platform, owner: User, api: httpx.Client
) -> None:
    nodes = cluster_api.got(api, "/api/v1/nodes")["items"]
    expected = {each["name"] for each in owner.nodes(CLUSTER) if each["role"] != "etcd"}
    assert len(expected) == 6
    assert {each["metadata"]["name"] for each in nodes if cluster_api.is_ready(each)} == expected
    controllers = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"]
    assert processes(real_platform) == sorted(["etcd"] * 5 + controllers * 3)


def test_secrets_are_encrypted_at_rest(real_platform: Platform, owner: User, api: httpx.Client) -> None:
    written = secrets.token_hex(16)
    body = {"metadata": {"name": "kept"}, "stringData": {"password": written}}
    api.post("/api/v1/namespaces/default/secrets", json=body).raise_for_status()
    name = next(iter(servers(owner, "etcd")))
    asked = {"key": cluster_api.encoded("/registry/secrets/default/kept"), "serializable": True}
    (found,) = asked_of_etcd(real_platform, owner, name, "kv/range", asked)["kvs"]
    stored = cluster_api.decoded(found["value"])
    assert stored.startswith(b"k8s:enc:secretbox:v1:key1:")
    assert written.encode() not in stored
    shown = cluster_api.got(api, "/api/v1/namespaces/default/secrets/kept")
    assert cluster_api.decoded(shown["data"]["password"]) == written.encode()


def test_an_evicted_pod_goes_and_another_comes(api: httpx.Client, deployed: str) -> None:
    def pods() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = cluster_api.got(api, PODS, labelSelector=f"app={deployed}")["items"]
        return found

    evicted = pods()[0]["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": evicted}}
    api.post(f"{PODS}/{evicted}/eviction", json=eviction).raise_for_status()

    def replaced() -> bool:
        now = pods()
        return evicted not in {each["metadata"]["name"] for each in now} and sum(map(cluster_api.is_ready, now)) == 2

    until(replaced, "another pod is ready in its place", 60)


def test_a_workers_lost_server_is_replaced(owner: User, api: httpx.Client, deployed: str) -> None:
    before = servers(owner, "worker")
    lost = next(iter(before))
    owner.cloud.compute.delete_server(before[lost])

    def replaced() -> bool:
        now = {each["name"]: each["state"] for each in owner.nodes(CLUSTER) if each["role"] == "worker"}
        return lost not in now and list(now.values()) == ["ready"] * 3

    until(replaced, "another worker is ready in its place", 150)
    names = {each["metadata"]["name"] for each in cluster_api.got(api, "/api/v1/nodes")["items"]}
    assert lost not in names
    until(
        lambda: cluster_api.got(api, f"{APPS}/{deployed}")["status"].get("availableReplicas") == 2,
        "the Deployment is available again",
        60,
    )


def test_two_of_five_members_lost_at_once_are_replaced_under_a_writer(owner: User, kubeconfig: Path) -> None:
    before = servers(owner, "etcd")
    lost = sorted(before)[:2]
    kept = sorted(set(before) - set(lost))

    def replaced() -> bool:
        now = {each["name"]: each["state"] for each in owner.nodes(CLUSTER) if each["role"] == "etcd"}
        there = servers(owner, "etcd")
        return now == dict.fromkeys(before, "ready") and all(
            there.get(name) not in (None, before[name]) for name in lost
        )

    with writing(kubeconfig) as writer:
        until(lambda: len(writer.acknowledged) >= 10, "somebody writes", 30)
        for name in lost:
            owner.cloud.compute.delete_server(before[name])
        until(replaced, "both have new servers, which are ready", 300)
        enough = len(writer.acknowledged) + 10
        until(lambda: len(writer.acknowledged) >= enough, "and goes on to write", 30)
    print(f"two of five members lost and replaced: {writer}")
    assert writer.lost() == set()
    members = asked_of_etcd(owner.platform, owner, kept[0], "cluster/member/list", {})["members"]
    assert not [member for member in members if member.get("isLearner")]
    assert sorted(member["name"] for member in members) == sorted([*kept, *(f"{name}-2" for name in lost)])
    writer.close()


def test_a_deleted_cluster_leaves_no_process_and_no_file(real_platform: Platform, owner: User) -> None:
    owner.slipway("cluster", "delete", CLUSTER, "--yes")
    until(lambda: processes(real_platform) == [], "all processes have ended", 30)
    until(lambda: not list(real_platform.hosts.iterdir()), "the machines' files are gone", 30)
