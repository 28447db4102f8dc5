"""What Slipway, its kubelets and kubectl rely on: the emulated API must answer kubernetes-asyncio as the real one."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from kubernetes_asyncio import client, watch
from kubernetes_asyncio.client import ApiException

from slipway_chassis.testing import eventually

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"

Connect = Callable[..., Awaitable[Any]]


@pytest.fixture
async def connect(kubernetes: Any, tmp_path: Path) -> AsyncIterator[Connect]:
    """A client as any user in any groups."""
    async with AsyncExitStack() as clients:

        async def connected(user: str, *groups: str) -> Any:
            configuration = as_user(kubernetes, tmp_path, user, *groups)
            return await clients.enter_async_context(client.ApiClient(configuration))

        yield connected


def as_user(kubernetes: Any, folder: Path, user: str, *groups: str) -> client.Configuration:
    """With a certificate of that user."""
    issued = kubernetes.credential(user, groups)
    configuration = client.Configuration(host=kubernetes.url)
    files = {"ssl_ca_cert": kubernetes.ca_pem, "cert_file": issued.certificate_pem, "key_file": issued.key_pem}
    for name, content in files.items():
        path = folder / f"{user.replace(':', '-')}-{name}"
        path.write_text(content)
        setattr(configuration, name, str(path))
    return configuration


@pytest.fixture
async def admin(connect: Connect) -> Any:
    return await connect("root", "system:masters")


@pytest.fixture
async def core(admin: Any) -> client.CoreV1Api:
    return client.CoreV1Api(admin)


@pytest.fixture
async def namespace(core: client.CoreV1Api, unique: str) -> str:
    """A namespace of the test's own, with the account that pods need (a controller would make it)."""
    name = f"test-{unique}"
    await core.create_namespace({"metadata": {"name": name}})
    await core.create_namespaced_service_account(name, {"metadata": {"name": "default"}})
    return name


def node(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "spec": {"providerID": f"openstack:///{name}"}}


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def pod(name: str, node_name: str | None = None) -> dict[str, Any]:
    spec: dict[str, Any] = {"containers": [{"name": "c", "image": "pause"}]}
    return {"metadata": {"name": name}, "spec": spec | ({"nodeName": node_name} if node_name else {})}


def deployment(name: str) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "pause"}]}}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


async def refusal(call: Awaitable[Any]) -> dict[str, Any]:
    """The Status that a call is refused with."""
    with pytest.raises(ApiException) as refused:
        await call
    body: dict[str, Any] = json.loads(refused.value.body)
    assert (body["kind"], body["apiVersion"], body["status"]) == ("Status", "v1", "Failure")
    assert body["code"] == refused.value.status
    return body


async def applied(core: client.CoreV1Api, namespace: str, body: dict[str, Any], manager: str, **more: Any) -> Any:
    """Server-side apply of a ConfigMap."""
    name = body["metadata"]["name"]
    return await core.patch_namespaced_config_map(
        name, namespace, body, field_manager=manager, _content_type=APPLY, **more
    )


