"""The sandbox cloud, started and stopped as one thing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path

from slipway_sandbox.cloud.cloud import Cloud
from slipway_sandbox.cloud.login import clouds_config, write_clouds_yaml
from slipway_sandbox.cloud.messages import Json
from slipway_sandbox.cloud.model import CloudTimes
from slipway_sandbox.cloud.ranges import held_range
from slipway_sandbox.cloud.realize import BalancerRunner
from slipway_sandbox.cloud.server import CloudServer


def utc_now() -> datetime:
    """The real time."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Sandbox:
    """A running emulated cloud: `origin` for HTTP, `cloud` for its levers, `clouds_yaml` for openstacksdk."""

    cloud: Cloud
    origin: str
    clouds_yaml: Path | None

    def login(self, name: str = "sandbox") -> Json:
        """One entry of clouds.yaml: keyword arguments for `openstack.connect`."""
        entry: Json = clouds_config(self.origin)["clouds"][name]
        return entry

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        state_dir: Path | None = None,
        *,
        port: int = 0,
        seed: int = 0,
        times: CloudTimes | None = None,
        now: Callable[[], datetime] = utc_now,
        realize: bool = False,
        addresses: IPv4Network | None = None,
    ) -> AsyncIterator[Sandbox]:
        """Run a cloud while the context is open.

        `state_dir` gets the clouds.yaml; `realize` makes load balancers listen on their VIPs; `addresses` are its
        networks', None takes the first range that no other sandbox on this host has. Raises RangeTaken, and OSError
        where the port is taken.
        """
        with held_range(addresses) as held:
            cloud = Cloud(now, seed=seed, times=times, addresses=held)
            server = CloudServer(cloud, port)
            runner = BalancerRunner(cloud)
            await server.start()
            try:
                if realize:
                    await runner.start()
                path = write_clouds_yaml(state_dir, server.origin) if state_dir else None
                yield cls(cloud, server.origin, path)
            finally:
                await runner.stop()
                await server.stop()
