"""Builders of facts and observations: each gives something that is well, unless told otherwise."""

from datetime import UTC, datetime, timedelta
from typing import Any

from slipway_contracts.agent import (
    EtcdMemberView,
    EtcdObservation,
    Observation,
    ProbeObservation,
    UnitObservation,
    UnitState,
)
from slipway_contracts.api import ClusterSpec, NodeSpec, PoolSpec
from slipway_contracts.healer import NodeRow
from slipway_contracts.provisioner import (
    ClusterInfrastructure,
    InfrastructurePhase,
    NodePhase,
    NodeState,
    ServerState,
)
from slipway_contracts.values import Role

START = datetime(2026, 1, 1, tzinfo=UTC)
SPEC = NodeSpec(name="standard", version=1, image_id="image", flavor_id="flavor", network_id="network")
REGION = "sandbox"
PROJECT = "project"
BEAT = timedelta(seconds=10)
MOMENT = timedelta(seconds=1)


def a_spec(cluster_id: str = "c1", **changes: Any) -> ClusterSpec:
    """A cluster's desired state."""
    values: dict[str, Any] = {
        "cluster_id": cluster_id,
        "name": f"cluster-{cluster_id}",
        "project_id": PROJECT,
        "region": REGION,
        "generation": 1,
        "operation_id": "operation",
        "created_at": START,
        "release": "v1.36.3",
        "network_id": "network",
        "pools": tuple(
            PoolSpec(pool_id=role.value, name=role.value, role=role, count=1, node_spec=SPEC) for role in Role
        ),
    }
    return ClusterSpec(**values | changes)


def a_row(node_id: str, role: Role = Role.WORKER, **changes: Any) -> NodeRow:
    """A row of a node table."""
    values: dict[str, Any] = {
        "node_id": node_id,
        "name": f"node-{node_id}",
        "pool_id": role.value,
        "role": role,
        "spec": SPEC,
        "decided_at": START,
        "valid_until": START + timedelta(minutes=2),
    }
    return NodeRow(**values | changes)


def a_node(
    node_id: str, role: Role = Role.WORKER, *, cluster_id: str = "c1", now: datetime = START, **changes: Any
) -> NodeState:
    """A node whose plan was applied a moment ago; `row` changes go in as a row."""
    values: dict[str, Any] = {
        "cluster_id": cluster_id,
        "pool_id": role.value,
        "node_id": node_id,
        "row": a_row(node_id, role),
        "phase": NodePhase.PROVISIONED,
        "since": now,
        "server_state": ServerState.ACTIVE,
        "server_id": f"server-{node_id}",
        "active_at": now,
        "joined_at": now,
        "created_at": now,
    }
    return NodeState(**values | changes)


def an_infrastructure(cluster_id: str = "c1", **changes: Any) -> ClusterInfrastructure:
    """A cluster whose API answers through its endpoint."""
    values: dict[str, Any] = {
        "cluster_id": cluster_id,
        "phase": InfrastructurePhase.AVAILABLE,
        "since": START,
        "endpoint": "https://10.0.0.4:6443",
        "ca_pem": "CA",
    }
    return ClusterInfrastructure(**values | changes)


def an_observation(
    node_id: str,
    now: datetime,
    *,
    probe: bool = True,
    unit: UnitState = UnitState.ACTIVE,
    etcd: EtcdObservation | None = None,
) -> Observation:
    """What an agent sees of a node whose plan is applied."""
    return Observation(
        node_id=node_id,
        boot_id=f"boot-{node_id}",
        at=now,
        applied_revision=1,
        units=(UnitObservation(name="kubelet.service", state=unit),),
        probes=(ProbeObservation(name="healthz", healthy=probe, saw="200" if probe else "connection refused"),),
        etcd=etcd,
    )


def a_member_id(number: int) -> str:
    """The id of a member of etcd."""
    return f"{number:016x}"


def a_peer_url(number: int) -> str:
    """Where the member on the node with this number listens for the others."""
    return f"https://10.0.0.{number}:2380"


def a_member(number: int, *, name: str | None = None, healthy: bool = True, **changes: Any) -> EtcdMemberView:
    """The member on node `node-e<number>`, as another one's agent sees it."""
    values: dict[str, Any] = {
        "member_id": a_member_id(number),
        "name": f"node-e{number}" if name is None else name,
        "peer_url": a_peer_url(number),
        "healthy": healthy,
        "saw": "200" if healthy else "connection refused",
    }
    return EtcdMemberView(**values | changes)


def an_etcd(own: int, *members: EtcdMemberView, leader: int | None = 1) -> EtcdObservation:
    """What the agent of the member with this number sees."""
    return EtcdObservation(
        member_id=a_member_id(own), leader_id=None if leader is None else a_member_id(leader), members=members
    )
