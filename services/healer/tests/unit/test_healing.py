"""What decide does with a pool, and what it refuses at which gate."""

from dataclasses import replace
from datetime import timedelta

import pytest

from slipway_contracts.healer import Gate, Hold, Wanted
from slipway_contracts.monitor import RegionTrust, Verdict
from slipway_contracts.provisioner import ServerState
from slipway_contracts.testing import a_node_spec
from slipway_contracts.values import Role
from slipway_healer.domain.attempts import fingerprint_of, rendered_of
from slipway_healer.domain.model import Attempts, Memory, Node, Region
from slipway_healer.testing import (
    BEGIN,
    LONG_AGO,
    POLICY,
    a_node,
    a_pool,
    a_region,
    a_trust,
    a_well_node,
    build_failed,
    dead,
    decided,
    described,
    gone,
    reported,
    witnessed,
)

STALE_REGION = a_region(a_trust(BEGIN - timedelta(seconds=31)))
SUSPECT = a_region(a_trust(trusted=False))
UNSEEN = a_region(a_trust(unseen=["c1"]))
NEVER_OBSERVED = Region(None, 20, BEGIN)


def workers(well: int, *ill: Node) -> list[Node]:
    return [*ill, *(a_well_node(f"well{number}") for number in range(well))]


def rebooted(node: Node, ago: timedelta) -> Node:
    return replace(node, reboots=1, rebooted_at=BEGIN - ago)


DEAD = dead(a_well_node("w1"))
GONE = gone(a_well_node("w1"))
IN_ERROR = reported(witnessed(a_well_node("w1"), kubernetes=Verdict.UNHEALTHY, server=Verdict.UNHEALTHY),
                    server_state=ServerState.ERROR)  # fmt: skip
TRIED = rebooted(DEAD, timedelta(minutes=6))
FAILED = build_failed(a_node("w1"))

WORKER_CASES = [
    ("all is well", workers(3), []),
    ("nodes are missing", workers(1), ["make", "make"]),
    ("a gone server is filled at once", workers(2, GONE), ["remove w1", "make for w1"]),
    ("a dead node is rebooted first", workers(2, DEAD), ["reboot w1"]),
    ("a rebooted node has time to come back", workers(2, rebooted(DEAD, timedelta(minutes=4))), []),
    ("a reboot that did not help is followed by a replacement", workers(2, TRIED), ["remove w1", "make for w1"]),
    (
        "a node that fell ill long after its reboot is rebooted again",
        workers(2, rebooted(DEAD, timedelta(minutes=61))),
        ["reboot w1"],
    ),
    ("a server in ERROR is not rebooted but replaced", workers(2, IN_ERROR), ["remove w1", "make for w1"]),
    ("a failed build is made again at once", workers(2, FAILED), ["remove w1", "make for w1"]),
    ("an ill node in surplus is removed and not replaced", workers(3, DEAD), ["remove w1"]),
    (
        "two dead: one at a time",
        workers(8, DEAD, dead(a_well_node("w2"))),
        ["reboot w1", "refuse w2 at blast_radius"],
    ),
    (
        "two gone: both at once",
        workers(8, GONE, gone(a_well_node("w2"))),
        ["remove w1", "remove w2", "make for w1", "make for w2"],
    ),
    (
        "three of ten dead: none",
        workers(7, *(dead(a_well_node(f"w{number}")) for number in range(3))),
        [f"refuse w{number} at blast_radius" for number in range(3)],
    ),
    (
        "three builds failed in one batch: all are made again",
        workers(0, *(build_failed(a_node(f"w{number}")) for number in range(3))),
        ["remove w0", "remove w1", "remove w2", "make for w0", "make for w1", "make for w2"],
    ),
]


@pytest.mark.parametrize(
    ("nodes", "expected"), [case[1:] for case in WORKER_CASES], ids=[case[0] for case in WORKER_CASES]
)
def test_a_worker_pool_where(nodes: list[Node], expected: list[str]) -> None:
    count = 10 if len(nodes) == 10 else 3
    control_plane = [a_well_node(f"c{number}", Role.CONTROLLER) for number in range(3)]
    assert described(decided(a_pool(count=count), nodes, others=control_plane)) == expected


