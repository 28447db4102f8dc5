"""The healer on the database of production: the same looks, and two replicas that share the work."""

import random
from collections.abc import AsyncIterator

import pytest

from slipway_chassis.clock import SteppingClock
from slipway_chassis.database import Database
from slipway_chassis.testing import a_postgresql_database
from slipway_contracts.healer import Wanted
from slipway_contracts.provisioner import ServerState
from slipway_contracts.testing import a_cluster_spec, a_pool_spec
from slipway_contracts.values import Role
from slipway_healer.app import Parts, build_service
from slipway_healer.settings import Settings
from slipway_healer.stage import Stage
from slipway_healer.store import metadata

pytestmark = pytest.mark.integration


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    async with a_postgresql_database(postgres_url, metadata) as database:
        yield database


async def test_a_worker_is_replaced_by_whichever_replica_comes_first(database: Database) -> None:
    clock = SteppingClock()
    first, second = (
        build_service(Settings(region="tokyo"), Parts(clock, database, random.Random(seed))) for seed in (1, 2)
    )
    await first.start()
    await second.start()
    stage = Stage(first, clock)
    await stage.spec(a_cluster_spec(pools=[a_pool_spec(Role.WORKER, 3)]))
    await stage.listing()
    await stage.region()
    await stage.act()
    victim = stage.rows("pool-worker")[0]
    stage.healer = second
    await stage.node(victim.node_id, server_state=ServerState.GONE)
    await stage.settle()
    stage.healer = first
    await stage.settle()
    rows = stage.rows("pool-worker")
    assert [row.node_id for row in rows if row.wanted is Wanted.REMOVED] == [victim.node_id]
    assert [row.replaces for row in rows if row.replaces] == [victim.node_id]
    await stage.act()
    assert len(stage.rows("pool-worker")) == 3