class TestErrors:
    async def test_not_found(self, core: client.CoreV1Api, namespace: str) -> None:
        body = await refusal(core.read_namespaced_config_map("none", namespace))
        assert (body["code"], body["reason"]) == (404, "NotFound")
        assert body["message"] == 'configmaps "none" not found'
        assert body["details"] == {"name": "none", "kind": "configmaps"}

    async def test_not_found_with_a_group(self, admin: Any, namespace: str) -> None:
        body = await refusal(client.AppsV1Api(admin).read_namespaced_deployment("none", namespace))
        assert body["message"] == 'deployments.apps "none" not found'
        assert body["details"] == {"name": "none", "group": "apps", "kind": "deployments"}

    async def test_already_exists(self, core: client.CoreV1Api, namespace: str) -> None:
        await core.create_namespaced_config_map(namespace, config_map("a"))
        body = await refusal(core.create_namespaced_config_map(namespace, config_map("a")))
        assert (body["code"], body["reason"]) == (409, "AlreadyExists")
        assert body["message"] == 'configmaps "a" already exists'
        assert body["details"] == {"name": "a", "kind": "configmaps"}

    async def test_stale_resource_version(self, core: client.CoreV1Api, namespace: str) -> None:
        first = await core.create_namespaced_config_map(namespace, config_map("a"))
        await core.patch_namespaced_config_map("a", namespace, {"data": {"k": "1"}}, _content_type=MERGE)
        stale = config_map("a", k="2")
        stale["metadata"]["resourceVersion"] = first.metadata.resource_version
        body = await refusal(core.replace_namespaced_config_map("a", namespace, stale))
        assert (body["code"], body["reason"]) == (409, "Conflict")
        assert body["message"] == (
            'Operation cannot be fulfilled on configmaps "a": the object has been modified; '
            "please apply your changes to the latest version and try again"
        )

    async def test_invalid(self, core: client.CoreV1Api, namespace: str) -> None:
        body = await refusal(core.create_namespaced_config_map(namespace, config_map("No Name")))
        assert (body["code"], body["reason"]) == (422, "Invalid")
        assert body["message"].startswith('ConfigMap "No Name" is invalid: metadata.name: Invalid value: "No Name": ')
        assert body["details"]["name"] == "No Name"
        assert body["details"]["kind"] == "ConfigMap"
        assert [cause["field"] for cause in body["details"]["causes"]] == ["metadata.name"]
        assert body["details"]["causes"][0]["reason"] == "FieldValueInvalid"

    async def test_missing_namespace(self, core: client.CoreV1Api, unique: str) -> None:
        body = await refusal(core.create_namespaced_config_map(f"none-{unique}", config_map("a")))
        assert (body["code"], body["reason"]) == (404, "NotFound")
        assert body["message"] == f'namespaces "none-{unique}" not found'
        assert body["details"] == {"name": f"none-{unique}", "kind": "namespaces"}

    async def test_unknown_resource(self, admin: Any) -> None:
        status, body = await raw(admin, "GET", "/api/v1/gadgets")
        assert status == 404
        assert body["message"] == "the server could not find the requested resource"
        assert body["reason"] == "NotFound"

    async def test_body_that_is_no_json(self, admin: Any, kubernetes: Any, namespace: str) -> None:
        path = f"/api/v1/namespaces/{namespace}/configmaps"
        status, body = await raw(admin, "POST", path, content=b"{", content_type="application/json")
        assert (status, body["reason"]) == (400, "BadRequest")

    async def test_unknown_field_under_strict_validation(self, core: client.CoreV1Api, namespace: str) -> None:
        wrong = config_map("a") | {"dada": {"k": "v"}}
        body = await refusal(core.create_namespaced_config_map(namespace, wrong, field_validation="Strict"))
        assert (body["code"], body["reason"]) == (400, "BadRequest")
        assert 'unknown field "dada"' in body["message"]

    async def test_unsupported_patch_type(self, admin: Any, core: client.CoreV1Api, namespace: str) -> None:
        await core.create_namespaced_config_map(namespace, config_map("a"))
        path = f"/api/v1/namespaces/{namespace}/configmaps/a"
        status, body = await raw(admin, "PATCH", path, content=b"{}", content_type="application/octet-stream")
        assert (status, body["reason"]) == (415, "UnsupportedMediaType")


async def raw(
    api: Any, method: str, path: str, *, content: bytes | None = None, content_type: str = "application/json"
) -> tuple[int, Any]:
    """A request past the library's own coding."""
    session = api.rest_client.pool_manager
    headers = {"Content-Type": content_type, "Accept": "application/json"}
    url = f"{api.configuration.host}{path}"
    async with session.request(method, url, data=content, headers=headers) as answer:
        text = await answer.text()
        return answer.status, json.loads(text) if text.startswith("{") else text


