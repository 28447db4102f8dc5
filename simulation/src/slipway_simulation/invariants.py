"""What must hold at every moment, whatever happens; checked after each request that may have changed the cloud.

I1  Never two servers for one node. Counted are servers that carry the node's mark and may run, now or later: all but
    those in ERROR, those that are being deleted, and those that are gone.
I2  Everything in the cloud that carries our mark is in the ledger under the id it carries, in a state that is not
    "gone"; and at the end nothing is left. What the ledger has as created is in the cloud, unless the story took it.
I3  What is not ours is never touched: no request that changes something names it, and it stays as it was.
I4  etcd keeps its majority, and its membership changes one member at a time.
I8  An effect happens once: what the ledger intends once is made once as a server, however often it is asked for.
I9  A fact that is not newer than what a service knows changes no row of its database (checked by the bus).
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from slipway_sandbox.cloud.messages import Request
from slipway_sandbox.cloud.model import Server
from slipway_sandbox.cloud.testing import Tenant
from slipway_sandbox.machines.etcd_cluster import EtcdClusters
from slipway_simulation.cloud_side import WatchedCloud
from slipway_simulation.journal import Journal
from slipway_simulation.storage import Store

_RESOURCE = "slipway:resource="

STRAYS_FOR = timedelta(seconds=60)
"""After a restore: so long a request of the process before it may still make what the ledger has forgotten."""


FOUND_WITHIN = timedelta(minutes=15)
"""After a restore: by then the ledger has been compared with the cloud; at the end nothing is left in any case."""


@dataclass(frozen=True)
class Marked:
    """A resource of the cloud that says it is ours."""

    kind: str
    cloud_id: str
    name: str
    resource_id: str | None


@dataclass
class Invariants:
    """Looks at cloud and ledger from outside."""

    cloud: WatchedCloud
    ledger: Store
    journal: Journal
    etcd: EtcdClusters | None = None
    """Those of the story's cluster, until its deletion is asked for."""
    taken: set[str] = field(default_factory=set)
    """Cloud ids of what the story took away behind the provisioner's back."""
    forgotten: set[str] = field(default_factory=set)
    """Cloud ids of what an older ledger did not know when it was restored, until it must have found them."""
    went_back_at: datetime | None = None
    _foreign: dict[str, Any] = field(default_factory=dict)

    def furnish_foreign(self, tenant: Tenant) -> None:
        """Resources of somebody else in the same project."""
        state = self.cloud.state
        network = next(each for each in state.network["network"].values() if each["name"] == "private")
        port = tenant.ask(
            "POST", "/network/v2.0/ports", {"port": {"network_id": network["id"], "name": "theirs"}}
        ).json()
        tenant.ask("POST", "/network/v2.0/security-groups", {"security_group": {"name": "theirs"}})
        server = {
            "name": "slipway-theirs",
            "imageRef": next(iter(state.images)),
            "flavorRef": next(iter(state.flavors)),
            "networks": [{"port": port["port"]["id"]}],
        }
        tenant.ask("POST", "/compute/v2.1/servers", {"server": server})

    def remember_foreign(self) -> None:
        """What there is now is not ours, and stays as it is."""
        self._foreign = self._inventory()

    def check(self, request: Request) -> None:
        """What must hold at every moment, and after this request."""
        self.check_servers()
        self.check_untouched(request)
        self.check_ledger()
        self.check_etcd()

    # -- I1

    def check_servers(self) -> None:
        """I1."""
        owners = Counter(
            server.metadata["slipway_node"]
            for server in self.cloud.state.live_servers()
            if "slipway_node" in server.metadata and _may_run(server)
        )
        for node_id, count in owners.items():
            if count > 1:
                self.journal.violated(f"I1: {count} servers for the node {node_id}")

    # -- I8

    def check_made_once(self) -> None:
        """I8: over all servers that there ever were, but those whose build the cloud gave up."""
        made = Counter(
            server.metadata["slipway_resource"]
            for server in self.cloud.state.servers.values()
            if "slipway_resource" in server.metadata and not server.fault
        )
        for resource_id, count in made.items():
            if count > 1:
                self.journal.violated(f"I8: {count} servers were made for one intent, {resource_id}")

    # -- I3

    def check_untouched(self, request: Request) -> None:
        """I3, from the requests' side."""
        for cloud_id, what in self._foreign.items():
            if cloud_id in request.path:
                self.journal.violated(f"I3: {request.method} {request.path} is about somebody else's {what}")

    # -- I4

    def check_etcd(self) -> None:
        """I4: stories take no more than one member at once, so a majority is lost by our own doing."""
        for cluster in self.etcd.all() if self.etcd is not None else ():
            has_formed = any(member.client_urls for member in cluster.members.values())
            several = len(cluster.voters) > 1
            if has_formed and several and not cluster.has_quorum:
                self.journal.violated(f"I4: {cluster.live_voters} of {len(cluster.voters)} voters of etcd are left")
            if len(cluster.members) - len(cluster.voters) > 1:
                self.journal.violated("I4: two members are on their way into etcd")

    # -- I2

    def check_ledger(self) -> None:
        """I2, from the cloud's side."""
        known = dict(self.ledger.ask("SELECT resource_id, state FROM ledger"))
        since = self.journal.now() - self.went_back_at if self.went_back_at is not None else STRAYS_FOR
        for marked in self.marked():
            state = known.get(marked.resource_id or "")
            if state in (None, "gone") and since < STRAYS_FOR:
                self.forgotten.add(marked.cloud_id)
            elif marked.cloud_id in self.forgotten:
                continue
            elif state is None:
                self.journal.violated(f"I2: {marked} is not in the ledger")
            elif state == "gone":
                self.journal.violated(f"I2: {marked} exists, and the ledger says that it is gone")

    def went_back(self) -> None:
        """The ledger has been restored from an old backup: what it has forgotten is no longer a violation at once."""
        self.went_back_at = self.journal.now()
        self.check_ledger()

    def check_kept(self) -> None:
        """I2 at rest, from the ledger's side: what was created and not taken by the story is there."""
        if self.went_back_at is None or self.journal.now() >= self.went_back_at + FOUND_WITHIN:
            self.forgotten.clear()
        self.check_ledger()
        there = {marked.cloud_id for marked in self.marked()} | set(self.cloud.state.balanced)
        there |= set(self.cloud.state.groups)
        for name, cloud_id in self.ledger.ask("SELECT name, cloud_id FROM ledger WHERE state = 'created'"):
            if cloud_id not in there and cloud_id not in self.taken:
                self.journal.violated(f"I2: the ledger has {name} as created, and the cloud has no {cloud_id}")

    def check_nothing_left(self) -> None:
        """I2 at the end: nothing in the cloud, nothing open in the ledger, and all of the others' is there."""
        for marked in self.marked():
            self.journal.violated(f"I2: {marked} is left")
        for kind, name, state in self.ledger.ask("SELECT kind, name, state FROM ledger WHERE state != 'gone'"):
            self.journal.violated(f"I2: the ledger still has {kind} {name} as {state}")
        now = self._inventory()
        for cloud_id in set(now) - set(self._foreign):
            self.journal.violated(f"I2: the cloud has {now[cloud_id]} more than before")
        self.check_foreign()

    def check_foreign(self) -> None:
        """I3."""
        now = self._inventory()
        for cloud_id, before in self._foreign.items():
            if now.get(cloud_id) != before:
                self.journal.violated(f"I3: somebody else's {before} is now {now.get(cloud_id)}")

    def marked(self) -> list[Marked]:
        """Everything in the cloud that carries our mark."""
        state = self.cloud.state
        found = [
            Marked("server", each.id, each.name, each.metadata.get("slipway_resource"))
            for each in state.live_servers()
            if "slipway_cluster" in each.metadata
        ]
        for kind in ("port", "security_group"):
            for record in state.network[kind].values():
                resource_id = _resource_of(record.get("description", ""), record.get("tags", ()))
                if resource_id is not None:
                    found.append(Marked(kind, record["id"], record["name"], resource_id))
        for item in state.balanced.values():
            resource_id = _resource_of(item.body.get("description") or "", item.body.get("tags") or ())
            if resource_id is not None and item.kind == "loadbalancer":
                found.append(Marked(item.kind, item.id, item.body["name"], resource_id))
        return found

    def _inventory(self) -> dict[str, Any]:
        """Everything that exists, with what somebody could change about it."""
        self.cloud.servers_view()  # the cloud moves on only when somebody looks
        state = self.cloud.state
        found: dict[str, Any] = {
            each.id: ("server", each.name, each.vm_state, each.task_state, each.power_state)
            for each in state.live_servers()
        }
        for kind in ("port", "security_group"):
            for record in state.network[kind].values():
                if not (kind == "port" and record["device_owner"].startswith("network:")):
                    found[record["id"]] = (kind, record["name"], tuple(record.get("tags", ())))
        found |= {each.id: ("server group", each.name) for each in state.groups.values()}
        found |= {each.id: (each.kind, each.body.get("name")) for each in state.balanced.values()}
        return found


def _may_run(server: Server) -> bool:
    return server.vm_state != "error" and server.task_state != "deleting"


def _resource_of(description: str, tags: Any) -> str | None:
    for word in (*description.split(), *tags):
        if word.startswith(_RESOURCE):
            return str(word.removeprefix(_RESOURCE))
    return None
