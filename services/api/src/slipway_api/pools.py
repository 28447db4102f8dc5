"""What users do with the pools of a cluster: add, change, scale, remove."""

from ipaddress import IPv4Network

from slipway_api.changes import Answer, Changes, RequestContext
from slipway_api.clusters import Clusters, nodes_of
from slipway_api.domain.drafts import Chosen, PoolDraft, fill_pool
from slipway_api.domain.offer import Extra, Machines, Nodes, Offer, decide_pool, decide_quota
from slipway_api.domain.people import Caller
from slipway_api.domain.problems import FieldProblem, Problem, refuse
from slipway_api.domain.requests import PoolChange, PoolRequest
from slipway_api.domain.rules import check_count, check_labels, check_pool, check_room, check_taints
from slipway_api.domain.setups import check_fields, check_kubernetes_only, check_volume, find_node_spec, setup_after
from slipway_api.domain.specs import Change, build_pool, change_pool, next_spec, with_pool
from slipway_api.lookups import find_pool
from slipway_api.ports import CloudCatalogue
from slipway_api.preflight import observe_offer
from slipway_api.read_model import observe_cluster, spec_of
from slipway_api.store import ClusterRow
from slipway_chassis.regions import Region, Regions
from slipway_chassis.service import Service
from slipway_contracts.api import ClusterSpec, OperationKind, PoolSpec
from slipway_contracts.values import Role

_SCALING = {"count", "victims"}
_PREFLIGHTED = {"flavor", "image", "node_spec", "root_volume", "zones"}
"""What the cloud is asked about before it is accepted."""


class Pools:
    """Adds, changes and removes pools; scaling is a change of the count."""

    def __init__(
        self, service: Service, clusters: Clusters, changes: Changes, regions: Regions, catalogue: CloudCatalogue
    ) -> None:
        self._service = service
        self._clusters = clusters
        self._changes = changes
        self._regions = regions
        self._catalogue = catalogue

    async def add(self, caller: Caller, context: RequestContext, cluster: str, request: PoolRequest) -> Answer:
        """Accept another worker pool."""
        if (answered := await self._changes.repeated(caller, context)) is not None:
            return answered
        row = await self._clusters.changeable(caller, context, cluster)
        spec, region = spec_of(row), self._regions.named(row.region)
        draft, problems = fill_pool(request, spec.network_id, region)
        problems += check_pool(spec.name, request)
        problems += _check_place(spec, request)
        problems += _check_room(spec, request.count)
        if draft is not None:
            problems += check_volume(draft.setup, region, "")
        refuse(problems)
        assert draft is not None, "a request that lacks something has a problem"
        offer, machines = await self._preflight(caller, region, draft)
        extra = Extra(nodes_of(draft, request.count, machines), "count", draft.setup.volume_field)
        refuse(decide_quota([extra], {}, offer))
        pool = build_pool(draft, machines, self._clusters.fresh_id)
        wanted = next_spec(spec, self._clusters.fresh_id(), pools=(*spec.pools, pool))
        change = Change(wanted, OperationKind.UPDATE_CLUSTER, {"pool": pool.name, "count": pool.count})
        return await self._changes.replace(caller, context, row, change)

    async def change(
        self, caller: Caller, context: RequestContext, cluster: str, name: str, request: PoolChange
    ) -> Answer:
        """Accept a change of a pool; one that changes nothing is answered with the current operation."""
        if (answered := await self._changes.repeated(caller, context)) is not None:
            return answered
        row = await self._clusters.changeable(caller, context, cluster)
        spec = spec_of(row)
        pool = find_pool(spec, name)
        _refuse_change(spec, pool, request)
        region = self._regions.named(row.region)
        draft = _as_draft(pool, request, region)
        machines = await self._preflight_change(caller, region, draft, pool, request)
        victims = await self._victims(row, pool, request)
        wanted = change_pool(pool, request, draft.setup, machines, victims)
        if wanted == pool:
            return await self._changes.standing(row)
        changed = next_spec(spec, self._clusters.fresh_id(), pools=with_pool(spec, wanted))
        scaling = request.model_fields_set <= _SCALING
        kind = OperationKind.SCALE_POOL if scaling else OperationKind.UPDATE_CLUSTER
        parameters: dict[str, str | int | list[str]] = {"pool": pool.name, "from": pool.count, "to": wanted.count}
        return await self._changes.replace(caller, context, row, Change(changed, kind, parameters))

    async def remove(self, caller: Caller, context: RequestContext, cluster: str, name: str) -> Answer:
        """Accept the removal of a worker pool with its nodes."""
        if (answered := await self._changes.repeated(caller, context)) is not None:
            return answered
        row = await self._clusters.changeable(caller, context, cluster)
        spec = spec_of(row)
        pool = find_pool(spec, name)
        if pool.role is not Role.WORKER:
            raise Problem(
                "missing_pool",
                f"A cluster cannot be without its {pool.role.value} pool; if you need neither, delete the cluster.",
            )
        rest = tuple(each for each in spec.pools if each.pool_id != pool.pool_id)
        change = Change(
            next_spec(spec, self._clusters.fresh_id(), pools=rest), OperationKind.UPDATE_CLUSTER, {"pool": pool.name}
        )
        return await self._changes.replace(caller, context, row, change)

    async def _preflight_change(
        self, caller: Caller, region: Region, draft: PoolDraft, pool: PoolSpec, request: PoolChange
    ) -> Machines | None:
        count = pool.count if request.count is None else request.count
        if count <= pool.count and not request.model_fields_set & _PREFLIGHTED:
            return None
        offer, machines = await self._preflight(caller, region, draft)
        field, volume_field = "count", draft.setup.volume_field
        if count <= pool.count:
            field = draft.flavor.field if draft.setup.root_volume == pool.node_spec.root_volume else volume_field
        present = _present_nodes(pool, offer, machines)
        refuse(decide_quota([Extra(nodes_of(draft, count, machines), field, volume_field, present)], {}, offer))
        return machines

    async def _preflight(self, caller: Caller, region: Region, draft: PoolDraft) -> tuple[Offer, Machines]:
        offer = await observe_offer(self._catalogue, caller, region, [draft], [])
        machines, problems = decide_pool(draft, offer)
        refuse(problems)
        assert machines is not None, "machines that cannot be made have a problem"
        return offer, machines

    async def _victims(self, row: ClusterRow, pool: PoolSpec, request: PoolChange) -> tuple[str, ...] | None:
        if request.victims is None:
            return None
        async with self._service.database.reading() as session:
            facts = await observe_cluster(session, row)
        nodes = [node.row for node in facts.nodes if node.row.pool_id == pool.pool_id]
        known = {name: node.node_id for node in nodes for name in (node.node_id, node.name)}
        refuse(_check_shrinks(pool, request))
        refuse(
            [
                FieldProblem(
                    "unknown_victim",
                    f"victims[{index}]",
                    f"the pool {pool.name} has no node {victim[:80]!r}",
                    f"Choose among: {', '.join(node.name for node in nodes) or 'none'}.",
                )
                for index, victim in enumerate(request.victims)
                if victim not in known
            ]
        )
        return tuple(dict.fromkeys(known[victim] for victim in request.victims))


