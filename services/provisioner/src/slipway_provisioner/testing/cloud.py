"""A stateful fake of the cloud: states take time, what is in use cannot go, failures can be ordered."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from slipway_chassis.clock import Clock
from slipway_chassis.errors import GiveUp, RetryLater
from slipway_contracts.provisioner import ServerState
from slipway_contracts.values import Mover, Role
from slipway_provisioner.domain.model import (
    FloatingIpOrder,
    Found,
    Kind,
    ListenerOrder,
    Member,
    MemberView,
    MonitorOrder,
    Order,
    PoolOrder,
    PortOrder,
    ServerOrder,
    ServerView,
)
from slipway_provisioner.domain.security_groups import GroupRule
from slipway_provisioner.ports import Conflict
from slipway_provisioner.testing.things import Failure, Thing


class FakeCloud:
    """A cloud in memory on a clock. States take time; what is in use cannot go; failures can be ordered."""

    def __init__(self, clock: Clock, build: timedelta = timedelta(seconds=2), quota: int = 1000) -> None:
        self.clock = clock
        self.build = build
        self.quota = quota
        self.things: dict[str, Thing] = {}
        self.failures: dict[str, list[Failure]] = {}
        self.calls: Counter[str] = Counter()
        self.consoles: dict[str, str] = {}
        """Console logs by the names of servers."""
        self.servers_ever: Counter[tuple[str, int]] = Counter()
        self._ids = 0

    # -- what tests do to it

    def fail(self, call: str, error: RetryLater | GiveUp, *, times: int = 1, after: bool = False) -> None:
        """Let the next calls of this name fail."""
        self.failures.setdefault(call, []).append(Failure(error, times, after))

    def of_kind(self, kind: Kind) -> list[Thing]:
        """All that exist now of a kind, oldest first."""
        return [thing for thing in self.things.values() if thing.kind is kind and self._exists(thing)]

    def left(self) -> list[str]:
        """Everything that exists now, for comparing with nothing."""
        return [f"{thing.kind.value} {thing.order.name}" for thing in self.things.values() if self._exists(thing)]

    def server_of(self, node_name: str) -> Thing:
        """The one server of this name."""
        (found,) = [thing for thing in self.of_kind(Kind.SERVER) if thing.order.name == node_name]
        return found

    def vanish(self, thing: Thing) -> None:
        """It is deleted behind our back, with what goes with it."""
        self._end(thing, self.clock.now() - self.build)

    def force(self, thing: Thing, state: ServerState) -> None:
        """A server is in this state from now on."""
        thing.state, thing.changed_at = state, self.clock.now()

    # -- the port

    async def create(self, project_id: str, order: Order) -> str:
        """See ports.Cloud."""
        kind = order.kind
        self._before(f"create_{kind.value}")
        self._refuse(project_id, order)
        self._ids += 1
        thing = Thing(kind, f"{kind.value.replace('_', '-')}-{self._ids}", project_id, order, self.clock.now())
        self._connect(thing, order)
        self.things[thing.cloud_id] = thing
        self._after(f"create_{kind.value}")
        return thing.cloud_id

    async def find(self, project_id: str, kind: Kind, name: str, resource_id: str) -> tuple[Found, ...]:
        """See ports.Cloud."""
        self._before("find")
        mine = [each for each in self.of_kind(kind) if each.project_id == project_id]
        return tuple(self._found(each) for each in mine if each.order.mark.resource_id == resource_id)

    async def get(self, project_id: str, kind: Kind, cloud_id: str) -> Found | None:
        """See ports.Cloud."""
        self._before(f"get_{kind.value}")
        thing = self._existing(project_id, cloud_id)
        return self._found(thing) if thing is not None else None

    async def delete(self, project_id: str, kind: Kind, cloud_id: str) -> None:
        """See ports.Cloud."""
        self._before(f"delete_{kind.value}")
        thing = self._existing(project_id, cloud_id)
        if thing is None:
            return
        if kind is Kind.SECURITY_GROUP and any(
            isinstance(port.order, PortOrder) and cloud_id in (port.order.security_groups or ())
            for port in self.of_kind(Kind.PORT)
        ):
            raise Conflict(timedelta(seconds=1), "InUse", "The security group is in use")
        if thing.deleted_at is None:
            self._end(thing, self.clock.now())
        self._after(f"delete_{kind.value}")

    async def list_marked(self, project_id: str, cluster_id: str | None = None) -> tuple[Found, ...]:
        """See ports.Cloud."""
        self._before("list_marked")
        return tuple(
            self._found(thing)
            for thing in self.things.values()
            if self._exists(thing)
            and thing.project_id == project_id
            and cluster_id in (None, thing.order.mark.cluster_id)
        )

    async def servers(self, project_id: str, changes_since: datetime | None) -> tuple[ServerView, ...]:
        """See ports.Cloud."""
        self._before("servers")
        views = []
        for thing in self.things.values():
            if thing.kind is not Kind.SERVER or thing.project_id != project_id:
                continue
            exists, changed_at = self._exists(thing), thing.changed_at or thing.made_at + self.build
            if (exists and changes_since is None) or (changes_since is not None and changed_at >= changes_since):
                views.append(replace(self._view(thing), deleted=not exists))
        return tuple(views)

    async def server(self, project_id: str, server_id: str) -> ServerView | None:
        """See ports.Cloud."""
        self._before("get_server")
        thing = self._existing(project_id, server_id)
        return self._view(thing) if thing is not None else None

    async def answers(self, project_id: str) -> None:
        """See ports.Cloud."""
        self._before("answers")

    async def start_server(self, project_id: str, server_id: str) -> None:
        """See ports.Cloud."""
        self._before("start_server")
        thing = self._existing(project_id, server_id)
        if thing is not None:
            self.force(thing, ServerState.ACTIVE)

    async def reboot_server(self, project_id: str, server_id: str) -> None:
        """See ports.Cloud."""
        self._before("reboot_server")
        thing = self._existing(project_id, server_id)
        if thing is not None:
            thing.reboots += 1

    async def console(self, project_id: str, server_id: str) -> str | None:
        """See ports.Cloud."""
        self._before("console")
        thing = self._existing(project_id, server_id)
        return self.consoles.get(thing.order.name, "the last words of the console\n") if thing is not None else None

    async def ensure_rules(
        self, project_id: str, group_id: str, rules: Sequence[GroupRule], groups: dict[Role, str]
    ) -> None:
        """See ports.Cloud."""
        self._before("ensure_rules")
        self.things[group_id].rules = list(rules)

    async def ensure_tags(self, project_id: str, kind: Kind, cloud_id: str, tags: Sequence[str]) -> None:
        """See ports.Cloud."""
        self._before("ensure_tags")

    async def set_members(self, project_id: str, pool_id: str, members: Sequence[Member]) -> None:
        """See ports.Cloud."""
        self._before("set_members")
        pool = self._existing(project_id, pool_id)
        if pool is None or pool.parent_id is None:
            raise Conflict(timedelta(seconds=1), "CloudConflict", "There is no such pool")
        self._change(self.things[pool.parent_id])
        pool.members = list(members)

    async def members(self, project_id: str, pool_id: str) -> tuple[MemberView, ...] | None:
        """See ports.Cloud."""
        self._before("members")
        pool = self._existing(project_id, pool_id)
        if pool is None:
            return None
        return tuple(MemberView(each, each.node_id in pool.failing) for each in pool.members)

    async def network_id(self, project_id: str, name: str) -> str:
        """See ports.Cloud."""
        self._before("network_id")
        return f"id-of-{name}"

    async def lead_to(self, project_id: str, floating_ip_id: str, port_id: str) -> None:
        """See ports.Cloud."""
        self._before("lead_to")
        self.things[floating_ip_id].device_id = port_id

    # -- how it works

    def _before(self, call: str) -> None:
        self.calls[call] += 1
        self._fail(call, after=False)

    def _after(self, call: str) -> None:
        self._fail(call, after=True)

    def _fail(self, call: str, *, after: bool) -> None:
        for failure in self.failures.get(call, []):
            if failure.times > 0 and failure.after is after:
                failure.times -= 1
                raise failure.error

    def _end(self, thing: Thing, when: datetime) -> None:
        thing.deleted_at = thing.changed_at = when
        for child in self.things.values():
            if child.parent_id == thing.cloud_id:
                child.deleted_at = self.clock.now() - self.build
            if child.kind is Kind.FLOATING_IP and child.device_id == thing.cloud_id:
                child.device_id = None
            if isinstance(child.order, MonitorOrder) and child.order.pool_id == thing.cloud_id:
                child.deleted_at = self.clock.now() - self.build
        self._release_port(thing)

    def _change(self, balancer: Thing) -> None:
        """A load balancer takes one change at a time, and each takes a while."""
        if self._status(balancer) != "ACTIVE":
            raise Conflict(timedelta(seconds=1), "CloudConflict", f"{balancer.cloud_id} is immutable")
        balancer.changed_at = self.clock.now()

    def _status(self, thing: Thing) -> str:
        if thing.broken:
            return "ERROR"
        if self.clock.now() < thing.made_at + self.build / 2:
            return "PENDING_CREATE"
        changing = thing.kind is Kind.LOAD_BALANCER and thing.changed_at is not None
        if changing and self.clock.now() < (thing.changed_at or thing.made_at) + self.build / 4:
            return "PENDING_UPDATE"
        return "ACTIVE"

    def _refuse(self, project_id: str, order: Order) -> None:
        if isinstance(order, PortOrder):
            taken = {thing.address for thing in self.of_kind(Kind.PORT)}
            if order.address is not None and order.address in taken:
                raise Conflict(timedelta(seconds=1), "CloudConflict", f"{order.address} is already allocated")
        if not isinstance(order, ServerOrder):
            return
        if len(self.of_kind(Kind.SERVER)) >= self.quota:
            raise RetryLater(timedelta(seconds=30), "QuotaExceeded", "Quota exceeded", whose_move=Mover.USER)
        port = self._existing(project_id, order.port_id)
        if port is None:
            raise GiveUp("InvalidRequest", f"Port {order.port_id} could not be found")
        if port.device_id is not None:
            raise Conflict(timedelta(seconds=1), "PortInUse", f"Port {order.port_id} is still in use")

    def _connect(self, thing: Thing, order: Order) -> None:
        if isinstance(order, PortOrder):
            thing.address = order.address or f"10.0.{self._ids // 250}.{self._ids % 250 + 2}"
        elif isinstance(order, FloatingIpOrder):
            thing.address, thing.device_id = f"203.0.113.{self._ids % 250 + 2}", order.port_id
        elif isinstance(order, ServerOrder):
            self.things[order.port_id].device_id = thing.cloud_id
            self.servers_ever[(order.mark.node_id or "", order.mark.incarnation or 0)] += 1
        elif isinstance(order, ListenerOrder):
            thing.parent_id = order.balancer_id
            self._change(self.things[order.balancer_id])
        elif isinstance(order, PoolOrder):
            thing.parent_id = self.things[order.listener_id].parent_id
            self._change(self.things[str(thing.parent_id)])
        elif isinstance(order, MonitorOrder):
            thing.parent_id = self.things[order.pool_id].parent_id
            self._change(self.things[str(thing.parent_id)])

    def _release_port(self, thing: Thing) -> None:
        if isinstance(thing.order, ServerOrder):
            port = self.things.get(thing.order.port_id)
            if port is not None and port.device_id == thing.cloud_id:
                port.device_id = None

    def _exists(self, thing: Thing) -> bool:
        if thing.deleted_at is None:
            return True
        slow = thing.kind in (Kind.SERVER, Kind.LOAD_BALANCER)
        return slow and self.clock.now() < thing.deleted_at + self.build / 2

    def _existing(self, project_id: str, cloud_id: str) -> Thing | None:
        thing = self.things.get(cloud_id)
        return thing if thing is not None and self._exists(thing) and thing.project_id == project_id else None

    def _found(self, thing: Thing) -> Found:
        return Found(
            kind=thing.kind,
            cloud_id=thing.cloud_id,
            name=thing.order.name,
            resource_id=thing.order.mark.resource_id,
            cluster_id=thing.order.mark.cluster_id,
            key=thing.order.mark.key,
            status=self._status(thing),
            address=thing.address,
            device_id=thing.device_id,
        )

    def _view(self, thing: Thing) -> ServerView:
        state = ServerState.ACTIVE if self.clock.now() >= thing.made_at + self.build else ServerState.BUILDING
        if thing.deleted_at is not None:
            state = ServerState.DELETING
        return ServerView(
            server_id=thing.cloud_id,
            name=thing.order.name,
            state=thing.state or state,
            metadata=thing.order.metadata if isinstance(thing.order, ServerOrder) else {},
            zone="zone-1",
            host=f"host-{thing.cloud_id}",
            fault="No valid host was found." if thing.state is ServerState.ERROR else None,
        )