@pytest.mark.parametrize(
    ("region", "ill", "refused"),
    [
        (STALE_REGION, DEAD, True),
        (STALE_REGION, FAILED, True),
        (STALE_REGION, GONE, True),
        (NEVER_OBSERVED, DEAD, True),
        (SUSPECT, DEAD, True),
        (SUSPECT, GONE, True),
        (SUSPECT, FAILED, True),
        (UNSEEN, DEAD, True),
        (UNSEEN, GONE, False),
        (UNSEEN, FAILED, False),
    ],
)
def test_unknown_is_not_unhealthy(region: Region, ill: Node, refused: bool) -> None:
    decision = decided(a_pool(), workers(2, ill), region=region)
    assert ("refuse w1 at unknown_is_not_unhealthy" in described(decision)) is refused
    assert decision.does_nothing is refused


def test_missing_nodes_are_made_whatever_is_known_of_the_region() -> None:
    assert described(decided(a_pool(), workers(1), region=NEVER_OBSERVED)) == ["make", "make"]


def test_no_node_is_made_before_the_provisioners_list_is_known() -> None:
    assert described(decided(a_pool(), workers(1), listed=False)) == ["refuse pool at provisioner_list_known"]
    assert described(decided(a_pool(), workers(2, GONE), listed=False)) == ["refuse w1 at provisioner_list_known"]


@pytest.mark.parametrize("hold", [Hold.PAUSE, Hold.RESTORE])
@pytest.mark.parametrize("nodes", [workers(2), workers(2, GONE), workers(2, DEAD), workers(4)])
def test_a_hold_refuses_everything(hold: Hold, nodes: list[Node]) -> None:
    decision = decided(a_pool(), nodes, hold=hold)
    assert decision.does_nothing
    assert {refusal.gate for refusal in decision.refusals} == {Gate.HOLD}


@pytest.mark.parametrize("nodes", [workers(2), workers(2, GONE), workers(4)])
def test_under_deletion_nothing_is_decided(nodes: list[Node]) -> None:
    decision = decided(a_pool(), nodes, hold=Hold.DELETION)
    assert described(decision) == []


def test_the_regions_budget_bounds_replacements() -> None:
    region = a_region(tokens=1)
    decision = decided(a_pool(count=10), workers(8, GONE, gone(a_well_node("w2"))), region=region)
    assert described(decision) == ["remove w1", "make for w1", "refuse w2 at token_bucket"]
    assert decision.tokens == 1
    assert decision.look_again_at == region.next_token_at


def test_the_blast_radius_lapses_after_half_an_hour_if_the_cloud_confirms_the_loss() -> None:
    lost = [reported(dead(a_well_node(f"w{number}")), server_state=ServerState.STOPPED) for number in range(4)]
    unconfirmed = [dead(a_well_node(f"w{number}")) for number in range(4)]
    lapsed = Memory(blast_since=BEGIN - timedelta(minutes=31))
    young = Memory(blast_since=BEGIN - timedelta(minutes=29))
    for ill, memory, expected in (
        (lost, lapsed, "reboot w0"),
        (lost, young, "refuse w0 at blast_radius"),
        (unconfirmed, lapsed, "refuse w0 at blast_radius"),
    ):
        decision = decided(a_pool(count=10, memory=memory), workers(6, *ill))
        assert described(decision)[0] == expected
        assert decision.memory.blast_since == memory.blast_since
        assert len(decision.changes) <= 1


def test_the_blast_radius_forgets_when_all_recovered() -> None:
    memory = Memory(blast_since=BEGIN - timedelta(minutes=31))
    assert decided(a_pool(memory=memory), workers(3)).memory.blast_since is None


def test_a_removed_node_and_its_replacement_count_once() -> None:
    leaving = replace(gone(a_well_node("w0")), wanted=Wanted.REMOVED, drain=False)
    coming = a_node("w9", replaces="w0")
    second = dead(a_well_node("w1"))
    decision = decided(a_pool(count=10), workers(8, leaving, coming, second))
    (refusal,) = decision.refusals
    assert refusal.inputs["bad_in_pool"] == 2
    assert refusal.reason.code == "OneAtATime"


