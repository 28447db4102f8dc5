"""A stage for service tests: the other services as far as the healer hears them, on a stepping clock.

The stage is stateful. It reads what the healer publishes; `act` lets a fair-weather provisioner, monitor and addon
manager answer the newest node tables. A test changes single facts by hand, moves time and reads the healer's words.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from slipway_chassis.clock import SteppingClock
from slipway_chassis.inbox import Receipt
from slipway_chassis.outbox import Outgoing
from slipway_contracts.addon_manager import AddonInstalled, AddonPhase, AddonState
from slipway_contracts.api import ClusterSpec, ClusterSpecChanged
from slipway_contracts.envelope import Body, Event, parse_event, sequence_text
from slipway_contracts.healer import NodeRow, NodeTable, PoolRefusals, Wanted
from slipway_contracts.monitor import (
    EtcdMembershipChanged,
    NodeHealth,
    NodeReady,
    NodeUnhealthy,
    RegionObserved,
    Verdict,
    WitnessName,
)
from slipway_contracts.operations import Operation
from slipway_contracts.provisioner import (
    ClusterDeleted,
    ClusterInfrastructure,
    ControlPlaneAvailable,
    InfrastructurePhase,
    NodeCreated,
    NodePhase,
    NodeProvisioned,
    NodeRemoved,
    NodeState,
    ServerState,
)
from slipway_contracts.resync import ClusterFacts, ClusterFactsAnnounced, ResyncRequested
from slipway_contracts.values import Reason, Role
from slipway_healer.reconciler import HealerService
from slipway_healer.testing import a_member, a_membership, a_trust, a_witness, provisioned

B = TypeVar("B", bound=Body)

MAIN = {Role.ETCD: "etcd_peers", Role.CONTROLLER: "kubernetes", Role.WORKER: "kubernetes"}


class Stage:
    """Everybody but the healer, and the healer's audience."""

    def __init__(self, healer: HealerService, clock: SteppingClock) -> None:
        self.healer = healer
        self.clock = clock
        self.said: list[Event[Any]] = []
        """All that the healer published, oldest first."""
        self.nodes: dict[str, NodeState] = {}
        self.ill: dict[str, dict[str, Verdict]] = {}
        """What the monitor says of nodes at each of its looks."""
        self.trusted = True
        """What the monitor says of the region at the end of each round."""
        self.sequence = 0
        self.documents: dict[str, dict[str, Any]] = {}
        self._verdicts: dict[tuple[str, str], tuple[Verdict, datetime]] = {}

    # -- the others speak

    async def tell(self, event_class: type[Event[Any]], source: str, subject: str, body: Body) -> Receipt:
        """Let the healer hear an event."""
        event = self.event(event_class, source, subject, body)
        if source.startswith("provisioner"):
            self.documents[subject] = event.model_dump(mode="json", exclude_none=True)
        return await self.healer.receive(event.to_json())

    def event(self, event_class: type[Event[Any]], source: str, subject: str, body: Body) -> Event[Any]:
        """An event newer than all before it."""
        self.sequence += 1
        return event_class(
            id=f"event-{self.sequence}",
            type=event_class.TYPE,
            source=source,
            subject=subject,
            time=self.clock.now(),
            region="tokyo",
            sequence=sequence_text(self.sequence),
            correlationid="request-1",
            data=body,
        )

    async def spec(self, spec: ClusterSpec) -> None:
        """The api's desired state."""
        await self.tell(ClusterSpecChanged, "api/global", f"clusters/{spec.cluster_id}", spec)

    async def listing(self, cluster_id: str = "c1") -> None:
        """The provisioner's complete list."""
        facts = tuple(self.documents.values())
        body = ClusterFacts(cluster_id=cluster_id, listed_at=sequence_text(self.sequence + 1), facts=facts)
        await self.tell(ClusterFactsAnnounced, "provisioner/tokyo", f"clusters/{cluster_id}/facts", body)
        self.documents.pop(f"clusters/{cluster_id}/facts", None)

    async def region(self, *, trusted: bool = True, unseen: Sequence[str] = ()) -> None:
        """A round of the monitor ended now."""
        trust = a_trust(self.clock.now(), trusted=trusted, unseen=unseen)
        await self.tell(RegionObserved, "monitor/tokyo", "regions/tokyo", trust)

    async def node(self, node_id: str, event_class: type[Event[NodeState]] = NodeProvisioned, **changes: Any) -> None:
        """The provisioner's state of a node, with changes."""
        state = self.nodes[node_id] = self.nodes[node_id].model_copy(update=changes)
        await self.tell(event_class, "provisioner/tokyo", f"clusters/{state.cluster_id}/nodes/{node_id}", state)

    async def begin(self, row: NodeRow, *, cluster_id: str = "c1", **changes: Any) -> None:
        """The provisioner has taken a row over, and its server is not there yet."""
        coming = {"phase": NodePhase.PENDING, "server_state": ServerState.NONE, "active_at": None, "joined_at": None}
        now = self.clock.now()
        self.nodes[row.node_id] = provisioned(row, cluster_id, now, **coming | {"percent": 10} | changes)
        await self.node(row.node_id, NodeCreated)

    async def fail(self, row: NodeRow, cause: Reason) -> None:
        """The node's build ends in ERROR."""
        await self.begin(row, phase=NodePhase.FAILED, server_state=ServerState.ERROR, cause=cause)

    async def health(self, node_id: str, **verdicts: Verdict) -> None:
        """The monitor's witnesses of a node, who look now; `since` is now too unless the verdict was said before."""
        state, now = self.nodes[node_id], self.clock.now()
        witnesses = tuple(
            a_witness(WitnessName(name), verdict, self._since(node_id, name, verdict), now)
            for name, verdict in verdicts.items()
        )
        bad = Verdict.UNHEALTHY in verdicts.values()
        body = NodeHealth(
            cluster_id=state.cluster_id,
            pool_id=state.pool_id,
            node_id=node_id,
            incarnation=state.row.incarnation,
            verdict=Verdict.UNHEALTHY if bad else Verdict.HEALTHY,
            since=now,
            witnesses=witnesses,
        )
        subject = f"clusters/{state.cluster_id}/nodes/{node_id}"
        await self.tell(NodeUnhealthy if bad else NodeReady, "monitor/tokyo", subject, body)

    async def etcd(self, *unhealthy: str, learner: str | None = None, cluster_id: str = "c1") -> None:
        """The monitor tells of etcd: each etcd node is a voter but for the learner, well but for these."""
        nodes = sorted(each.node_id for each in self.nodes.values() if each.row.role is Role.ETCD)
        members = {
            node_id: a_member(number, node_id, healthy=node_id not in unhealthy)
            for number, node_id in enumerate(nodes, start=1)
        }
        voters = [member for node_id, member in members.items() if node_id != learner]
        body = a_membership(*voters, learners=[] if learner is None else [members[learner]])
        body = body.model_copy(update={"cluster_id": cluster_id, "since": self.clock.now()})
        await self.tell(EtcdMembershipChanged, "monitor/tokyo", f"clusters/{cluster_id}/etcd", body)

    def _since(self, node_id: str, name: str, verdict: Verdict) -> datetime:
        said = self._verdicts.get((node_id, name))
        if said is None or said[0] is not verdict:
            said = self._verdicts[node_id, name] = (verdict, self.clock.now())
        return said[1]

    async def infrastructure(
        self, phase: InfrastructurePhase = InfrastructurePhase.AVAILABLE, cluster_id: str = "c1"
    ) -> None:
        """The shared parts of the cluster."""
        body = ClusterInfrastructure(cluster_id=cluster_id, phase=phase, since=self.clock.now())
        event_class = ClusterDeleted if phase is InfrastructurePhase.DELETED else ControlPlaneAvailable
        await self.tell(event_class, "provisioner/tokyo", f"clusters/{cluster_id}/infrastructure", body)

    async def addons(self, *names: str, cluster_id: str = "c1") -> None:
        """These addons are installed."""
        for name in names:
            body = AddonState(
                cluster_id=cluster_id,
                addon=name,
                phase=AddonPhase.INSTALLED,
                since=self.clock.now(),
                wanted_version="1",
                installed_version="1",
            )
            await self.tell(AddonInstalled, "addon_manager/tokyo", f"clusters/{cluster_id}/addons/{name}", body)

    async def act(self) -> None:
        """Everybody does what the newest node tables say, and it works; repeated until nothing is left to do."""
        for _ in range(20):
            await self.settle()
            new = [(table, row) for table in self.tables() for row in table.nodes if self._is_new(row)]
            if not new:
                return
            for table, row in new:
                await self._obey(table, row)
        raise AssertionError("the tables never came to rest")

    def _is_new(self, row: NodeRow) -> bool:
        known = self.nodes.get(row.node_id)
        if known is None:
            return True
        wants_removal = row.wanted is Wanted.REMOVED and known.phase is not NodePhase.REMOVED
        return wants_removal or row.incarnation > known.row.incarnation or row.update > known.row.update

    async def _obey(self, table: NodeTable, row: NodeRow) -> None:
        self.nodes[row.node_id] = provisioned(row, table.cluster_id, self.clock.now())
        if row.wanted is Wanted.REMOVED:
            await self.node(row.node_id, NodeRemoved)
            return
        await self.node(row.node_id)
        await self.health(
            row.node_id, **{MAIN[row.role]: Verdict.HEALTHY}, server=Verdict.HEALTHY, agent=Verdict.HEALTHY
        )

    # -- the healer works, and is heard

    async def settle(self) -> None:
        """Let the healer do all that is due now, and publish."""
        for _ in range(200):
            if not await self.healer.work_once():
                break
        else:
            raise AssertionError("the healer never came to rest")
        while await self.healer.relay_once(self._hear):
            pass

    async def later(
        self, duration: timedelta, *, step: timedelta = timedelta(minutes=1), observed: bool = True
    ) -> None:
        """Time passes; after each step the monitor looks, unless said otherwise, and the healer does what is due."""
        until = self.clock.now() + duration
        while self.clock.now() < until:
            self.clock.step(min(step, until - self.clock.now()))
            for node_id, verdicts in self.ill.items():
                await self.health(node_id, **verdicts)
            if observed:
                await self.region(trusted=self.trusted)
            await self.settle()

    async def _hear(self, batch: Sequence[Outgoing]) -> Sequence[int]:
        self.said.extend(parse_event(each.document) for each in batch)
        return [each.row_id for each in batch]

    def newest(self, body: type[B]) -> list[B]:
        """The newest word on each subject with this body, but for those that ended."""
        found: dict[str, Event[Any]] = {}
        for event in self.said:
            if isinstance(event.data, body):
                found[event.subject] = event
        return [event.data for event in found.values() if not event.ENDS]

    def tables(self) -> list[NodeTable]:
        """The newest node tables."""
        return self.newest(NodeTable)

    def rows(self, pool_id: str) -> tuple[NodeRow, ...]:
        """The rows of a pool's newest node table."""
        return next((table.nodes for table in self.tables() if table.pool_id == pool_id), ())

    def refusals(self, pool_id: str) -> PoolRefusals:
        """What is refused in a pool."""
        return next(each for each in self.newest(PoolRefusals) if each.pool_id == pool_id)

    def operation(self, operation_id: str) -> Operation:
        """The last word on an operation, its ending included."""
        return next(
            event.data
            for event in reversed(self.said)
            if isinstance(event.data, Operation) and event.data.operation_id == operation_id
        )

    def asked_for_lists(self) -> int:
        """How often the healer asked for repetitions."""
        return sum(isinstance(event, ResyncRequested) for event in self.said)
