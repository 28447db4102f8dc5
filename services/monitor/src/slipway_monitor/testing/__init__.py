"""Stateful fakes of the monitor's ports, builders of facts, and a stage on which a test steps the service."""

from slipway_monitor.testing.builders import (
    BEAT,
    PROJECT,
    REGION,
    START,
    a_member,
    a_member_id,
    a_node,
    a_peer_url,
    a_row,
    a_spec,
    an_etcd,
    an_infrastructure,
    an_observation,
)
from slipway_monitor.testing.fakes import FakeCluster, FakeClusters, FakeServers, unreachable
from slipway_monitor.testing.stage import Stage, a_stage

__all__ = [
    "BEAT",
    "PROJECT",
    "REGION",
    "START",
    "FakeCluster",
    "FakeClusters",
    "FakeServers",
    "Stage",
    "a_member",
    "a_member_id",
    "a_node",
    "a_peer_url",
    "a_row",
    "a_spec",
    "a_stage",
    "an_etcd",
    "an_infrastructure",
    "an_observation",
    "unreachable",
]
