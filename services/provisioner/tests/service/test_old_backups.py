"""The database goes back to an older state: what was made since is found again; nothing is made twice or left."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from slipway_chassis.inline_sqlite import an_inline_database
from slipway_contracts.healer import NodeRow, Wanted
from slipway_contracts.provisioner import InfrastructurePhase, NodePhase
from slipway_contracts.values import Role
from slipway_provisioner.domain.model import Kind, Mark, PortOrder, SecurityGroupOrder
from slipway_provisioner.domain.naming import resource_id_of
from slipway_provisioner.store import metadata
from slipway_provisioner.testing.bench import Bench, a_bench
from slipway_provisioner.testing.builders import CLUSTER, PROJECT, a_cluster, a_row, rows_of

SETTLES = 60
"""Seconds on the bench's clock."""


class Story:
    """A cluster's life in steps, with all that the others say at present, which they repeat."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.spec = a_cluster()
        self.rows: dict[Role, dict[str, NodeRow]] = {
            role: {row.name: row for row in rows_of(self.spec, role, bench.clock.now())} for role in Role
        }

    async def repeat(self) -> None:
        await self.bench.want(self.spec)
        for role, rows in self.rows.items():
            fresh = [row.model_copy(update={"valid_until": self._soon()}) for row in rows.values()]
            await self.bench.table(role, *fresh)

    async def until(self, done: Callable[[], bool]) -> None:
        for _ in range(SETTLES * 4):
            await self.bench.pass_time(0.5)
            if done():
                return
        left = [(node.row.name, node.phase, node.waiting) for node in self.bench.nodes().values()]
        raise AssertionError(f"not within {SETTLES * 2} s: {left}, {self.bench.infrastructure().waiting}")

    async def nothing(self) -> None:
        """Before anything is wanted."""

    async def groups(self) -> None:
        await self.repeat()
        await self.until(lambda: len(self.bench.cloud.of_kind(Kind.SERVER_GROUP)) == 2)

    async def ports(self) -> None:
        await self.until(lambda: len(self.bench.cloud.of_kind(Kind.PORT)) == 4)

    async def servers(self) -> None:
        await self.until(lambda: len(self.bench.cloud.of_kind(Kind.SERVER)) == 3)

    async def up(self) -> None:
        await self.until(self.is_as_wanted)

    async def replaced(self) -> None:
        """The controller gets another server."""
        self._say(a_row(Role.CONTROLLER, incarnation=2, now=self.bench.clock.now()))
        await self.repeat()
        await self.until(self.is_as_wanted)

    async def grown(self) -> None:
        self._say(a_row(Role.WORKER, 2, now=self.bench.clock.now()))
        await self.repeat()
        await self.until(self.is_as_wanted)

    async def shrunk(self) -> None:
        row = next(iter(self.rows[Role.WORKER].values()))
        self._say(row.model_copy(update={"wanted": Wanted.REMOVED, "drain": False, "valid_until": self._soon()}))
        await self.repeat()
        await self.until(self.is_as_wanted)

    async def deleted(self) -> None:
        now = self.bench.clock.now()
        self.spec = a_cluster(generation=2, deletion_requested_at=now)
        await self.repeat()
        await self.until(self.is_gone)

    def is_gone(self) -> bool:
        return self.bench.infrastructure().phase is InfrastructurePhase.DELETED and not self.bench.cloud.left()

    def is_as_wanted(self) -> bool:
        wanted = {n for rows in self.rows.values() for n, row in rows.items() if row.wanted is Wanted.PRESENT}
        servers = Counter(server.order.name for server in self.bench.cloud.of_kind(Kind.SERVER))
        up = {name for name, node in self.bench.nodes().items() if node.phase is NodePhase.PROVISIONED}
        ports = len(self.bench.cloud.of_kind(Kind.PORT))
        return servers == Counter(wanted) and up == wanted and ports == len(wanted) + 1 and self._is_whole()

    def _is_whole(self) -> bool:
        kinds = Counter(thing.kind for thing in self.bench.cloud.things.values() if thing.deleted_at is None)
        shared = {Kind.SECURITY_GROUP: 3, Kind.SERVER_GROUP: 2, Kind.LOAD_BALANCER: 1, Kind.LISTENER: 1, Kind.POOL: 1}
        return all(kinds[kind] == count for kind, count in shared.items())

    def _say(self, row: NodeRow) -> None:
        self.rows[row.role][row.name] = row

    def _soon(self) -> object:
        return self.bench.clock.now() + timedelta(minutes=2)


STEPS = ("nothing", "groups", "ports", "servers", "up", "replaced", "grown", "shrunk", "deleted")

GOES_BACK = (
    ("nothing", "groups"),
    ("nothing", "servers"),
    ("nothing", "up"),
    ("groups", "ports"),
    ("ports", "servers"),
    ("groups", "up"),
    ("servers", "replaced"),
    ("up", "replaced"),
    ("up", "shrunk"),
    ("grown", "shrunk"),
    ("up", "deleted"),
)


@pytest.fixture
async def quick(tmp_path: Path) -> AsyncIterator[Bench]:
    """A bench whose periods are short."""
    database = await an_inline_database(tmp_path / "bench.db", metadata)
    yield a_bench(
        database,
        ledger_check_every=timedelta(seconds=5),
        forgotten_kept_for=timedelta(seconds=20),
        parts_check_every=timedelta(seconds=5),
        full_list_every=timedelta(seconds=5),
    )
    await database.close()


async def tell(story: Story, first: str, last: str) -> None:
    for step in STEPS[STEPS.index(first) : STEPS.index(last) + 1]:
        act: Callable[[], Awaitable[None]] = getattr(story, step)
        await act()


@pytest.mark.parametrize(("backup", "restored"), GOES_BACK, ids=[f"{a} restored after {b}" for a, b in GOES_BACK])
async def test_an_old_backup_makes_nothing_twice_and_leaves_nothing(
    quick: Bench, tmp_path: Path, backup: str, restored: str
) -> None:
    story = Story(quick)
    await tell(story, "nothing", backup)
    quick.back_up(tmp_path / "backup.db")
    if backup != restored:
        await tell(story, STEPS[STEPS.index(backup) + 1], restored)
    servers_before = dict(quick.cloud.servers_ever)
    quick.restore(tmp_path / "backup.db")
    await story.repeat()
    if restored != "deleted":
        await story.until(story.is_as_wanted)
        assert servers_before.items() <= dict(quick.cloud.servers_ever).items(), "a server was made a second time"
    await story.deleted()
    assert quick.cloud.left() == []


async def test_a_deletion_removes_what_was_forgotten(quick: Bench, tmp_path: Path) -> None:
    """The nodes that the table would name again are not: from the deletion on nobody is made."""
    story = Story(quick)
    await tell(story, "nothing", "nothing")
    quick.back_up(tmp_path / "backup.db")
    await tell(story, "groups", "up")
    quick.restore(tmp_path / "backup.db")
    await story.deleted()


async def test_what_is_not_ours_is_left_alone(quick: Bench) -> None:
    """Marks that somebody copied or made up, and those of a cluster of which this region never heard."""
    story = Story(quick)
    await tell(story, "nothing", "up")
    made_up = Mark("made-up", CLUSTER, key="port/endpoint/9")
    strange = Mark(resource_id_of("another", "security_group/etcd"), "another", key="security_group/etcd")
    orders = (PortOrder("theirs", made_up, "network-1"), SecurityGroupOrder("of another region", strange))
    ids = [await quick.cloud.create(PROJECT, order) for order in orders]
    await quick.pass_time(SETTLES)
    assert all(quick.cloud.things[each].deleted_at is None for each in ids)


async def test_what_nobody_wants_again_is_deleted_after_a_while(quick: Bench) -> None:
    story = Story(quick)
    await tell(story, "nothing", "up")
    forgotten = Mark(resource_id_of(CLUSTER, "port/node-9/1"), CLUSTER, "node-9", key="port/node-9/1")
    port_id = await quick.cloud.create(PROJECT, PortOrder("forgotten", forgotten, "network-1"))
    await quick.pass_time(15)
    assert quick.cloud.things[port_id].deleted_at is None
    await quick.pass_time(30)
    assert quick.cloud.things[port_id].deleted_at is not None
