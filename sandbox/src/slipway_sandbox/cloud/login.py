"""The clouds.yaml that leads into the emulated cloud."""

from __future__ import annotations

from pathlib import Path

import yaml

from slipway_sandbox.cloud.messages import Json
from slipway_sandbox.cloud.seed import LOGINS


def clouds_config(origin: str) -> Json:
    """The content of a clouds.yaml with one entry for each login."""
    return {
        "clouds": {
            login.cloud: {
                "auth": {
                    "auth_url": f"{origin}/identity/v3",
                    "username": login.user,
                    "password": login.password,
                    "project_name": login.project,
                    "user_domain_id": "default",
                    "project_domain_id": "default",
                },
                "region_name": "RegionOne",
                "identity_api_version": "3",
            }
            for login in LOGINS
        }
    }


def write_clouds_yaml(directory: Path, origin: str) -> Path:
    """Write `clouds.yaml` into a directory, readable by its owner only; returns its path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "clouds.yaml"
    fresh = path.with_suffix(".new")
    fresh.write_text(yaml.safe_dump(clouds_config(origin), sort_keys=False))
    fresh.chmod(0o600)
    fresh.replace(path)
    return path
