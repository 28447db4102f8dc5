"""The clouds that the Cloud port's suite runs against: the fake, and the real adapter on an emulated OpenStack."""

import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import openstack
import pytest
import requests

from slipway_chassis.clock import SteppingClock, SystemClock
from slipway_provisioner.adapters.openstack import OpenStackCloud
from slipway_provisioner.adapters.sessions import Sessions, connect_as, in_threads, inline
from slipway_provisioner.testing.sites import Site, TidyCloud, a_fake_site
from slipway_sandbox.cloud.cloud import Cloud as Sandbox
from slipway_sandbox.cloud.login import write_clouds_yaml
from slipway_sandbox.cloud.testing import Tenant
from slipway_sandbox.cloud.transport import ORIGIN, CloudTransport


def a_sandbox_site(folder: Path) -> Site:
    """The real adapter in front of the emulated OpenStack."""
    return a_sandbox(folder).site


def a_sandbox(folder: Path) -> "Sandboxed":
    """The real adapter, as Slipway's service user in the tenant's project, in front of the emulated OpenStack."""
    clock = SteppingClock()
    sandbox = Sandbox(clock.now)
    tenant = Tenant(sandbox)
    http = requests.Session()
    http.mount(ORIGIN, CloudTransport(sandbox))
    clouds_file = write_clouds_yaml(folder, ORIGIN)
    connect = connect_as("sandbox-service", timedelta(seconds=30), http, clouds_file)
    site = Site(
        cloud=OpenStackCloud(Sessions(connect, inline, 16)),
        clock=clock,
        project_id=tenant.project_id,
        network_id=tenant.network_id(),
        image_id=tenant.get("/image/v2/images")["images"][0]["id"],
        flavor_id=tenant.get("/compute/v2.1/flavors")["flavors"][0]["id"],
    )
    return Sandboxed(site, sandbox, tenant)


def a_real_site(name: str, executor: ThreadPoolExecutor) -> Site:
    """The real adapter in front of the cloud that SLIPWAY_TEST_CLOUD names, in that entry's own project."""
    connection = openstack.connect(cloud=name)
    images = connection.image.get("/images").json()["images"]
    smallest = min(images, key=lambda image: image["size"])
    flavors = connection.compute.get("/flavors/detail").json()["flavors"]
    roomy = [flavor for flavor in flavors if flavor["disk"] * 1024**3 >= smallest["size"] * 4]
    wanted = os.environ.get("SLIPWAY_TEST_NETWORK", "private")
    (network,) = connection.network.get("/networks", params={"name": wanted}).json()["networks"]
    sessions = Sessions(connect_as(name, timedelta(seconds=30)), in_threads(executor), 16)
    return Site(
        cloud=TidyCloud(OpenStackCloud(sessions)),  # type: ignore[arg-type]
        clock=SystemClock(),
        project_id=connection.current_project_id,
        network_id=network["id"],
        image_id=smallest["id"],
        flavor_id=min(roomy, key=lambda flavor: flavor["ram"])["id"],
    )


SITES: dict[str, Callable[[Path], Site]] = {"fake": a_fake_site, "openstack": a_sandbox_site}


@pytest.fixture(params=[*SITES, pytest.param("real", marks=pytest.mark.openstack)])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    """Each cloud in turn; the real one is left as it was found."""
    if request.param != "real":
        yield SITES[request.param](tmp_path)
        return
    name = os.environ.get("SLIPWAY_TEST_CLOUD")
    if not name:
        pytest.skip("no real cloud: set SLIPWAY_TEST_CLOUD to an entry of clouds.yaml")
    with ThreadPoolExecutor(8) as executor:
        real = a_real_site(name, executor)
        assert isinstance(real.cloud, TidyCloud)
        try:
            yield real
        finally:
            await real.cloud.tidy()


@dataclass
class Sandboxed:
    """The real adapter only: for what the fake does not know."""

    site: Site
    sandbox: Sandbox
    tenant: Tenant


@pytest.fixture
def sandboxed(tmp_path: Path) -> Sandboxed:
    """The real adapter with the emulated cloud's levers."""
    return a_sandbox(tmp_path)