def test_scale_in_takes_the_named_then_the_not_ready_then_the_oldest_spec_then_the_newest() -> None:
    old_spec = a_node_spec(version=1, flavor_id="flavor-0")
    pool = a_pool(count=1, victims=("named",), node_spec=a_node_spec(version=2))
    current = pool.spec.node_spec
    nodes = [
        a_well_node("oldest", spec=current),
        a_well_node("newest", spec=current, minted_at=BEGIN),
        a_well_node("old-spec", spec=old_spec),
        witnessed(a_well_node("not-ready", spec=current), kubernetes=Verdict.UNHEALTHY),
        a_well_node("named", spec=current),
    ]
    decision = decided(pool, nodes)
    assert [change.node_id for change in decision.changes] == ["named", "not-ready", "old-spec", "newest"]


def test_zones_are_filled_round_robin_by_the_fewest() -> None:
    nodes = [a_well_node("w1", zone="a"), a_well_node("w2", zone="a")]
    decision = decided(a_pool(count=6, zones=("a", "b", "c")), nodes)
    assert [mint.zone for mint in decision.mint] == ["b", "c", "b", "c"]


def test_a_new_spec_replaces_one_working_worker_at_a_time_by_surge() -> None:
    pool = a_pool(count=3, node_spec=a_node_spec(version=2))
    first = decided(pool, workers(3))
    assert described(first) == ["make for well0"]
    surging = a_node("n1", spec=pool.spec.node_spec, replaces="well0")
    assert described(decided(pool, [*workers(3), surging])) == []
    done = a_well_node("n1", spec=pool.spec.node_spec, replaces="well0")
    second = decided(pool, [*workers(3), done])
    assert described(second) == ["remove well0"]
    assert second.changes[0].drain


def test_a_failed_surge_is_tried_again_and_the_working_node_stays() -> None:
    pool = a_pool(count=3, node_spec=a_node_spec(version=2))
    failed = build_failed(a_node("n1", spec=pool.spec.node_spec, replaces="well0"))
    assert described(decided(pool, [*workers(3), failed])) == ["remove n1", "make for well0"]


def test_new_labels_ask_for_a_new_plan_of_every_node_once() -> None:
    pool = a_pool(count=2, labels={"disk": "fast"})
    memory = Memory(rendered="what it was before")
    decision = decided(replace(pool, memory=memory), workers(2))
    assert described(decision) == ["update well0", "update well1"]
    assert decision.memory.rendered == rendered_of(pool.spec)
    assert described(decided(replace(pool, memory=decision.memory), workers(2))) == []


# -- the retry cap


def quarantined(minutes_ago: float) -> Memory:
    attempts = Attempts(3, LONG_AGO, BEGIN - timedelta(minutes=minutes_ago))
    return Memory(fingerprint=fingerprint_of(a_pool().spec), attempts=attempts)


def test_failed_attempts_are_counted_by_batches() -> None:
    batch = [build_failed(a_node(f"w{number}")) for number in range(3)]
    first = decided(a_pool(), batch).memory
    assert first.attempts.failures == 1
    later = [build_failed(a_node(f"w{number}", incarnation_at=BEGIN)) for number in range(3)]
    assert decided(a_pool(memory=first), later).memory.attempts.failures == 2


def test_the_second_failure_backs_off_before_the_next_attempt() -> None:
    memory = replace(quarantined(40), attempts=Attempts(1, LONG_AGO, LONG_AGO))
    failed = build_failed(a_node("w1", incarnation_at=BEGIN))
    decision = decided(a_pool(memory=memory), workers(2, failed))
    assert described(decision) == ["refuse w1 at long_enough"]
    assert decision.look_again_at == BEGIN + POLICY.first_backoff


@pytest.mark.parametrize("nodes", [workers(2), workers(2, GONE), workers(2, FAILED), workers(2, TRIED)])
def test_a_quarantined_pool_makes_nothing_until_its_trial(nodes: list[Node]) -> None:
    refused = decided(a_pool(memory=quarantined(29)), nodes)
    assert refused.does_nothing
    assert [refusal.gate for refusal in refused.refusals] == [Gate.RETRY_CAP]
    assert refused.look_again_at == BEGIN + timedelta(minutes=1)
    assert len(decided(a_pool(memory=quarantined(30)), nodes).mint) == 1


