"""/v1/clusters"""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from slipway_api.changes import etag_of
from slipway_api.domain.requests import ClusterChange, ClusterRequest, KubeconfigRequest
from slipway_api.domain.states import ClusterState
from slipway_api.domain.views import ClusterSummary, ClusterView, KubeconfigView, Page
from slipway_api.listings import list_clusters
from slipway_api.lookups import find_cluster
from slipway_api.presenting import present_cluster, present_summary
from slipway_api.read_model import observe_cluster, spec_of
from slipway_api.rest.answering import CHANGING, LISTING, LOOKING, problems, respond
from slipway_api.rest.asking import TheCaller, TheChanger, TheContext, TheCreator, TheGateway, ThePage
from slipway_chassis.facts import facts_of
from slipway_contracts.addon_manager import AddonState

router = APIRouter(prefix="/v1/clusters", tags=["clusters"])


@router.post("", status_code=202, response_model=None, responses=CHANGING)
async def create_cluster(
    caller: TheCreator, gateway: TheGateway, context: TheContext, request: ClusterRequest
) -> Response:
    """Create a cluster. Flavor, image, network, zones and quota are checked with your token first."""
    return respond(await gateway.clusters.create(caller, context, request))


@router.get("", responses=LISTING)
async def get_clusters(
    caller: TheCaller,
    gateway: TheGateway,
    page: ThePage,
    name: Annotated[str | None, Query(max_length=63)] = None,
    state: Annotated[list[ClusterState] | None, Query(description="deleted ones only when asked for")] = None,
    region: Annotated[str | None, Query(max_length=64)] = None,
) -> Page[ClusterSummary]:
    """List the project's clusters, oldest first."""
    states = [each.value for each in state or ()]
    async with gateway.service.database.reading() as session:
        rows = await list_clusters(session, caller, page, name=name, states=states, region=region)
    items = tuple(present_summary(row, status, spec_of(row)) for row, status in rows[: page.limit])
    return Page(items=items, next=items[-1].id if len(rows) > page.limit else None)


@router.get("/{cluster}", responses=LOOKING)
async def get_cluster(caller: TheCaller, gateway: TheGateway, cluster: str, response: Response) -> ClusterView:
    """Show a cluster, by name or id. A deleted one is found by its id."""
    async with gateway.service.database.reading() as session:
        row = await find_cluster(session, caller, cluster)
        facts = await observe_cluster(session, row)
        addons = [fact.body for fact in await facts_of(session, AddonState, cluster_id=row.cluster_id)]
    response.headers["ETag"] = etag_of(row.generation)
    return present_cluster(facts, addons)


@router.patch("/{cluster}", status_code=202, response_model=None, responses=CHANGING)
async def change_cluster(
    caller: TheChanger, gateway: TheGateway, context: TheContext, cluster: str, request: ClusterChange
) -> Response:
    """Change who may enter the cluster. Pools have their own path."""
    return respond(await gateway.clusters.change(caller, context, cluster, request))


@router.delete("/{cluster}", status_code=202, response_model=None, responses=CHANGING)
async def delete_cluster(caller: TheChanger, gateway: TheGateway, context: TheContext, cluster: str) -> Response:
    """Delete a cluster with everything in it. This is never withdrawn."""
    return respond(await gateway.clusters.delete(caller, context, cluster))


@router.post(
    "/{cluster}/kubeconfig",
    tags=["access"],
    status_code=200,
    responses=problems(400, 401, 403, 404, 409, 412, 422, 503),
)
async def create_kubeconfig(
    caller: TheCaller, gateway: TheGateway, context: TheContext, cluster: str, request: KubeconfigRequest
) -> KubeconfigView:
    """Have your public key signed and get a kubeconfig, complete but for your private key, which stays with you."""
    return await gateway.credentials.kubeconfig(caller, context, cluster, request)
