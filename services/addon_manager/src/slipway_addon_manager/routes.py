"""The events that the addon manager listens to, and who handles them."""

from collections.abc import Mapping
from typing import Any

from slipway_addon_manager.handlers import Handlers
from slipway_chassis.inbox import Handler
from slipway_contracts import api, provisioner
from slipway_contracts.envelope import Event
from slipway_contracts.resync import ClusterFactsAnnounced


def build_routes(handlers: Handlers) -> Mapping[type[Event[Any]], Handler]:
    """The handler table."""
    return {
        api.ClusterSpecChanged: handlers.on_cluster_event,
        provisioner.ClusterInfrastructureChanged: handlers.on_cluster_event,
        provisioner.ClusterInfrastructureReady: handlers.on_cluster_event,
        provisioner.ControlPlaneAvailable: handlers.on_cluster_event,
        provisioner.ClusterDeleted: handlers.on_cluster_event,
        ClusterFactsAnnounced: handlers.on_facts_announced,
    }
