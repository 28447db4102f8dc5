"""Disruption budgets: whether a pod may be evicted now."""

import math
from typing import Any

from slipway_sandbox.machines.kubernetes.selectors import matches_label_selector
from slipway_sandbox.machines.kubernetes.statuses import too_many_requests
from slipway_sandbox.machines.kubernetes.storage import Object, Storage

BUDGETS = "poddisruptionbudgets.policy"


def check_disruption(storage: Storage, pod: Object) -> None:
    """Raises Refused (429) when a budget of the pod's namespace forbids its eviction."""
    if not is_healthy(pod):
        return
    for budget in storage.objects(BUDGETS, pod["metadata"]["namespace"]):
        selector = (budget.get("spec") or {}).get("selector")
        if not matches_label_selector(selector, pod["metadata"].get("labels") or {}):
            continue
        status = budget_status(storage, budget)
        if status["disruptionsAllowed"] < 1:
            name = budget["metadata"]["name"]
            why = (
                f"The disruption budget {name} needs {status['desiredHealthy']} healthy pods and has "
                f"{status['currentHealthy']} currently"
            )
            message = "Cannot evict pod as it would violate the pod's disruption budget."
            raise too_many_requests(message, 10, [{"reason": "DisruptionBudget", "message": why}])


def budget_status(storage: Storage, budget: Object) -> dict[str, Any]:
    """The status of a PodDisruptionBudget as its controller would write it."""
    spec = budget.get("spec") or {}
    selected = [
        pod
        for pod in storage.objects("pods", budget["metadata"]["namespace"])
        if matches_label_selector(spec.get("selector"), pod["metadata"].get("labels") or {})
    ]
    healthy = sum(1 for pod in selected if is_healthy(pod))
    if spec.get("maxUnavailable") is not None:
        desired = max(0, len(selected) - _count(spec["maxUnavailable"], len(selected)))
    else:
        desired = _count(spec.get("minAvailable", 1), len(selected))
    return {
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": len(selected),
        "disruptionsAllowed": max(0, healthy - desired) if healthy else 0,
        "observedGeneration": budget["metadata"].get("generation", 1),
    }


def is_healthy(pod: Object) -> bool:
    """Ready and not about to go."""
    if pod["metadata"].get("deletionTimestamp"):
        return False
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def _count(value: int | str, total: int) -> int:
    if isinstance(value, str):
        return math.ceil(int(value.rstrip("%")) * total / 100)
    return value
