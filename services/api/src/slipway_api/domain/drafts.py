"""A request with its blanks filled: from the cluster's own fields, then from the region's defaults."""

from dataclasses import dataclass

from slipway_api.domain.problems import FieldProblem
from slipway_api.domain.requests import ClusterRequest, PoolRequest
from slipway_api.domain.setups import Setup, find_node_spec, setup_of
from slipway_chassis.regions import Region
from slipway_contracts.values import Role

DEFAULT_COUNTS = {Role.ETCD: 5, Role.CONTROLLER: 3, Role.WORKER: 3}


@dataclass(frozen=True)
class Chosen:
    """A name or id, and the field of the request that a user changes to choose another."""

    value: str
    field: str


@dataclass(frozen=True)
class PoolDraft:
    """A pool with its blanks filled."""

    request: PoolRequest
    field: str
    """Where it is in the request: pools[0]; empty for the request of a single pool."""
    flavor: Chosen
    image: Chosen
    network: Chosen
    zones: tuple[Chosen, ...]
    setup: Setup

    def at(self, name: str) -> str:
        """The path of one of its fields."""
        return f"{self.field}.{name}" if self.field else name


@dataclass(frozen=True)
class ClusterDraft:
    """A cluster with its blanks filled."""

    request: ClusterRequest
    region: Region
    release: Chosen
    network: Chosen
    pools: tuple[PoolDraft, ...]


def fill_pools(request: ClusterRequest) -> tuple[PoolRequest, ...]:
    """The pools asked for, and the default pool of each role that has none."""
    roles = {pool.role for pool in request.pools}
    missing = (
        PoolRequest(name=role.value, role=role, count=count)
        for role, count in DEFAULT_COUNTS.items()
        if role not in roles
    )
    return (*request.pools, *missing)


def fill_cluster(request: ClusterRequest, region: Region) -> tuple[ClusterDraft | None, list[FieldProblem]]:
    """Fill the blanks; the problems name what neither the request nor the region says."""
    problems: list[FieldProblem] = []
    release = _choose(request.release, "release", region.defaults.release, "release", problems)
    network = _choose(request.network, "network", region.defaults.network, "network", problems)
    pools = [
        _fill_pool(pool, f"pools[{index}]", request, region, problems) for index, pool in enumerate(fill_pools(request))
    ]
    if release is None or network is None or problems:
        return None, problems
    return ClusterDraft(request, region, release, network, tuple(pool for pool in pools if pool is not None)), problems


def fill_pool(request: PoolRequest, network_id: str, region: Region) -> tuple[PoolDraft | None, list[FieldProblem]]:
    """As fill_cluster, for one pool that joins a cluster on this network."""
    problems: list[FieldProblem] = []
    around = ClusterRequest(name="pool", network=network_id)
    return _fill_pool(request, "", around, region, problems), problems


def _fill_pool(
    pool: PoolRequest, path: str, request: ClusterRequest, region: Region, problems: list[FieldProblem]
) -> PoolDraft | None:
    prefix = f"{path}." if path else ""
    flavors = region.defaults.flavor
    named = find_node_spec(pool.node_spec, region, f"{prefix}node_spec", problems) if pool.node_spec else None
    flavor = _first(prefix, flavor=pool.flavor, node_spec=named.flavor if named else None) or _choose(
        request.flavor, "flavor", flavors.get(pool.role.value, flavors.get("any")), "flavor", problems
    )
    image = _first(prefix, image=pool.image, node_spec=named.image if named else None) or _choose(
        request.image, "image", region.defaults.image, "image", problems
    )
    network = _first(prefix, network=pool.network) or _choose(
        request.network, "network", region.defaults.network, "network", problems
    )
    if flavor is None or image is None or network is None:
        return None
    if pool.zones is not None:
        zones = tuple(Chosen(zone, f"{prefix}zones[{index}]") for index, zone in enumerate(pool.zones))
    else:
        zones = tuple(Chosen(zone, "zones") for zone in (request.zones if request.zones is not None else region.zones))
    return PoolDraft(pool, path, flavor, image, network, zones, setup_of(pool, named))


def _first(prefix: str, **named: str | None) -> Chosen | None:
    """The first of these fields that says something."""
    return next((Chosen(value, prefix + field) for field, value in named.items() if value), None)


def _choose(
    asked: str | None, field: str, default: str | None, what: str, problems: list[FieldProblem]
) -> Chosen | None:
    value = asked or default
    if value:
        return Chosen(value, field)
    if all(problem.field != field for problem in problems):
        problems.append(
            FieldProblem(
                "missing_field",
                field,
                f"no {what} is named and the region has no default",
                f"Name a {what}; the regions and their defaults are listed at /v1/regions.",
            )
        )
    return None
