"""The API server's model: what a request answers and what it changes."""

from typing import Any

import pytest

from slipway_sandbox.machines.kubernetes import KubernetesModel
from slipway_sandbox.machines.kubernetes.rbac import MASTER

MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


def a_map(name: str = "a", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def a_deployment(name: str = "web", replicas: int = 2) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "x:1"}]}}
    selector = {"matchLabels": {"app": name}}
    return {"metadata": {"name": name}, "spec": {"replicas": replicas, "selector": selector, "template": template}}


def test_what_was_created_is_read_back_with_the_servers_metadata(api: Any) -> None:
    created = api.ok("POST", MAPS, a_map(x="1"))
    read = api.ok("GET", f"{MAPS}/a")
    assert read == created
    assert read["metadata"]["namespace"] == "default"
    assert read["metadata"]["uid"]
    assert read["metadata"]["creationTimestamp"] == "2030-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "reason", "says"),
    [
        pytest.param("GET", f"{MAPS}/no", None, 404, "NotFound", 'configmaps "no" not found', id="no such object"),
        pytest.param("GET", "/api/v1/things", None, 404, "NotFound", "could not find the requested", id="no such kind"),
        pytest.param("POST", MAPS, a_map("kept"), 409, "AlreadyExists", "already exists", id="name is taken"),
        pytest.param("POST", MAPS, {"metadata": {}}, 422, "Invalid", "name or generateName is required", id="no name"),
        pytest.param("POST", MAPS, a_map("A B"), 422, "Invalid", "RFC 1123", id="a name that is none"),
        pytest.param("POST", MAPS, b"{", 400, "BadRequest", "not JSON", id="no JSON"),
        pytest.param(
            "POST", MAPS, {**a_map(), "kind": "Secret"}, 400, "BadRequest", "cannot be handled", id="another kind"
        ),
        pytest.param(
            "POST", "/api/v1/namespaces/no/configmaps", a_map(), 404, "NotFound", 'namespaces "no"', id="no namespace"
        ),
        pytest.param("POST", DEPLOYMENTS, {"metadata": {"name": "w"}}, 422, "Invalid", "spec.selector", id="workload"),
        pytest.param("PUT", f"{MAPS}/no", a_map("no"), 404, "NotFound", "not found", id="update of nothing"),
        pytest.param("POST", f"{MAPS}/kept", a_map(), 405, "MethodNotAllowed", "method", id="create with a name"),
    ],
)
def test_refusals_have_the_status_body_of_the_real_server(
    api: Any, method: str, path: str, body: Any, code: int, reason: str, says: str
) -> None:
    api.ok("POST", MAPS, a_map("kept"))
    status, answer = api.send(method, path, body)
    assert (status, answer["code"], answer["reason"], answer["kind"]) == (code, code, reason, "Status")
    assert says in answer["message"]


def test_a_write_with_an_old_version_loses(api: Any) -> None:
    first = api.ok("POST", MAPS, a_map(x="1"))
    api.ok("PUT", f"{MAPS}/a", {**first, "data": {"x": "2"}})
    status, answer = api.send("PUT", f"{MAPS}/a", {**first, "data": {"x": "3"}})
    assert (status, answer["reason"]) == (409, "Conflict")
    assert "the object has been modified" in answer["message"]


def test_a_write_that_changes_nothing_keeps_the_version(api: Any) -> None:
    first = api.ok("POST", MAPS, a_map(x="1"))
    again = api.ok("PATCH", f"{MAPS}/a", {"data": {"x": "1"}})
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_lists_are_paged_to_the_end(api: Any) -> None:
    for number in range(5):
        api.ok("POST", MAPS, a_map(f"m{number}"))
    names, token = [], ""
    for _ in range(3):
        page = api.ok("GET", MAPS, limit="2", **({"continue": token} if token else {}))
        names += [item["metadata"]["name"] for item in page["items"]]
        token = page["metadata"].get("continue", "")
    assert (names, token) == (["m0", "m1", "m2", "m3", "m4"], "")


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("app=a", ["one"]),
        ("app!=a", ["three", "two"]),
        ("app in (a,b)", ["one", "two"]),
        ("app notin (a)", ["three", "two"]),
        ("app", ["one", "two"]),
        ("!app", ["three"]),
        ("app=b,tier=back", ["two"]),
    ],
)
def test_label_selectors(api: Any, selector: str, expected: list[str]) -> None:
    for name, labels in (("one", {"app": "a"}), ("two", {"app": "b", "tier": "back"}), ("three", {})):
        api.ok("POST", MAPS, {"metadata": {"name": name, "labels": labels}})
    found = api.ok("GET", MAPS, labelSelector=selector)["items"]
    assert [item["metadata"]["name"] for item in found] == expected


