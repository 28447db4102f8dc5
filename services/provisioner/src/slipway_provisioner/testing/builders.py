"""Desired states, events and a region for tests."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from slipway_chassis.ids import new_id
from slipway_chassis.regions import Region
from slipway_chassis.releases import REQUIRED_PROGRAMS, Releases, completed
from slipway_contracts.api import ClusterSpec, ClusterSpecChanged, NodeSpec, PoolSpec
from slipway_contracts.envelope import Event, sequence_text
from slipway_contracts.healer import NodeRow, NodeTable, PoolAtTarget
from slipway_contracts.values import Role

START = datetime(2026, 1, 1, tzinfo=UTC)
RELEASE = "v1.36.3"
CLUSTER, PROJECT = "cluster-1", "project-1"


def a_region(**changes: Any) -> Region:
    """A region whose machines reach everything by name."""
    region = Region(
        name="tokyo",
        cloud="sandbox",
        mirror="http://mirror.invalid/",
        releases_file=Path("releases.yaml"),
        agent_url="https://agents.invalid",
        observe_url="https://observe.invalid",
        signing_url="https://signing.invalid",
    )
    return region.model_copy(update=changes)


def some_releases(*packages: str) -> Releases:
    """One release with programs and images, and these packages on its mirror."""
    artifacts = {name: {"file": f"{RELEASE}/{name}", "sha256": "0" * 64} for name in (*REQUIRED_PROGRAMS, *packages)}
    return Releases.model_validate({"releases": {RELEASE: completed(RELEASE, {"artifacts": artifacts})}})


def a_node_spec(version: int = 1) -> NodeSpec:
    """Machines."""
    return NodeSpec(name="standard", version=version, image_id="image-1", flavor_id="flavor-1", network_id="network-1")


def a_pool(role: Role, count: int = 1) -> PoolSpec:
    """A pool named like its role."""
    return PoolSpec(pool_id=f"pool-{role}", name=role.value, role=role, count=count, node_spec=a_node_spec())


def a_cluster(*, etcd: int = 1, controllers: int = 1, workers: int = 1, **changes: Any) -> ClusterSpec:
    """A cluster of three pools."""
    return ClusterSpec(
        cluster_id=CLUSTER,
        name="blue",
        project_id=PROJECT,
        region="tokyo",
        generation=1,
        operation_id="operation-1",
        created_at=START,
        release=RELEASE,
        network_id="network-1",
        pools=(a_pool(Role.ETCD, etcd), a_pool(Role.CONTROLLER, controllers), a_pool(Role.WORKER, workers)),
    ).model_copy(update=changes)


def a_row(role: Role, number: int = 1, *, now: datetime = START, **changes: Any) -> NodeRow:
    """A row of a node table, decided now."""
    return NodeRow(
        node_id=f"node-{role}-{number}",
        name=f"blue-{role}-{number}",
        pool_id=f"pool-{role}",
        role=role,
        spec=a_node_spec(),
        decided_at=now,
        valid_until=now + timedelta(minutes=2),
    ).model_copy(update=changes)


def rows_of(spec: ClusterSpec, role: Role, now: datetime = START) -> tuple[NodeRow, ...]:
    """The first rows of the pools of a role."""
    count = sum(pool.count for pool in spec.pools_of(role))
    return tuple(a_row(role, number, now=now) for number in range(1, count + 1))


def spec_changed(spec: ClusterSpec, now: datetime) -> bytes:
    """The api's message."""
    return _message(ClusterSpecChanged, "api/global", f"clusters/{spec.cluster_id}", spec, now)


def pool_changed(rows: tuple[NodeRow, ...], now: datetime, *, role: Role, cluster_id: str = CLUSTER) -> bytes:
    """The healer's message."""
    pool_id = f"pool-{role}"
    table = NodeTable(
        cluster_id=cluster_id,
        pool_id=pool_id,
        cluster_generation=1,
        operation_id="operation-1",
        target=len(rows),
        nodes=rows,
    )
    return _message(PoolAtTarget, "healer/tokyo", f"clusters/{cluster_id}/pools/{pool_id}", table, now)


def _message(kind: type[Event[Any]], source: str, subject: str, body: Any, now: datetime) -> bytes:
    event = kind(
        id=new_id(now),
        type=kind.TYPE,
        source=source,
        subject=subject,
        time=now,
        region="tokyo",
        sequence=sequence_text(int(now.timestamp() * 1_000_000)),
        data=body,
    )
    return event.to_json()
