"""How machines are set up beside image, flavor and network: by a region's node spec or the request's own fields."""

from dataclasses import dataclass

from slipway_api.domain.problems import FieldProblem
from slipway_api.domain.requests import MACHINE_FIELDS, PoolChange, PoolRequest
from slipway_chassis.machines import as_contract
from slipway_chassis.regions import NamedNodeSpec, Region
from slipway_contracts.api import KubeletOptions, NodeSpec, RootVolume, RuntimeOptions
from slipway_contracts.values import Role


@dataclass(frozen=True)
class Setup:
    """What a pool's machines get."""

    root_volume: RootVolume | None
    runtime: RuntimeOptions
    kubelet: KubeletOptions
    named: NamedNodeSpec | None = None
    """The region's node spec that all of it comes from; None: the pool has its own."""

    @property
    def volume_field(self) -> str:
        """Where a user changes the root volume."""
        return "root_volume" if self.named is None else "node_spec"


def find_node_spec(reference: str, region: Region, field: str, problems: list[FieldProblem]) -> NamedNodeSpec | None:
    """The region's node spec of this name and version."""
    try:
        return region.node_spec(reference)
    except LookupError as error:
        remedy = "Choose one of those at /v1/node-specs, or name flavor and image."
        problems.append(FieldProblem("unknown_node_spec", field, str(error.args[0]), remedy))
        return None


def setup_of(pool: PoolRequest, named: NamedNodeSpec | None) -> Setup:
    """The set-up of a new pool's machines."""
    source = named or pool
    return Setup(
        root_volume=as_contract(RootVolume, source.root_volume) if source.root_volume else None,
        runtime=as_contract(RuntimeOptions, source.runtime) if source.runtime else RuntimeOptions(),
        kubelet=as_contract(KubeletOptions, source.kubelet) if source.kubelet else KubeletOptions(),
        named=named,
    )


def setup_after(present: NodeSpec, change: PoolChange, named: NamedNodeSpec | None) -> Setup:
    """The set-up after a change: what it does not name stays as it is."""
    if named is not None:
        return setup_of(PoolRequest(name="pool", count=0), named)
    volume = present.root_volume
    if "root_volume" in change.model_fields_set:
        volume = as_contract(RootVolume, change.root_volume) if change.root_volume else None
    return Setup(
        root_volume=volume,
        runtime=as_contract(RuntimeOptions, change.runtime) if change.runtime else present.runtime,
        kubelet=as_contract(KubeletOptions, change.kubelet) if change.kubelet else present.kubelet,
    )


def check_fields(request: PoolRequest | PoolChange, prefix: str) -> list[FieldProblem]:
    """A node spec describes the whole machine, so nothing else may."""
    others = sorted(MACHINE_FIELDS - {"node_spec"} & request.model_fields_set)
    said = [name for name in others if getattr(request, name) is not None]
    if request.node_spec is None or not said:
        return []
    message = f"the node spec and {', '.join(said)} are named together"
    remedy = "Name either a node spec, or the machines' own fields."
    return [FieldProblem("conflicting_fields", f"{prefix}node_spec", message, remedy)]


def check_kubernetes_only(pool: PoolRequest, prefix: str) -> list[FieldProblem]:
    """An etcd node is no part of Kubernetes: it has no Node object, no kubelet and no containers."""
    if pool.role is not Role.ETCD:
        return []
    said = [name for name in ("labels", "taints", "runtime", "kubelet") if getattr(pool, name)]
    remedy = "Leave it out; it is for controllers and workers."
    message = "an etcd node runs no kubelet and is no Node of Kubernetes"
    return [FieldProblem("not_for_etcd", f"{prefix}{name}", message, remedy) for name in said]


def check_volume(setup: Setup, region: Region, prefix: str) -> list[FieldProblem]:
    """Whether the region lets machines boot from volumes of this type."""
    volume = setup.root_volume
    if volume is None:
        return []
    if not region.volumes.enabled:
        message = f"machines of the region {region.name} do not boot from volumes"
        remedy = "Leave the root volume out, and choose a flavor with a disk that is large enough."
        return [FieldProblem("volumes_not_offered", prefix + setup.volume_field, message, remedy)]
    if volume.type is not None and volume.type not in region.volumes.types:
        known = ", ".join(region.volumes.types)
        message = f"the region {region.name} offers no volume type {volume.type[:80]!r}"
        remedy = f"Choose among: {known}; or name none." if known else "Name none: there is one type only."
        field = f"{prefix}root_volume.type" if setup.named is None else f"{prefix}node_spec"
        return [FieldProblem("unknown_volume_type", field, message, remedy)]
    return []