def test_field_selectors_find_the_pods_of_a_node(api: Any) -> None:
    pods = "/api/v1/namespaces/default/pods"
    for name, node in (("p1", "n1"), ("p2", "n2")):
        spec = {"nodeName": node, "containers": [{"name": "c"}]}
        api.ok("POST", pods, {"metadata": {"name": name}, "spec": spec})
    found = api.ok("GET", "/api/v1/pods", fieldSelector="spec.nodeName=n2")["items"]
    assert [item["metadata"]["name"] for item in found] == ["p2"]


def test_generation_counts_changes_of_the_spec_alone(api: Any) -> None:
    api.ok("POST", DEPLOYMENTS, a_deployment())
    labelled = api.ok("PATCH", f"{DEPLOYMENTS}/web", {"metadata": {"labels": {"a": "b"}}})
    scaled = api.ok("PATCH", f"{DEPLOYMENTS}/web", {"spec": {"replicas": 3}})
    assert (labelled["metadata"]["generation"], scaled["metadata"]["generation"]) == (1, 2)


def test_status_is_written_by_its_subresource_alone(api: Any) -> None:
    api.ok("POST", DEPLOYMENTS, {**a_deployment(), "status": {"replicas": 7}})
    assert api.ok("GET", f"{DEPLOYMENTS}/web")["status"] == {}
    api.ok("PATCH", f"{DEPLOYMENTS}/web", {"status": {"replicas": 8}})
    assert api.ok("GET", f"{DEPLOYMENTS}/web")["status"] == {}
    api.ok("PATCH", f"{DEPLOYMENTS}/web/status", {"status": {"replicas": 9}, "spec": {"replicas": 99}})
    after = api.ok("GET", f"{DEPLOYMENTS}/web")
    assert (after["status"], after["spec"]["replicas"]) == ({"replicas": 9}, 2)


@pytest.mark.parametrize(
    ("kind", "patch", "expected"),
    [
        pytest.param("application/merge-patch+json", {"data": {"a": None, "c": "3"}}, {"b": "2", "c": "3"}, id="merge"),
        pytest.param(
            "application/json-patch+json",
            [{"op": "replace", "path": "/data/a", "value": "9"}, {"op": "remove", "path": "/data/b"}],
            {"a": "9"},
            id="json",
        ),
        pytest.param(
            "application/strategic-merge-patch+json",
            {"data": {"$patch": "replace", "z": "0"}},
            {"z": "0"},
            id="strategic replace",
        ),
    ],
)
def test_patch_types(api: Any, kind: str, patch: Any, expected: dict[str, str]) -> None:
    api.ok("POST", MAPS, a_map(a="1", b="2"))
    assert api.ok("PATCH", f"{MAPS}/a", patch, kind=kind)["data"] == expected


def test_a_strategic_patch_merges_lists_by_key(api: Any) -> None:
    api.node("n1")
    conditions = [{"type": "DiskPressure", "status": "False"}, {"type": "Ready", "status": "False"}]
    kind = "application/strategic-merge-patch+json"
    after = api.ok("PATCH", "/api/v1/nodes/n1/status", {"status": {"conditions": conditions}}, kind=kind)
    states = {item["type"]: item["status"] for item in after["status"]["conditions"]}
    assert states == {"Ready": "False", "DiskPressure": "False"}


def test_an_unknown_patch_type_is_415(api: Any) -> None:
    api.ok("POST", MAPS, a_map())
    assert api.send("PATCH", f"{MAPS}/a", {}, kind="text/plain")[0] == 415


