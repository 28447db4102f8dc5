"""Keystone v3: tokens, projects, users."""

from slipway_sandbox.cloud.keystone.directory import DIRECTORY_ROUTES
from slipway_sandbox.cloud.keystone.tokens import TOKEN_ROUTES
from slipway_sandbox.cloud.keystone.versions import VERSION_ROUTES

ROUTES = [*VERSION_ROUTES, *TOKEN_ROUTES, *DIRECTORY_ROUTES]

__all__ = ["ROUTES"]
