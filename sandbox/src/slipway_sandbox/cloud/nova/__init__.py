"""Nova v2.1: servers, groups, flavors, quotas."""

from slipway_sandbox.cloud.nova.actions import ACTION_ROUTES
from slipway_sandbox.cloud.nova.capacity import CAPACITY_ROUTES
from slipway_sandbox.cloud.nova.catalogue import CATALOGUE_ROUTES
from slipway_sandbox.cloud.nova.creation import CREATION_ROUTES
from slipway_sandbox.cloud.nova.groups import GROUP_ROUTES
from slipway_sandbox.cloud.nova.servers import SERVER_ROUTES

ROUTES = [
    *CATALOGUE_ROUTES,
    *SERVER_ROUTES,
    *CREATION_ROUTES,
    *ACTION_ROUTES,
    *GROUP_ROUTES,
    *CAPACITY_ROUTES,
]

__all__ = ["ROUTES"]
