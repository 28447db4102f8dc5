"""Which resource, namespace, name and subresource a request's path names."""

from collections.abc import Iterable
from dataclasses import dataclass

from slipway_sandbox.machines.kubernetes.resources import Resource
from slipway_sandbox.machines.kubernetes.statuses import no_such_path


@dataclass(frozen=True)
class Target:
    """What a path names; empty where it names none: no namespace, all objects, the object itself."""

    resource: Resource
    namespace: str
    name: str
    subresource: str


def find_target(path: str, resources: Iterable[Resource]) -> Target | None:
    """The target; None for a path that is no resource's (discovery, health). Raises Refused for an unknown resource."""
    parts = [part for part in path.split("/") if part]
    if len(parts) >= 3 and parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    elif len(parts) >= 4 and parts[0] == "apis":
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    for resource in resources:
        if (resource.group, resource.version, resource.plural) == (group, version, rest[0]):
            name, subresource = (*rest[1:3], "", "")[:2]
            if subresource and subresource not in resource.subresources:
                raise no_such_path()
            return Target(resource, namespace, name, subresource)
    raise no_such_path()