class TestServerSideApply:
    async def test_creates_and_a_second_time_changes_nothing(self, core: client.CoreV1Api, namespace: str) -> None:
        first = await applied(core, namespace, config_map("a", k="v"), "one")
        second = await applied(core, namespace, config_map("a", k="v"), "one")
        assert first.metadata.uid == second.metadata.uid
        assert first.metadata.resource_version == second.metadata.resource_version
        assert first.metadata.managed_fields == second.metadata.managed_fields

    async def test_conflict_names_the_other_manager_and_the_field(self, core: client.CoreV1Api, namespace: str) -> None:
        await applied(core, namespace, config_map("a", k="v"), "one")
        body = await refusal(applied(core, namespace, config_map("a", k="w"), "two"))
        assert (body["code"], body["reason"]) == (409, "Conflict")
        assert body["message"] == 'Apply failed with 1 conflict: conflict with "one": .data.k'
        cause = {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.k"}
        assert body["details"]["causes"] == [cause]

    async def test_forced_it_takes_the_field_over(self, core: client.CoreV1Api, namespace: str) -> None:
        await applied(core, namespace, config_map("a", k="v"), "one")
        await applied(core, namespace, config_map("a", k="w"), "two", force=True)
        found = await core.read_namespaced_config_map("a", namespace)
        assert found.data == {"k": "w"}
        assert [entry.manager for entry in found.metadata.managed_fields if "f:k" in str(entry.fields_v1)] == ["two"]

    async def test_the_same_value_is_owned_by_both(self, core: client.CoreV1Api, namespace: str) -> None:
        await applied(core, namespace, config_map("a", k="v"), "one")
        await applied(core, namespace, config_map("a", k="v"), "two")
        await applied(core, namespace, config_map("a"), "one")
        assert (await core.read_namespaced_config_map("a", namespace)).data == {"k": "v"}

    async def test_a_field_that_is_left_out_goes_when_nobody_else_owns_it(
        self, core: client.CoreV1Api, namespace: str
    ) -> None:
        await applied(core, namespace, config_map("a", k="v", other="v"), "one")
        await core.patch_namespaced_config_map("a", namespace, {"data": {"mine": "v"}}, _content_type=MERGE)
        await applied(core, namespace, config_map("a", k="v"), "one")
        assert (await core.read_namespaced_config_map("a", namespace)).data == {"k": "v", "mine": "v"}

    async def test_lists_with_keys_are_merged_by_them(self, admin: Any, namespace: str) -> None:
        apps = client.AppsV1Api(admin)
        more = {"field_manager": "one", "force": True, "_content_type": APPLY}
        await apps.patch_namespaced_deployment("d", namespace, deployment("d"), **more)
        added = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "pause"}]}}}}
        await apps.patch_namespaced_deployment("d", namespace, added, _content_type=STRATEGIC)
        await apps.patch_namespaced_deployment("d", namespace, deployment("d"), **more)
        found = await apps.read_namespaced_deployment("d", namespace)
        assert {each.name for each in found.spec.template.spec.containers} == {"c", "side"}

    async def test_needs_a_manager(self, admin: Any, namespace: str) -> None:
        content = json.dumps(config_map("a")).encode()
        path = f"/api/v1/namespaces/{namespace}/configmaps/a"
        status, body = await raw(admin, "PATCH", path, content=content, content_type=APPLY)
        assert status == 422
        assert "fieldManager" in body["message"]

    async def test_dry_run_persists_nothing(self, core: client.CoreV1Api, namespace: str) -> None:
        answered = await applied(core, namespace, config_map("a", k="v"), "one", dry_run="All")
        assert answered.data == {"k": "v"}
        assert (await refusal(core.read_namespaced_config_map("a", namespace)))["code"] == 404


