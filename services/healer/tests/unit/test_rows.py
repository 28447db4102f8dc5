"""Names, zones, node tables, and what is kept and said of decisions."""

import random
from dataclasses import replace
from datetime import timedelta

from slipway_contracts.healer import Gate, PoolAboveTarget, PoolAtTarget, PoolBelowTarget, Refusal, Wanted
from slipway_contracts.testing import a_cluster_spec, a_pool_spec
from slipway_contracts.values import DNS_LABEL, Role
from slipway_healer.domain import reasons
from slipway_healer.domain.healing import decide
from slipway_healer.domain.record import digest_of, steady, summary_of
from slipway_healer.domain.rows import Names, event_for, next_zone, table_of
from slipway_healer.testing import BEGIN, POLICY, a_cluster, a_node, a_pool, a_region, a_well_node, dead, gone


def names(*taken: str, seed: int = 1) -> Names:
    return Names(random.Random(seed), lambda: "id", taken)


def test_names_are_dns_labels_however_long_their_parts_are() -> None:
    name = names().name("c" * 40, "p" * 40)
    assert len(name) == 63
    assert DNS_LABEL.match(name)
    assert names().name("demo", "workers").startswith("demo-workers-")


def test_a_name_is_not_given_twice() -> None:
    first = names().name("demo", "w")
    assert names(first).name("demo", "w") != first


def test_zones_go_by_the_fewest_nodes_and_none_is_no_zone() -> None:
    assert next_zone([], ["a"]) is None
    assert next_zone(["a", "b"], []) == "a"
    assert next_zone(["a", "b"], ["a", None]) == "b"
    assert next_zone(["a", "b"], ["a", "b"]) == "a"


def test_the_event_says_in_one_word_what_the_table_is() -> None:
    pool = a_pool_spec(Role.WORKER, 2)
    two = [a_well_node("w1"), a_well_node("w2")]
    assert event_for(pool, two) is PoolAtTarget
    assert event_for(pool, [two[0], a_node("w3")]) is PoolBelowTarget
    assert event_for(pool, [*two, a_node("w3")]) is PoolAboveTarget
    assert event_for(pool, [*two, replace(a_well_node("w3"), wanted=Wanted.REMOVED)]) is PoolAboveTarget


def test_the_table_is_complete_and_in_the_order_of_minting() -> None:
    nodes = [a_node("w2", minted_at=BEGIN), a_node("w1")]
    table = table_of(a_cluster_spec(generation=7), a_pool_spec(Role.WORKER, 2), nodes)
    assert [row.node_id for row in table.nodes] == ["w1", "w2"]
    assert (table.cluster_generation, table.operation_id, table.target) == (7, "operation-7", 2)


def test_a_decision_reads_as_a_sentence() -> None:
    nodes = [gone(a_well_node("w1")), dead(a_well_node("w2"), since=BEGIN), a_well_node("w3")]
    decision = decide(a_pool(count=4), nodes, a_cluster(*nodes), a_region(), POLICY, BEGIN)
    assert summary_of(decision, nodes) == (
        "remove w1 (ServerGone); make 1 (ServerGone), make 1 (BelowTarget); refuse w2 at long_enough (NotLongEnough)"
    )


def refusal(seconds: int, gate: Gate = Gate.KNOWN) -> Refusal:
    look = BEGIN + timedelta(seconds=seconds)
    return Refusal(gate=gate, reason=reasons.not_listed(), look_again_at=look)


def test_a_refusal_that_stays_the_same_keeps_its_words_for_a_while() -> None:
    said = [refusal(10)]
    soon, late = BEGIN + timedelta(seconds=20), BEGIN + timedelta(seconds=71)
    assert steady(said, [refusal(30)], soon) == tuple(said)
    assert steady(said, [refusal(81)], late) == (refusal(81),)
    assert steady(said, [refusal(30, Gate.HOLD)], soon) == (refusal(30, Gate.HOLD),)
    assert steady(said, [], soon) == ()


def test_the_digest_of_refusals_knows_no_times() -> None:
    assert digest_of([refusal(1)]) == digest_of([refusal(2)])
    assert digest_of([refusal(1)]) != digest_of([refusal(1, Gate.HOLD)])
    assert digest_of([]) == ""
