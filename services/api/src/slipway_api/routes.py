"""Which events the api listens to, and what it does with each."""

from collections.abc import Mapping
from typing import Any

from slipway_api.handlers import Handlers, OnEvent
from slipway_contracts import addon_manager, healer, monitor, operations, provisioner
from slipway_contracts.envelope import Event


def build_routes(handlers: Handlers) -> Mapping[type[Event[Any]], OnEvent]:
    """The table of routes."""
    on_cluster, on_operation = handlers.on_cluster_event, handlers.on_operation
    return {
        healer.PoolBelowTarget: on_cluster,
        healer.PoolAboveTarget: on_cluster,
        healer.PoolAtTarget: on_cluster,
        healer.PoolRemoved: on_cluster,
        healer.HealingRefused: on_cluster,
        healer.ClusterHoldChanged: on_cluster,
        operations.OperationProgressed: on_operation,
        operations.OperationBlocked: on_operation,
        operations.OperationSucceeded: on_operation,
        operations.OperationFailed: on_operation,
        provisioner.NodeCreated: on_cluster,
        provisioner.NodeProvisioned: on_cluster,
        provisioner.NodeProvisioningFailed: on_cluster,
        provisioner.NodeRemoved: on_cluster,
        provisioner.ClusterInfrastructureChanged: on_cluster,
        provisioner.ClusterInfrastructureReady: on_cluster,
        provisioner.ControlPlaneAvailable: on_cluster,
        provisioner.ClusterDeleted: on_cluster,
        monitor.NodeReady: on_cluster,
        monitor.NodeUnhealthy: on_cluster,
        monitor.NodeRecovered: on_cluster,
        monitor.NodeForgotten: on_cluster,
        monitor.ClusterUnhealthy: on_cluster,
        monitor.ClusterRecovered: on_cluster,
        monitor.ClusterForgotten: on_cluster,
        monitor.EtcdMembershipChanged: on_cluster,
        monitor.EtcdMembershipForgotten: on_cluster,
        monitor.RegionObserved: handlers.on_region_observed,
        monitor.AlertRaised: on_cluster,
        monitor.AlertResolved: on_cluster,
        addon_manager.AddonChanged: on_cluster,
        addon_manager.AddonInstalled: on_cluster,
        addon_manager.AddonOutdated: on_cluster,
        addon_manager.AddonUpdated: on_cluster,
        addon_manager.AddonDegraded: on_cluster,
        addon_manager.AddonRemoved: on_cluster,
    }
