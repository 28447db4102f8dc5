"""What the others said about one cluster, read from the facts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis import facts
from slipway_chassis.facts import Fact
from slipway_contracts.addon_manager import AddonState
from slipway_contracts.api import ClusterSpec
from slipway_contracts.envelope import Body, source_of
from slipway_contracts.monitor import EtcdMembership, NodeHealth, RegionTrust
from slipway_contracts.provisioner import ClusterInfrastructure, InfrastructurePhase, NodeState

B = TypeVar("B", bound=Body)


@dataclass(frozen=True)
class Observed:
    """One cluster as the other services see it."""

    spec: ClusterSpec
    correlation_id: str | None
    infrastructure: ClusterInfrastructure | None
    is_deleted: bool
    reported: tuple[NodeState, ...]
    said_at: dict[str, datetime]
    """When the provisioner said what is reported, by node id."""
    ended: dict[str, NodeState]
    health: dict[str, NodeHealth]
    addons: dict[str, AddonState]
    etcd: EtcdMembership | None
    trust: RegionTrust | None
    listed_at: datetime | None


async def observe(session: AsyncSession, cluster_id: str, region: str) -> Observed | None:
    """Read the facts about a cluster; None when its spec is not known."""
    known = await facts.facts_about(session, cluster_id, f"regions/{region}")
    spec = next(_of(known, ClusterSpec), None)
    if spec is None or spec.ended:
        return None
    states = list(_of(known, NodeState))
    infrastructure = next((fact.body for fact in _of(known, ClusterInfrastructure)), None)
    return Observed(
        spec=spec.body,
        correlation_id=spec.event.correlationid,
        infrastructure=infrastructure,
        # an end by absence from a list is not the provisioner's word that nothing is left in the cloud
        is_deleted=infrastructure is not None and infrastructure.phase is InfrastructurePhase.DELETED,
        reported=tuple(state.body for state in states if not state.ended),
        said_at={state.body.node_id: state.time for state in states if not state.ended},
        ended={state.body.node_id: state.body for state in states if state.ended},
        health={fact.body.node_id: fact.body for fact in _of(known, NodeHealth) if not fact.ended},
        addons={fact.body.addon: fact.body for fact in _of(known, AddonState) if not fact.ended},
        etcd=next((fact.body for fact in _of(known, EtcdMembership) if not fact.ended), None),
        trust=next((fact.body for fact in _of(known, RegionTrust)), None),
        listed_at=await facts.listed_at(session, source_of("provisioner", region), cluster_id),
    )


def _of(known: Sequence[Fact[Any]], body: type[B]) -> Iterator[Fact[B]]:
    return (fact for fact in known if isinstance(fact.body, body))
