"""A Slipway that serves a project of a real cloud whose servers do not boot: the machine runner gives them life."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway_platform.layout import RegionPlan
from slipway_platform.platform import Platform, running
from tests.lab import missing
from tests.openstack.desk import Desk
from tests.openstack.tenant import NETWORK, Tenant, tenant

ZONE, BOOTING_ZONE = "nova", "real"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Tenant]:
    if lacking := missing():
        pytest.skip(lacking)
    with tenant(tmp_path) as found:
        yield found


@pytest.fixture
def desk(project: Tenant, amqp_url: str, tmp_path: Path) -> Iterator[Desk]:
    region = RegionPlan(
        name="real-cloud",
        zones=(ZONE,),
        defaults={
            "image": "debian-12",
            "flavor": {"any": "m1.small"},
            "network": NETWORK,
            "release": "v1.36.3",
        },
        endpoint={"ready_delay": 2.0},
    )
    platform = Platform(
        tmp_path / "platform",
        amqp_url,
        region,
        access=project.access,
        machines_of=project.access.observer,
        zone_exclude=(BOOTING_ZONE,),
    )
    with running(platform):
        yield Desk(platform, project, "story")
