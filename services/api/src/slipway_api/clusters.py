"""What users do with clusters and pools: check, build the next desired state, commit it."""

from collections.abc import Sequence

from slipway_api.changes import Answer, Changes, RequestContext
from slipway_api.domain.drafts import ClusterDraft, PoolDraft, fill_cluster
from slipway_api.domain.offer import (
    NEW_CLUSTER,
    Extra,
    Machines,
    Nodes,
    Offer,
    decide_network,
    decide_pool,
    decide_quota,
)
from slipway_api.domain.people import Caller
from slipway_api.domain.problems import FieldProblem, Problem, refuse
from slipway_api.domain.requests import ClusterChange, ClusterRequest
from slipway_api.domain.rules import check_cidrs, check_name, check_pools, check_users
from slipway_api.domain.setups import check_volume
from slipway_api.domain.specs import Change, build_cluster, build_pool, next_spec
from slipway_api.lookups import find_cluster
from slipway_api.ports import CloudCatalogue, Releases
from slipway_api.preflight import observe_offer
from slipway_api.read_model import spec_of
from slipway_api.store import ClusterRow
from slipway_chassis.ids import new_id
from slipway_chassis.regions import Region, Regions
from slipway_chassis.service import Service
from slipway_contracts.api import OperationKind
from slipway_contracts.values import Role


class Clusters:
    """Creates, changes and deletes clusters."""

    def __init__(
        self, service: Service, changes: Changes, regions: Regions, releases: Releases, catalogue: CloudCatalogue
    ) -> None:
        self._service = service
        self._changes = changes
        self._regions = regions
        self._releases = releases
        self._catalogue = catalogue

    async def create(self, caller: Caller, context: RequestContext, request: ClusterRequest) -> Answer:
        """Accept a new cluster, or say everything that is wrong with the request."""
        if (answered := await self._changes.repeated(caller, context)) is not None:
            return answered
        region = self.region_of(request.region, caller)
        draft = self._draft(request, region)
        chosen = (draft.network,)
        offer = await observe_offer(self._catalogue, caller, region, draft.pools, chosen)
        machines, network_id = _decide_machines(draft, offer)
        pools = tuple(build_pool(pool, made, self.fresh_id) for pool, made in zip(draft.pools, machines, strict=True))
        spec = build_cluster(draft, network_id, pools, caller, self._service.clock.now(), self.fresh_id)
        sizes: dict[str, str | int | list[str]] = {pool.name: pool.count for pool in pools}
        return await self._changes.create(caller, context, Change(spec, OperationKind.CREATE_CLUSTER, sizes))

    def region_of(self, name: str | None, caller: Caller) -> Region:
        """The region of this name among those whose Keystone knows the caller; without a name the first of them."""
        for region in self._regions.regions:
            if region.name in caller.regions and name in (None, region.name):
                return region
        known = ", ".join(caller.regions) or "none"
        problem = FieldProblem("unknown_region", "region", f"there is no region {name!r}", f"Choose among: {known}.")
        raise Problem("unknown_region", f"region: {problem.message}", (problem,))

    def _draft(self, request: ClusterRequest, region: Region) -> ClusterDraft:
        draft, problems = fill_cluster(request, region)
        problems += check_name(request.name, "name")
        pools = tuple(pool.request for pool in draft.pools) if draft else request.pools
        problems += check_pools(request.name, pools)
        nodes = sum(pool.count for pool in pools if pool.role is not Role.ETCD)
        problems += check_cidrs(request, region.networks, (), nodes)
        if draft is not None:
            problems += self._check_release(draft)
            for pool in draft.pools:
                problems += check_volume(pool.setup, draft.region, pool.at(""))
        refuse(problems)
        assert draft is not None, "a request that lacks something has a problem"
        return draft

    def _check_release(self, draft: ClusterDraft) -> list[FieldProblem]:
        known = self._releases.of(draft.region).releases
        if draft.release.value in known:
            return []
        message = f"the region {draft.region.name} has no release {draft.release.value[:40]!r}"
        return [FieldProblem("unknown_release", "release", message, f"Choose among: {', '.join(known)}.")]

    async def change(self, caller: Caller, context: RequestContext, name_or_id: str, request: ClusterChange) -> Answer:
        """Accept another list of users."""
        if (answered := await self._changes.repeated(caller, context)) is not None:
            return answered
        row = await self.changeable(caller, context, name_or_id)
        spec = spec_of(row)
        if request.users is None:
            return await self._changes.standing(row)
        refuse(check_users(request.users, "users"))
        users = tuple(user.user() for user in request.users)
        change = Change(next_spec(spec, self.fresh_id(), users=users), OperationKind.UPDATE_CLUSTER)
        return await self._changes.replace(caller, context, row, change)

    async def delete(self, caller: Caller, context: RequestContext, name_or_id: str) -> Answer:
        """Accept the deletion; asking again is answered with the same operation."""
        if (answered := await self._changes.repeated(caller, context)) is not None:
            return answered
        async with self._service.database.reading() as session:
            row = await find_cluster(session, caller, name_or_id)
        spec = spec_of(row)
        if spec.deletion_requested_at is not None:
            return await self._changes.standing(row)
        await self._changes.require_current(row, context)
        gone = next_spec(spec, self.fresh_id(), deletion_requested_at=self._service.clock.now())
        return await self._changes.replace(caller, context, row, Change(gone, OperationKind.DELETE_CLUSTER))

    async def changeable(self, caller: Caller, context: RequestContext, name_or_id: str) -> ClusterRow:
        """The caller's cluster, if it may be changed now."""
        async with self._service.database.reading() as session:
            row = await find_cluster(session, caller, name_or_id)
        if spec_of(row).deletion_requested_at is not None:
            raise Problem("being_deleted", f"The cluster {row.name} is being deleted; that is never withdrawn.")
        await self._changes.require_current(row, context)
        return row

    def fresh_id(self) -> str:
        """A new id, made on the service's clock."""
        return new_id(self._service.clock.now(), self._service.random)


def _decide_machines(draft: ClusterDraft, offer: Offer) -> tuple[list[Machines], str]:
    problems: list[FieldProblem] = []
    network = decide_network(draft.network, offer, problems)
    decided = [decide_pool(pool, offer) for pool in draft.pools]
    for _, found in decided:
        problems += [problem for problem in found if problem not in problems]
    refuse(problems)
    machines = [made for made, _ in decided if made is not None]
    assert network is not None, "a network that is not there has a problem"
    refuse(_check_subnets(draft, machines, network.cidrs))
    extras = [
        Extra(nodes_of(pool, pool.request.count, made), pool.at("count"), pool.at(pool.setup.volume_field))
        for pool, made in zip(draft.pools, machines, strict=True)
    ]
    refuse(decide_quota(extras, NEW_CLUSTER, offer))
    return machines, network.id


def _check_subnets(draft: ClusterDraft, machines: Sequence[Machines], cidrs: Sequence[str]) -> list[FieldProblem]:
    subnets = sorted({cidr for made in machines for cidr in made.network.cidrs} | set(cidrs))
    return check_cidrs(draft.request, (), subnets, 0)


def nodes_of(pool: PoolDraft, count: int, machines: Machines) -> Nodes:
    """So many nodes of this pool, as the quota counts them."""
    return Nodes(pool.request.role, count, machines.flavor, pool.setup.root_volume)
