"""Which events the provisioner listens to, and who handles them."""

from collections.abc import Mapping
from typing import Any

from slipway_chassis.inbox import Handler
from slipway_contracts.api import ClusterSpecChanged
from slipway_contracts.envelope import Event
from slipway_contracts.healer import (
    ClusterHoldChanged,
    PoolAboveTarget,
    PoolAtTarget,
    PoolBelowTarget,
    PoolRemoved,
)
from slipway_contracts.monitor import EtcdMembershipChanged, EtcdMembershipForgotten
from slipway_provisioner.handlers import Handlers


def build_routes(handlers: Handlers) -> Mapping[type[Event[Any]], Handler]:
    """The handler table."""
    return {
        ClusterSpecChanged: handlers.on_cluster_spec_changed,
        PoolBelowTarget: handlers.on_pool_changed,
        PoolAboveTarget: handlers.on_pool_changed,
        PoolAtTarget: handlers.on_pool_changed,
        PoolRemoved: handlers.on_pool_changed,
        ClusterHoldChanged: handlers.on_cluster_hold_changed,
        EtcdMembershipChanged: handlers.on_etcd_membership,
        EtcdMembershipForgotten: handlers.on_etcd_membership,
    }
