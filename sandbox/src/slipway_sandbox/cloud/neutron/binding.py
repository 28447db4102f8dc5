"""Ports as Nova and Octavia handle them: made, bound to a host, let go, deleted."""

from __future__ import annotations

from datetime import datetime

from slipway_sandbox.cloud.messages import Json, Refused
from slipway_sandbox.cloud.model import Host
from slipway_sandbox.cloud.neutron.addresses import allocate, release
from slipway_sandbox.cloud.neutron.kinds import KINDS, stamp, touch
from slipway_sandbox.cloud.state import State, iso_z

UNBOUND = {
    "binding:profile": {},
    "binding:host_id": "",
    "binding:vif_type": "unbound",
    "binding:vif_details": {},
}


def may_use_network(network: Json, project_id: str) -> bool:
    """Whether a project may see a network and so ask for a port on it."""
    return bool(network["project_id"] == project_id or network["shared"] or network["router:external"])


def default_group(state: State, project_id: str) -> str:
    """The id of a project's security group `default`."""
    for group in state.network["security_group"].values():
        if group["project_id"] == project_id and group["name"] == "default":
            return str(group["id"])
    raise KeyError(project_id)


def check_network_quota(state: State, project_id: str, kind: str, asked: int = 1) -> None:
    """Neutron's 409 when a project may not have more of a kind."""
    limit = state.projects[project_id].network_quota.get(kind, -1)
    used = sum(1 for record in state.network[kind].values() if record["project_id"] == project_id)
    if 0 <= limit < used + asked:
        raise Refused(409, f"Quota exceeded for resources: ['{kind}'].", "OverQuota")


def make_port(
    state: State,
    project_id: str,
    network_id: str,
    groups: list[str] | None = None,
    fields: Json | None = None,
) -> Json:
    """Make a port with an address; `groups` are ids or names, none means `default`."""
    check_network_quota(state, project_id, "port")
    given = {**KINDS["port"].given, **(fields or {})}
    named = {
        name: record["id"]
        for record in state.network["security_group"].values()
        if record["project_id"] == project_id
        for name in (record["id"], record["name"])
    }
    wanted = [named[name] for name in groups or []] or [default_group(state, project_id)]
    mac = ":".join(["fa", "16", "3e", *(f"{state.chance.randrange(256):02x}" for _ in range(3))])
    given |= {
        "network_id": network_id,
        "fixed_ips": allocate(state, network_id, given["fixed_ips"]),
        "mac_address": given["mac_address"] or mac,
        "security_groups": wanted if groups != [] or fields is None else [],
        "status": "DOWN",
        "tags": list(given["tags"]),
        **UNBOUND,
    }
    return stamp(state, KINDS["port"], project_id, given)


def bind_port(state: State, port_id: str, server_id: str, host: Host, when: datetime) -> None:
    """Give a port to a server on a host."""
    port = state.network["port"][port_id]
    port |= {
        "device_id": server_id,
        "device_owner": f"compute:{host.zone}",
        "status": "ACTIVE",
        "binding:host_id": host.name,
        "binding:vif_type": "bridge",
        "binding:vif_details": {"port_filter": True, "connectivity": "l2"},
    }
    touch(port, iso_z(when))


def unbind_port(state: State, port_id: str, server_id: str, when: datetime) -> None:
    """Take a port from a server, if it still has it; the address stays with the port."""
    port = state.network["port"].get(port_id)
    if port is not None and port["device_id"] == server_id:
        port |= {"device_id": "", "device_owner": "", "status": "DOWN", **UNBOUND}
        touch(port, iso_z(when))


def delete_port(state: State, port_id: str) -> None:
    """Delete a port whoever uses it: addresses are freed, floating IPs come loose, servers lose it."""
    port = state.network["port"].pop(port_id, None)
    if port is None:
        return
    release(state, port["fixed_ips"])
    for floating in state.network["floatingip"].values():
        if floating["port_id"] == port_id:
            floating |= {"port_id": None, "fixed_ip_address": None, "router_id": None, "status": "DOWN"}
    server = state.servers.get(port["device_id"])
    if server is not None:
        server.links = [link for link in server.links if link.port_id != port_id]
        server.updated = state.now()
