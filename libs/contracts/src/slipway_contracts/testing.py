"""Builders of contract values for tests: `a_cluster_spec(...)` and the like, with every field overridable."""

from typing import Any

from slipway_contracts.api import ClusterSpec, NodeSpec, PoolSpec
from slipway_contracts.values import Role


def a_node_spec(**changes: Any) -> NodeSpec:
    """A node spec."""
    values: dict[str, Any] = {
        "name": "standard",
        "version": 1,
        "image_id": "image-1",
        "flavor_id": "flavor-1",
        "network_id": "network-1",
    }
    return NodeSpec.model_validate(values | changes)


def a_pool_spec(role: Role = Role.WORKER, count: int = 3, **changes: Any) -> PoolSpec:
    """A pool of this role, named after it."""
    values: dict[str, Any] = {
        "pool_id": f"pool-{role.value}",
        "name": role.value,
        "role": role,
        "count": count,
        "node_spec": a_node_spec(),
    }
    return PoolSpec.model_validate(values | changes)


def a_cluster_spec(cluster_id: str = "c1", generation: int = 1, **changes: Any) -> ClusterSpec:
    """A cluster of 1 etcd, 1 controller and 1 worker node in the region tokyo."""
    values: dict[str, Any] = {
        "cluster_id": cluster_id,
        "name": "demo",
        "project_id": "project-1",
        "region": "tokyo",
        "generation": generation,
        "operation_id": f"operation-{generation}",
        "created_at": "2026-01-01T00:00:00Z",
        "release": "v1.36.3",
        "network_id": "network-1",
        "pools": [a_pool_spec(role, 1) for role in Role],
    }
    return ClusterSpec.model_validate(values | changes)