def test_finalizers_hold_an_object_until_they_are_gone(api: Any) -> None:
    api.ok("POST", MAPS, {"metadata": {"name": "a", "finalizers": ["x/y"]}})
    api.ok("DELETE", f"{MAPS}/a")
    assert api.ok("GET", f"{MAPS}/a")["metadata"]["deletionTimestamp"]
    api.ok("PATCH", f"{MAPS}/a", {"metadata": {"finalizers": None}})
    assert api.send("GET", f"{MAPS}/a")[0] == 404


def test_a_namespace_goes_with_all_that_is_in_it(api: Any) -> None:
    api.ok("POST", "/api/v1/namespaces", {"metadata": {"name": "team"}})
    api.ok("POST", "/api/v1/namespaces/team/configmaps", a_map())
    api.ok("DELETE", "/api/v1/namespaces/team")
    assert api.ok("GET", "/api/v1/configmaps")["items"] == []


def test_a_nodes_provider_id_never_changes(api: Any) -> None:
    api.ok("POST", "/api/v1/nodes", {"metadata": {"name": "n"}, "spec": {"providerID": "openstack:///1"}})
    status, answer = api.send("PATCH", "/api/v1/nodes/n", {"spec": {"providerID": "openstack:///2"}})
    assert (status, "providerID" in answer["message"]) == (422, True)


def test_the_role_of_a_binding_never_changes(api: Any) -> None:
    bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    api.ok("POST", bindings, {"metadata": {"name": "b"}, "roleRef": role})
    assert api.send("PATCH", f"{bindings}/b", {"roleRef": {**role, "name": "edit"}})[0] == 422


def test_services_get_addresses_of_their_own(api: Any) -> None:
    services = "/api/v1/namespaces/default/services"
    taken = api.ok("GET", f"{services}/kubernetes")["spec"]["clusterIP"]
    made = [api.ok("POST", services, {"metadata": {"name": name}})["spec"]["clusterIP"] for name in ("s1", "s2")]
    assert len({taken, *made}) == 3


def test_a_custom_resource_is_served_once_it_is_defined(api: Any) -> None:
    path = "/apis/slipway.dev/v1/addons"
    assert api.send("GET", path)[0] == 404
    spec = {
        "group": "slipway.dev",
        "scope": "Cluster",
        "names": {"plural": "addons", "kind": "Addon"},
        "versions": [{"name": "v1", "served": True, "storage": True}],
    }
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    api.ok("POST", definitions, {"metadata": {"name": "addons.slipway.dev"}, "spec": spec})
    api.ok("POST", path, {"metadata": {"name": "flannel"}, "spec": {"version": "1"}})
    assert [item["kind"] for item in api.ok("GET", path)["items"]] == ["Addon"]
    assert "slipway.dev" in {group["name"] for group in api.ok("GET", "/apis")["groups"]}


def test_discovery_names_every_resource_it_serves(api: Any) -> None:
    for group in api.ok("GET", "/apis")["groups"]:
        version = group["preferredVersion"]["groupVersion"]
        for entry in api.ok("GET", f"/apis/{version}")["resources"]:
            if "list" in entry["verbs"]:
                assert api.send("GET", f"/apis/{version}/{entry['name']}")[0] == 200


def test_dry_run_changes_nothing(api: Any) -> None:
    api.ok("POST", MAPS, a_map(), dryRun="All")
    assert api.send("GET", f"{MAPS}/a")[0] == 404


def test_scale_reads_and_changes_replicas(api: Any) -> None:
    api.ok("POST", DEPLOYMENTS, a_deployment())
    api.ok("PATCH", f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": 5}})
    assert api.ok("GET", f"{DEPLOYMENTS}/web/scale")["spec"] == {"replicas": 5}


def test_a_second_api_server_finds_what_the_first_stored(api: Any) -> None:
    api.ok("POST", MAPS, a_map())
    before = api.model.storage.revision
    second = KubernetesModel(api.model.storage, api.clock)
    assert second.handle("GET", f"{MAPS}/a", {}, {}, None, MASTER)[0] == 200
    assert api.model.storage.revision == before
