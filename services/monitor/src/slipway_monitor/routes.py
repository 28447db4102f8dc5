"""Queues and handlers: one screen."""

from collections.abc import Mapping
from typing import Any

from slipway_chassis.clock import Clock
from slipway_chassis.inbox import Handler
from slipway_contracts.api import ClusterSpecChanged
from slipway_contracts.envelope import Event
from slipway_contracts.provisioner import (
    ClusterDeleted,
    ClusterInfrastructureChanged,
    ClusterInfrastructureReady,
    ControlPlaneAvailable,
    NodeCreated,
    NodeProvisioned,
    NodeProvisioningFailed,
    NodeRemoved,
)
from slipway_contracts.resync import ClusterFactsAnnounced
from slipway_monitor.handlers import on_cluster_changed, on_spec_changed


def build_routes(clock: Clock, region: str) -> Mapping[type[Event[Any]], Handler]:
    """Which event goes to which handler."""
    changed = on_cluster_changed(clock)
    return {
        ClusterSpecChanged: on_spec_changed(clock, region),
        ClusterInfrastructureChanged: changed,
        ClusterInfrastructureReady: changed,
        ControlPlaneAvailable: changed,
        ClusterDeleted: changed,
        NodeCreated: changed,
        NodeProvisioned: changed,
        NodeProvisioningFailed: changed,
        NodeRemoved: changed,
        ClusterFactsAnnounced: changed,
    }
