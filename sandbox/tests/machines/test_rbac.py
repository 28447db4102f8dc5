"""Who may do what."""

from typing import Any

import pytest

from slipway_sandbox.machines.kubernetes import ANONYMOUS, User

ALICE = User("alice")
NODE = User("system:node:n1", ("system:nodes",))
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


def bind(api: Any, role: str, user: str = "alice", kind: str = "User") -> None:
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": user}
    api.ok("POST", BINDINGS, {"metadata": {"name": f"{role}-{user}"}, "roleRef": reference, "subjects": [subject]})


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/version"])
def test_health_is_for_everybody(api: Any, path: str) -> None:
    assert api.send("GET", path, user=ANONYMOUS)[0] == 200


def test_without_a_binding_nothing_is_allowed_and_the_answer_says_what_was_asked(api: Any) -> None:
    status, answer = api.send("GET", "/api/v1/namespaces/default/pods", user=ALICE)
    assert (status, answer["reason"]) == (403, "Forbidden")
    expected = 'User "alice" cannot list resource "pods" in API group "" in the namespace "default"'
    assert expected in answer["message"]


def test_view_reads_and_does_not_write(api: Any) -> None:
    bind(api, "view")
    pods = "/api/v1/namespaces/default/pods"
    assert api.send("GET", pods, user=ALICE)[0] == 200
    assert api.send("POST", pods, {"metadata": {"name": "p"}}, user=ALICE)[0] == 403
    assert api.send("GET", "/api/v1/namespaces/default/secrets", user=ALICE)[0] == 403


def test_removing_the_binding_revokes_at_once(api: Any) -> None:
    bind(api, "cluster-admin")
    assert api.send("GET", "/api/v1/nodes", user=ALICE)[0] == 200
    api.ok("DELETE", f"{BINDINGS}/cluster-admin-alice")
    assert api.send("GET", "/api/v1/nodes", user=ALICE)[0] == 403


def test_groups_are_bound_like_users(api: Any) -> None:
    bind(api, "view", "team", "Group")
    assert api.send("GET", "/api/v1/pods", user=User("bob", ("team",)))[0] == 200


def test_a_role_binding_holds_in_its_namespace_alone(api: Any) -> None:
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"}
    subject = {"kind": "User", "name": "alice"}
    path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"
    api.ok("POST", path, {"metadata": {"name": "b"}, "roleRef": reference, "subjects": [subject]})
    assert api.send("GET", "/api/v1/namespaces/default/secrets", user=ALICE)[0] == 200
    assert api.send("GET", "/api/v1/namespaces/kube-system/secrets", user=ALICE)[0] == 403


@pytest.mark.parametrize(
    ("rules", "method", "path", "expected"),
    [
        pytest.param([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}], "GET", "nodes/n1", 200, id="get"),
        pytest.param(
            [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}], "GET", "nodes", 403, id="no list"
        ),
        pytest.param(
            [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"], "resourceNames": ["n2"]}],
            "GET",
            "nodes/n1",
            403,
            id="another name",
        ),
        pytest.param(
            [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["patch"]}], "PATCH", "nodes/n1/status", 403, id="sub"
        ),
        pytest.param(
            [{"apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch"]}],
            "PATCH",
            "nodes/n1/status",
            200,
            id="subresource",
        ),
        pytest.param([{"apiGroups": ["apps"], "resources": ["*"], "verbs": ["*"]}], "GET", "nodes", 403, id="group"),
        pytest.param([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}], "GET", "nodes", 200, id="everything"),
    ],
)
def test_rules(api: Any, rules: list[Any], method: str, path: str, expected: int) -> None:
    api.node("n1")
    api.ok("POST", ROLES, {"metadata": {"name": "r"}, "rules": rules})
    bind(api, "r")
    body = {"status": {"phase": "x"}} if method == "PATCH" else None
    assert api.send(method, f"/api/v1/{path}", body, user=ALICE)[0] == expected


def test_nobody_grants_more_than_he_has(api: Any) -> None:
    rules = [
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
    ]
    api.ok("POST", ROLES, {"metadata": {"name": "granter"}, "rules": rules})
    bind(api, "granter")
    allowed = {"metadata": {"name": "less"}, "rules": [rules[1]]}
    refused = {"metadata": {"name": "more"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]}
    assert api.send("POST", ROLES, allowed, user=ALICE)[0] == 201
    status, answer = api.send("POST", ROLES, refused, user=ALICE)
    assert (status, "not currently held" in answer["message"]) == (403, True)


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        pytest.param("PATCH", "/api/v1/nodes/n1/status", {"status": {"phase": "x"}}, 200, id="own status"),
        pytest.param("PATCH", "/api/v1/nodes/n2/status", {"status": {"phase": "x"}}, 403, id="status of another"),
        pytest.param("DELETE", "/api/v1/nodes/n1", None, 403, id="no deletion"),
        pytest.param("PATCH", f"{LEASES}/n1", {"spec": {"holderIdentity": "n1"}}, 200, id="own lease"),
        pytest.param("PATCH", f"{LEASES}/n2", {"spec": {"holderIdentity": "n1"}}, 403, id="lease of another"),
        pytest.param("GET", "/api/v1/pods", None, 200, id="pods"),
        pytest.param("GET", "/apis/apps/v1/deployments", None, 403, id="no workloads"),
    ],
)
def test_a_kubelet_writes_what_is_its_own(api: Any, method: str, path: str, body: Any, expected: int) -> None:
    api.node("n1")
    api.node("n2")
    assert api.send(method, path, body, user=NODE)[0] == expected


def test_a_review_answers_what_the_rules_say(api: Any) -> None:
    bind(api, "view")
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    answers = []
    for verb in ("list", "delete"):
        asked = {"spec": {"resourceAttributes": {"verb": verb, "resource": "pods", "namespace": "default"}}}
        answers.append(api.ok("POST", path, asked, user=ALICE)["status"]["allowed"])
    assert answers == [True, False]