class TestWritesAndPatches:
    async def test_a_write_without_a_change_moves_nothing(self, core: client.CoreV1Api, namespace: str) -> None:
        first = await core.create_namespaced_config_map(namespace, config_map("a", k="v"))
        second = await core.patch_namespaced_config_map("a", namespace, {"data": {"k": "v"}}, _content_type=MERGE)
        assert first.metadata.resource_version == second.metadata.resource_version

    async def test_merge_patch_removes_by_null(self, core: client.CoreV1Api, namespace: str) -> None:
        await core.create_namespaced_config_map(namespace, config_map("a", k="v", other="v"))
        await core.patch_namespaced_config_map("a", namespace, {"data": {"k": None}}, _content_type=MERGE)
        assert (await core.read_namespaced_config_map("a", namespace)).data == {"other": "v"}

    async def test_json_patch(self, core: client.CoreV1Api, namespace: str) -> None:
        await core.create_namespaced_config_map(namespace, config_map("a", k="v"))
        operations = [{"op": "test", "path": "/data/k", "value": "v"}, {"op": "add", "path": "/data/n", "value": "w"}]
        await core.patch_namespaced_config_map("a", namespace, operations, _content_type=JSON_PATCH)
        assert (await core.read_namespaced_config_map("a", namespace)).data == {"k": "v", "n": "w"}

    async def test_json_patch_whose_test_fails(self, core: client.CoreV1Api, namespace: str) -> None:
        await core.create_namespaced_config_map(namespace, config_map("a", k="v"))
        operations = [{"op": "test", "path": "/data/k", "value": "x"}]
        body = await refusal(core.patch_namespaced_config_map("a", namespace, operations, _content_type=JSON_PATCH))
        assert (body["code"], body["reason"]) == (422, "Invalid")

    async def test_generation_moves_with_the_spec_and_not_with_the_status(self, admin: Any, namespace: str) -> None:
        apps = client.AppsV1Api(admin)
        made = await apps.create_namespaced_deployment(namespace, deployment("d"))
        assert made.metadata.generation == 1
        status = {"status": {"observedGeneration": 1, "replicas": 2}}
        after = await apps.patch_namespaced_deployment_status("d", namespace, status, _content_type=MERGE)
        assert (after.metadata.generation, after.status.replicas) == (1, 2)
        scaled = await apps.patch_namespaced_deployment("d", namespace, {"spec": {"replicas": 3}}, _content_type=MERGE)
        assert scaled.metadata.generation == 2

    async def test_the_status_is_not_written_with_the_object(self, admin: Any, namespace: str) -> None:
        apps = client.AppsV1Api(admin)
        made = await apps.create_namespaced_deployment(namespace, deployment("d") | {"status": {"replicas": 9}})
        assert made.status.replicas is None

    async def test_generated_names(self, core: client.CoreV1Api, namespace: str) -> None:
        body = {"metadata": {"generateName": "made-"}}
        names = {(await core.create_namespaced_config_map(namespace, body)).metadata.name for _ in range(3)}
        assert len(names) == 3
        assert all(name.startswith("made-") and len(name) == len("made-") + 5 for name in names)

    async def test_the_services_tenth_address_is_given_once(self, core: client.CoreV1Api, namespace: str) -> None:
        spec = {"clusterIP": "10.96.0.77", "ports": [{"port": 53}]}
        await core.create_namespaced_service(namespace, {"metadata": {"name": "one"}, "spec": spec})
        two = {"metadata": {"name": "two"}, "spec": spec}
        body = await refusal(core.create_namespaced_service(namespace, two))
        assert body["code"] == 422
        assert "provided IP is already allocated" in body["message"]
        await core.delete_namespaced_service("one", namespace)

    async def test_a_service_gets_an_address(self, core: client.CoreV1Api, namespace: str) -> None:
        made = await core.create_namespaced_service(
            namespace, {"metadata": {"name": "any"}, "spec": {"ports": [{"port": 80}]}}
        )
        assert made.spec.cluster_ip.startswith("10.")
        assert made.spec.type == "ClusterIP"

    async def test_a_roles_binding_cannot_change_its_role(self, admin: Any, unique: str) -> None:
        rbac = client.RbacAuthorizationV1Api(admin)
        await rbac.create_cluster_role_binding(binding(unique, "view", unique))
        body = await refusal(rbac.replace_cluster_role_binding(unique, binding(unique, "edit", unique)))
        assert (body["code"], body["reason"]) == (422, "Invalid")
        assert "cannot change roleRef" in body["message"]


def role(name: str, verbs: list[str], resource: str, group: str = "") -> dict[str, Any]:
    """Kubernetes' own roles for users are put together by a controller, which is not there."""
    return {"metadata": {"name": name}, "rules": [{"apiGroups": [group], "resources": [resource], "verbs": verbs}]}


def binding(name: str, role: str, user: str) -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    return {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    }


