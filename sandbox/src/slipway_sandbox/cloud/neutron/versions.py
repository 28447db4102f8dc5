"""Neutron's version documents and the extensions clients ask for."""

from __future__ import annotations

from slipway_sandbox.cloud.messages import Json, Refused, Response, answer
from slipway_sandbox.cloud.service import Call, Route

EXTENSIONS = (
    "allowed-address-pairs", "availability_zone", "binding", "binding-extended", "empty-string-filtering",
    "external-net", "extra_dhcp_opt", "filter-validation", "net-mtu", "net-mtu-writable", "pagination",
    "port-security", "project-id", "quota_details", "quotas", "router", "security-group",
    "security-groups-normalized-cidr", "sorting", "standard-attr-description", "standard-attr-revisions",
    "standard-attr-tag", "standard-attr-timestamp", "stateful-security-group",
)  # fmt: skip


def list_versions(call: Call) -> Response:
    """The versions document at Neutron's root."""
    links = [{"rel": "self", "href": f"{call.base}/v2.0/"}]
    return answer(200, {"versions": [{"id": "v2.0", "status": "CURRENT", "links": links}]})


def _extension(alias: str) -> Json:
    return {"name": alias, "alias": alias, "description": alias, "updated": "2020-07-15T10:00:00-00:00", "links": []}


def list_extensions(_call: Call) -> Response:
    """GET /extensions."""
    return answer(200, {"extensions": [_extension(alias) for alias in EXTENSIONS]})


def show_extension(call: Call) -> Response:
    """GET /extensions/{alias}."""
    alias = call.params["alias"]
    if alias not in EXTENSIONS:
        raise Refused(404, "The resource could not be found.", "HTTPNotFound")
    return answer(200, {"extension": _extension(alias)})


def list_zones(call: Call) -> Response:
    """GET /availability_zones."""
    zones = sorted({host.zone for host in call.state.hosts.values()})
    shown = [{"name": zone, "resource": "network", "state": "available"} for zone in zones]
    return answer(200, {"availability_zones": shown})


VERSION_ROUTES = [
    Route("GET", "", list_versions, public=True),
    Route("GET", "v2.0/extensions", list_extensions),
    Route("GET", "v2.0/extensions/{alias}", show_extension),
    Route("GET", "v2.0/availability_zones", list_zones),
]
