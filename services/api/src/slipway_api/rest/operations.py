"""/v1/operations, /v1/regions, /v1/node-specs, /v1/alerts"""

from typing import Annotated

from fastapi import APIRouter, Query

from slipway_api.domain.views import AlertView, NodeSpecView, OperationView, Page, RegionView
from slipway_api.gateway import Gateway
from slipway_api.listings import list_alerts, list_operations
from slipway_api.lookups import cluster_names, find_cluster, find_operation
from slipway_api.presenting import present_operation
from slipway_api.rest.answering import LISTING, LOOKING
from slipway_api.rest.asking import TheCaller, TheGateway, ThePage
from slipway_chassis.facts import fact_of
from slipway_chassis.regions import Region
from slipway_contracts.monitor import RegionTrust
from slipway_contracts.operations import OperationState

router = APIRouter(prefix="/v1")


@router.get("/operations", tags=["operations"], responses=LOOKING)
async def get_operations(
    caller: TheCaller,
    gateway: TheGateway,
    page: ThePage,
    cluster: Annotated[str | None, Query(max_length=64, description="name or id")] = None,
    state: Annotated[list[OperationState] | None, Query()] = None,
) -> Page[OperationView]:
    """List the project's operations, newest first."""
    states = [each.value for each in state or ()]
    async with gateway.service.database.reading() as session:
        cluster_id = (await find_cluster(session, caller, cluster)).cluster_id if cluster is not None else None
        rows = await list_operations(session, caller, page, cluster_id=cluster_id, states=states)
        names = await cluster_names(session, [row.cluster_id for row in rows])
    items = tuple(present_operation(row, names[row.cluster_id]) for row in rows[: page.limit])
    return Page(items=items, next=items[-1].id if len(rows) > page.limit else None)


@router.get("/operations/{operation}", tags=["operations"], responses=LOOKING)
async def get_operation(caller: TheCaller, gateway: TheGateway, operation: str) -> OperationView:
    """Show an operation: its steps, how far it is, and whose move it is if it stands still."""
    async with gateway.service.database.reading() as session:
        row = await find_operation(session, caller, operation)
        names = await cluster_names(session, [row.cluster_id])
    return present_operation(row, names[row.cluster_id])


@router.get("/regions", tags=["regions"])
async def get_regions(gateway: TheGateway) -> Page[RegionView]:
    """List the regions with their releases and defaults. Needs no token: it says where to get one."""
    async with gateway.service.database.reading() as session:
        trust = {
            region.name: await fact_of(session, RegionTrust, f"regions/{region.name}")
            for region in gateway.regions.regions
        }
    bodies = {name: fact.body for name, fact in trust.items() if fact is not None}
    return Page(items=tuple(_region(gateway, region, bodies.get(region.name)) for region in gateway.regions.regions))


@router.get("/node-specs", tags=["regions"])
async def get_node_specs(
    gateway: TheGateway, region: Annotated[str | None, Query(max_length=64, description="only of this one")] = None
) -> Page[NodeSpecView]:
    """List the descriptions of machines that pools can refer to. Needs no token."""
    specs = [
        NodeSpecView.model_validate({"region": each.name, **spec.model_dump()})
        for each in gateway.regions.regions
        if region in (None, each.name)
        for spec in each.node_specs
    ]
    return Page(items=tuple(sorted(specs, key=lambda spec: (spec.region, spec.name, -spec.version))))


def _region(gateway: Gateway, region: Region, trust: RegionTrust | None) -> RegionView:
    return RegionView(
        name=region.name,
        releases=gateway.releases.of(region).releases,
        zones=region.zones,
        default_release=region.defaults.release,
        default_image=region.defaults.image,
        default_network=region.defaults.network,
        default_flavors=region.defaults.flavor,
        auth_url=gateway.auth_urls.get(region.name),
        trusted=trust.trusted if trust else None,
        suspicions=trust.suspicions if trust else (),
    )


@router.get("/alerts", tags=["alerts"], responses=LISTING)
async def get_alerts(
    caller: TheCaller,
    gateway: TheGateway,
    cluster: Annotated[str | None, Query(max_length=64, description="name or id")] = None,
    resolved: Annotated[bool, Query(description="also those whose cause is gone")] = False,
) -> Page[AlertView]:
    """List the alerts of the project's clusters, newest first."""
    async with gateway.service.database.reading() as session:
        cluster_id = (await find_cluster(session, caller, cluster)).cluster_id if cluster is not None else None
        alerts = await list_alerts(session, caller, cluster_id=cluster_id, resolved=resolved)
    return Page(
        items=tuple(
            AlertView(
                id=alert.alert_id,
                name=alert.name.value,
                severity=alert.severity.value,
                cluster_id=alert.cluster_id,
                node_id=alert.node_id,
                message=alert.message,
                raised_at=alert.raised_at,
                resolved_at=alert.resolved_at,
            )
            for alert in alerts
        )
    )
