"""Tables, as kubectl asks for them: the columns people look at for the kinds they look at most."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]


def as_table(kind: str, items: list[Object], metadata: Object, now: datetime) -> Object:
    """meta.k8s.io/v1 Table of the objects; rows carry the objects' metadata."""
    columns, cells = _COLUMNS.get(kind, ((), _no_cells))
    names = ("Name", *columns, "Age")
    rows = [
        {
            "cells": [item["metadata"]["name"], *cells(item), _age(item, now)],
            "object": {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]},
        }
        for item in items
    ]
    definitions = [
        {"name": name, "type": "string", "format": "name" if name == "Name" else "", "description": "", "priority": 0}
        for name in names
    ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": definitions,
        "rows": rows,
    }


def _age(item: Object, now: datetime) -> str:
    created = item["metadata"].get("creationTimestamp")
    if not created:
        return "<unknown>"
    seconds = int((now - datetime.fromisoformat(created).astimezone(UTC)).total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{max(seconds, 0)}s"


def _no_cells(_: Object) -> list[str]:
    return []


def _node(item: Object) -> list[str]:
    status = item.get("status") or {}
    ready = next((c["status"] for c in status.get("conditions") or [] if c["type"] == "Ready"), "Unknown")
    text = "Ready" if ready == "True" else "NotReady"
    if (item.get("spec") or {}).get("unschedulable"):
        text += ",SchedulingDisabled"
    prefix = "node-role.kubernetes.io/"
    labels = item["metadata"].get("labels") or {}
    roles = sorted(label.removeprefix(prefix) for label in labels if label.startswith(prefix))
    return [text, ",".join(roles) or "<none>", (status.get("nodeInfo") or {}).get("kubeletVersion", "")]


def _pod(item: Object) -> list[str]:
    status = item.get("status") or {}
    containers = (item.get("spec") or {}).get("containers") or []
    ready = sum(1 for entry in status.get("containerStatuses") or [] if entry.get("ready"))
    phase = "Terminating" if item["metadata"].get("deletionTimestamp") else status.get("phase", "Unknown")
    return [f"{ready}/{len(containers)}", phase, "0"]


def _deployment(item: Object) -> list[str]:
    status = item.get("status") or {}
    wanted = (item.get("spec") or {}).get("replicas", 1)
    ready = f"{status.get('readyReplicas', 0)}/{wanted}"
    return [ready, str(status.get("updatedReplicas", 0)), str(status.get("availableReplicas", 0))]


def _daemon_set(item: Object) -> list[str]:
    status = item.get("status") or {}
    fields = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled")
    return [str(status.get(field, 0)) for field in (*fields, "numberAvailable")]


def _namespace(item: Object) -> list[str]:
    return [(item.get("status") or {}).get("phase", "Active")]


def _service(item: Object) -> list[str]:
    spec = item.get("spec") or {}
    ports = ",".join(f"{port['port']}/{port.get('protocol', 'TCP')}" for port in spec.get("ports") or [])
    return [spec.get("type", "ClusterIP"), spec.get("clusterIP", "None"), ports or "<none>"]


_COLUMNS: dict[str, tuple[tuple[str, ...], Callable[[Object], list[str]]]] = {
    "Node": (("Status", "Roles", "Version"), _node),
    "Pod": (("Ready", "Status", "Restarts"), _pod),
    "Deployment": (("Ready", "Up-to-date", "Available"), _deployment),
    "DaemonSet": (("Desired", "Current", "Ready", "Up-to-date", "Available"), _daemon_set),
    "Namespace": (("Status",), _namespace),
    "Service": (("Type", "Cluster-IP", "Port(s)"), _service),
}
