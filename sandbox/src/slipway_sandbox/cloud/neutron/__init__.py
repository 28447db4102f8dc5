"""Neutron v2.0: networks, ports, security groups, floating IPs."""

from slipway_sandbox.cloud.neutron.groups import GROUP_ROUTES
from slipway_sandbox.cloud.neutron.kinds import KINDS
from slipway_sandbox.cloud.neutron.operations import (
    GENERIC_ROUTES,
    create_floatingip,
    create_network,
    create_port,
    create_subnet,
    delete_floatingip,
    delete_network,
    delete_port_call,
    delete_subnet,
    update_floatingip,
    update_port,
    update_record,
)
from slipway_sandbox.cloud.neutron.quotas import QUOTA_ROUTES
from slipway_sandbox.cloud.neutron.tags import TAG_ROUTES
from slipway_sandbox.cloud.neutron.versions import VERSION_ROUTES
from slipway_sandbox.cloud.service import Route

_WRITES = [
    Route("POST", "v2.0/networks", create_network),
    Route("PUT", "v2.0/networks/{id}", lambda call: update_record(call, KINDS["network"])),
    Route("DELETE", "v2.0/networks/{id}", delete_network),
    Route("POST", "v2.0/subnets", create_subnet),
    Route("PUT", "v2.0/subnets/{id}", lambda call: update_record(call, KINDS["subnet"])),
    Route("DELETE", "v2.0/subnets/{id}", delete_subnet),
    Route("POST", "v2.0/ports", create_port),
    Route("PUT", "v2.0/ports/{id}", update_port),
    Route("DELETE", "v2.0/ports/{id}", delete_port_call),
    Route("POST", "v2.0/floatingips", create_floatingip),
    Route("PUT", "v2.0/floatingips/{id}", update_floatingip),
    Route("DELETE", "v2.0/floatingips/{id}", delete_floatingip),
]
ROUTES = [*VERSION_ROUTES, *QUOTA_ROUTES, *GENERIC_ROUTES, *_WRITES, *GROUP_ROUTES, *TAG_ROUTES]

__all__ = ["ROUTES"]
