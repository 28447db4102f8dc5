"""The world as somebody outside sees it: is the cluster as it was asked for?"""

from collections import Counter
from dataclasses import dataclass

from slipway_contracts.values import Role
from slipway_sandbox.cloud.model import Server
from slipway_simulation.cloud_side import WatchedCloud
from slipway_simulation.machines import MachineRoom
from slipway_simulation.storage import Store


@dataclass
class Sight:
    """Looks at everything, changes nothing."""

    api: Store
    provisioner: Store
    cloud: WatchedCloud
    room: MachineRoom

    def what_is_missing(self, counts: dict[Role, int]) -> str:
        """What is not yet as it was asked for; empty: nothing."""
        return self._operations() or self._servers(counts) or self._nodes(counts) or self._kubernetes(counts)

    def is_deleted(self) -> bool:
        """Whether the user sees the deletion as done."""
        found = self.api.ask("SELECT state FROM operations WHERE kind = 'delete_cluster'")
        return found == [("succeeded",)]

    def cluster_id(self) -> str:
        """The story's cluster."""
        [(cluster_id,)] = self.api.ask("SELECT cluster_id FROM clusters")
        return str(cluster_id)

    def our_servers(self) -> list[Server]:
        """Those that carry our mark."""
        return [server for server in self.cloud.state.live_servers() if "slipway_node" in server.metadata]

    def _operations(self) -> str:
        rows = self.api.ask("SELECT kind, state FROM operations ORDER BY generation")
        if not rows:
            return "there is no operation"
        kind, state = rows[-1]
        return "" if state == "succeeded" else f"the operation {kind} is {state}"

    def _servers(self, counts: dict[Role, int]) -> str:
        active = [server for server in self.our_servers() if server.vm_state == "active" and server.task_state is None]
        if len(self.our_servers()) != sum(counts.values()) or len(active) != len(self.our_servers()):
            states = [(server.name, server.vm_state, server.task_state) for server in self.our_servers()]
            return f"servers {states} instead of {sum(counts.values())}"
        return ""

    def _nodes(self, counts: dict[Role, int]) -> str:
        rows = self.provisioner.ask("SELECT role, phase, server_id FROM nodes WHERE phase != 'removed'")
        provisioned = Counter(role for role, phase, _ in rows if phase == "provisioned")
        wanted = Counter({role.value: count for role, count in counts.items()})
        if provisioned != +wanted or len(rows) != sum(counts.values()):
            return f"nodes {[(role, phase) for role, phase, _ in rows]}"
        ids = {server.id for server in self.our_servers()}
        lost = [server_id for _, _, server_id in rows if server_id not in ids]
        return f"nodes name servers that are not there: {lost}" if lost else ""

    def _kubernetes(self, counts: dict[Role, int]) -> str:
        models = [m.api_model() for m in self.room.machines.values() if m.powered and m.api_ready()]
        model = next((each for each in models if each is not None), None)
        if model is None:
            return "no API server runs"
        ready = {
            node["metadata"]["name"]
            for node in model.storage.objects("nodes")
            for condition in node["status"].get("conditions", [])
            if (condition["type"], condition["status"]) == ("Ready", "True")
        }
        names = {server.name for server in self.our_servers() if "etcd" not in server.name}
        return "" if ready == names else f"nodes that are Ready: {sorted(ready)}, instead of {sorted(names)}"