def _check_shrinks(pool: PoolSpec, request: PoolChange) -> list[FieldProblem]:
    """Victims belong to one scale-in: without it they would wait for a later one, which somebody else may ask for."""
    if not request.victims or (request.count is not None and request.count < pool.count):
        return []
    message = f"the pool {pool.name} has {pool.count} nodes and is not to have fewer"
    remedy = f"Name a count below {pool.count} together with the victims, or leave them out."
    return [FieldProblem("invalid_field", "victims", message, remedy)]


def _present_nodes(pool: PoolSpec, offer: Offer, machines: Machines) -> Nodes:
    """What the pool uses now; a flavor that is gone from the cloud counts as the one that is wanted."""
    known = offer.flavors.get(pool.node_spec.flavor_id, ())
    return Nodes(pool.role, pool.count, known[0] if known else machines.flavor, pool.node_spec.root_volume)


def _refuse_change(spec: ClusterSpec, pool: PoolSpec, request: PoolChange) -> None:
    problems: list[FieldProblem] = []
    if request.count is not None:
        problems += check_count(pool.role, request.count, "count")
        if pool.role is not Role.ETCD:
            problems += _check_room(spec, request.count - pool.count)
    problems += check_labels(request.labels or {}, "labels")
    problems += check_taints(request.taints or (), "taints")
    problems += check_fields(request, "")
    as_asked = PoolRequest(
        name=pool.name, role=pool.role, count=0, labels=request.labels or {}, taints=request.taints or ()
    )
    problems += check_kubernetes_only(as_asked, "")
    if pool.role is Role.ETCD and request.count not in (None, pool.count) and not problems:
        message = f"the cluster was made with {pool.count} etcd nodes, and this cannot be changed yet"
        remedy = "Leave the count as it is, or create another cluster."
        problems.append(FieldProblem("etcd_size_fixed", "count", message, remedy))
    if pool.role is not Role.WORKER:
        message = f"the machines of the {pool.role.value} pool cannot be changed yet"
        remedy = "Leave it out; the machines of workers can be changed."
        problems += [FieldProblem("machines_fixed", name, message, remedy) for name in request.machine_fields]
    refuse(problems)


def _check_place(spec: ClusterSpec, request: PoolRequest) -> list[FieldProblem]:
    problems: list[FieldProblem] = []
    if any(pool.name == request.name for pool in spec.pools):
        message = f"the cluster has a pool {request.name} already"
        problems.append(FieldProblem("duplicate_pool", "name", message, "Choose another name."))
    if request.role is not Role.WORKER:
        message = f"a cluster has exactly one {request.role.value} pool"
        problems.append(FieldProblem("too_many_pools", "role", message, "Add a pool of workers."))
    return problems


def _check_room(spec: ClusterSpec, more: int) -> list[FieldProblem]:
    nodes = sum(pool.count for pool in spec.pools if pool.role is not Role.ETCD) + more
    remedy = "The pod range is decided at creation; ask for fewer nodes."
    return check_room(IPv4Network(spec.pod_cidr), nodes, "count", remedy) if more > 0 else []


def _as_draft(pool: PoolSpec, request: PoolChange, region: Region) -> PoolDraft:
    zones = request.zones or ()
    problems: list[FieldProblem] = []
    named = find_node_spec(request.node_spec, region, "node_spec", problems) if request.node_spec else None
    setup = setup_after(pool.node_spec, request, named)
    if "root_volume" in request.model_fields_set or named is not None:
        problems += check_volume(setup, region, "")
    refuse(problems)
    flavor, image = (named.flavor, named.image) if named is not None else (None, None)
    return PoolDraft(
        request=PoolRequest(name=pool.name, role=pool.role, count=pool.count),
        field="",
        flavor=Chosen(request.flavor or flavor or pool.node_spec.flavor_id, "node_spec" if flavor else "flavor"),
        image=Chosen(request.image or image or pool.node_spec.image_id, "node_spec" if image else "image"),
        network=Chosen(pool.node_spec.network_id, "network"),
        zones=tuple(Chosen(zone, f"zones[{index}]") for index, zone in enumerate(zones)),
        setup=setup,
    )
