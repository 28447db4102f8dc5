"""/v1/events: the live stream (Server-Sent Events), or pages of it for those who ask for JSON."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.sse import format_sse_event
from starlette.responses import StreamingResponse

from slipway_api.domain.problems import FieldProblem, Problem
from slipway_api.domain.views import EventView, Page
from slipway_api.feed import FeedFilter
from slipway_api.gateway import Gateway
from slipway_api.lookups import find_cluster, find_operation
from slipway_api.presenting import present_event
from slipway_api.rest.answering import LOOKING
from slipway_api.rest.asking import TheCaller, TheGateway
from slipway_api.store import FeedRow

router = APIRouter(prefix="/v1", tags=["events"])

NEWEST = 2**63 - 1
"""The greatest id that an event can have."""

EXAMPLE = """id: 7
event: node.created
data: {"id": 7, "type": "node.created", "message": "Node shop-worker-a1b2c is booting"}

"""

RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "a stream of events, or a page of them",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": EXAMPLE,
            },
            "application/json": {"schema": {"$ref": "#/components/schemas/Page_EventView_"}},
        },
    },
    **LOOKING,
}


@router.get("/events", response_model=None, responses=RESPONSES)
async def get_events(
    request: Request,
    caller: TheCaller,
    gateway: TheGateway,
    cluster: Annotated[str | None, Query(max_length=64, description="name or id")] = None,
    operation: Annotated[str | None, Query(max_length=64)] = None,
    after: Annotated[
        int | None, Query(ge=0, le=NEWEST, description="the id of the last event that you have; 0: from the start")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="of a page of JSON")] = 100,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> Response:
    """Follow what happens to the project's clusters. Without `after` or Last-Event-ID a stream begins now.

    A stream ends with the token that opened it.
    """
    async with gateway.service.database.reading() as session:
        cluster_id = (await find_cluster(session, caller, cluster)).cluster_id if cluster is not None else None
        if operation is not None:
            await find_operation(session, caller, operation)
    wanted = FeedFilter(caller.project_id, caller.regions, cluster_id, operation)
    start = _resume_at(last_event_id, after)
    if "text/event-stream" not in request.headers.get("accept", "text/event-stream"):
        return await _page(gateway, wanted, start or 0, limit)
    region = request.headers.get("slipway-region")
    stream = _stream(gateway, wanted, start, lambda: gateway.gatekeeper.still_holds(caller, region))
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


def _resume_at(last_event_id: str | None, after: int | None) -> int | None:
    if last_event_id is None or last_event_id == "":
        return after
    digits = last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) <= len(str(NEWEST))
    if not digits or int(last_event_id) > NEWEST:
        problem = FieldProblem(
            "invalid_field",
            "Last-Event-ID",
            "this is no id of an event",
            "Send the id of the last event that you have.",
        )
        raise Problem("invalid_field", f"Last-Event-ID: {problem.message}", (problem,))
    return int(last_event_id)


async def _page(gateway: Gateway, wanted: FeedFilter, after: int, limit: int) -> Response:
    rows = await gateway.feed.read(wanted, after, limit + 1)
    items = tuple(present_event(row) for row in rows[:limit])
    page: Page[EventView] = Page(items=items, next=str(items[-1].id) if len(rows) > limit else None)
    return Response(page.model_dump_json(), media_type="application/json")


async def _stream(
    gateway: Gateway, wanted: FeedFilter, start: int | None, allowed: Callable[[], Awaitable[bool]]
) -> AsyncIterator[bytes]:
    if start is None:
        start = await gateway.feed.newest()
    elif start and not 0 < await gateway.feed.oldest() <= start + 1:
        # what lies between was dropped, or all was: the reader has to look at the objects themselves
        yield format_sse_event(event="stream.gap", data_str='{"message": "Older events are not kept any more."}')
    # the id of the start lets a client that saw no event resume without a gap
    yield format_sse_event(event="stream.open", id=str(start), data_str=f'{{"after": {start}}}', retry=1000)
    async for row in gateway.feed.follow(wanted, start, gateway.settings.events_heartbeat):
        if not await allowed():
            return
        yield _format(row)


def _format(row: FeedRow | None) -> bytes:
    if row is None:
        return format_sse_event(comment="still here")
    return format_sse_event(event=row.type, id=str(row.id), data_str=present_event(row).model_dump_json())
