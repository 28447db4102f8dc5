"""What Nova offers: versions, flavors, zones, compute services, hypervisors."""

from __future__ import annotations

from slipway_sandbox.cloud.messages import Json, Refused, Response, answer
from slipway_sandbox.cloud.model import Flavor
from slipway_sandbox.cloud.nova.servers import POLICY
from slipway_sandbox.cloud.nova.views import links_of
from slipway_sandbox.cloud.service import Call, Route, require_admin
from slipway_sandbox.cloud.state import iso_micro

UPDATED = "2013-07-23T11:33:21Z"
NEWEST = (2, 93)
"""The newest microversion."""


def _version(call: Call) -> Json:
    return {
        "id": "v2.1",
        "status": "CURRENT",
        "version": f"{NEWEST[0]}.{NEWEST[1]}",
        "min_version": "2.1",
        "updated": UPDATED,
        "links": [{"rel": "self", "href": f"{call.base}/v2.1/"}],
    }


def list_versions(call: Call) -> Response:
    """The versions document at Nova's root."""
    return answer(200, {"versions": [_version(call)]})


def show_version(call: Call) -> Response:
    """The document of v2.1."""
    return answer(200, {"version": _version(call)})


def _flavor(call: Call, flavor: Flavor) -> Json:
    view: Json = {
        "id": flavor.id,
        "name": flavor.name,
        "ram": flavor.ram,
        "disk": flavor.disk,
        "swap": 0 if call.microversion >= (2, 75) else "",
        "OS-FLV-EXT-DATA:ephemeral": 0,
        "OS-FLV-DISABLED:disabled": False,
        "vcpus": flavor.vcpus,
        "os-flavor-access:is_public": True,
        "rxtx_factor": 1.0,
        "links": links_of(call, "flavors", flavor.id),
    }
    if call.microversion >= (2, 55):
        view["description"] = None
    if call.microversion >= (2, 61):
        view["extra_specs"] = {}
    return view


def list_flavors(call: Call) -> Response:
    """GET /flavors."""
    flavors = _page(call)
    brief = [{"id": f.id, "name": f.name, "links": links_of(call, "flavors", f.id)} for f in flavors]
    return answer(200, {"flavors": brief})


def list_flavors_detail(call: Call) -> Response:
    """GET /flavors/detail."""
    return answer(200, {"flavors": [_flavor(call, flavor) for flavor in _page(call)]})


def _page(call: Call) -> list[Flavor]:
    flavors = sorted(call.state.flavors.values(), key=lambda flavor: flavor.id)
    marker = call.request.first("marker")
    if marker:
        ids = [flavor.id for flavor in flavors]
        if marker not in ids:
            raise Refused(400, f"marker [{marker}] not found")
        flavors = flavors[ids.index(marker) + 1 :]
    return flavors[: int(call.request.first("limit") or 1000)]


def _find_flavor(call: Call) -> Flavor:
    flavor = call.state.flavors.get(call.params["id"])
    if flavor is None:
        raise Refused(404, f"Flavor {call.params['id']} could not be found.")
    return flavor


def show_flavor(call: Call) -> Response:
    """GET /flavors/{id}."""
    return answer(200, {"flavor": _flavor(call, _find_flavor(call))})


def show_extra_specs(call: Call) -> Response:
    """GET /flavors/{id}/os-extra_specs."""
    _find_flavor(call)
    return answer(200, {"extra_specs": {}})


def list_zones(call: Call) -> Response:
    """GET /os-availability-zone; a zone is available while the service of one of its hosts is enabled, up or not."""
    zones = sorted({host.zone for host in call.state.hosts.values()})
    shown = [{"zoneName": zone, "zoneState": {"available": True}, "hosts": None} for zone in zones]
    return answer(200, {"availabilityZoneInfo": shown})


def list_zones_detail(call: Call) -> Response:
    """GET /os-availability-zone/detail: administrators only."""
    require_admin(call, POLICY.format("os-availability-zone:detail"))
    zones: dict[str, Json] = {}
    for host in call.state.hosts.values():
        service = {"available": host.up, "active": True, "updated_at": iso_micro(call.state.now())}
        zones.setdefault(host.zone, {})[host.name] = {"nova-compute": service}
    shown = [
        {"zoneName": zone, "zoneState": {"available": True}, "hosts": hosts} for zone, hosts in sorted(zones.items())
    ]
    return answer(200, {"availabilityZoneInfo": shown})


def list_services(call: Call) -> Response:
    """GET /os-services: administrators only."""
    require_admin(call, POLICY.format("os-services:list"))
    shown = [
        {
            "binary": "nova-compute",
            "host": host.name,
            "id": host.name,
            "zone": host.zone,
            "status": "enabled",
            "state": "up" if host.up else "down",
            "updated_at": iso_micro(call.state.now()),
            "disabled_reason": None,
            "forced_down": False,
        }
        for host in call.state.hosts.values()
    ]
    return answer(200, {"services": shown})


def list_hypervisors(call: Call) -> Response:
    """GET /os-hypervisors/detail: administrators only."""
    require_admin(call, POLICY.format("os-hypervisors:list-detail"))
    shown = [
        {
            "id": host.name,
            "hypervisor_hostname": host.name,
            "state": "up" if host.up else "down",
            "status": "enabled",
            "hypervisor_type": "fake",
            "hypervisor_version": 1000,
            "host_ip": "127.0.0.1",
            "service": {"id": host.name, "host": host.name, "disabled_reason": None},
            "uptime": None,
        }
        for host in call.state.hosts.values()
    ]
    return answer(200, {"hypervisors": shown})


CATALOGUE_ROUTES = [
    Route("GET", "", list_versions, public=True),
    Route("GET", "v2.1", show_version, public=True),
    Route("GET", "v2.1/flavors", list_flavors),
    Route("GET", "v2.1/flavors/detail", list_flavors_detail),
    Route("GET", "v2.1/flavors/{id}", show_flavor),
    Route("GET", "v2.1/flavors/{id}/os-extra_specs", show_extra_specs),
    Route("GET", "v2.1/os-availability-zone", list_zones),
    Route("GET", "v2.1/os-availability-zone/detail", list_zones_detail),
    Route("GET", "v2.1/os-services", list_services),
    Route("GET", "v2.1/os-hypervisors/detail", list_hypervisors),
]
