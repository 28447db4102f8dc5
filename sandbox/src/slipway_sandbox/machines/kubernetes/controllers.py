"""One pass of what kube-controller-manager, kube-scheduler and the nodes' pod workers do, on a cluster's storage.

`Controllers.step` is synchronous and deterministic; whoever owns the clock calls it every second or so while an API
server of the cluster is ready. Pods run where their node's lease is fresh: the kubelets need not be asked for each.
"""

import ipaddress
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from slipway_sandbox.machines.kubernetes.admission import NOT_READY, UNREACHABLE, timestamp
from slipway_sandbox.machines.kubernetes.eviction import BUDGETS, budget_status
from slipway_sandbox.machines.kubernetes.storage import Object, Storage
from slipway_sandbox.machines.kubernetes.workloads import Workloads

LEASES = "leases.coordination.k8s.io"

_GRACE = timedelta(seconds=40)
_EVICT_AFTER = timedelta(seconds=300)


class Controllers:
    """The controllers of one cluster. A new one begins, as a restarted controller manager does, by trusting each node
    for another grace period."""

    def __init__(self, storage: Storage, now: Callable[[], datetime], *, cluster_cidr: str = "10.244.0.0/16") -> None:
        self._storage = storage
        self._now = now
        self._cluster_cidr = ipaddress.ip_network(cluster_cidr)
        self._workloads = Workloads(storage, now)
        self._heartbeats: dict[str, tuple[str, datetime]] = {}

    def step(self) -> None:
        """Brings the cluster's objects one step nearer to what they ask for; a settled cluster is not written to."""
        self._forget_lost_nodes()
        alive = {node["metadata"]["name"] for node in self._storage.objects("nodes") if self._watch_node(node)}
        self._ensure_service_accounts()
        self._workloads.step(alive)
        for budget in self._storage.objects(BUDGETS):
            self._put_status(BUDGETS, budget, budget_status(self._storage, budget))

    def _forget_lost_nodes(self) -> None:
        """Removes the leases of nodes that are gone, as the garbage collector does by their owner."""
        uids = {node["metadata"]["uid"] for node in self._storage.objects("nodes")}
        self._heartbeats = {uid: seen for uid, seen in self._heartbeats.items() if uid in uids}
        for lease in self._storage.objects(LEASES, "kube-node-lease"):
            owners = lease["metadata"].get("ownerReferences") or []
            if owners and all(owner["uid"] not in uids for owner in owners):
                self._storage.remove(LEASES, "kube-node-lease", lease["metadata"]["name"])

    def _watch_node(self, node: Object) -> bool:
        """Marks a node whose heartbeats stopped, and clears the marks of one that is back. True when it is alive."""
        now = self._now()
        fresh = now - self._last_heartbeat(node) <= _GRACE
        status = node.get("status") or {}
        conditions = status.get("conditions") or []
        if not fresh:
            conditions = [_unknown(item, now) for item in conditions]
        ready = next((item["status"] for item in conditions if item["type"] == "Ready"), "False")
        spec = dict(node.get("spec") or {})
        spec["taints"] = _taints(spec.get("taints") or [], ready, timestamp(now))
        if not spec["taints"]:
            del spec["taints"]
        if "podCIDR" not in spec:
            spec["podCIDR"] = self._free_pod_cidr()
            spec["podCIDRs"] = [spec["podCIDR"]]
        after = {**node, "spec": spec, "status": status | ({"conditions": conditions} if conditions else {})}
        if after != node:
            self._storage.put("nodes", after)
        self._evict_from(after, now)
        return fresh

    def _last_heartbeat(self, node: Object) -> datetime:
        """When the lease was last seen to change, by this clock: the node's own may be wrong."""
        metadata = node["metadata"]
        lease = self._storage.get(LEASES, "kube-node-lease", metadata["name"])
        renewed = (lease or {}).get("spec", {}).get("renewTime", "")
        seen, since = self._heartbeats.get(metadata["uid"], ("", None))
        if since is None or seen != renewed:
            since = self._now()
            self._heartbeats[metadata["uid"]] = (renewed, since)
        return since

    def _evict_from(self, node: Object, now: datetime) -> None:
        """Marks the pods of a node that has been unreachable for long as deleted; only its kubelet can end them."""
        since = [
            datetime.fromisoformat(taint["timeAdded"])
            for taint in (node.get("spec") or {}).get("taints") or []
            if taint["key"] == UNREACHABLE and taint["effect"] == "NoExecute"
        ]
        if not since or now - since[0] < _EVICT_AFTER:
            return
        for pod in self._storage.objects("pods"):
            on_node = (pod.get("spec") or {}).get("nodeName") == node["metadata"]["name"]
            if on_node and not pod["metadata"].get("deletionTimestamp") and not _tolerates_for_ever(pod):
                marked = {"deletionTimestamp": timestamp(now), "deletionGracePeriodSeconds": 30}
                self._storage.put("pods", {**pod, "metadata": pod["metadata"] | marked})

    def _free_pod_cidr(self) -> str:
        taken = {(node.get("spec") or {}).get("podCIDR") for node in self._storage.objects("nodes")}
        prefix = max(24, self._cluster_cidr.prefixlen)
        return next(str(net) for net in self._cluster_cidr.subnets(new_prefix=prefix) if str(net) not in taken)

    def _ensure_service_accounts(self) -> None:
        for namespace in self._storage.objects("namespaces"):
            name = namespace["metadata"]["name"]
            if self._storage.get("serviceaccounts", name, "default") is None:
                metadata = {
                    "name": "default",
                    "namespace": name,
                    "uid": self._storage.next_uid(),
                    "creationTimestamp": timestamp(self._now()),
                }
                account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
                self._storage.put("serviceaccounts", account)

    def _put_status(self, resource: str, value: Object, status: dict[str, Any]) -> None:
        if (value.get("status") or {}) != status:
            self._storage.put(resource, {**value, "status": status})


def _unknown(condition: Object, now: datetime) -> Object:
    if condition["status"] == "Unknown":
        return condition
    return condition | {
        "status": "Unknown",
        "reason": "NodeStatusUnknown",
        "message": "Kubelet stopped posting node status.",
        "lastTransitionTime": timestamp(now),
    }


def _taints(present: list[Object], ready: str, now: str) -> list[Object]:
    """The node's taints with those of its Ready condition, as the node lifecycle controller keeps them."""
    key = {"True": None, "Unknown": UNREACHABLE}.get(ready, NOT_READY)
    kept = [taint for taint in present if taint["key"] not in (NOT_READY, UNREACHABLE) or taint["key"] == key]
    effects = {taint["effect"] for taint in kept if taint["key"] == key}
    if key:
        if "NoSchedule" not in effects:
            kept.append({"key": key, "effect": "NoSchedule", "timeAdded": now})
        if "NoExecute" not in effects:
            kept.append({"key": key, "effect": "NoExecute", "timeAdded": now})
    return kept


def _tolerates_for_ever(pod: Object) -> bool:
    return any(
        item.get("operator") == "Exists"
        and item.get("key") in (None, UNREACHABLE)
        and item.get("effect") in (None, "NoExecute")
        and item.get("tolerationSeconds") is None
        for item in (pod.get("spec") or {}).get("tolerations") or []
    )