class TestDeletion:
    async def test_is_by_uid_where_one_is_given(self, core: client.CoreV1Api, namespace: str) -> None:
        await core.create_namespaced_config_map(namespace, config_map("a"))
        options = {"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}
        body = await refusal(core.delete_namespaced_config_map("a", namespace, body=options))
        assert (body["code"], body["reason"]) == (409, "Conflict")

    async def test_finalizers_hold_an_object_until_they_are_gone(self, core: client.CoreV1Api, namespace: str) -> None:
        held = config_map("a")
        held["metadata"]["finalizers"] = ["slipway.dev/test"]
        await core.create_namespaced_config_map(namespace, held)
        await core.delete_namespaced_config_map("a", namespace)
        assert (await core.read_namespaced_config_map("a", namespace)).metadata.deletion_timestamp is not None
        free = {"metadata": {"finalizers": None}}
        await core.patch_namespaced_config_map("a", namespace, free, _content_type=MERGE)
        assert (await refusal(core.read_namespaced_config_map("a", namespace)))["code"] == 404

    async def test_of_a_node(self, core: client.CoreV1Api, unique: str) -> None:
        await core.create_node(node(unique))
        await core.delete_node(unique)
        assert (await refusal(core.delete_node(unique)))["code"] == 404


class TestLists:
    async def test_pages(self, core: client.CoreV1Api, namespace: str) -> None:
        for number in range(5):
            await core.create_namespaced_config_map(namespace, config_map(f"a{number}"))
        first = await core.list_namespaced_config_map(namespace, limit=2)
        await core.create_namespaced_config_map(namespace, config_map("a9"))
        names, page = [each.metadata.name for each in first.items], first
        assert len(names) == 2
        assert first.metadata.remaining_item_count == 3
        while page.metadata._continue:
            page = await core.list_namespaced_config_map(namespace, limit=2, _continue=page.metadata._continue)
            names += [each.metadata.name for each in page.items]
        assert names == ["a0", "a1", "a2", "a3", "a4"]
        assert page.metadata.resource_version == first.metadata.resource_version

    async def test_a_broken_continuation_is_refused(self, core: client.CoreV1Api, namespace: str) -> None:
        body = await refusal(core.list_namespaced_config_map(namespace, limit=2, _continue="nonsense"))
        assert (body["code"], body["reason"]) == (400, "BadRequest")

    @pytest.mark.parametrize(
        ("selector", "expected"),
        [
            ("tier=web", {"a"}),
            ("tier!=web", {"b", "c"}),
            ("tier in (web,db)", {"a", "b"}),
            ("tier notin (web)", {"b", "c"}),
            ("tier", {"a", "b"}),
            ("!tier", {"c"}),
            ("tier=web,zone", set()),
        ],
    )
    async def test_label_selectors(
        self, core: client.CoreV1Api, namespace: str, selector: str, expected: set[str]
    ) -> None:
        for name, labels in (("a", {"tier": "web"}), ("b", {"tier": "db"}), ("c", {})):
            body = config_map(name)
            body["metadata"]["labels"] = labels
            await core.create_namespaced_config_map(namespace, body)
        found = await core.list_namespaced_config_map(namespace, label_selector=selector)
        assert {each.metadata.name for each in found.items} == expected

    async def test_field_selectors(self, core: client.CoreV1Api, namespace: str) -> None:
        await core.create_namespaced_pod(namespace, pod("here", "n1"))
        await core.create_namespaced_pod(namespace, pod("there", "n2"))

        async def names(selector: str) -> set[str]:
            found = await core.list_namespaced_pod(namespace, field_selector=selector)
            return {each.metadata.name for each in found.items}

        assert await names("spec.nodeName=n1") == {"here"}
        assert await names("spec.nodeName!=n1") == {"there"}
        assert await names("metadata.name=there,status.phase=Pending") == {"there"}

    async def test_an_unsupported_field_selector_is_refused(self, core: client.CoreV1Api, namespace: str) -> None:
        body = await refusal(core.list_namespaced_pod(namespace, field_selector="spec.containers=1"))
        assert (body["code"], body["reason"]) == (400, "BadRequest")
        assert "field label not supported: spec.containers" in body["message"]


class TestWatches:
    async def test_what_happens_after_a_list(self, core: client.CoreV1Api, namespace: str) -> None:
        listed = await core.list_namespaced_config_map(namespace)
        await core.create_namespaced_config_map(namespace, config_map("a", k="v"))
        await core.patch_namespaced_config_map("a", namespace, {"data": {"k": "w"}}, _content_type=MERGE)
        await core.delete_namespaced_config_map("a", namespace)
        seen = await events(core, namespace, 3, resource_version=listed.metadata.resource_version)
        assert [(kind, found["data"]) for kind, found in seen] == [
            ("ADDED", {"k": "v"}),
            ("MODIFIED", {"k": "w"}),
            ("DELETED", {"k": "w"}),
        ]
        versions = [int(found["metadata"]["resourceVersion"]) for _, found in seen]
        assert versions == sorted(set(versions))

    async def test_an_object_that_stops_matching_is_deleted_for_the_watcher(
        self, core: client.CoreV1Api, namespace: str
    ) -> None:
        body = config_map("a")
        body["metadata"]["labels"] = {"tier": "web"}
        await core.create_namespaced_config_map(namespace, body)
        listed = await core.list_namespaced_config_map(namespace, label_selector="tier=web")
        other = {"metadata": {"labels": {"tier": "db"}}}
        await core.patch_namespaced_config_map("a", namespace, other, _content_type=MERGE)
        version = listed.metadata.resource_version
        [(kind, _)] = await events(core, namespace, 1, resource_version=version, label_selector="tier=web")
        assert kind == "DELETED"

    async def test_without_a_version_it_begins_with_what_is_there(self, core: client.CoreV1Api, namespace: str) -> None:
        await core.create_namespaced_config_map(namespace, config_map("a"))
        [(kind, found)] = await events(core, namespace, 1)
        assert (kind, found["metadata"]["name"]) == ("ADDED", "a")

    async def test_ends_at_its_timeout(self, admin: Any, namespace: str) -> None:
        path = f"/api/v1/namespaces/{namespace}/configmaps?watch=1&timeoutSeconds=1"
        async with asyncio.timeout(20):
            status, text = await raw(admin, "GET", path)
        assert (status, text) == (200, "")


async def events(core: client.CoreV1Api, namespace: str, count: int, **more: Any) -> list[tuple[str, Any]]:
    """The first events of a watch."""
    found: list[tuple[str, Any]] = []
    async with asyncio.timeout(20), watch.Watch() as watching:
        stream = watching.stream(
            core.list_namespaced_config_map,
            namespace,
            timeout_seconds=10,
            _request_timeout=aiohttp.ClientTimeout(total=15),
            **more,
        )
        async for event in stream:
            found.append((event["type"], event["raw_object"]))
            if len(found) == count:
                break
    return found


class TestKubelets:
    @pytest.fixture
    async def kubelet(self, connect: Connect, unique: str) -> client.CoreV1Api:
        return client.CoreV1Api(await connect(f"system:node:{unique}", "system:nodes"))

    async def test_registers_its_own_node_and_keeps_its_status(self, kubelet: client.CoreV1Api, unique: str) -> None:
        await kubelet.create_node(node(unique, **{"slipway.dev/pool": "workers"}))
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting"}
        status = {"status": {"conditions": [ready], "nodeInfo": node_info()}}
        after = await kubelet.patch_node_status(unique, status, _content_type=STRATEGIC)
        assert [(each.type, each.status) for each in after.status.conditions] == [("Ready", "True")]

    async def test_conditions_are_merged_by_type(self, kubelet: client.CoreV1Api, unique: str) -> None:
        await kubelet.create_node(node(unique))
        for kind in ("Ready", "MemoryPressure"):
            patch = {"status": {"conditions": [{"type": kind, "status": "True"}]}}
            await kubelet.patch_node_status(unique, patch, _content_type=STRATEGIC)
        found = await kubelet.read_node(unique)
        assert {each.type for each in found.status.conditions} == {"Ready", "MemoryPressure"}

    async def test_registers_no_other_node(self, kubelet: client.CoreV1Api, unique: str) -> None:
        body = await refusal(kubelet.create_node(node(f"other-{unique}")))
        assert (body["code"], body["reason"]) == (403, "Forbidden")
        assert f'node "{unique}" is not allowed to modify node "other-{unique}"' in body["message"]

    async def test_changes_no_other_nodes_status(
        self, core: client.CoreV1Api, kubelet: client.CoreV1Api, unique: str
    ) -> None:
        await core.create_node(node(f"other-{unique}"))
        patch = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
        refused = kubelet.patch_node_status(f"other-{unique}", patch, _content_type=STRATEGIC)
        assert (await refusal(refused))["code"] == 403

    async def test_does_not_give_itself_a_role(self, kubelet: client.CoreV1Api, unique: str) -> None:
        labelled = node(unique, **{"node-role.kubernetes.io/control-plane": ""})
        assert (await refusal(kubelet.create_node(labelled)))["code"] == 403

    async def test_does_not_delete_its_node(self, kubelet: client.CoreV1Api, unique: str) -> None:
        await kubelet.create_node(node(unique))
        assert (await refusal(kubelet.delete_node(unique)))["code"] == 403

    async def test_reads_no_secrets(self, kubelet: client.CoreV1Api) -> None:
        assert (await refusal(kubelet.list_namespaced_secret("kube-system")))["code"] == 403

    async def test_renews_its_own_lease_and_no_other(self, connect: Connect, unique: str) -> None:
        leases = client.CoordinationV1Api(await connect(f"system:node:{unique}", "system:nodes"))
        made = await leases.create_namespaced_lease("kube-node-lease", lease(unique))
        made.spec.renew_time = datetime.now(UTC)
        renewed = await leases.replace_namespaced_lease(unique, "kube-node-lease", made)
        assert int(renewed.metadata.resource_version) > int(made.metadata.resource_version)
        body = await refusal(leases.create_namespaced_lease("kube-node-lease", lease(f"other-{unique}")))
        assert body["code"] == 403

    async def test_a_lease_is_not_renewed_from_an_old_copy(self, connect: Connect, unique: str) -> None:
        leases = client.CoordinationV1Api(await connect(f"system:node:{unique}", "system:nodes"))
        made = await leases.create_namespaced_lease("kube-node-lease", lease(unique))
        made.spec.renew_time = datetime.now(UTC)
        await leases.replace_namespaced_lease(unique, "kube-node-lease", made)
        body = await refusal(leases.replace_namespaced_lease(unique, "kube-node-lease", made))
        assert (body["code"], body["reason"]) == (409, "Conflict")

    async def test_a_nodes_provider_id_stays(self, core: client.CoreV1Api, unique: str) -> None:
        await core.create_node(node(unique))
        patch = {"spec": {"providerID": "openstack:///other"}}
        body = await refusal(core.patch_node(unique, patch, _content_type=MERGE))
        assert (body["code"], body["reason"]) == (422, "Invalid")

    async def test_a_node_is_cordoned(self, core: client.CoreV1Api, unique: str) -> None:
        await core.create_node(node(unique))
        after = await core.patch_node(unique, {"spec": {"unschedulable": True}}, _content_type=MERGE)
        assert after.spec.unschedulable is True


def lease(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"holderIdentity": name, "leaseDurationSeconds": 40}}


