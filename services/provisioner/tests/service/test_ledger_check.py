"""What an operator is told when the ledger and the cloud differ."""

from datetime import timedelta

from slipway_chassis.errors import RetryLater
from slipway_chassis.findings import Finding
from slipway_provisioner.domain.model import Kind, Mark, PortOrder
from slipway_provisioner.domain.naming import resource_id_of
from slipway_provisioner.ledger_check import LedgerCheck
from slipway_provisioner.testing.bench import Bench
from slipway_provisioner.testing.builders import CLUSTER, PROJECT, a_cluster


async def look(bench: Bench) -> list[Finding]:
    return list(await LedgerCheck(bench.database, bench.cloud)())


async def codes(bench: Bench) -> list[str]:
    return [each.code for each in await look(bench)]


async def test_a_whole_cluster_has_no_findings_and_a_look_changes_nothing(established: Bench) -> None:
    before = [thing.order for thing in established.cloud.of_kind(Kind.SERVER)]
    assert await look(established) == []
    assert [thing.order for thing in established.cloud.of_kind(Kind.SERVER)] == before


async def test_a_server_that_somebody_deleted_is_missing(established: Bench) -> None:
    lost = established.cloud.of_kind(Kind.SERVER)[0]
    established.cloud.vanish(lost)
    (finding,) = await look(established)
    assert finding.code == "MissingInCloud"
    assert lost.order.name in finding.subject


async def test_what_carries_the_clusters_tag_and_is_not_ours_is_named(established: Bench) -> None:
    foreign = await established.cloud.create(
        PROJECT, PortOrder("theirs", Mark("not-in-the-ledger", CLUSTER), "network-1")
    )
    (finding,) = await look(established)
    assert finding.code == "NotInLedger"
    assert foreign in finding.subject


async def test_what_the_ledger_has_forgotten_is_named(established: Bench) -> None:
    key = "port/node-9/1"
    mark = Mark(resource_id_of(CLUSTER, key), CLUSTER, "node-9", key=key)
    await established.cloud.create(PROJECT, PortOrder("forgotten", mark, "network-1"))
    assert await codes(established) == ["Forgotten"]


async def test_a_cloud_that_does_not_answer_is_a_finding_and_not_an_empty_cloud(established: Bench) -> None:
    established.cloud.fail("list_marked", RetryLater(timedelta(seconds=1), "CloudAway", "The cloud is away"))
    (finding,) = await look(established)
    assert finding.code == "LedgerUnchecked"
    assert "The cloud is away" in finding.message


async def test_a_deleted_cluster_is_not_looked_for(established: Bench) -> None:
    await established.want(a_cluster(generation=2, deletion_requested_at=established.clock.now()))
    await established.pass_time(30)
    assert await codes(established) == []
