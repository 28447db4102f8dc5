"""What a new emulated cloud has: hosts, flavors, images, networks, tenants and their users."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network

from slipway_sandbox.cloud.model import Assignment, Flavor, Host, Image, Project, User
from slipway_sandbox.cloud.neutron.groups import make_group
from slipway_sandbox.cloud.neutron.kinds import KINDS, stamp
from slipway_sandbox.cloud.ranges import private_and_public
from slipway_sandbox.cloud.state import State

ZONES = ("zone-1", "zone-2", "zone-3")
HOSTS_PER_ZONE = 4
FLAVORS = (
    ("m1.small", 1, 2048, 20),
    ("m1.medium", 2, 4096, 40),
    ("m1.large", 4, 8192, 80),
    ("m1.xlarge", 8, 16384, 160),
    ("node.small", 1, 1536, 4),
    ("node.large", 2, 3072, 8),
)
IMAGES = ("debian-12", "debian-12-node")
DEMO_COMPUTE = {"instances": 40, "cores": 80, "ram": 400_000}
EVERYWHERE = None


@dataclass(frozen=True)
class Login:
    """One entry of the written clouds.yaml."""

    cloud: str
    user: str
    project: str
    password: str = "sandbox"  # noqa: S105 - the emulated cloud has nothing to protect


LOGINS = (
    Login("sandbox", "demo", "demo"),
    Login("sandbox-admin", "admin", "admin"),
    Login("sandbox-service", "slipway", "service"),
    Login("sandbox-other", "other", "other"),
    Login("sandbox-small", "small", "small"),
    Login("sandbox-reader", "viewer", "demo"),
)
PROJECTS = ("admin", "service", "demo", "other", "small")
ROLES: tuple[tuple[str, str, str | None], ...] = (
    ("admin", "admin", "admin"),
    ("demo", "member", "demo"),
    ("demo", "load-balancer_member", "demo"),
    ("other", "member", "other"),
    ("other", "load-balancer_member", "other"),
    ("small", "member", "small"),
    ("small", "load-balancer_member", "small"),
    ("viewer", "reader", "demo"),
    ("slipway", "member", EVERYWHERE),
    ("slipway", "load-balancer_member", EVERYWHERE),
)


def furnish(state: State, addresses: IPv4Network) -> None:
    """Fill a new cloud with everything named in this module; its networks share the addresses."""
    for number in range(HOSTS_PER_ZONE):
        for zone in ZONES:
            name = f"compute-{zone}-{number + 1}"
            state.hosts[name] = Host(name, zone)
    for name, vcpus, ram, disk in FLAVORS:
        flavor = Flavor(state.new_uuid(), name, vcpus, ram, disk)
        state.flavors[flavor.id] = flavor
    for name in PROJECTS:
        add_project(state, name)
    _add_people(state)
    demo = state.project_named("demo")
    demo.compute_quota |= DEMO_COMPUTE
    owner = state.project_named("admin").id
    for name in IMAGES:
        image = Image(state.new_uuid(), name, owner, state.now())
        state.images[image.id] = image
    private, public = private_and_public(addresses)
    _add_network(state, owner, "private", private, external=False)
    _add_network(state, owner, "public", public, external=True)


def add_project(state: State, name: str) -> Project:
    """A project with stock quotas and its security group `default`."""
    project = Project(state.new_hex(), name)
    state.projects[project.id] = project
    make_group(state, project.id, {"name": "default", "description": "Default security group"}, ingress=True)
    return project


def _add_people(state: State) -> None:
    users: dict[str, User] = {}
    for login in LOGINS:
        home = state.project_named(login.project).id
        user = User(state.new_hex(), login.user, login.password, home)
        state.users[user.id] = users[login.user] = user
    for name, role, project in ROLES:
        where = state.project_named(project).id if project else None
        state.assignments.append(Assignment(users[name].id, role, where))


def _add_network(state: State, owner: str, name: str, cidr: IPv4Network, *, external: bool) -> None:
    kind = KINDS["network"]
    fields = {**kind.given, "name": name, "shared": not external, "router:external": external, "status": "ACTIVE"}
    network = stamp(state, kind, owner, fields)
    stamp(
        state,
        KINDS["subnet"],
        owner,
        {
            **KINDS["subnet"].given,
            "name": name,
            "network_id": network["id"],
            "cidr": str(cidr),
            "gateway_ip": str(cidr[1]),
            "allocation_pools": [{"start": str(cidr[10]), "end": str(cidr[-2])}],
            "subnetpool_id": None,
            "service_types": [],
        },
    )
