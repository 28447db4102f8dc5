"""A user's project in a real cloud, made as an administrator would make it, and removed again with all that is in it.

A project of the test's own, so that "nothing is left" can be said of the whole project, whoever else uses the cloud.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openstack
import yaml

from slipway_platform.layout import CloudAccess
from slipway_platform.testing import until
from tests.lab import SERVICE, USER, service_user

NETWORK = "private"
CIDR = "10.83.0.0/24"

QUOTA = {"instances": 16, "cores": 16, "ram": 16 * 2048, "server_groups": 2, "server_group_members": 5}
"""Enough for 5+3+8 nodes of one core; the rest of a stock cloud's quotas is enough as it is."""


@dataclass(frozen=True)
class Tenant:
    """A project with one user, and the clouds.yaml of a Slipway that serves it."""

    access: CloudAccess
    cloud: Any
    """The user's connection; her only role is member, so that load balancers are not hers to see."""
    service: Any
    """The service user's connection to the same project."""
    admin: Any
    """An administrator's."""


@contextmanager
def tenant(folder: Path) -> Iterator[Tenant]:
    """A new project in the domain of Slipway's service user, which has no role of its own in it."""
    admin = openstack.connect(cloud=os.environ["SLIPWAY_TEST_ADMIN_CLOUD"])
    with ExitStack() as undo:
        undo.callback(admin.close)
        access = undo.enter_context(service_user(folder))
        entries = yaml.safe_load(access.clouds_yaml.read_text())["clouds"]
        domain = admin.identity.find_domain(entries[USER]["auth"]["project_domain_name"], ignore_missing=False)
        name, password = f"tenant-{secrets.token_hex(3)}", secrets.token_urlsafe(24)
        project = admin.identity.create_project(name=name, domain_id=domain.id)
        undo.callback(admin.identity.delete_project, project)
        user = admin.identity.create_user(name=name, password=password, domain_id=domain.id)
        undo.callback(admin.identity.delete_user, user)
        member = admin.identity.find_role("member", ignore_missing=False)
        admin.identity.assign_project_role_to_user(project, user, member)
        admin.set_compute_quotas(project.id, **QUOTA)
        undo.callback(admin.delete_compute_quotas, project.id)

        auth = {**entries[USER]["auth"], "username": name, "password": password, "project_name": name}
        entries[USER] = {**entries[USER], "auth": auth}
        access.clouds_yaml.write_text(yaml.safe_dump({"clouds": entries}))
        cloud = undo.enter_context(_connection(entries[USER], {}))
        service = undo.enter_context(_connection(entries[SERVICE], {"project_id": project.id}))
        undo.callback(_forget_default_group, admin, project.id)
        _network(cloud, undo)
        undo.callback(_purge, service)
        yield Tenant(access, cloud, service, admin)


def _connection(entry: dict[str, Any], scope: dict[str, str]) -> Any:
    return openstack.connect(load_yaml_config=False, **{**entry, "auth": {**entry["auth"], **scope}})


def _network(cloud: Any, undo: ExitStack) -> None:
    network = cloud.network.create_network(name=NETWORK)
    undo.callback(cloud.network.delete_network, network)
    subnet = cloud.network.create_subnet(name=NETWORK, network_id=network.id, ip_version=4, cidr=CIDR)
    undo.callback(cloud.network.delete_subnet, subnet)


def _purge(service: Any) -> None:
    """Delete what a test that failed left in the project; after one that passed there is nothing."""
    project = service.current_project_id
    for balancer in service.load_balancer.load_balancers():
        service.load_balancer.delete_load_balancer(balancer, cascade=True)
    for server in service.compute.servers():
        service.compute.delete_server(server)
    until(
        lambda: not [*service.compute.servers(), *service.load_balancer.load_balancers()],
        "the project has neither servers nor load balancers",
        within=60,
    )
    for group in service.compute.server_groups():
        service.compute.delete_server_group(group)
    for port in service.network.ports(project_id=project):
        service.network.delete_port(port)
    for group in service.network.security_groups(project_id=project):
        if group.name != "default":
            service.network.delete_security_group(group)


def _forget_default_group(admin: Any, project_id: str) -> None:
    """Neutron made it when the project was first used, and keeps it when the project goes."""
    for group in admin.network.security_groups(project_id=project_id):
        admin.network.delete_security_group(group)
