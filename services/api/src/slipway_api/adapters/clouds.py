"""What the api takes of clouds.yaml: where a region's Keystone is, which of its endpoints, and whom TLS trusts.

No password is read: the api acts with its callers' own tokens.
"""

import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from slipway_chassis.regions import Region


@dataclass(frozen=True)
class CloudAddress:
    """How to reach the cloud of a region."""

    auth_url: str
    """Ends with /v3."""
    region_name: str | None = None
    """The cloud's own name of its region: chooses endpoints of the catalogue."""
    verify: bool = True
    cacert: str | None = None

    def client(self, timeout: float) -> httpx.AsyncClient:
        """An HTTP client for this cloud."""
        verify: ssl.SSLContext | bool = self.verify
        if self.verify and self.cacert:
            verify = ssl.create_default_context(cafile=self.cacert)
        return httpx.AsyncClient(verify=verify, timeout=timeout, trust_env=False)


def clouds_paths(configured: Path | None) -> list[Path]:
    """Where clouds.yaml is looked for, as openstacksdk does."""
    if configured is not None:
        return [configured]
    if named := os.environ.get("OS_CLIENT_CONFIG_FILE"):
        return [Path(named)]
    folders = (Path.cwd(), Path.home() / ".config/openstack", Path("/etc/openstack"))
    return [folder / "clouds.yaml" for folder in folders]


def load_cloud_addresses(regions: tuple[Region, ...], configured: Path | None) -> dict[str, CloudAddress]:
    """The address of each region's cloud; ValueError says which region lacks one and where it was looked for."""
    entries = _entries(clouds_paths(configured))
    return {region.name: _address(region, entries.get(region.cloud, {}), configured) for region in regions}


def _entries(paths: list[Path]) -> dict[str, Any]:
    for path in paths:
        if path.is_file():
            document = yaml.safe_load(path.read_text()) or {}
            clouds = document.get("clouds")
            if not isinstance(clouds, dict):
                raise ValueError(f"{path}: has no mapping `clouds`")
            return clouds
    return {}


def _address(region: Region, entry: dict[str, Any], configured: Path | None) -> CloudAddress:
    auth_url = region.auth_url or (entry.get("auth") or {}).get("auth_url")
    if not auth_url:
        looked = ", ".join(str(path) for path in clouds_paths(configured))
        raise ValueError(
            f"region {region.name}: no auth_url: set it in regions.yaml, or in the entry {region.cloud} of {looked}"
        )
    url = str(auth_url).rstrip("/")
    return CloudAddress(
        auth_url=url if url.endswith("/v3") else f"{url}/v3",
        region_name=entry.get("region_name"),
        verify=bool(entry.get("verify", True)),
        cacert=entry.get("cacert"),
    )
