"""How Nova words a server, by microversion and by who asks."""

from __future__ import annotations

import hashlib

from slipway_sandbox.cloud.messages import Json
from slipway_sandbox.cloud.model import Server
from slipway_sandbox.cloud.service import Call
from slipway_sandbox.cloud.state import State, iso_micro, iso_z

VM_STATUS = {"building": "BUILD", "active": "ACTIVE", "stopped": "SHUTOFF", "error": "ERROR", "deleted": "DELETED"}
TASK_STATUS = {("active", "rebooting"): "REBOOT", ("active", "rebooting_hard"): "HARD_REBOOT"}


def server_status(server: Server) -> str:
    """The status Nova shows for a pair of vm_state and task_state."""
    return TASK_STATUS.get((server.vm_state, server.task_state or ""), VM_STATUS[server.vm_state])


def links_of(call: Call, kind: str, wanted: str) -> list[Json]:
    """Nova's self and bookmark links."""
    return [
        {"rel": "self", "href": f"{call.base}/v2.1/{kind}/{wanted}"},
        {"rel": "bookmark", "href": f"{call.base}/{kind}/{wanted}"},
    ]


def host_id(server: Server) -> str:
    """The host's name, hidden from tenants: the same for servers of one project on one host."""
    if server.host is None:
        return ""
    return hashlib.sha224((server.project_id + server.host.name).encode()).hexdigest()


def addresses_of(state: State, server: Server) -> Json:
    """Addresses by network name, once the ports are bound and the server has been launched."""
    found: dict[str, list[Json]] = {}
    if server.launched_at is None:
        return found
    for link in server.links:
        port = state.network["port"].get(link.port_id)
        if port is None or port["device_id"] != server.id:
            continue
        name = state.network["network"][port["network_id"]]["name"]
        mac = port["mac_address"]
        for fixed in port["fixed_ips"]:
            found.setdefault(name, []).append(_address(fixed["ip_address"], "fixed", mac))
        for floating in state.network["floatingip"].values():
            if floating["port_id"] == link.port_id:
                found.setdefault(name, []).append(_address(floating["floating_ip_address"], "floating", mac))
    return found


def _address(address: str, kind: str, mac: str) -> Json:
    return {"version": 4, "addr": address, "OS-EXT-IPS:type": kind, "OS-EXT-IPS-MAC:mac_addr": mac}


def brief_server(call: Call, server: Server) -> Json:
    """The form of GET /servers."""
    return {"id": server.id, "name": server.name, "links": links_of(call, "servers", server.id)}


def full_server(call: Call, server: Server, *, single: bool) -> Json:
    """The form of GET /servers/detail and, with `single`, of GET /servers/{id}."""
    view: Json = {
        "id": server.id,
        "name": server.name,
        "status": server_status(server),
        "tenant_id": server.project_id,
        "user_id": server.user_id,
        "metadata": dict(server.metadata),
        "hostId": host_id(server),
        "image": {"id": server.image_id, "links": links_of(call, "images", server.image_id)[1:]}
        if server.image_id
        else "",
        "flavor": _flavor(call, server),
        "created": iso_z(server.created),
        "updated": iso_z(server.updated),
        "addresses": addresses_of(call.state, server),
        "accessIPv4": "",
        "accessIPv6": "",
        "links": links_of(call, "servers", server.id),
        "OS-DCF:diskConfig": "MANUAL",
        "OS-EXT-AZ:availability_zone": server.host.zone if server.host else "",
        "config_drive": "",
        "key_name": server.key_name,
        "OS-SRV-USG:launched_at": iso_micro(server.launched_at),
        "OS-SRV-USG:terminated_at": iso_micro(server.terminated_at),
        "OS-EXT-STS:task_state": server.task_state,
        "OS-EXT-STS:vm_state": server.vm_state,
        "OS-EXT-STS:power_state": server.power_state,
        "os-extended-volumes:volumes_attached": [],
    }
    if server_status(server) in ("BUILD", "ACTIVE", "REBOOT"):
        view["progress"] = 0
    if server.fault and server.vm_state in ("error", "deleted"):
        view["fault"] = dict(server.fault)
    groups = _security_groups(call.state, server)
    if groups:
        view["security_groups"] = groups
    _add_by_microversion(call, server, view, single=single)
    return view


def _flavor(call: Call, server: Server) -> Json:
    flavor = server.flavor
    if call.microversion < (2, 47):
        return {"id": flavor.id, "links": links_of(call, "flavors", flavor.id)[1:]}
    return {
        "vcpus": flavor.vcpus,
        "ram": flavor.ram,
        "disk": flavor.disk,
        "ephemeral": 0,
        "swap": 0,
        "original_name": flavor.name,
        "extra_specs": {},
    }


def _security_groups(state: State, server: Server) -> list[Json]:
    groups = state.network["security_group"]
    ports = [state.network["port"].get(link.port_id) for link in server.links]
    bound = [port for port in ports if port and port["device_id"] == server.id]
    return [{"name": groups[group_id]["name"]} for port in bound for group_id in port["security_groups"]]


def _add_by_microversion(call: Call, server: Server, view: Json, *, single: bool) -> None:
    version = call.microversion
    if call.caller.is_admin:
        view.update(_for_administrators(server, version))
    elif version >= (2, 90):
        view["OS-EXT-SRV-ATTR:hostname"] = server.name.lower()
    if version >= (2, 9):
        view["locked"] = False
    if version >= (2, 19):
        view["description"] = server.description
    if version >= (2, 26):
        view["tags"] = list(server.tags)
    if version >= (2, 63):
        view["trusted_image_certificates"] = None
    if version >= (2, 71) and single:
        view["server_groups"] = [server.group_id] if server.group_id else []
    if version >= (2, 73):
        view["locked_reason"] = None


def _for_administrators(server: Server, version: tuple[int, int]) -> Json:
    host = server.host.name if server.host else None
    view: Json = {
        "OS-EXT-SRV-ATTR:host": host,
        "OS-EXT-SRV-ATTR:hypervisor_hostname": host,
        "OS-EXT-SRV-ATTR:instance_name": f"instance-{server.number:08x}",
    }
    if version >= (2, 3):
        view |= {
            "OS-EXT-SRV-ATTR:reservation_id": f"r-{server.id[:8]}",
            "OS-EXT-SRV-ATTR:launch_index": 0,
            "OS-EXT-SRV-ATTR:hostname": server.name.lower(),
            "OS-EXT-SRV-ATTR:kernel_id": "",
            "OS-EXT-SRV-ATTR:ramdisk_id": "",
            "OS-EXT-SRV-ATTR:root_device_name": "/dev/sda",
            "OS-EXT-SRV-ATTR:user_data": server.user_data,
        }
    if version >= (2, 16):
        view["host_status"] = "" if server.host is None else ("UP" if server.host.up else "UNKNOWN")
    return view
