"""P7 and P2: how long it takes to make clusters, beside the time that the cloud itself needs for them.

P7 makes one cluster of 5+3+3 in a cloud whose servers take half a minute to build. The floor, in the same run, is what
that cloud takes for the same ports, servers and load balancer when a script asks for all of them at once. Then 1, 5
and 20 small clusters are made at once: the floor stays, so what grows is Slipway's and the emulated machines' part.

P2 makes many of the smallest clusters in a cloud that takes no time at all, and says on whose processor it went.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from slipway_contracts.operations import OperationSucceeded
from slipway_platform.demo import sandbox_region
from slipway_platform.platform import Platform, running
from slipway_platform.testing import User, until
from tests.bench.events import listening

pytestmark = [pytest.mark.bench, pytest.mark.timeout(2400)]

BUILD = 30.0
"""Seconds that the cloud of P7 takes for a server; a load balancer takes as long."""
GROWTH = (1, 5, 20)
FLEET = int(os.environ.get("SLIPWAY_BENCH_CLUSTERS", "20"))
"""Clusters of P2; the target is told for 1000."""
SCARCE = (
    *("instances", "cores", "ram", "server_groups"),
    *("port", "security_group", "security_group_rule"),
    *("load_balancer", "listener", "pool", "health_monitor", "member"),
)
PLENTY = dict.fromkeys(SCARCE, 1_000_000)
TICKS = os.sysconf("SC_CLK_TCK")

Shape = dict[str, int]
BIG: Shape = {"etcd": 5, "controller": 3, "worker": 3}
SMALL: Shape = {"etcd": 1, "controller": 1, "worker": 2}
SMALLEST: Shape = {"etcd": 1, "controller": 1, "worker": 1}


@pytest.fixture
def user(amqp_url: str, tmp_path: Path) -> Iterator[User]:
    """A user of a sandbox in which nothing is scarce."""
    with running(Platform(tmp_path, amqp_url, sandbox_region())) as platform:
        set_cloud(platform, "projects/demo/quota", PLENTY)
        somebody = User(platform)
        yield somebody
        somebody.close()


def test_creation_beside_the_clouds_own_time(user: User) -> None:
    set_cloud(user.platform, "times", {"build": BUILD, "balancer_create": BUILD})
    floor = by_hand(user, BIG)
    took = asyncio.run(created(user, BIG, 1))
    print(f"\n5+3+3: {took:.1f} s, the cloud alone {floor:.1f} s: {took / floor:.2f}")
    for count in GROWTH:
        took = asyncio.run(created(user, SMALL, count))
        print(f"{count:3} x 1+1+2 at once: {took:.1f} s, the cloud alone {floor:.1f} s: {took / floor:.2f}")


def test_a_fleet_in_a_cloud_that_takes_no_time(user: User) -> None:
    set_cloud(user.platform, "times", dict.fromkeys(("schedule", "build", "balancer_create", "balancer_update"), 0.0))
    before = processor_seconds(user.platform)
    took = asyncio.run(created(user, SMALLEST, FLEET))
    print(f"\n{FLEET} x 1+1+1: {took:.1f} s, {FLEET / took:.2f} clusters a second")
    spent = {name: seconds - before[name] for name, seconds in processor_seconds(user.platform).items()}
    for name, seconds in sorted(spent.items(), key=lambda each: -each[1]):
        print(f"{name:>14}: {seconds:6.1f} s of a processor, {1000 * seconds / FLEET:6.0f} ms a cluster")


def set_cloud(platform: Platform, lever: str, values: dict[str, Any]) -> None:
    httpx.post(f"{platform.cloud_control}/{lever}", json=values).raise_for_status()


async def created(user: User, shape: Shape, count: int) -> float:
    """Seconds from the first request until the last of so many clusters is there."""
    pools = [{"name": role, "role": role, "count": nodes} for role, nodes in shape.items()]
    async with listening(user.platform.amqp_url, user.platform.namespace) as events:
        began = time.monotonic()
        headers = dict(user.http.headers)
        async with httpx.AsyncClient(base_url=user.platform.endpoint, headers=headers, timeout=120) as http:
            gate = asyncio.Semaphore(8)

            async def ask(number: int) -> str:
                async with gate:
                    wanted = {"name": f"c{sum(shape.values())}-{count}-{number}", "pools": pools}
                    answer = await http.post("/v1/clusters", json=wanted)
                    assert answer.status_code == httpx.codes.ACCEPTED, answer.text
                    return answer.headers["Location"].rpartition("/")[2]

            waited_for = set(await asyncio.gather(*map(ask, range(count))))
        while waited_for:
            event = await asyncio.wait_for(events.get(), timeout=300)
            if isinstance(event, OperationSucceeded):
                waited_for.discard(event.data.operation_id)
        return time.monotonic() - began


def by_hand(user: User, shape: Shape) -> float:
    """Seconds that the cloud takes for a cluster's servers and load balancer, all asked for at once."""
    cloud = user.cloud
    network = next(iter(cloud.network.networks(name="private")))
    image = next(iter(cloud.image.images(name="debian-12-node")))
    flavor = next(each for each in cloud.compute.flavors() if each.name == "node.small")
    (subnet,) = network.subnet_ids[:1]

    def server(number: int) -> Any:
        port = cloud.network.create_port(name=f"floor-{number}", network_id=network.id)
        made = cloud.compute.create_server(
            name=f"floor-{number}", image_id=image.id, flavor_id=flavor.id, networks=[{"port": port.id}]
        )
        until(lambda: cloud.compute.get_server(made.id).status == "ACTIVE", "the server is built", within=300)
        return made, port

    def balancer() -> Any:
        made = cloud.load_balancer.create_load_balancer(name="floor", vip_subnet_id=subnet)
        balancers = cloud.load_balancer

        def is_there() -> bool:
            return bool(balancers.get_load_balancer(made.id).provisioning_status == "ACTIVE")

        until(is_there, "the load balancer is built", within=300)
        return made

    began = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        load_balancer = pool.submit(balancer)
        servers = [each.result() for each in [pool.submit(server, number) for number in range(sum(shape.values()))]]
        cloud.load_balancer.delete_load_balancer(load_balancer.result().id, cascade=True)
    took = time.monotonic() - began
    for made, _ in servers:
        cloud.compute.delete_server(made.id)
    until(lambda: not list(cloud.compute.servers()), "the servers are gone", within=60)
    for _, port in servers:
        cloud.network.delete_port(port.id)
    return took


def processor_seconds(platform: Platform) -> dict[str, float]:
    """User and system time of each process so far."""
    found = {}
    for name, process in platform.processes.items():
        stat = Path(f"/proc/{process.pid}/stat") if process.is_running else None
        if stat is not None and stat.exists():
            fields = stat.read_text().rpartition(")")[2].split()
            found[name] = (int(fields[11]) + int(fields[12])) / TICKS
    return found
