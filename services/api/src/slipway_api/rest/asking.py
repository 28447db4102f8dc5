"""Who asks and how: the dependencies of every path."""

import hashlib
import json
import re
from typing import Annotated, Any

from fastapi import Depends, Header, Query, Request

from slipway_api.changes import RequestContext
from slipway_api.domain.people import Caller
from slipway_api.domain.problems import FieldProblem, Problem, refuse
from slipway_api.gateway import Gateway
from slipway_api.listings import PageRequest
from slipway_contracts.api import Persona

_KEY = re.compile(r"^[\x21-\x7e]{1,128}$")


def the_gateway(request: Request) -> Gateway:
    """The gateway that this request came through."""
    gateway: Gateway = request.state.gateway
    return gateway


TheGateway = Annotated[Gateway, Depends(the_gateway)]
Token = Annotated[str | None, Header(alias="X-Auth-Token", description="a Keystone token, scoped to a project")]
RegionChoice = Annotated[
    str | None,
    Header(alias="Slipway-Region", description="whose Keystone knows the token; the first region's if absent"),
]


async def the_caller(request: Request, gateway: TheGateway, token: Token = None, region: RegionChoice = None) -> Caller:
    """Whoever holds the token."""
    caller = await gateway.gatekeeper.caller(token, region)
    request.state.caller = caller
    return caller


async def the_changing_caller(caller: Annotated[Caller, Depends(the_caller)]) -> Caller:
    """Whoever holds the token, if she may change something."""
    return _require_member(caller)


async def the_creating_caller(
    request: Request, gateway: TheGateway, token: Token = None, region: RegionChoice = None
) -> Caller:
    """As the_changing_caller; the region that the body names chooses the Keystone where no header does."""
    caller = await gateway.gatekeeper.caller(token, region or await _region_in_body(request, gateway))
    request.state.caller = caller
    return _require_member(caller)


async def _region_in_body(request: Request, gateway: Gateway) -> str | None:
    try:
        body: Any = await request.json()
    except ValueError:
        return None
    named = body.get("region") if isinstance(body, dict) else None
    return named if named in {region.name for region in gateway.regions.regions} else None


def _require_member(caller: Caller) -> Caller:
    if not caller.may(Persona.MEMBER):
        raise Problem(
            "persona_insufficient",
            f"With the role {caller.persona.value} you may look in {caller.project_name} and change nothing; "
            "ask for the role member.",
        )
    return caller


async def the_context(
    request: Request,
    key: Annotated[
        str | None, Header(alias="Idempotency-Key", description="repeats the first answer instead of the change")
    ] = None,
    if_match: Annotated[
        str | None, Header(alias="If-Match", description="the ETag that the change is made from")
    ] = None,
) -> RequestContext:
    """What matters of the request beside its body."""
    if key is not None and not _KEY.fullmatch(key):
        remedy = "Use 1 to 128 visible ASCII characters, without blanks."
        refuse([FieldProblem("invalid_field", "Idempotency-Key", "this is no key", remedy)])
    return RequestContext(
        request_id=request.state.request_id,
        action=f"{request.method} {request.url.path}",
        remote=request.client.host if request.client else None,
        idempotency_key=key,
        request_hash=_hash_of(request.method, request.url.path, await request.body()),
        if_match=frozenset(tag.strip() for tag in if_match.split(",")) if if_match is not None else None,
    )


def _hash_of(method: str, path: str, body: bytes) -> str:
    try:
        # the same request with other white space or order of fields is the same request
        canonical = json.dumps(json.loads(body), sort_keys=True).encode() if body else b""
    except ValueError:
        canonical = body
    return hashlib.sha256(b"\0".join((method.encode(), path.encode(), canonical))).hexdigest()


async def the_page(
    limit: Annotated[int, Query(ge=1, le=500, description="entries of a page")] = 100,
    marker: Annotated[str | None, Query(max_length=64, description="`next` of the page before")] = None,
) -> PageRequest:
    """Which part of a list."""
    return PageRequest(limit, marker)


TheCaller = Annotated[Caller, Depends(the_caller)]
TheChanger = Annotated[Caller, Depends(the_changing_caller)]
TheCreator = Annotated[Caller, Depends(the_creating_caller)]
TheContext = Annotated[RequestContext, Depends(the_context)]
ThePage = Annotated[PageRequest, Depends(the_page)]