def test_a_trial_is_one_node_and_no_second_beside_it() -> None:
    failed = [build_failed(a_node(f"w{number}")) for number in range(3)]
    decision = decided(a_pool(memory=quarantined(30)), failed)
    assert described(decision)[:2] == ["remove w0", "make for w0"]
    assert {refusal.gate for refusal in decision.refusals} == {Gate.RETRY_CAP}
    trial = a_node("t1", incarnation_at=BEGIN - timedelta(minutes=1), replaces="w0")
    beside = decided(a_pool(memory=quarantined(90)), [trial, *failed[1:]])
    assert beside.does_nothing


def test_a_trial_that_joined_lifts_the_quarantine() -> None:
    trial = a_well_node("t1", incarnation_at=BEGIN - timedelta(minutes=5))
    failed = [build_failed(a_node(f"w{number}")) for number in range(2)]
    decision = decided(a_pool(memory=quarantined(10)), [trial, *failed])
    assert decision.memory.attempts.failures == 0
    assert len(decision.mint) == 2


def test_a_change_of_the_pool_lifts_the_quarantine() -> None:
    pool = a_pool(memory=quarantined(1), labels={"tried": "again"})
    assert len(decided(pool, workers(2, FAILED)).mint) == 1


# -- decisions that went stale


def stale(node: Node, **changes: object) -> Node:
    return reported(replace(node, decided_at=BEGIN - timedelta(minutes=3)), stale=True, **changes)


LEAVING = {"wanted": Wanted.REMOVED, "drain": False}


def test_a_stale_removal_of_a_node_that_is_still_dead_is_extended() -> None:
    node = stale(replace(DEAD, **LEAVING))
    coming = a_node("w9", replaces="w1")
    assert described(decided(a_pool(count=3), workers(2, node, coming))) == ["extend w1"]


def test_a_stale_removal_of_a_node_that_recovered_is_withdrawn_and_its_replacement_goes() -> None:
    node = stale(replace(a_well_node("w1"), **LEAVING))
    coming = a_node("w9", replaces="w1")
    assert described(decided(a_pool(count=3), workers(2, node, coming))) == ["withdraw w1", "remove w9"]


def test_a_stale_removal_waits_while_the_region_is_suspect() -> None:
    node = stale(replace(DEAD, **LEAVING))
    decision = decided(a_pool(count=3), workers(2, node, a_node("w9", replaces="w1")), region=SUSPECT)
    assert described(decision) == ["refuse w1 at unknown_is_not_unhealthy"]


def test_a_stale_scale_in_is_extended_or_withdrawn_as_the_count_says() -> None:
    node = stale(replace(a_well_node("w1"), wanted=Wanted.REMOVED))
    assert described(decided(a_pool(count=2), workers(2, node))) == ["extend w1"]
    assert described(decided(a_pool(count=3), workers(2, node))) == ["withdraw w1"]


def test_a_stale_reboot_is_extended_while_the_node_is_dead_and_dropped_when_it_is_well() -> None:
    ill = stale(rebooted(DEAD, timedelta(minutes=3)))
    assert described(decided(a_pool(), workers(2, ill))) == ["extend w1"]
    well = stale(rebooted(a_well_node("w1"), timedelta(minutes=3)))
    assert described(decided(a_pool(), workers(2, well))) == []


def test_a_removal_counts_as_in_progress_until_it_is_reported_stale() -> None:
    leaving = reported(replace(DEAD, **LEAVING, valid_until=BEGIN - timedelta(minutes=1)))
    second = dead(a_well_node("w2"))
    decision = decided(a_pool(count=10), workers(8, leaving, a_well_node("w9", replaces="w1"), second))
    assert described(decision) == ["refuse w2 at blast_radius"]


def test_the_region_is_judged_by_the_time_of_its_observation() -> None:
    trust: RegionTrust = a_trust(BEGIN - timedelta(seconds=30))
    assert described(decided(a_pool(), workers(2, DEAD), region=a_region(trust))) == ["reboot w1"]
