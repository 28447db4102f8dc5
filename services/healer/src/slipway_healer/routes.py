"""The events that the healer listens to, and who handles them."""

from collections.abc import Mapping
from typing import Any

from slipway_chassis.inbox import Handler
from slipway_contracts import addon_manager, api, monitor, provisioner
from slipway_contracts.envelope import Event
from slipway_contracts.resync import ClusterFactsAnnounced
from slipway_healer.handlers import Handlers


def build_routes(handlers: Handlers) -> Mapping[type[Event[Any]], Handler]:
    """The handler table."""
    about_clusters: tuple[type[Event[Any]], ...] = (
        api.ClusterSpecChanged,
        provisioner.NodeCreated,
        provisioner.NodeProvisioned,
        provisioner.NodeProvisioningFailed,
        provisioner.NodeRemoved,
        provisioner.ClusterInfrastructureChanged,
        provisioner.ClusterInfrastructureReady,
        provisioner.ControlPlaneAvailable,
        provisioner.ClusterDeleted,
        monitor.NodeReady,
        monitor.NodeUnhealthy,
        monitor.NodeRecovered,
        monitor.NodeForgotten,
        monitor.EtcdMembershipChanged,
        monitor.EtcdMembershipForgotten,
        addon_manager.AddonChanged,
        addon_manager.AddonInstalled,
        addon_manager.AddonOutdated,
        addon_manager.AddonUpdated,
        addon_manager.AddonDegraded,
        addon_manager.AddonRemoved,
        ClusterFactsAnnounced,
    )
    routes: dict[type[Event[Any]], Handler] = dict.fromkeys(about_clusters, handlers.on_cluster_event)
    routes[monitor.RegionObserved] = handlers.on_region_observed
    return routes
