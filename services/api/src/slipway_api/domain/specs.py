"""From an accepted request to the desired state, and from one desired state to the next."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from slipway_api.domain.drafts import ClusterDraft, PoolDraft
from slipway_api.domain.offer import Machines
from slipway_api.domain.people import Caller
from slipway_api.domain.requests import PoolChange
from slipway_api.domain.setups import Setup
from slipway_contracts.api import ClusterSpec, ClusterUser, NodeSpec, OperationKind, PoolSpec

NewId = Callable[[], str]


@dataclass(frozen=True)
class Change:
    """The next desired state, and the operation that it is."""

    spec: ClusterSpec
    kind: OperationKind
    parameters: Mapping[str, str | int | list[str]] = field(default_factory=dict)


def build_pool(draft: PoolDraft, machines: Machines, new_id: NewId) -> PoolSpec:
    """The pool's first desired state."""
    setup, named = draft.setup, draft.setup.named
    return PoolSpec(
        pool_id=new_id(),
        name=draft.request.name,
        role=draft.request.role,
        count=draft.request.count,
        node_spec=NodeSpec(
            name=named.name if named is not None else draft.request.name,
            version=named.version if named is not None else 1,
            image_id=machines.image.id,
            flavor_id=machines.flavor.id,
            network_id=machines.network.id,
            root_volume=setup.root_volume,
            runtime=setup.runtime,
            kubelet=setup.kubelet,
        ),
        zones=tuple(zone.value for zone in draft.zones),
        labels=draft.request.labels,
        taints=tuple(taint.taint() for taint in draft.request.taints),
        health=draft.request.health.policy(),
    )


def build_cluster(
    draft: ClusterDraft,
    network_id: str,
    pools: tuple[PoolSpec, ...],
    caller: Caller,
    now: datetime,
    new_id: NewId,
) -> ClusterSpec:
    """The cluster's first desired state; its creator may enter it."""
    return ClusterSpec(
        cluster_id=new_id(),
        name=draft.request.name,
        project_id=caller.project_id,
        region=draft.region.name,
        generation=1,
        operation_id=new_id(),
        created_at=now,
        release=draft.release.value,
        network_id=network_id,
        pod_cidr=draft.request.pod_cidr,
        service_cidr=draft.request.service_cidr,
        dns_domain=draft.request.dns_domain,
        users=(caller.cluster_user,),
        pools=pools,
    )


def next_spec(spec: ClusterSpec, operation_id: str, **changes: object) -> ClusterSpec:
    """The spec with these fields changed, as the next generation."""
    return spec.model_copy(update={"generation": spec.generation + 1, "operation_id": operation_id, **changes})


def with_pool(spec: ClusterSpec, pool: PoolSpec) -> tuple[PoolSpec, ...]:
    """The pools, with this one replaced or added."""
    if spec.pool(pool.pool_id) is None:
        return (*spec.pools, pool)
    return tuple(pool if each.pool_id == pool.pool_id else each for each in spec.pools)


def with_user(spec: ClusterSpec, user: ClusterUser) -> tuple[ClusterUser, ...]:
    """The people who may enter, with this one added or given another persona."""
    return (*(each for each in spec.users if each.name != user.name), user)


def change_pool(
    pool: PoolSpec, change: PoolChange, setup: Setup, machines: Machines | None, victims: tuple[str, ...] | None
) -> PoolSpec:
    """The pool as the change wants it; whatever needs another machine is a new version of its node spec."""
    asked: dict[str, object] = {}
    if change.count is not None:
        # victims belong to one scale-in; those of an earlier one must not guide the next
        asked["count"], asked["victims"] = change.count, ()
    if victims is not None:
        asked["victims"] = victims
    if change.labels is not None:
        asked["labels"] = change.labels
    if change.taints is not None:
        asked["taints"] = tuple(taint.taint() for taint in change.taints)
    if change.zones is not None:
        asked["zones"] = change.zones
    if change.health is not None:
        asked["health"] = change.health.policy()
    if change.machine_fields:
        asked["node_spec"] = _change_machines(pool, setup, machines)
    return pool.model_copy(update=asked)


def _change_machines(pool: PoolSpec, setup: Setup, machines: Machines | None) -> NodeSpec:
    present = pool.node_spec
    wanted: dict[str, object] = {
        "root_volume": setup.root_volume,
        "runtime": setup.runtime,
        "kubelet": setup.kubelet,
    }
    if machines is not None:
        wanted |= {"image_id": machines.image.id, "flavor_id": machines.flavor.id}
    if setup.named is not None:
        return present.model_copy(update={**wanted, "name": setup.named.name, "version": setup.named.version})
    changed = present.model_copy(update=wanted)
    own = {"name": pool.name, "version": present.version + 1}
    return changed if changed == present else changed.model_copy(update=own)
