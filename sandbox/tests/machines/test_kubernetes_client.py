"""kubernetes-asyncio, unmodified, against the emulated API server over TLS."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

kubernetes_asyncio = pytest.importorskip("kubernetes_asyncio", reason="install kubernetes-asyncio to run these")
client = kubernetes_asyncio.client

from slipway_sandbox.machines.testing import KubernetesEndpoint, serve_kubernetes  # noqa: E402
from slipway_sandbox.machines.tls import client_context  # noqa: E402

DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}},
    },
}


@pytest.fixture
async def served() -> AsyncIterator[KubernetesEndpoint]:
    async with serve_kubernetes(control_every=None) as endpoint:
        yield endpoint


async def connect(endpoint: KubernetesEndpoint, user: str, *groups: str) -> Any:
    configuration = client.Configuration()
    kubeconfig = endpoint.kubeconfig(user, groups)
    await kubernetes_asyncio.config.load_kube_config_from_dict(kubeconfig, client_configuration=configuration)
    return client.ApiClient(configuration)


@pytest.fixture
async def admin(served: KubernetesEndpoint) -> AsyncIterator[Any]:
    api = await connect(served, "root", "system:masters")
    async with api:
        yield api


async def test_nodes_are_listed_as_typed_objects(served: KubernetesEndpoint, admin: Any) -> None:
    served.add_node("n1", labels={"slipway.dev/pool": "a"}, provider_id="openstack:///1")
    found = await client.CoreV1Api(admin).list_node(label_selector="slipway.dev/pool=a")
    assert [(node.metadata.name, node.spec.provider_id) for node in found.items] == [("n1", "openstack:///1")]


async def test_leases_are_read_with_their_times(served: KubernetesEndpoint, admin: Any) -> None:
    served.add_node("n1")
    lease = await client.CoordinationV1Api(admin).read_namespaced_lease("n1", "kube-node-lease")
    assert lease.spec.renew_time.tzinfo is not None


async def test_apply_twice_changes_nothing(admin: Any) -> None:
    apps = client.AppsV1Api(admin)
    more = {"field_manager": "slipway", "force": True, "_content_type": "application/apply-patch+yaml"}
    first = await apps.patch_namespaced_deployment("web", "default", DEPLOYMENT, **more)
    second = await apps.patch_namespaced_deployment("web", "default", DEPLOYMENT, **more)
    assert first.metadata.resource_version == second.metadata.resource_version


async def test_a_watch_sees_what_happens_after_a_list(served: KubernetesEndpoint, admin: Any) -> None:
    core = client.CoreV1Api(admin)
    listed = await core.list_node()
    served.add_node("n1")
    async with kubernetes_asyncio.watch.Watch() as watch:
        stream = watch.stream(core.list_node, resource_version=listed.metadata.resource_version, timeout_seconds=10)
        async with asyncio.timeout(10):
            event = await anext(aiter(stream))
    assert (event["type"], event["object"].metadata.name) == ("ADDED", "n1")


async def test_a_stale_watch_raises_410(served: KubernetesEndpoint, admin: Any) -> None:
    served.storage.compact()
    served.add_node("n1")
    async with kubernetes_asyncio.watch.Watch() as watch, asyncio.timeout(10):
        with pytest.raises(client.ApiException) as refused:
            async for _ in watch.stream(client.CoreV1Api(admin).list_node, resource_version="1", timeout_seconds=5):
                pass
    assert refused.value.status == 410


async def test_an_eviction_that_a_budget_forbids_says_when_to_come_back(served: KubernetesEndpoint, admin: Any) -> None:
    served.add_node("n1")
    served.request("POST", "/apis/apps/v1/namespaces/default/deployments", DEPLOYMENT)
    budget = {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}}
    served.request("POST", "/apis/policy/v1/namespaces/default/poddisruptionbudgets", budget)
    for _ in range(5):
        served.controllers.step()
    core = client.CoreV1Api(admin)
    pod = (await core.list_namespaced_pod("default")).items[0].metadata.name
    eviction = client.V1Eviction(metadata=client.V1ObjectMeta(name=pod, namespace="default"))
    with pytest.raises(client.ApiException) as refused:
        await core.create_namespaced_pod_eviction(pod, "default", eviction)
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (429, "10")


async def test_a_user_without_rights_is_403(served: KubernetesEndpoint) -> None:
    async with await connect(served, "mallory") as api:
        with pytest.raises(client.ApiException) as refused:
            await client.CoreV1Api(api).list_node()
    assert refused.value.status == 403


async def test_without_a_quorum_nothing_is_ready_and_requests_fail(served: KubernetesEndpoint, admin: Any) -> None:
    served.etcd_ready = False
    with pytest.raises(client.ApiException) as refused:
        await client.CoreV1Api(admin).list_node()
    assert (refused.value.status, await health(served)) == (500, {"/livez": 200, "/readyz": 500})
    served.etcd_ready = True
    assert await health(served) == {"/livez": 200, "/readyz": 200}


async def health(served: KubernetesEndpoint) -> dict[str, int]:
    """What somebody without a certificate sees."""
    context = client_context(served.ca_pem, None, None)
    statuses = {}
    async with aiohttp.ClientSession() as http:
        for path in ("/livez", "/readyz"):
            async with http.get(served.url + path, ssl=context) as answer:
                statuses[path] = answer.status
    return statuses


async def test_an_expired_certificate_is_401(served: KubernetesEndpoint) -> None:
    credential = served.credential("root", ("system:masters",))
    served.clock_ahead = timedelta(hours=2)
    context = client_context(served.ca_pem, credential.certificate_pem, credential.key_pem)
    async with aiohttp.ClientSession() as http, http.get(f"{served.url}/api/v1/nodes", ssl=context) as answer:
        assert answer.status == 401
