"""The judge can find somebody guilty: each way to break a service is noticed, by the invariant that it breaks."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from slipway_api import clusters
from slipway_api.store import ClusterRow
from slipway_chassis import facts
from slipway_chassis.database import upsert
from slipway_chassis.errors import RetryLater
from slipway_provisioner.domain.model import Found, Kind, Order
from slipway_simulation.runs import Outcome, run_plot
from slipway_simulation.story import Plot, a_quiet_plot

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(300)]

Wrap = Callable[[Any], Any]


class Broken:
    """The provisioner's adapter to the cloud, but for what a subclass spoils."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Forgetful(Broken):
    """Never finds what was made before a crash."""

    async def find(self, project_id: str, kind: Kind, name: str, resource_id: str) -> tuple[Found, ...]:
        return ()


class Doubling(Broken):
    """Asks for each server twice, before the first request has its port."""

    async def create(self, project_id: str, order: Order) -> str:
        if order.kind is Kind.SERVER:
            await self.inner.create(project_id, order)
        created: str = await self.inner.create(project_id, order)
        return created


class Repeating(Broken):
    """Takes each server away again, and makes a second one when the first is gone."""

    async def create(self, project_id: str, order: Order) -> str:
        created: str = await self.inner.create(project_id, order)
        if order.kind is Kind.SERVER:
            await self.inner.delete(project_id, order.kind, created)
            await asyncio.sleep(10)
            created = await self.inner.create(project_id, order)
        return created


class Unmarked(Broken):
    """Marks a port with an id that the ledger does not have."""

    async def create(self, project_id: str, order: Order) -> str:
        if order.kind is Kind.PORT:
            order = replace(order, mark=replace(order.mark, resource_id="not-in-the-ledger"))
        created: str = await self.inner.create(project_id, order)
        return created


class Greedy(Broken):
    """Deletes a server that is not ours with the first of ours."""

    async def delete(self, project_id: str, kind: Kind, cloud_id: str) -> None:
        if kind is Kind.SERVER:
            for view in await self.inner.servers(project_id, None):
                if not view.metadata:
                    await self.inner.delete(project_id, kind, view.server_id)
        await self.inner.delete(project_id, kind, cloud_id)


class Leaking(Broken):
    """Says of ports that they are gone, and deletes none."""

    async def delete(self, project_id: str, kind: Kind, cloud_id: str) -> None:
        if kind is not Kind.PORT:
            await self.inner.delete(project_id, kind, cloud_id)

    async def get(self, project_id: str, kind: Kind, cloud_id: str) -> Any:
        return None if kind is Kind.PORT else await self.inner.get(project_id, kind, cloud_id)


class Buggy(Broken):
    """Fails in a way that no port allows."""

    async def servers(self, project_id: str, changes_since: Any) -> Any:
        raise ValueError("not a failure of the port")


def lived(wrap: Wrap, *kill_at: tuple[str, int], plot: Plot | None = None) -> Outcome:
    return run_plot(plot or a_quiet_plot(), 0, kill_at=kill_at, wrap_cloud=wrap)


@pytest.mark.parametrize(
    ("wrap", "invariant"),
    [
        (Doubling, "I1"),
        (Unmarked, "I2"),
        (Leaking, "I2"),
        (Greedy, "I3"),
        (Repeating, "I8"),
        (Buggy, "made a mistake"),
    ],
    ids=[
        "two servers",
        "a mark that the ledger lacks",
        "a leak",
        "somebody else's server",
        "an effect that happens twice",
        "an unforeseen error",
    ],
)
def test_a_broken_adapter_is_found_out(wrap: Wrap, invariant: str) -> None:
    failure = lived(wrap).failure
    assert failure is not None
    assert invariant in failure


def test_without_adoption_a_crash_leaks() -> None:
    failure = lived(Forgetful, ("provisioner/provisioner.create_port:after", 1)).failure
    assert failure is not None
    assert "I2" in failure or "I6" in failure


def test_stale_facts_that_are_believed_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async def believe(session: Any, event: Any, now: Any) -> bool:
        row = {
            "source": event.source,
            "subject": event.subject,
            "sequence": event.order,
            "type": event.type,
            "body": type(event.data).__name__,
            "cluster_id": getattr(event.data, "cluster_id", None),
            "ended": event.ENDS,
            "document": event.to_json().decode(),
            "received_at": now,
        }
        return await upsert(session, facts.facts, row, keys=("source", "subject"))

    monkeypatch.setattr(facts, "record", believe)
    failure = run_plot(replace(a_quiet_plot(), ingredients=("an unruly bus",), faults_last=60.0), 0).failure
    assert failure is not None
    assert "I9" in failure


def test_a_project_that_is_not_looked_at_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    find_cluster = clusters.find_cluster

    async def find_anybodys(session: Any, caller: Any, name_or_id: str) -> Any:
        return await session.get(ClusterRow, name_or_id) or await find_cluster(session, caller, name_or_id)

    monkeypatch.setattr(clusters, "find_cluster", find_anybodys)
    failure = run_plot(a_quiet_plot(), 0).failure
    assert failure is not None
    assert "I11" in failure


def test_a_cloud_that_never_works_is_no_excuse_after_the_faults() -> None:
    class Away(Broken):
        async def create(self, project_id: str, order: Order) -> str:
            raise RetryLater(timedelta(seconds=5), "CloudAway", "The cloud is away")

    failure = lived(Away, plot=replace(a_quiet_plot(), rests_within=60.0)).failure
    assert failure is not None
    assert "I6" in failure
