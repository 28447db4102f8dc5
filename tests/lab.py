"""Slipway's own user in a real cloud, made for one test session as an operator would make it, and removed again.

SLIPWAY_TEST_CLOUD names the clouds.yaml entry of an ordinary project, SLIPWAY_TEST_ADMIN_CLOUD one of an administrator.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openstack
import yaml

from slipway_platform.layout import CloudAccess

ROLES = ("member", "load-balancer_member")
"""All that Slipway needs in a user's project; inherited from its domain, so that new projects need nothing."""

USER, SERVICE, OBSERVER = "user", "service", "observer"


def missing() -> str | None:
    """What to set before tests on a real cloud can run; None: nothing."""
    names = ("SLIPWAY_TEST_CLOUD", "SLIPWAY_TEST_ADMIN_CLOUD")
    unset = [name for name in names if not os.environ.get(name)]
    return f"no real cloud: set {' and '.join(unset)} to entries of clouds.yaml" if unset else None


@contextmanager
def service_user(folder: Path) -> Iterator[CloudAccess]:
    """A service user with inherited roles in the project's domain, and a clouds.yaml with the three entries."""
    user = _entry(os.environ["SLIPWAY_TEST_CLOUD"])
    admin = _entry(os.environ["SLIPWAY_TEST_ADMIN_CLOUD"])
    with openstack.connect(cloud=os.environ["SLIPWAY_TEST_ADMIN_CLOUD"]) as cloud:
        domain = cloud.identity.find_domain(user["auth"]["project_domain_name"], ignore_missing=False)
        password = secrets.token_urlsafe(24)
        made = cloud.identity.create_user(
            name=f"slipway-{secrets.token_hex(3)}", password=password, domain_id=domain.id
        )
        try:
            for name in ROLES:
                role = cloud.identity.find_role(name, ignore_missing=False)
                cloud.identity.assign_domain_role_to_user(domain, made, role, inherited=True)
            service = _as_user(user, made.name, domain.name, password)
            yield CloudAccess(_write(folder, {USER: user, SERVICE: service, OBSERVER: admin}), USER, SERVICE, OBSERVER)
        finally:
            cloud.identity.delete_user(made)


def _entry(name: str) -> dict[str, Any]:
    """The entry as clouds.yaml has it, with the password that may be in secure.yaml or the environment."""
    config = openstack.config.OpenStackConfig().get_one(name).config
    kept = ("auth", "auth_type", "region_name", "identity_api_version", "cacert", "verify", "interface")
    return {key: config[key] for key in kept if config.get(key) is not None}


def _as_user(entry: dict[str, Any], name: str, domain: str, password: str) -> dict[str, Any]:
    """The same cloud for another user, who names no project: Slipway asks for a token of each user's project."""
    auth = {
        "auth_url": entry["auth"]["auth_url"],
        "username": name,
        "password": password,
        "user_domain_name": domain,
    }
    return {**entry, "auth": auth}


def _write(folder: Path, clouds: dict[str, dict[str, Any]]) -> Path:
    path = folder / "clouds.yaml"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump({"clouds": clouds}))
    return path
