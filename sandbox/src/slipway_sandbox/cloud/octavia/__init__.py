"""Octavia v2: load balancers."""

from slipway_sandbox.cloud.octavia.balancers import BALANCER_ROUTES
from slipway_sandbox.cloud.octavia.members import MEMBER_ROUTES
from slipway_sandbox.cloud.octavia.parts import PART_ROUTES

ROUTES = [*BALANCER_ROUTES, *PART_ROUTES, *MEMBER_ROUTES]

__all__ = ["ROUTES"]
