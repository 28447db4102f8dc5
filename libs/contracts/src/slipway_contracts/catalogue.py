"""Imports every owner's module, so that EVENT_TYPES is complete for whoever reads from the bus."""

from slipway_contracts import addon_manager, api, healer, monitor, operations, provisioner, resync
from slipway_contracts.envelope import EVENT_TYPES

MODULES = (api, provisioner, healer, monitor, addon_manager, operations, resync)

__all__ = ["EVENT_TYPES", "MODULES"]
