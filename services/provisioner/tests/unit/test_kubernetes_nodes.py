"""What is kept of a cluster's Node objects, and whose they are."""

from types import SimpleNamespace
from typing import Any

import pytest

from slipway_contracts.api import ClusterSpec, Taint
from slipway_contracts.provisioner import NodePhase
from slipway_contracts.values import Role
from slipway_provisioner.domain.kubernetes_nodes import Upkeep, decide_upkeep, release_range, superseded
from slipway_provisioner.ports import KubernetesNode
from slipway_provisioner.testing.builders import a_cluster

GPU = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}
CONTROL_PLANE = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}


def kube(name: str, server: str | None = None, **changes: Any) -> KubernetesNode:
    provider = f"openstack:///{server}" if server else None
    values: dict[str, Any] = {"labels": {}, "ready": True, "unschedulable": False, "kubelet_version": "v1.36.3"}
    return KubernetesNode(name, provider, **(values | changes))


def ours(name: str, role: Role, server: str | None, phase: NodePhase = NodePhase.PROVISIONED) -> SimpleNamespace:
    return SimpleNamespace(
        node_id=f"id-{name}",
        pool_id=f"pool-{role}",
        name=name,
        role=role.value,
        server_id=server,
        phase=phase.value,
    )


def workers(labels: dict[str, str] | None = None, *taints: dict[str, str]) -> ClusterSpec:
    spec = a_cluster()
    wanted = {"labels": labels or {}, "taints": tuple(Taint.model_validate(taint) for taint in taints)}
    pools = tuple(pool.model_copy(update=wanted) if pool.role is Role.WORKER else pool for pool in spec.pools)
    return spec.model_copy(update={"pools": pools})


RECORD = ours("w", Role.WORKER, "2")


def upkept(spec: ClusterSpec, node: KubernetesNode) -> tuple[KubernetesNode, Upkeep | None]:
    """The Node after what was decided was done."""
    change = decide_upkeep(spec, [RECORD], [node]).get(node.name)
    if change is None:
        return node, None
    labels = {key: value for key, value in {**node.labels, **change.labels}.items() if value is not None}
    taints = node.taints if change.taints is None else change.taints
    return kube("w", labels=labels, taints=taints, kept=change.kept or node.kept), change


def test_what_the_pool_wants_is_put_on_and_put_back_and_what_it_drops_goes() -> None:
    spec = workers({"tier": "a", "team": "x"}, GPU)
    node, _ = upkept(spec, kube("w", labels={"mine": "stays"}, taints=(NOT_READY,)))
    assert node.labels.items() >= {"tier": "a", "team": "x", "mine": "stays", "slipway.dev/pool": "worker"}.items()
    assert node.labels["node-role.kubernetes.io/worker"] == ""
    assert node.labels["slipway.dev/node-id"] == "id-w"
    assert node.taints == (NOT_READY, GPU)
    assert upkept(spec, node)[1] is None, "done is done"

    spoiled = kube("w", labels={**node.labels, "tier": "b"}, taints=(NOT_READY,), kept=node.kept)
    assert upkept(spec, spoiled)[0] == node

    less, change = upkept(workers({"tier": "a"}), node)
    assert change is not None
    assert "team" not in less.labels
    assert less.labels["mine"] == "stays"
    assert less.taints == (NOT_READY,)
    assert upkept(workers({"tier": "a"}), less)[1] is None


def test_a_taints_value_changes_in_its_place() -> None:
    node, _ = upkept(workers({}, GPU), kube("w"))
    changed, _ = upkept(workers({}, {**GPU, "value": "no"}), node)
    assert changed.taints == ({**GPU, "value": "no"},)


def test_taints_and_labels_of_others_are_nobodys_business_of_ours() -> None:
    theirs = kube("w", labels={"a": "b"}, taints=(NOT_READY, {"key": "x", "effect": "NoSchedule"}))
    node, _ = upkept(workers(), theirs)
    assert (node.labels["a"], node.taints) == ("b", theirs.taints)


@pytest.mark.parametrize("kept", ["", "nonsense", "[]", "{}", '{"labels": 3}', '{"taints": [1]}'])
def test_a_spoiled_annotation_is_written_anew_and_removes_nothing(kept: str) -> None:
    node, change = upkept(workers({"tier": "a"}), kube("w", labels={"team": "x"}, kept=kept))
    assert change is not None
    assert change.kept is not None
    assert node.labels["team"] == "x"


def test_controllers_keep_kubernetes_own_taint_and_etcd_nodes_and_strangers_are_left_alone() -> None:
    records = [ours("c", Role.CONTROLLER, "1"), ours("e", Role.ETCD, "2")]
    changes = decide_upkeep(a_cluster(), records, [kube("c"), kube("e"), kube("stranger")])
    assert set(changes) == {"c"}
    assert changes["c"].taints == (CONTROL_PLANE,)
    assert changes["c"].labels["node-role.kubernetes.io/control-plane"] == ""


def test_a_node_whose_pool_was_removed_loses_nothing_any_more() -> None:
    spec = workers()
    without = spec.model_copy(update={"pools": spec.pools_of(Role.ETCD)})
    node, _ = upkept(workers({"tier": "a"}, GPU), kube("w"))
    assert decide_upkeep(without, [RECORD], [node]) == {}


def test_objects_of_earlier_servers_and_removed_nodes_go_and_strangers_stay() -> None:
    records = [
        ours("new-server", Role.CONTROLLER, "2"),
        ours("removed", Role.WORKER, None, NodePhase.REMOVED),
        ours("right", Role.WORKER, "4"),
        ours("between", Role.CONTROLLER, None, NodePhase.REPLACING),
    ]
    found = [kube("new-server", "1"), kube("removed", "3"), kube("right", "4"), kube("between", "5"), kube("x", "6")]
    assert [node.name for node in superseded(records, found)] == ["new-server", "removed"]


def test_releases_are_compared_as_numbers() -> None:
    assert release_range(["v1.9.1", "v1.36.3+vendor", "v1.36.10", "nonsense"]) == ("v1.9.1", "v1.36.10")
    assert release_range([]) == (None, None)
