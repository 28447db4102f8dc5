"""The process is killed at every side effect of a cluster's life and started again: nothing twice, nothing left."""

from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from slipway_chassis import crash
from slipway_chassis.regions import Endpoint, Reach
from slipway_chassis.testing import a_database
from slipway_contracts.provisioner import InfrastructurePhase, NodePhase
from slipway_contracts.values import Role
from slipway_provisioner.domain.model import Kind
from slipway_provisioner.store import metadata
from slipway_provisioner.testing.bench import Bench, a_bench
from slipway_provisioner.testing.builders import a_cluster, a_region, a_row, rows_of

LIMIT = 400
"""Seconds on the bench's clock for a whole life; an unknown outcome alone costs a minute."""


class Killer:
    """Kills the process at chosen passages of points: each of them once."""

    def __init__(self, chosen: Callable[[str, int], bool]) -> None:
        self._chosen = chosen
        self.struck: list[str] = []
        self.seen: Counter[str] = Counter()

    def __call__(self, passing: str) -> None:
        self.seen[passing] += 1
        if self._chosen(passing, self.seen[passing]):
            self.struck.append(passing)
            raise crash.Crashed(passing)


async def survive(bench: Bench, seconds: float) -> None:
    """Let time pass; when the process is killed, start it again where it was."""
    end = bench.clock.now().timestamp() + seconds
    while bench.clock.now().timestamp() < end:
        try:
            await bench.pass_time(1)
        except crash.Crashed:
            bench.start()


async def heard(bench: Bench, say: Callable[[], Awaitable[None]]) -> None:
    """Somebody says something; killed before its acknowledgement, the process gets it again."""
    while True:
        try:
            return await say()
        except crash.Crashed:
            bench.start()


async def until(bench: Bench, done: Callable[[Bench], bool]) -> None:
    """Let time pass until it is so, bounded."""
    for _ in range(LIMIT):
        await survive(bench, 1)
        if done(bench):
            return
    raise AssertionError(f"not within {LIMIT} s: {[(n.row.name, n.phase, n.waiting) for n in bench.nodes().values()]}")


def is_up(bench: Bench) -> bool:
    nodes = bench.nodes()
    return (
        len(nodes) == 3
        and all(node.phase is NodePhase.PROVISIONED for node in nodes.values())
        and bench.infrastructure().phase is InfrastructurePhase.AVAILABLE
    )


def is_replaced(bench: Bench) -> bool:
    node = bench.nodes()["blue-controller-1"]
    return node.row.incarnation == 2 and node.phase is NodePhase.PROVISIONED


def is_gone(bench: Bench) -> bool:
    return bench.infrastructure().phase is InfrastructurePhase.DELETED


async def live(bench: Bench) -> None:
    """Create 1+1+1, give the controller a new server, delete."""
    spec = a_cluster()
    await heard(bench, lambda: bench.want(spec))
    for role in Role:
        rows = rows_of(spec, role, bench.clock.now())
        await heard(bench, lambda role=role, rows=rows: bench.table(role, *rows))  # type: ignore[misc]
    await until(bench, is_up)
    again = a_row(Role.CONTROLLER, incarnation=2, now=bench.clock.now())
    await heard(bench, lambda: bench.table(Role.CONTROLLER, again))
    await until(bench, is_replaced)
    deleted = a_cluster(generation=2, deletion_requested_at=bench.clock.now())
    await heard(bench, lambda: bench.want(deleted))
    await until(bench, is_gone)


EFFECTS = (
    *(f"create_{kind.value}" for kind in Kind),
    "ensure_rules",
    "set_members",
    "ensure_bindings",
    "keep_node",
    "delete_node_object",
    "delete_server",
    "delete_port",
    "delete_load_balancer",
    "delete_floating_ip",
    "delete_security_group",
    "delete_server_group",
)


LIVES: dict[str, Callable[[str, int], bool]] = {
    "right before each effect": lambda point, passage: _is_effect(point, "before") and passage == 1,
    "right after each effect": lambda point, passage: _is_effect(point, "after") and passage == 1,
    "after the second of each effect": lambda point, passage: _is_effect(point, "after") and passage == 2,
    "before every 41st commit": lambda point, passage: point == "commit:before" and passage % 41 == 0,
    "after every 41st commit": lambda point, passage: point == "commit:after" and passage % 41 == 0,
}


def _is_effect(point: str, side: str) -> bool:
    return point.startswith("provisioner.") and point.endswith(f":{side}")


@pytest.mark.parametrize("when", LIVES)
async def test_kills_leave_nothing_twice_and_nothing_behind(tmp_path: Path, when: str) -> None:
    database = await a_database(tmp_path, metadata)
    outside = Endpoint(reach=Reach.FLOATING_IP, floating_network="public")
    bench = a_bench(database, region=a_region(endpoint=outside))
    killer = Killer(LIVES[when])
    crash.arm(killer)
    try:
        await live(bench)
    finally:
        crash.arm(None)
        await database.close()
    if "each effect" in when and "second" not in when:
        struck = {point.removeprefix("provisioner.").partition(":")[0] for point in killer.struck}
        assert struck >= set(EFFECTS), "an effect was never passed"
    assert killer.struck
    assert bench.cloud.left() == []
    assert all(made == 1 for made in bench.cloud.servers_ever.values()), bench.cloud.servers_ever
