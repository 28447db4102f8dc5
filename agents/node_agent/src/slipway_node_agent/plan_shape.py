"""What the agent reads out of a plan before it applies it: whether it can be begun, and what is to be watched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from slipway_node_agent.host import Host


def decide_fault(plan: Mapping[str, Any], node_id: str) -> str | None:
    """Why this plan cannot even be begun; None when it can."""
    try:
        names = [str(step["name"]) for step in plan["steps"]]
        kinds = [str(action["kind"]) for step in plan["steps"] for action in step["actions"]]
        if plan["node_id"] != node_id:
            return f"the plan is for another node: {plan['node_id']}"
        if int(plan["revision"]) < 1 or len(set(names)) != len(names) or "" in kinds:
            return "the plan has no revision, or two steps of one name, or an action without kind"
    except (KeyError, TypeError, ValueError) as error:
        return f"the plan is malformed: {type(error).__name__} {error}"
    return None


def decide_watched_units(plan: Mapping[str, Any]) -> list[str]:
    """All units of the plan, each once."""
    names = [a.get("name") for step in plan["steps"] for a in step["actions"] if a["kind"] == "unit"]
    return [name for name in dict.fromkeys(names) if name]


def decide_watched_probes(host: Host, plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The plan's http_probes of loopback or the node's own addresses, named by their steps (`step`, `step-2` ...)."""
    probes: list[dict[str, Any]] = []
    for step in plan["steps"]:
        own = [a for a in step["actions"] if a["kind"] == "http_probe" and _is_own(host, a.get("url", ""))]
        for number, action in enumerate(own, start=1):
            probes.append({**action, "name": step["name"] if number == 1 else f"{step['name']}-{number}"})
    return probes


def decide_watched_etcd(plan: Mapping[str, Any]) -> dict[str, Any] | None:
    """How the node's own member of etcd is reached, where there is one."""
    return next((step["etcd"] for step in plan["steps"] if step.get("etcd")), None)


def _is_own(host: Host, url: str) -> bool:
    try:
        name = urlsplit(url).hostname
    except ValueError:
        return False
    return name is not None and host.is_own_address(name)
