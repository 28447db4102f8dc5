"""/v1/clusters/{cluster}/pools and /nodes"""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from slipway_api.changes import etag_of
from slipway_api.domain.problems import FieldProblem, Problem
from slipway_api.domain.requests import PoolChange, PoolRequest
from slipway_api.domain.states import NodeStatus
from slipway_api.domain.views import NodeDetail, NodeView, Page, PoolView
from slipway_api.lookups import find_cluster, find_node, find_pool
from slipway_api.presenting import present_node, present_node_detail, present_pool
from slipway_api.read_model import observe_cluster, removed_nodes
from slipway_api.rest.answering import CHANGING, LOOKING, respond
from slipway_api.rest.asking import TheCaller, TheChanger, TheContext, TheGateway, ThePage

router = APIRouter(prefix="/v1/clusters/{cluster}")


@router.get("/pools", tags=["pools"], responses=LOOKING)
async def get_pools(caller: TheCaller, gateway: TheGateway, cluster: str) -> Page[PoolView]:
    """List the cluster's pools."""
    async with gateway.service.database.reading() as session:
        facts = await observe_cluster(session, await find_cluster(session, caller, cluster))
    return Page(items=tuple(present_pool(pool, facts) for pool in facts.spec.pools))


@router.post("/pools", tags=["pools"], status_code=202, response_model=None, responses=CHANGING)
async def add_pool(
    caller: TheChanger, gateway: TheGateway, context: TheContext, cluster: str, request: PoolRequest
) -> Response:
    """Add a pool of workers."""
    return respond(await gateway.pools.add(caller, context, cluster, request))


@router.get("/pools/{pool}", tags=["pools"], responses=LOOKING)
async def get_pool(caller: TheCaller, gateway: TheGateway, cluster: str, pool: str, response: Response) -> PoolView:
    """Show a pool, by name or id."""
    async with gateway.service.database.reading() as session:
        facts = await observe_cluster(session, await find_cluster(session, caller, cluster))
    response.headers["ETag"] = etag_of(facts.spec.generation)
    return present_pool(find_pool(facts.spec, pool), facts)


@router.patch("/pools/{pool}", tags=["pools"], status_code=202, response_model=None, responses=CHANGING)
async def change_pool(
    caller: TheChanger, gateway: TheGateway, context: TheContext, cluster: str, pool: str, request: PoolChange
) -> Response:
    """Scale a pool, or change its labels, taints, zones or machines."""
    return respond(await gateway.pools.change(caller, context, cluster, pool, request))


@router.delete("/pools/{pool}", tags=["pools"], status_code=202, response_model=None, responses=CHANGING)
async def remove_pool(
    caller: TheChanger, gateway: TheGateway, context: TheContext, cluster: str, pool: str
) -> Response:
    """Remove a pool of workers with its nodes."""
    return respond(await gateway.pools.remove(caller, context, cluster, pool))


@router.get("/nodes", tags=["nodes"], responses=LOOKING)
async def get_nodes(
    caller: TheCaller,
    gateway: TheGateway,
    cluster: str,
    page: ThePage,
    pool: Annotated[str | None, Query(max_length=64, description="name or id")] = None,
    state: Annotated[list[NodeStatus] | None, Query()] = None,
) -> Page[NodeView]:
    """List the cluster's nodes by name: how far each is, since when, and why if it stands still.

    Those that are gone are listed only when their state is asked for.
    """
    async with gateway.service.database.reading() as session:
        facts = await observe_cluster(session, await find_cluster(session, caller, cluster))
        gone = await removed_nodes(session, facts.spec.cluster_id) if state or page.marker or pool else []
    views = sorted((present_node(node, facts.spec) for node in (*facts.nodes, *gone)), key=_place)
    after = _place_of(views, page.marker)
    if pool is not None:
        views = [view for view in views if pool in (view.pool, view.pool_id)]
        if not views:
            find_pool(facts.spec, pool)
    shown = {each.value for each in state or NodeStatus if state or each is not NodeStatus.REMOVED}
    views = [view for view in views if view.state in shown and (after is None or _place(view) > after)]
    items = tuple(views[: page.limit])
    return Page(items=items, next=items[-1].id if len(views) > page.limit else None)


def _place(view: NodeView) -> tuple[str, str]:
    return view.name, view.id


def _place_of(views: list[NodeView], marker: str | None) -> tuple[str, str] | None:
    """Where the page before ended: its last node may have gone, or be in another state by now."""
    if marker is None:
        return None
    for view in views:
        if view.id == marker:
            return _place(view)
    problem = FieldProblem(
        "invalid_field",
        "marker",
        f"no node has the id {marker[:80]!r}",
        "Take `next` of the page before, or begin anew.",
    )
    raise Problem("invalid_field", f"marker: {problem.message}", (problem,))


@router.get("/nodes/{node}", tags=["nodes"], responses=LOOKING)
async def get_node(caller: TheCaller, gateway: TheGateway, cluster: str, node: str) -> NodeDetail:
    """Show a node, by name or id, even if gone: its steps, what each witness sees, the evidence if it failed."""
    async with gateway.service.database.reading() as session:
        facts = await observe_cluster(session, await find_cluster(session, caller, cluster))
        gone = await removed_nodes(session, facts.spec.cluster_id)
    return present_node_detail(find_node((*facts.nodes, *gone), node, facts.spec.name), facts.spec)
