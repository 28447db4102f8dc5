"""On which host a server lands: a pure decision."""

from __future__ import annotations

from collections import Counter

from slipway_sandbox.cloud.model import Host, Server, ServerGroup
from slipway_sandbox.cloud.state import State


def decide_host(state: State, server: Server) -> Host | None:
    """The host for a new server, or None where no host is valid.

    Only hosts that are up and in the wanted zone count. Anti-affinity excludes hosts of other members,
    its soft form prefers the host with the fewest; then the emptiest host wins, then the first by name.
    """
    group = state.groups.get(server.group_id or "")
    neighbours = _members_per_host(state, group)
    load = Counter(other.host.name for other in state.live_servers() if other.host)
    hosts = [
        host
        for host in state.hosts.values()
        if host.up and server.wanted_zone in (None, host.zone) and _allowed(group, neighbours, host)
    ]
    if not hosts:
        return None
    wants_apart = group is not None and group.policy.endswith("anti-affinity")
    sign = 1 if wants_apart else -1
    return min(hosts, key=lambda host: (sign * neighbours[host.name], load[host.name], host.name))


def _members_per_host(state: State, group: ServerGroup | None) -> Counter[str]:
    if group is None:
        return Counter()
    members = [state.servers[member] for member in group.members if member in state.servers]
    return Counter(member.host.name for member in members if member.host and not member.deleted)


def _allowed(group: ServerGroup | None, neighbours: Counter[str], host: Host) -> bool:
    if group is None or not neighbours:
        return True
    if group.policy == "anti-affinity":
        return neighbours[host.name] == 0
    if group.policy == "affinity":
        return neighbours[host.name] > 0
    return True
