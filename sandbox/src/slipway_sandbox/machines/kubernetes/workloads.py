"""Deployments, ReplicaSets, DaemonSets and their pods: made, placed, run, ended, counted."""

import hashlib
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from slipway_sandbox.machines.kubernetes.admission import timestamp
from slipway_sandbox.machines.kubernetes.eviction import is_healthy
from slipway_sandbox.machines.kubernetes.pod_status import running_status
from slipway_sandbox.machines.kubernetes.storage import Object, Storage

DEPLOYMENTS = "deployments.apps"
REPLICA_SETS = "replicasets.apps"
DAEMON_SETS = "daemonsets.apps"

_KINDS = {DEPLOYMENTS: "Deployment", REPLICA_SETS: "ReplicaSet", DAEMON_SETS: "DaemonSet"}
_DAEMONS_TOLERATE = (
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/unschedulable",
    "node.kubernetes.io/disk-pressure",
    "node.kubernetes.io/memory-pressure",
    "node.kubernetes.io/pid-pressure",
    "node.kubernetes.io/network-unavailable",
)


class Workloads:
    """The workload controllers of one cluster."""

    def __init__(self, storage: Storage, now: Callable[[], datetime]) -> None:
        self._storage = storage
        self._now = now

    def step(self, alive: set[str]) -> None:
        """One pass. `alive` names the nodes whose kubelet runs."""
        self._collect_orphans()
        for deployment in self._storage.objects(DEPLOYMENTS):
            self._deploy(deployment)
        for replica_set in self._storage.objects(REPLICA_SETS):
            self._replicate(replica_set)
        for daemon_set in self._storage.objects(DAEMON_SETS):
            self._spread(daemon_set)
        nodes = {node["metadata"]["name"]: node for node in self._storage.objects("nodes")}
        for pod in self._storage.objects("pods"):
            self._run(pod, nodes, alive)
        for resource in (DEPLOYMENTS, REPLICA_SETS, DAEMON_SETS):
            for value in self._storage.objects(resource):
                self._count(resource, value)

    def _deploy(self, deployment: Object) -> None:
        template = deployment["spec"]["template"]
        digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]
        name = f"{deployment['metadata']['name']}-{digest}"
        namespace = deployment["metadata"]["namespace"]
        replicas = deployment["spec"].get("replicas", 1)
        owned = self._owned(REPLICA_SETS, deployment)
        if not any(item["metadata"]["name"] == name for item in owned):
            metadata = self._metadata(deployment, DEPLOYMENTS, name, template)
            selector = deployment["spec"]["selector"]
            spec = {"replicas": replicas, "selector": selector, "template": template}
            value = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata, "spec": spec, "status": {}}
            owned.append(self._storage.put(REPLICA_SETS, value))
        for item in owned:
            wanted = replicas if item["metadata"]["name"] == name else 0
            if item["spec"]["replicas"] != wanted:
                live = self._storage.get(REPLICA_SETS, namespace, item["metadata"]["name"])
                assert live is not None
                self._storage.put(REPLICA_SETS, {**live, "spec": {**live["spec"], "replicas": wanted}})

    def _replicate(self, replica_set: Object) -> None:
        pods = [pod for pod in self._owned("pods", replica_set) if not pod["metadata"].get("deletionTimestamp")]
        wanted = replica_set["spec"].get("replicas", 1)
        for _ in range(wanted - len(pods)):
            name = f"{replica_set['metadata']['name']}-{self._storage.next_uid()[:5]}"
            self._new_pod(replica_set, REPLICA_SETS, name, None)
        for pod in sorted(pods, key=is_healthy)[: max(0, len(pods) - wanted)]:
            self._end(pod)

    def _spread(self, daemon_set: Object) -> None:
        pods = {pod["spec"].get("nodeName"): pod for pod in self._owned("pods", daemon_set)}
        tolerations = daemon_set["spec"]["template"]["spec"].get("tolerations") or []
        tolerations = [*tolerations, *({"key": key, "operator": "Exists"} for key in _DAEMONS_TOLERATE)]
        for node in self._storage.objects("nodes"):
            name = node["metadata"]["name"]
            fits = _fits(daemon_set["spec"]["template"]["spec"], node, tolerations)
            pod = pods.pop(name, None)
            if fits and pod is None:
                pod_name = f"{daemon_set['metadata']['name']}-{self._storage.next_uid()[:5]}"
                self._new_pod(daemon_set, DAEMON_SETS, pod_name, name)
            elif pod is not None and (not fits or _outdated(daemon_set, pod)):
                self._end(pod)
        for pod in pods.values():
            self._end(pod)

    def _run(self, pod: Object, nodes: dict[str, Object], alive: set[str]) -> None:
        """What scheduler, kubelet and the garbage collector of pods do for one pod."""
        metadata = pod["metadata"]
        place = pod["spec"].get("nodeName")
        orphaned = place and place not in nodes
        if orphaned or (metadata.get("deletionTimestamp") and (not place or place in alive)):
            self._storage.remove("pods", metadata["namespace"], metadata["name"])
        elif not place:
            self._schedule(pod, nodes)
        elif place in alive:
            self._start(pod, nodes[place])

    def _schedule(self, pod: Object, nodes: dict[str, Object]) -> None:
        load = dict.fromkeys(nodes, 0)
        for other in self._storage.objects("pods"):
            place = other["spec"].get("nodeName")
            load[place] = load.get(place, 0) + 1
        tolerations = pod["spec"].get("tolerations") or []
        free = [name for name, node in nodes.items() if _fits(pod["spec"], node, tolerations)]
        if free:
            spec = {**pod["spec"], "nodeName": min(free, key=lambda name: (load[name], name))}
            self._storage.put("pods", {**pod, "spec": spec})

    def _start(self, pod: Object, node: Object) -> None:
        running = (pod.get("status") or {}).get("phase") == "Running"
        ready = _is_ready(node)
        if running or pod["metadata"].get("annotations", {}).get("kubernetes.io/config.mirror"):
            return
        if not ready and not pod["spec"].get("hostNetwork"):
            return
        status = (pod.get("status") or {}) | running_status(pod["spec"], timestamp(self._now()))
        self._storage.put("pods", {**pod, "status": status})

    def _count(self, resource: str, value: Object) -> None:
        owner = value
        pods = self._owned("pods", owner)
        if resource == DEPLOYMENTS:
            pods = [pod for item in self._owned(REPLICA_SETS, owner) for pod in self._owned("pods", item)]
        present = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
        ready = sum(1 for pod in present if is_healthy(pod))
        status = _status(resource, value, len(present), ready, timestamp(self._now()))
        if status != value.get("status"):
            self._storage.put(resource, {**value, "status": status})

    def _new_pod(self, owner: Object, resource: str, name: str, node: str | None) -> None:
        template = owner["spec"]["template"]
        metadata = self._metadata(owner, resource, name, template)
        spec = dict(template["spec"])
        if node:
            metadata["labels"]["pod-template-generation"] = str(owner["metadata"].get("generation", 1))
            spec["nodeName"] = node
            exists = [{"key": key, "operator": "Exists"} for key in _DAEMONS_TOLERATE]
            spec["tolerations"] = [*(spec.get("tolerations") or []), *exists]
        value = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": "Pending"}}
        self._storage.put("pods", value)

    def _metadata(self, owner: Object, resource: str, name: str, template: Object) -> dict[str, Any]:
        reference = {
            "apiVersion": owner["apiVersion"],
            "kind": _KINDS[resource],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
        described = template.get("metadata") or {}
        return {
            "name": name,
            "namespace": owner["metadata"]["namespace"],
            "uid": self._storage.next_uid(),
            "creationTimestamp": timestamp(self._now()),
            "labels": dict(described.get("labels") or {}),
            "annotations": dict(described.get("annotations") or {}),
            "ownerReferences": [reference],
        }

    def _owned(self, resource: str, owner: Object) -> list[Object]:
        uid = owner["metadata"]["uid"]
        return [
            value
            for value in self._storage.objects(resource, owner["metadata"]["namespace"])
            if any(item["uid"] == uid for item in value["metadata"].get("ownerReferences") or [])
        ]

    def _end(self, pod: Object) -> None:
        if not pod["metadata"].get("deletionTimestamp"):
            marked = {"deletionTimestamp": timestamp(self._now()), "deletionGracePeriodSeconds": 30}
            self._storage.put("pods", {**pod, "metadata": pod["metadata"] | marked})

    def _collect_orphans(self) -> None:
        """Removes what a deleted owner left, as the garbage collector does."""
        for resource in (REPLICA_SETS, "pods"):
            for value in self._storage.objects(resource):
                references = value["metadata"].get("ownerReferences") or []
                controller = next((item for item in references if item.get("controller")), None)
                if controller and controller["kind"] in _KINDS.values() and not self._exists(value, controller):
                    metadata = value["metadata"]
                    self._storage.remove(resource, metadata["namespace"], metadata["name"])

    def _exists(self, value: Object, reference: Object) -> bool:
        resource = next(resource for resource, kind in _KINDS.items() if kind == reference["kind"])
        owner = self._storage.get(resource, value["metadata"]["namespace"], reference["name"])
        return owner is not None and owner["metadata"]["uid"] == reference["uid"]


def _status(resource: str, value: Object, present: int, ready: int, now: str) -> dict[str, Any]:
    generation = value["metadata"].get("generation", 1)
    if resource == DAEMON_SETS:
        return {
            "observedGeneration": generation,
            "desiredNumberScheduled": present,
            "currentNumberScheduled": present,
            "updatedNumberScheduled": present,
            "numberReady": ready,
            "numberAvailable": ready,
            "numberUnavailable": present - ready,
            "numberMisscheduled": 0,
        }
    counts = {"observedGeneration": generation, "replicas": present, "readyReplicas": ready, "availableReplicas": ready}
    if resource == REPLICA_SETS:
        return counts
    wanted = value["spec"].get("replicas", 1)
    available = "True" if ready >= wanted else "False"
    old = next(iter((value.get("status") or {}).get("conditions") or []), {"status": None})
    since = old["lastTransitionTime"] if old["status"] == available else now
    condition = {"type": "Available", "status": available, "lastTransitionTime": since}
    unavailable = max(0, wanted - ready)
    return counts | {"updatedReplicas": present, "unavailableReplicas": unavailable, "conditions": [condition]}


def _outdated(daemon_set: Object, pod: Object) -> bool:
    generation = str(daemon_set["metadata"].get("generation", 1))
    return bool((pod["metadata"].get("labels") or {}).get("pod-template-generation") != generation)


def _fits(spec: Object, node: Object, tolerations: list[Object]) -> bool:
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    taints = list((node.get("spec") or {}).get("taints") or [])
    if (node.get("spec") or {}).get("unschedulable"):
        taints.append({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"})
    return all(
        taint["effect"] == "PreferNoSchedule" or any(_tolerates(item, taint) for item in tolerations)
        for taint in taints
    )


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return (toleration.get("key"), toleration.get("value", "")) == (taint["key"], taint.get("value", ""))


def _is_ready(node: Object) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or []
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)
