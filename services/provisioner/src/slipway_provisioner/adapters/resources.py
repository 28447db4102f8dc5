"""OpenStack's REST resources as the provisioner uses them: paths, bodies to send, answers to read. Pure."""

import base64
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

from pydantic import BaseModel, Field

from slipway_contracts.provisioner import ServerState
from slipway_provisioner.domain.model import (
    CLUSTER_TAG,
    KEY_TAG,
    RESOURCE_TAG,
    BalancerOrder,
    FloatingIpOrder,
    Found,
    Kind,
    ListenerOrder,
    Member,
    MemberView,
    MonitorOrder,
    Order,
    PoolOrder,
    PortOrder,
    SecurityGroupOrder,
    ServerGroupOrder,
    ServerOrder,
    ServerView,
)

SILENCE = 3_600_000
"""Milliseconds that a connection through the endpoint may be silent: a watch of a quiet object is."""


@dataclass(frozen=True)
class Resource:
    """Where one kind lives."""

    service: str
    path: str
    one: str
    many: str


RESOURCES: dict[Kind, Resource] = {
    Kind.SECURITY_GROUP: Resource("network", "/security-groups", "security_group", "security_groups"),
    Kind.PORT: Resource("network", "/ports", "port", "ports"),
    Kind.SERVER: Resource("compute", "/servers", "server", "servers"),
    Kind.SERVER_GROUP: Resource("compute", "/os-server-groups", "server_group", "server_groups"),
    Kind.LOAD_BALANCER: Resource("load_balancer", "/lbaas/loadbalancers", "loadbalancer", "loadbalancers"),
    Kind.LISTENER: Resource("load_balancer", "/lbaas/listeners", "listener", "listeners"),
    Kind.POOL: Resource("load_balancer", "/lbaas/pools", "pool", "pools"),
    Kind.HEALTH_MONITOR: Resource("load_balancer", "/lbaas/healthmonitors", "healthmonitor", "healthmonitors"),
    Kind.FLOATING_IP: Resource("network", "/floatingips", "floatingip", "floatingips"),
}


@singledispatch
def body_of(order: Order) -> dict[str, Any]:
    """The body of the request that creates what is ordered."""
    raise TypeError(f"there is no body for {type(order).__name__}")


@body_of.register
def _(order: SecurityGroupOrder) -> dict[str, Any]:
    return {"security_group": {"name": order.name, "description": order.mark.description}}


@body_of.register
def _(order: ServerGroupOrder) -> dict[str, Any]:
    return {"server_group": {"name": order.name, "policy": "soft-anti-affinity"}}


@body_of.register
def _(order: PortOrder) -> dict[str, Any]:
    port: dict[str, Any] = {
        "name": order.name,
        "description": order.mark.description,
        "network_id": order.network_id,
        "admin_state_up": True,
    }
    if order.security_groups is not None:
        port["security_groups"] = list(order.security_groups)
    if order.address is not None:
        port["fixed_ips"] = [{"ip_address": order.address}]
    return {"port": port}


@body_of.register
def _(order: FloatingIpOrder) -> dict[str, Any]:
    return {
        "floatingip": {
            "floating_network_id": order.network_id,
            "port_id": order.port_id,
            "description": order.mark.description,
        }
    }


@body_of.register
def _(order: ServerOrder) -> dict[str, Any]:
    server: dict[str, Any] = {
        "name": order.name,
        **_root_disk(order),
        "flavorRef": order.flavor_id,
        "networks": [{"port": order.port_id}],
        "metadata": order.metadata,
        "user_data": base64.b64encode(order.user_data.encode()).decode(),
    }
    if order.zone is not None:
        server["availability_zone"] = order.zone
    hints = {"group": order.server_group} if order.server_group is not None else {}
    return {"server": server, "os:scheduler_hints": hints} if hints else {"server": server}


def _root_disk(order: ServerOrder) -> dict[str, Any]:
    """The image, or a volume that Nova fills from it and deletes with the server (a type needs microversion 2.67)."""
    if order.root_volume is None:
        return {"imageRef": order.image_id}
    volume: dict[str, Any] = {
        "boot_index": 0,
        "uuid": order.image_id,
        "source_type": "image",
        "destination_type": "volume",
        "volume_size": order.root_volume.size,
        "delete_on_termination": True,
    }
    if order.root_volume.type is not None:
        volume["volume_type"] = order.root_volume.type
    return {"block_device_mapping_v2": [volume]}


@body_of.register
def _(order: BalancerOrder) -> dict[str, Any]:
    return {"loadbalancer": {**_balanced(order), "vip_port_id": order.port_id}}


@body_of.register
def _(order: ListenerOrder) -> dict[str, Any]:
    return {
        "listener": {
            **_balanced(order),
            "loadbalancer_id": order.balancer_id,
            "protocol": "TCP",
            "protocol_port": order.port,
            "timeout_client_data": SILENCE,
            "timeout_member_data": SILENCE,
            **({"default_pool_id": order.pool_id} if order.pool_id is not None else {}),
        }
    }


