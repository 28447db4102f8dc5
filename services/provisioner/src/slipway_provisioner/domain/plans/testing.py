"""A small cluster to render plans of: two words in a test give the inputs of a plan."""

from datetime import UTC, datetime
from functools import cache

from slipway_chassis.regions import Machine
from slipway_chassis.releases import OPTIONAL_PACKAGES, Release, completed
from slipway_contracts.api import ClusterSpec, NodeSpec, PoolSpec
from slipway_contracts.values import Role
from slipway_provisioner.domain.cluster_keys import ClusterKeys, make_cluster_keys
from slipway_provisioner.domain.plans.model import Endpoint, Member, PlanInputs, PlanNode, Seat

CLUSTER_ID = "01980000-0000-7000-8000-000000000001"
STARTED_AT = datetime(2026, 1, 1, tzinfo=UTC)
_SPEC = NodeSpec(name="standard", version=1, image_id="image", flavor_id="flavor", network_id="network")
_PROGRAMS = ("kubelet", "kubeadm", "kubectl", "etcd", "etcdctl", "etcdutl")


@cache
def sample_keys() -> ClusterKeys:
    """The keys of the sample cluster, made once a process."""
    return make_cluster_keys(CLUSTER_ID, STARTED_AT)


def a_release(name: str = "v1.36.3", digests: dict[str, str] | None = None, *, packages: bool = False) -> Release:
    """A release with files named like the sandbox's mirror; `packages`: also what an image may lack."""
    known = digests or {}
    artifacts = {
        program: {"file": f"{name}/{program}", "sha256": known.get(program, f"{index:064x}")}
        for index, program in enumerate((*_PROGRAMS, *(OPTIONAL_PACKAGES if packages else ())))
    }
    return Release.model_validate(completed(name, {"artifacts": artifacts}))


def a_pool(role: Role, **changes: object) -> PoolSpec:
    """One pool of the sample cluster."""
    count = {Role.ETCD: 3, Role.CONTROLLER: 2, Role.WORKER: 2}[role]
    return PoolSpec.model_validate(
        {"pool_id": f"pool-{role}", "name": f"{role}s", "role": role, "count": count, "node_spec": _SPEC} | changes
    )


def a_spec(**changes: object) -> ClusterSpec:
    """The sample cluster."""
    return ClusterSpec.model_validate(
        {
            "cluster_id": CLUSTER_ID,
            "name": "demo",
            "project_id": "project",
            "region": "sandbox",
            "generation": 1,
            "operation_id": "operation",
            "created_at": STARTED_AT,
            "release": "v1.36.3",
            "network_id": "network",
            "pools": tuple(a_pool(role) for role in Role),
        }
        | changes
    )


def plan_inputs(
    role: Role,
    *,
    number: int = 1,
    subnet: str = "10.0.0",
    etcd_addresses: tuple[str | None, ...] | None = None,
    endpoint: Endpoint | None = None,
    has_endpoint: bool = True,
    machine: Machine | None = None,
    pool: PoolSpec | None = None,
    spec: ClusterSpec | None = None,
    keys: ClusterKeys | None = None,
    release: Release | None = None,
    mirror: str = "http://mirror.example/",
) -> PlanInputs:
    """Inputs for node `number` of a role: etcd has .11 to .13, controllers .21 on, workers .31 on, the endpoint .5."""
    base = {Role.ETCD: 10, Role.CONTROLLER: 20, Role.WORKER: 30}[role]
    addresses = etcd_addresses or tuple(f"{subnet}.{10 + each}" for each in (1, 2, 3))
    members = tuple(Member(f"demo-etcds-aaaa{each}", address) for each, address in enumerate(addresses, start=1))
    node = PlanNode(
        node_id=f"node-{role}-{number}",
        name=f"demo-{role}s-aaaa{number}",
        role=role,
        address=addresses[number - 1] if role is Role.ETCD else f"{subnet}.{base + number}",
        server_id=f"server-{role}-{number}",
        zone="az1",
    )
    return PlanInputs(
        node=node,
        spec=spec or a_spec(),
        pool=pool or a_pool(role),
        made_of=(pool or a_pool(role)).node_spec,
        region="sandbox",
        machine=machine or Machine(),
        mirror=mirror,
        registry_mirrors={"registry.k8s.io": "http://10.0.0.1:5001"},
        release=release or a_release(),
        keys=(keys or sample_keys()).for_plan(controller=role is Role.CONTROLLER),
        etcd=members,
        endpoint=(endpoint or Endpoint(f"{subnet}.5", 6443)) if has_endpoint else None,
        seat=Seat(members[number - 1].name, members, existing=False) if role is Role.ETCD else None,
    )