def node_info() -> dict[str, str]:
    names = ("machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion")
    more = {"kubeletVersion": "v1.36.3", "kubeProxyVersion": "", "operatingSystem": "linux", "architecture": "amd64"}
    return dict.fromkeys(names, "x") | more


class TestAccess:
    async def test_a_stranger_may_nothing_and_is_told_what(self, connect: Connect, namespace: str) -> None:
        stranger = client.CoreV1Api(await connect("mallory"))
        body = await refusal(stranger.list_namespaced_pod(namespace))
        assert (body["code"], body["reason"]) == (403, "Forbidden")
        assert body["message"] == (
            'pods is forbidden: User "mallory" cannot list resource "pods" in API group "" '
            f'in the namespace "{namespace}"'
        )
        assert body["details"] == {"kind": "pods"}

    async def test_a_cluster_wide_refusal_says_so(self, connect: Connect) -> None:
        stranger = client.CoreV1Api(await connect("mallory"))
        body = await refusal(stranger.read_node("n1"))
        assert body["message"] == (
            'nodes "n1" is forbidden: User "mallory" cannot get resource "nodes" in API group "" at the cluster scope'
        )
        assert body["details"] == {"name": "n1", "kind": "nodes"}

    async def test_a_binding_lets_in_and_its_removal_puts_out(
        self, connect: Connect, admin: Any, namespace: str, unique: str
    ) -> None:
        rbac = client.RbacAuthorizationV1Api(admin)
        user = client.CoreV1Api(await connect(f"alice@{unique}"))
        await rbac.create_cluster_role(role(unique, ["get", "list"], "pods"))
        await rbac.create_cluster_role_binding(binding(unique, unique, f"alice@{unique}"))
        await eventually_allowed(lambda: user.list_namespaced_pod(namespace))
        assert (await refusal(user.create_namespaced_config_map(namespace, config_map("a"))))["code"] == 403
        assert (await refusal(user.list_namespaced_secret(namespace)))["code"] == 403
        await rbac.delete_cluster_role_binding(unique)
        await eventually_refused(lambda: user.list_namespaced_pod(namespace))

    async def test_a_role_in_one_namespace_ends_there(
        self, connect: Connect, admin: Any, namespace: str, unique: str
    ) -> None:
        rbac = client.RbacAuthorizationV1Api(admin)
        user = client.CoreV1Api(await connect(f"bob@{unique}"))
        await rbac.create_cluster_role(role(unique, ["create", "list"], "configmaps"))
        await rbac.create_namespaced_role_binding(namespace, binding(unique, unique, f"bob@{unique}"))
        await eventually_allowed(lambda: user.list_namespaced_config_map(namespace))
        await user.create_namespaced_config_map(namespace, config_map("a"))
        assert (await refusal(user.list_namespaced_config_map("default")))["code"] == 403

    async def test_nobody_gives_what_he_does_not_have(
        self, connect: Connect, admin: Any, namespace: str, unique: str
    ) -> None:
        rbac = client.RbacAuthorizationV1Api(admin)
        api = await connect(f"carol@{unique}")
        bindings = role(unique, ["create", "list"], "rolebindings", "rbac.authorization.k8s.io")
        await rbac.create_cluster_role(bindings)
        await rbac.create_namespaced_role_binding(namespace, binding(unique, unique, f"carol@{unique}"))
        own = client.RbacAuthorizationV1Api(api)
        await eventually_allowed(lambda: own.list_namespaced_role_binding(namespace))
        more = binding(f"{unique}-more", "cluster-admin", f"carol@{unique}")
        body = await refusal(own.create_namespaced_role_binding(namespace, more))
        assert (body["code"], body["reason"]) == (403, "Forbidden")

    async def test_one_may_ask_what_one_may(self, connect: Connect, admin: Any) -> None:
        review = {"spec": {"resourceAttributes": {"verb": "list", "resource": "nodes"}}}
        for api, allowed in ((admin, True), (await connect("mallory"), False)):
            found = await client.AuthorizationV1Api(api).create_self_subject_access_review(review)
            assert found.status.allowed is allowed

    async def test_without_a_certificate_only_health_and_version_are_shown(
        self, kubernetes: Any, tmp_path: Path
    ) -> None:
        (tmp_path / "ca").write_text(kubernetes.ca_pem)
        configuration = client.Configuration(host=kubernetes.url)
        configuration.ssl_ca_cert = str(tmp_path / "ca")
        async with client.ApiClient(configuration) as api:
            for path in ("/readyz", "/livez", "/version"):
                status, _ = await raw(api, "GET", path)
                assert status == 200, path
            status, body = await raw(api, "GET", "/api/v1/nodes")
            assert status == 403
            assert 'User "system:anonymous"' in body["message"]


async def eventually_allowed(call: Callable[[], Awaitable[Any]]) -> None:
    """The real server's authorizer follows its bindings a moment later."""
    await eventually(lambda: is_allowed(call), "the call is allowed")


async def eventually_refused(call: Callable[[], Awaitable[Any]]) -> None:
    """As above."""

    async def is_refused() -> bool:
        return not await is_allowed(call)

    await eventually(is_refused, "the call is refused")


async def is_allowed(call: Callable[[], Awaitable[Any]]) -> bool:
    """Whether it was done, or forbidden; any other failure is one."""
    try:
        await call()
    except ApiException as refused:
        if refused.status != 403:
            raise
        return False
    return True
