"""What the other services would say of one cluster, told step by step."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from slipway_api.store import OperationRow
from slipway_api.testing_platform import Platform
from slipway_contracts import addon_manager, healer, monitor, operations, provisioner
from slipway_contracts.api import ClusterSpec, ClusterSpecChanged
from slipway_contracts.envelope import parse_event
from slipway_contracts.healer import Gate, NodeRow, NodeTable, PoolRefusals, Refusal, Wanted
from slipway_contracts.monitor import (
    ClusterHealth,
    EtcdMemberHealth,
    EtcdMembership,
    NodeHealth,
    Verdict,
    Witness,
    WitnessName,
)
from slipway_contracts.operations import Operation, OperationState
from slipway_contracts.provisioner import (
    ClusterInfrastructure,
    InfrastructurePhase,
    NodePhase,
    NodeState,
    Remainder,
    Step,
    StepState,
)
from slipway_contracts.values import Mover, Reason

CA_PEM = "-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n"
ENDPOINT = "https://10.1.0.4:6443"


async def announced_spec(platform: Platform) -> ClusterSpec:
    """The desired state that the api announced last; what it says goes to the bus once."""
    specs: list[ClusterSpec] = []

    async def publish(batch: Any) -> list[int]:
        for each in batch:
            event = parse_event(each.document)
            if isinstance(event, ClusterSpecChanged):
                specs.append(event.data)
        return [each.row_id for each in batch]

    while await platform.service.relay_once(publish):
        pass
    assert specs, "the api announced no desired state"
    return specs[-1]


@dataclass
class Story:
    """Tells the api what happens to one cluster."""

    platform: Platform
    spec: ClusterSpec
    rows: dict[str, list[NodeRow]] = field(default_factory=dict)

    @property
    def now(self) -> datetime:
        """The time of what is told."""
        return self.platform.clock.now()

    @property
    def all_rows(self) -> list[NodeRow]:
        """Every node that was named."""
        return [row for rows in self.rows.values() for row in rows]

    async def names_nodes(self) -> None:
        """The healer names the nodes that the pools lack, and announces its tables."""
        for pool in self.spec.pools:
            rows = self.rows.setdefault(pool.pool_id, [])
            while sum(1 for row in rows if row.wanted is Wanted.PRESENT) < pool.count:
                number = len(rows) + 1
                rows.append(
                    NodeRow(
                        node_id=f"{pool.name}-{number}",
                        name=f"{self.spec.name}-{pool.name}-{number:05d}",
                        pool_id=pool.pool_id,
                        role=pool.role,
                        zone=pool.zones[0] if pool.zones else None,
                        spec=pool.node_spec,
                        decided_at=self.now,
                        valid_until=self.now + timedelta(minutes=2),
                    )
                )
            await self.table(pool.pool_id)

    async def table(self, pool_id: str, *, generation: int | None = None) -> None:
        """The healer announces one pool's node table."""
        pool = self.spec.pool(pool_id)
        assert pool is not None, "a story is told of pools that there are"
        table = NodeTable(
            cluster_id=self.spec.cluster_id,
            pool_id=pool_id,
            cluster_generation=generation or self.spec.generation,
            operation_id=self.spec.operation_id,
            target=pool.count,
            nodes=tuple(self.rows.get(pool_id, ())),
        )
        await self._healer(healer.PoolBelowTarget, f"clusters/{self.spec.cluster_id}/pools/{pool_id}", table)

    async def removes(self, row: NodeRow, **more: Any) -> None:
        """The healer wants a node gone, and the provisioner removes it."""
        rows = self.rows[row.pool_id]
        rows[rows.index(row)] = row.model_copy(update={"wanted": Wanted.REMOVED})
        await self.table(row.pool_id)
        await self.node(row, NodePhase.REMOVED, event=provisioner.NodeRemoved, **more)

    async def node(self, row: NodeRow, phase: NodePhase, *, event: Any = provisioner.NodeCreated, **more: Any) -> None:
        """The provisioner says how far a node is."""
        state = NodeState(
            cluster_id=self.spec.cluster_id,
            pool_id=row.pool_id,
            node_id=row.node_id,
            row=row,
            phase=phase,
            since=self.now,
            created_at=self.now,
            **more,
        )
        await self._provisioner(event, f"clusters/{self.spec.cluster_id}/nodes/{row.node_id}", state)

    async def health(self, row: NodeRow, verdict: Verdict, saw: str = "Ready for 20 s") -> None:
        """The monitor says how a node is."""
        witness = Witness(name=WitnessName.KUBERNETES, verdict=verdict, saw=saw, since=self.now, at=self.now)
        body = NodeHealth(
            cluster_id=self.spec.cluster_id,
            pool_id=row.pool_id,
            node_id=row.node_id,
            incarnation=row.incarnation,
            verdict=verdict,
            since=self.now,
            witnesses=(witness,),
        )
        event = monitor.NodeReady if verdict is Verdict.HEALTHY else monitor.NodeUnhealthy
        await self._says("monitor", event, f"clusters/{self.spec.cluster_id}/nodes/{row.node_id}", body)

    async def cluster_health(self, verdict: Verdict, *reasons: Reason) -> None:
        """The monitor says how the cluster is."""
        body = ClusterHealth(cluster_id=self.spec.cluster_id, verdict=verdict, since=self.now, reasons=reasons)
        event = monitor.ClusterRecovered if verdict is Verdict.HEALTHY else monitor.ClusterUnhealthy
        await self._says("monitor", event, f"clusters/{self.spec.cluster_id}/health", body)

    async def etcd(self, *, healthy: bool, learners: int = 0) -> None:
        """The monitor says who the members of etcd are: one for each etcd node, and some that do not vote yet."""
        nodes = [row for row in self.all_rows if row.role.value == "etcd"]
        members = [
            EtcdMemberHealth(
                member_id=f"{number:016x}",
                name=row.name,
                peer_url=f"https://10.1.0.{number}:2380",
                node_id=row.node_id,
                healthy=healthy,
            )
            for number, row in enumerate(nodes, start=1)
        ]
        new = members[0].model_copy(update={"name": ""})
        body = EtcdMembership(
            cluster_id=self.spec.cluster_id, voters=tuple(members), learners=(new,) * learners, since=self.now
        )
        await self._says("monitor", monitor.EtcdMembershipChanged, f"clusters/{self.spec.cluster_id}/etcd", body)

    async def refuses(self, pool_id: str, reason: Reason) -> None:
        """The healer holds something back."""
        refusal = Refusal(gate=Gate.BLAST_RADIUS, reason=reason, look_again_at=self.now + timedelta(minutes=1))
        body = PoolRefusals(cluster_id=self.spec.cluster_id, pool_id=pool_id, refusals=(refusal,))
        subject = f"clusters/{self.spec.cluster_id}/pools/{pool_id}/refusal"
        await self._healer(healer.HealingRefused, subject, body)

    async def infrastructure(self, phase: InfrastructurePhase, **more: Any) -> None:
        """The provisioner says how far the shared parts are."""
        body = ClusterInfrastructure(cluster_id=self.spec.cluster_id, phase=phase, since=self.now, **more)
        event = provisioner.ClusterInfrastructureChanged
        if phase is InfrastructurePhase.AVAILABLE:
            event = provisioner.ControlPlaneAvailable  # type: ignore[assignment]
        elif phase is InfrastructurePhase.DELETED:
            event = provisioner.ClusterDeleted  # type: ignore[assignment]
        await self._provisioner(event, f"clusters/{self.spec.cluster_id}/infrastructure", body)

    async def operation(
        self, state: OperationState, percent: int, *, cause: Reason | None = None, step: str = "Workers"
    ) -> None:
        """The healer says how far the current operation is."""
        event: Any = {
            OperationState.RUNNING: operations.OperationProgressed,
            OperationState.BLOCKED: operations.OperationBlocked,
            OperationState.SUCCEEDED: operations.OperationSucceeded,
            OperationState.FAILED: operations.OperationFailed,
        }[state]
        done = state in (OperationState.SUCCEEDED, OperationState.FAILED)
        body = Operation(
            operation_id=self.spec.operation_id,
            cluster_id=self.spec.cluster_id,
            kind=await self._kind(),
            generation=self.spec.generation,
            state=state,
            percent=percent,
            steps=(Step(name="step", title=step, state=StepState.DONE if done else StepState.RUNNING),),
            cause=cause,
            started_at=self.now,
            finished_at=self.now if done else None,
        )
        await self._healer(event, f"operations/{self.spec.operation_id}", body)

    async def addon(self, name: str, phase: addon_manager.AddonPhase) -> None:
        """The addon manager says how far an addon is."""
        body = addon_manager.AddonState(
            cluster_id=self.spec.cluster_id, addon=name, phase=phase, since=self.now, wanted_version="1"
        )
        subject = f"clusters/{self.spec.cluster_id}/addons/{name}"
        await self._says("addon_manager", addon_manager.AddonChanged, subject, body)

    async def becomes_ready(self) -> None:
        """Everything goes well, to the end."""
        self.platform.signer.clusters.add(self.spec.cluster_id)
        await self.infrastructure(InfrastructurePhase.BUILDING)
        await self.names_nodes()
        for row in self.all_rows:
            await self.node(row, NodePhase.CONFIGURING, percent=60)
        await self.infrastructure(InfrastructurePhase.AVAILABLE, endpoint=ENDPOINT, ca_pem=CA_PEM)
        for row in self.all_rows:
            await self.node(row, NodePhase.PROVISIONED, event=provisioner.NodeProvisioned, percent=100)
            await self.health(row, Verdict.HEALTHY)
        await self.cluster_health(Verdict.HEALTHY)
        await self.operation(OperationState.SUCCEEDED, 100)
        await self.platform.settle()

    async def goes(self) -> None:
        """The deletion goes well, to the end."""
        left = Remainder(kind="server", cloud_id="server-1", name=f"slipway-{self.spec.name}-1")
        await self.infrastructure(InfrastructurePhase.DELETING, remaining=(left,))
        for row in self.all_rows:
            await self.node(row, NodePhase.REMOVED, event=provisioner.NodeRemoved)
        await self.infrastructure(InfrastructurePhase.DELETED)
        await self.operation(OperationState.SUCCEEDED, 100)
        await self.platform.settle()

    async def _kind(self) -> Any:
        async with self.platform.service.database.reading() as session:
            row = await session.get(OperationRow, self.spec.operation_id)
        assert row is not None, "the api made the operation"
        return row.kind

    async def _healer(self, event: Any, subject: str, body: Any) -> None:
        await self._says("healer", event, subject, body)

    async def _provisioner(self, event: Any, subject: str, body: Any) -> None:
        await self._says("provisioner", event, subject, body)

    async def _says(self, owner: str, event: Any, subject: str, body: Any) -> None:
        await self.platform.elsewhere.says(owner, event, subject, body)


USERS_MOVE = Reason(code="QuotaExceeded", message="The project's quota of cores is used up.", whose_move=Mover.USER)