@body_of.register
def _(order: PoolOrder) -> dict[str, Any]:
    pool = {"listener_id": order.listener_id, "protocol": "TCP", "lb_algorithm": "LEAST_CONNECTIONS"}
    return {"pool": {**_balanced(order), **pool}}


@body_of.register
def _(order: MonitorOrder) -> dict[str, Any]:
    delay = max(2, round(order.delay))
    return {
        "healthmonitor": {
            "name": order.name,
            "tags": list(order.mark.tags),
            "pool_id": order.pool_id,
            "type": "HTTPS",
            "url_path": "/readyz",
            "http_method": "GET",
            "expected_codes": "200",
            "delay": delay,
            "timeout": delay - 1,
            "max_retries": 1,
            "max_retries_down": 2,
        }
    }


def _balanced(order: Order) -> dict[str, Any]:
    return {"name": order.name, "description": order.mark.description, "tags": list(order.mark.tags)}


class _FixedIp(BaseModel):
    ip_address: str


class _Resource(BaseModel):
    id: str
    name: str = ""
    description: str | None = None
    tags: list[str] | None = None
    metadata: dict[str, Any] | None = None
    provisioning_status: str | None = None
    status: str | None = None
    fixed_ips: list[_FixedIp] = []
    device_id: str | None = None
    floating_ip_address: str | None = None
    port_id: str | None = None


class _Member(BaseModel):
    name: str = ""
    address: str
    protocol_port: int
    weight: int
    operating_status: str | None = None


class _Fault(BaseModel):
    message: str = ""


class _Server(BaseModel):
    id: str
    name: str
    status: str
    metadata: dict[str, str] = {}
    task_state: str | None = Field(default=None, alias="OS-EXT-STS:task_state")
    zone: str | None = Field(default=None, alias="OS-EXT-AZ:availability_zone")
    host_id: str | None = Field(default=None, alias="hostId")
    fault: _Fault | None = None


def found_of(kind: Kind, document: dict[str, Any]) -> Found | None:
    """A resource as the cloud shows it; None for one that is only still listed as deleted."""
    read = _Resource.model_validate(document)
    status = read.provisioning_status or read.status or ""
    if status in ("DELETED", "SOFT_DELETED"):
        return None
    return Found(
        kind=kind,
        cloud_id=read.id,
        name=read.name,
        resource_id=_marked(read, RESOURCE_TAG, "slipway_resource"),
        cluster_id=_marked(read, CLUSTER_TAG, "slipway_cluster"),
        key=_marked(read, KEY_TAG, "slipway_key"),
        status=status,
        address=read.floating_ip_address or (read.fixed_ips[0].ip_address if read.fixed_ips else None),
        device_id=(read.port_id if kind is Kind.FLOATING_IP else read.device_id) or None,
    )


def member_of(document: dict[str, Any]) -> MemberView:
    """A member as Octavia shows it; ERROR is the word of its health monitor."""
    read = _Member.model_validate(document)
    return MemberView(
        member=Member(read.name, read.address, read.protocol_port, read.weight),
        failing=read.operating_status == "ERROR",
    )


def _marked(read: _Resource, tag: str, metadata: str) -> str | None:
    """One part of its mark, wherever a mark can be."""
    for word in [*(read.description or "").split(), *(read.tags or ())]:
        if word.startswith(tag):
            return str(word.removeprefix(tag))
    carried = (read.metadata or {}).get(metadata)
    return str(carried) if carried else None


_STATES = {
    "ACTIVE": ServerState.ACTIVE,
    "BUILD": ServerState.BUILDING,
    "SHUTOFF": ServerState.STOPPED,
    "ERROR": ServerState.ERROR,
    "DELETED": ServerState.DELETING,
    "SOFT_DELETED": ServerState.DELETING,
    "UNKNOWN": ServerState.UNKNOWN,
}
"""All others (MIGRATING, RESIZE, REBOOT, SHELVED ...): the cloud or a person is working on it."""


def server_of(document: dict[str, Any]) -> ServerView:
    """A server as Nova shows it."""
    read = _Server.model_validate(document)
    state = _STATES.get(read.status, ServerState.WORKING)
    if read.task_state == "deleting":
        state = ServerState.DELETING
    elif read.task_state is not None and state in (ServerState.ACTIVE, ServerState.STOPPED):
        state = ServerState.WORKING
    return ServerView(
        server_id=read.id,
        name=read.name,
        state=state,
        metadata=read.metadata,
        zone=read.zone or None,
        host=read.host_id or None,
        fault=read.fault.message[:500] if read.fault is not None else None,
        deleted=read.status in ("DELETED", "SOFT_DELETED"),
    )
