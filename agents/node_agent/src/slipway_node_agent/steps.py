"""One step of a plan: its actions in order, and which of them are needless now."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from slipway_node_agent.actions import (
    await_probe,
    ensure_artifact,
    ensure_command,
    ensure_file,
    ensure_unit,
    is_satisfied,
)
from slipway_node_agent.certificates import ensure_certificates, ensure_kubeconfig
from slipway_node_agent.effects import Doing
from slipway_node_agent.errors import StepFailed
from slipway_node_agent.host import Host, HostRefused
from slipway_node_agent.membership import ensure_member
from slipway_node_agent.memory import Memory
from slipway_node_agent.packages import ensure_package, ensure_unit_file
from slipway_node_agent.run import Run
from slipway_node_agent.versions import ensure_version

Action = Mapping[str, Any]


def apply_step(run: Run, step: Mapping[str, Any]) -> Doing[None]:
    """Afterwards all that the step says is so. Raises StepFailed, whatever the cause, and NewerPlan."""
    try:
        needless = decide_needless(run.host, run.memory, step["actions"])
        actions = [action for index, action in enumerate(step["actions"]) if index not in needless]
        entries = [action for action in actions if action["kind"] == "certificate"]
        for action in actions:
            yield from _apply(run, step["name"], action, entries)
    except HostRefused as refusal:
        raise StepFailed(refusal.code, refusal.message) from None
    except OSError as error:
        raise StepFailed("HostRefused", f"the machine refused: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        message = f"this agent cannot read the plan's step {step.get('name')}: {type(error).__name__} {error}"
        raise StepFailed("MalformedPlan", message) from error


def decide_needless(host: Host, memory: Memory, actions: Sequence[Action]) -> set[int]:
    """Short-lived files that nothing needs now: made for commands of the same step that are satisfied, then removed.

    So an admin credential is not asked for again each time a finished plan is repeated.
    """
    planned = {a["path"]: _sha256(a["content"]) for a in actions if a["kind"] == "file"}
    needless = set()
    for index, action in enumerate(actions):
        made, rest = _makes(action), actions[index + 1 :]
        ends = [place for place, a in enumerate(rest) if a["kind"] == "remove" and a["path"] in made]
        between = rest[: max(ends, default=0)]
        commands = [a for a in between if a["kind"] == "command"]
        others = [a for a in between if a["kind"] in ("unit", "http_probe")]  # who knows what they read
        if commands and not others and all(is_satisfied(host, memory, command, planned) for command in commands):
            needless.add(index)
    return needless


def _apply(run: Run, step: str, action: Action, entries: Sequence[Action]) -> Doing[None]:
    kind = action["kind"]
    if kind == "artifact":
        yield from ensure_artifact(run, action)
    elif kind == "package":
        yield from ensure_package(run, action)
    elif kind == "file":
        ensure_file(run.host, action["path"], action["content"], int(action.get("mode", 0o644)))
    elif kind == "certificate":
        yield from ensure_certificates(run, entries)
        ensure_kubeconfig(run, action)
    elif kind == "unit":
        yield from ensure_unit(run, action)
    elif kind == "unit_file":
        ensure_unit_file(run.host, action["name"], action["content"])
    elif kind == "command":
        yield from ensure_command(run, action)
    elif kind == "remove":
        run.host.remove(action["path"])
    elif kind == "http_probe":
        yield from await_probe(run, step, action)
    elif kind == "program_version":
        yield from ensure_version(run, step, action)
    elif kind == "etcd_member":
        yield from ensure_member(run, step, action)
    else:
        raise StepFailed("UnknownAction", f"this agent does not know the action {kind!r}: it is older than the plan")


def _makes(action: Action) -> set[str]:
    if action["kind"] == "file":
        return {action["path"]}
    if action["kind"] == "certificate":
        return {action["key_path"], action["cert_path"], action.get("kubeconfig_path") or action["key_path"]}
    return set()


def _sha256(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()
