"""The things an emulated cloud consists of: plain records, no behaviour that needs other records."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from slipway_sandbox.cloud.messages import Json

DEFAULT_DOMAIN = {"id": "default", "name": "Default"}
STOCK_COMPUTE_QUOTA = {
    "instances": 10,
    "cores": 20,
    "ram": 51200,
    "server_groups": 10,
    "server_group_members": 10,
    "metadata_items": 128,
    "key_pairs": 100,
}
STOCK_NETWORK_QUOTA = {
    "network": 100,
    "subnet": 100,
    "subnetpool": -1,
    "port": 500,
    "router": 10,
    "floatingip": 50,
    "rbac_policy": 10,
    "security_group": 10,
    "security_group_rule": 100,
}
DEFAULT_VOLUME_TYPE = "__DEFAULT__"
VOLUME_TYPES = (DEFAULT_VOLUME_TYPE, "ssd")
STOCK_VOLUME_QUOTA = {
    "volumes": 10,
    "gigabytes": 1000,
    "per_volume_gigabytes": -1,
    **{f"{name}_{kind}": -1 for kind in VOLUME_TYPES for name in ("volumes", "gigabytes")},
}
STOCK_BALANCER_QUOTA = {
    "load_balancer": 10,
    "listener": 50,
    "member": 100,
    "pool": 50,
    "health_monitor": 50,
    "l7policy": 50,
    "l7rule": 50,
}


@dataclass(frozen=True)
class CloudTimes:
    """How long things take in the emulated cloud."""

    schedule: timedelta = timedelta(milliseconds=200)
    build: timedelta = timedelta(seconds=2)
    delete: timedelta = timedelta(seconds=1)
    stop: timedelta = timedelta(seconds=1)
    reboot: timedelta = timedelta(seconds=2)
    balancer_create: timedelta = timedelta(seconds=2)
    balancer_update: timedelta = timedelta(milliseconds=500)
    balancer_delete: timedelta = timedelta(seconds=1)
    token: timedelta = timedelta(hours=1)


@dataclass
class Project:
    """A tenant with its limits."""

    id: str
    name: str
    compute_quota: dict[str, int] = field(default_factory=lambda: dict(STOCK_COMPUTE_QUOTA))
    network_quota: dict[str, int] = field(default_factory=lambda: dict(STOCK_NETWORK_QUOTA))
    volume_quota: dict[str, int] = field(default_factory=lambda: dict(STOCK_VOLUME_QUOTA))
    balancer_quota: dict[str, int] = field(default_factory=lambda: dict(STOCK_BALANCER_QUOTA))


@dataclass
class User:
    """Somebody with a password."""

    id: str
    name: str
    password: str
    default_project_id: str | None = None
    enabled: bool = True


@dataclass(frozen=True)
class Assignment:
    """A role of a user in one project, or, with no project, inherited in every project of the domain."""

    user_id: str
    role: str
    project_id: str | None


@dataclass
class ApplicationCredential:
    """A second key of a user, bound to one project and some of the user's roles."""

    id: str
    name: str
    secret: str
    user_id: str
    project_id: str
    roles: tuple[str, ...]
    expires_at: datetime | None = None


@dataclass
class Token:
    """An issued token; `project_id` is None for an unscoped one."""

    id: str
    audit_id: str
    user_id: str
    project_id: str | None
    roles: tuple[str, ...]
    methods: tuple[str, ...]
    issued_at: datetime
    expires_at: datetime
    application_credential_id: str | None = None


@dataclass(frozen=True)
class Flavor:
    """A size of server."""

    id: str
    name: str
    vcpus: int
    ram: int
    disk: int


@dataclass(frozen=True)
class Image:
    """An image that servers boot from."""

    id: str
    name: str
    owner: str
    created: datetime
    min_disk: int = 0
    min_ram: int = 0
    visibility: str = "public"
    size: int = 1 << 20


@dataclass
class Host:
    """A hypervisor; a host that is not up keeps its servers but takes no new ones."""

    name: str
    zone: str
    up: bool = True


@dataclass
class PortLink:
    """A port of a server; Nova deletes with the server only the ports that it made itself."""

    port_id: str
    made_by_nova: bool


@dataclass(frozen=True)
class RootVolume:
    """The volume that a server boots from; it goes with its server."""

    size: int
    """GiB"""
    kind: str = DEFAULT_VOLUME_TYPE


@dataclass
class Server:
    """A Nova instance, dead ones included (`changes-since` shows them)."""

    id: str
    number: int
    project_id: str
    user_id: str
    name: str
    flavor: Flavor
    image_id: str
    created: datetime
    updated: datetime
    wanted_zone: str | None = None
    group_id: str | None = None
    user_data: str | None = None
    key_name: str | None = None
    description: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    links: list[PortLink] = field(default_factory=list)
    root_volume: RootVolume | None = None
    vm_state: str = "building"
    task_state: str | None = "scheduling"
    power_state: int = 0
    host: Host | None = None
    launched_at: datetime | None = None
    terminated_at: datetime | None = None
    fault: Json | None = None
    boots: int = 0
    console: list[str] = field(default_factory=list)
    actions: list[Json] = field(default_factory=list)
    broken_by: str | None = None

    @property
    def deleted(self) -> bool:
        """Whether only history is left of it."""
        return self.vm_state == "deleted"


@dataclass
class ServerGroup:
    """A Nova server group."""

    id: str
    name: str
    policy: str
    project_id: str
    user_id: str
    members: list[str] = field(default_factory=list)


@dataclass
class Balanced:
    """An Octavia object of any kind: its API attributes in `body`, its place in the tree beside them."""

    kind: str
    id: str
    project_id: str
    body: Json
    created: datetime
    updated: datetime | None = None
    provisioning: str = "PENDING_CREATE"
    health: str | None = None
    balancer_id: str = ""
    listener_id: str | None = None
    pool_id: str | None = None


@dataclass
class Blob:
    """A stored object."""

    data: bytes
    content_type: str
    etag: str
    modified: datetime
    metadata: dict[str, str] = field(default_factory=dict)
    delete_at: datetime | None = None


@dataclass
class Account:
    """A project's part of the object storage."""

    containers: dict[str, dict[str, Blob]] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
