"""When a region is suspect, and for how long."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from slipway_contracts.values import Reason
from slipway_monitor.domain.trust import ClusterSight, Loss, LossMemory, RegionSight, TrustLimits, judge_region
from slipway_monitor.testing import START

LIMITS = TrustLimits()
MINUTE = timedelta(minutes=1)


def a_region(losses: list[Loss], joined: dict[str | None, int], now: datetime = START, **changes: Any) -> RegionSight:
    values: dict[str, Any] = {"cloud_failure": None, "clusters": ()}
    return RegionSight(region="sandbox", now=now, joined=joined, losses=losses, **values | changes)


def lost(count: int, zone: str | None = "a", ago: timedelta = MINUTE, now: datetime = START) -> list[Loss]:
    return [Loss(f"{zone}-{number}", zone, now - ago) for number in range(count)]


@pytest.mark.parametrize(
    ("losses", "joined", "trusted"),
    [
        pytest.param([], {"a": 10}, True, id="nothing lost"),
        pytest.param(lost(3), {"a": 10, "b": 1}, True, id="three are machines' daily life"),
        pytest.param(lost(4), {"a": 10, "b": 10}, True, id="four of twenty are 20 %, not more"),
        pytest.param(lost(4), {"a": 10, "b": 9}, False, id="four of nineteen are more than 20 %"),
        pytest.param(lost(4, "b"), {"a": 96, "b": 4}, False, id="a whole zone of four"),
        pytest.param(lost(3, "b"), {"a": 96, "b": 3}, True, id="a zone of three is too small to tell"),
        pytest.param(lost(3, "b"), {"a": 96, "b": 4}, True, id="most of a zone is not the whole"),
        pytest.param(lost(4, None), {"a": 96, None: 4}, True, id="nodes without a zone are no zone"),
        pytest.param(lost(9, ago=6 * MINUTE), {"a": 10}, True, id="lost one by one, longer ago than five minutes"),
        pytest.param(lost(4, ago=5 * MINUTE), {"a": 10}, False, id="five minutes ago counts"),
    ],
)
def test_mass_loss(losses: list[Loss], joined: dict[str | None, int], trusted: bool) -> None:
    trust, _ = judge_region(a_region(losses, joined), LossMemory(), LIMITS)
    assert trust.trusted is trusted
    assert [reason.code for reason in trust.suspicions] == ([] if trusted else ["MassLoss"])


def test_a_failing_cloud_makes_the_region_suspect_as_long_as_it_fails() -> None:
    failure = Reason(code="CloudUnreachable", message="The cloud does not answer")
    trust, memory = judge_region(a_region([], {"a": 10}, cloud_failure=failure), LossMemory(), LIMITS)
    assert trust.suspicions == (failure,)
    assert judge_region(a_region([], {"a": 10}), memory, LIMITS)[0].trusted


def test_suspicion_lasts_thirty_minutes_after_the_last_new_loss_even_if_all_recover() -> None:
    _, memory = judge_region(a_region(lost(4), {"a": 10}), LossMemory(), LIMITS)
    almost = START - MINUTE + 30 * MINUTE - timedelta(seconds=1)
    trust, memory = judge_region(a_region([], {"a": 10}, now=almost), memory, LIMITS)
    assert not trust.trusted
    assert judge_region(a_region([], {"a": 10}, now=almost + MINUTE), memory, LIMITS)[0].trusted


def test_each_new_loss_prolongs_the_suspicion() -> None:
    _, memory = judge_region(a_region(lost(4), {"a": 10}), LossMemory(), LIMITS)
    later = START + 20 * MINUTE
    one_more = [*lost(4), *lost(1, "b", now=later)]
    _, memory = judge_region(a_region(one_more, {"a": 10, "b": 5}, now=later), memory, LIMITS)
    assert not judge_region(a_region([], {"a": 10}, now=START + 35 * MINUTE), memory, LIMITS)[0].trusted
    assert judge_region(a_region([], {"a": 10}, now=START + 50 * MINUTE), memory, LIMITS)[0].trusted


def clusters(seen: int, blind: int, dead: int = 0) -> tuple[ClusterSight, ...]:
    return (
        *(ClusterSight(f"seen-{number}", START, True) for number in range(seen)),
        *(ClusterSight(f"blind-{number}", START - MINUTE, True) for number in range(blind)),
        *(ClusterSight(f"dead-{number}", None, False) for number in range(dead)),
    )


@pytest.mark.parametrize(
    ("known", "trusted"),
    [
        pytest.param(clusters(5, 0), True, id="all are seen"),
        pytest.param(clusters(0, 1), True, id="one cluster alone: it is unseen, the region is not suspect"),
        pytest.param(clusters(5, 2), False, id="two that are well from inside and do not answer us"),
        pytest.param(clusters(20, 2), True, id="two of many may have trouble of their own"),
        pytest.param(clusters(5, 0, dead=5), True, id="clusters that are dead from inside too are no blindness"),
    ],
)
def test_blindness(known: tuple[ClusterSight, ...], trusted: bool) -> None:
    trust, _ = judge_region(a_region([], {"a": 10}, clusters=known), LossMemory(), LIMITS)
    assert trust.trusted is trusted
    assert set(trust.clusters_unseen) == {each.cluster_id for each in known if not each.cluster_id.startswith("seen")}


@given(
    losses=some.integers(0, 60),
    joined=some.integers(0, 60),
    ago=some.integers(0, 600),
    memory_age=some.one_of(some.none(), some.integers(0, 3600)),
)
def test_more_losses_never_make_a_region_more_trusted(
    losses: int, joined: int, ago: int, memory_age: int | None
) -> None:
    memory = LossMemory()
    if memory_age is not None:
        memory = LossMemory(START, START - timedelta(seconds=memory_age), "earlier")
    when = timedelta(seconds=ago)
    fewer, _ = judge_region(a_region(lost(losses, ago=when), {"a": joined + losses}), memory, LIMITS)
    more, _ = judge_region(a_region(lost(losses + 1, ago=when), {"a": joined + losses}), memory, LIMITS)
    assert fewer.trusted or not more.trusted
