"""Clouds that the Cloud port's suite runs against, each with what a test must know of it."""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from slipway_chassis.clock import Clock, SteppingClock
from slipway_chassis.errors import RetryLater
from slipway_contracts.provisioner import ServerState
from slipway_provisioner.domain.model import BALANCER_PARTS, Found, Kind, Mark, Order, ServerView
from slipway_provisioner.ports import Cloud
from slipway_provisioner.testing.cloud import FakeCloud

CHANGING = (ServerState.BUILDING, ServerState.WORKING, ServerState.DELETING)
PATIENCE = 120
"""Seconds that a real cloud gets for anything."""


@dataclass
class Site:
    """One cloud; names and marks are this test's own, so that it may share a real one."""

    cloud: Cloud
    clock: Clock
    project_id: str
    network_id: str
    image_id: str
    flavor_id: str
    token: str = field(default_factory=lambda: secrets.token_hex(4))

    @property
    def cluster_id(self) -> str:
        """What all resources of this test are marked with."""
        return f"test-{self.token}"

    def now(self) -> datetime:
        """The cloud's time."""
        return self.clock.now()

    def named(self, name: str) -> str:
        """A name of this test's own."""
        return f"slipway-test-{self.token}-{name}"

    def mark(self, name: str) -> Mark:
        """A mark of this test's own."""
        return Mark(f"{self.token}-{name}", self.cluster_id, f"node-{self.token}", 1)

    async def servers(self, changes_since: datetime | None) -> Sequence[ServerView]:
        """This test's servers in the cloud's list."""
        listed = await self.cloud.servers(self.project_id, changes_since)
        return tuple(view for view in listed if view.metadata.get("slipway_cluster") == self.cluster_id)

    async def pass_time(self, seconds: float = 60) -> None:
        """Let states that take time end."""
        if isinstance(self.clock, SteppingClock):
            self.clock.step(timedelta(seconds=seconds))
            return
        for _ in range(PATIENCE):
            if await self._is_quiet():
                return
            await asyncio.sleep(1)
        raise AssertionError(f"the cloud did not come to rest within {PATIENCE} s")

    async def _is_quiet(self) -> bool:
        servers = await self.servers(None)
        marked = await self.cloud.list_marked(self.project_id, self.cluster_id)
        pending = any(each.status.startswith("PENDING") for each in marked)
        return not pending and not any(view.state in CHANGING for view in servers)


class TidyCloud:
    """A real cloud that remembers what was made, so that a test leaves nothing."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._made: list[tuple[str, Kind, str]] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._cloud, name)

    async def create(self, project_id: str, order: Order) -> str:
        """As the cloud itself; also remembers it."""
        cloud_id = await self._cloud.create(project_id, order)
        self._made.append((project_id, order.kind, cloud_id))
        return cloud_id

    async def tidy(self) -> None:
        """Delete all that was made, the newest first; AssertionError names what would not go."""
        for project_id, kind, cloud_id in reversed(self._made):
            if kind not in BALANCER_PARTS:
                await self._gone(project_id, kind, cloud_id)

    async def _gone(self, project_id: str, kind: Kind, cloud_id: str) -> None:
        left: Found | None = None
        for _ in range(PATIENCE):
            try:
                await self._cloud.delete(project_id, kind, cloud_id)
            except RetryLater:
                await asyncio.sleep(1)
                continue
            left = await self._cloud.get(project_id, kind, cloud_id)
            if left is None:
                return
            await asyncio.sleep(1)
        raise AssertionError(f"this is still there: {left}")


def a_fake_site(_folder: Path) -> Site:
    """The fake that services' tests use."""
    clock = SteppingClock()
    return Site(FakeCloud(clock), clock, "project-1", "network-1", "image-1", "flavor-1")
