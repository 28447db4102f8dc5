"""What people see is made of events alone: states, nodes, operations, alerts."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from slipway_api.testing_platform import Platform
from slipway_api.testing_story import USERS_MOVE, Story, announced_spec
from slipway_chassis.clock import SteppingClock
from slipway_contracts import addon_manager, monitor, provisioner
from slipway_contracts.monitor import Alert, AlertName, RegionTrust, Severity, Verdict
from slipway_contracts.operations import OperationState
from slipway_contracts.provisioner import Evidence, InfrastructurePhase, NodePhase, Step, StepState
from slipway_contracts.values import Reason


@pytest.fixture
async def story(platform: Platform, alice: httpx.AsyncClient) -> Story:
    """A cluster of one etcd node, one controller and two workers, just accepted."""
    pools = [
        {"name": "etcd", "role": "etcd", "count": 1},
        {"name": "controller", "role": "controller", "count": 1},
        {"name": "worker", "role": "worker", "count": 2},
    ]
    answer = await alice.post("/v1/clusters", json={"name": "shop", "pools": pools})
    assert answer.status_code == 202, answer.text
    return Story(platform, await announced_spec(platform))


async def seen(client: httpx.AsyncClient, path: str = "/v1/clusters/shop") -> Any:
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def listed(platform: Platform, client: httpx.AsyncClient) -> Any:
    await platform.settle()
    return (await seen(client, "/v1/clusters?state=ready&state=creating&state=degraded&state=blocked&state=updating"
                               "&state=deleting&state=deleted"))["items"][0]  # fmt: skip


async def test_a_cluster_goes_from_creating_to_ready(
    platform: Platform, alice: httpx.AsyncClient, story: Story
) -> None:
    assert (await seen(alice))["state"] == "creating"
    await story.operation(OperationState.RUNNING, 40)
    assert (await listed(platform, alice))["percent"] == 40
    await story.becomes_ready()
    cluster = await seen(alice)
    assert (cluster["state"], cluster["nodes_ready"], cluster["endpoint"]) == ("ready", 4, "https://10.1.0.4:6443")
    row = await listed(platform, alice)
    assert (row["state"], row["nodes_ready"], row["nodes_wanted"], row["percent"]) == ("ready", 4, 4, 100)


async def test_a_blocked_operation_says_whose_move_it_is(
    platform: Platform, alice: httpx.AsyncClient, story: Story
) -> None:
    await story.operation(OperationState.BLOCKED, 10, cause=USERS_MOVE)
    for cluster in (await seen(alice), await listed(platform, alice)):
        assert (cluster["state"], cluster["reason"]["whose_move"]) == ("blocked", "user")
    operation = await seen(alice, f"/v1/operations/{story.spec.operation_id}")
    assert (operation["state"], operation["cause"]["code"]) == ("blocked", "QuotaExceeded")


async def test_etcds_members_are_shown_and_told(alice: httpx.AsyncClient, story: Story) -> None:
    await story.names_nodes()
    assert (await seen(alice))["etcd"] is None
    await story.etcd(healthy=True)
    assert [each["healthy"] for each in (await seen(alice))["etcd"]["voters"]] == [True]
    await story.etcd(healthy=False, learners=1)
    shown = (await seen(alice))["etcd"]
    assert ([each["healthy"] for each in shown["voters"]], len(shown["learners"])) == ([False], 1)
    (name,) = [row.name for row in story.all_rows if row.role.value == "etcd"]
    told = [
        event["message"]
        for event in (await alice.get("/v1/events", headers={"Accept": "application/json"})).json()["items"]
    ]
    assert f"Etcd has 1 member; 1 on the way; not well: {name}" in told


async def test_a_sick_node_degrades_the_cluster_and_a_change_updates_it(alice: httpx.AsyncClient, story: Story) -> None:
    await story.becomes_ready()
    worker = next(row for row in story.all_rows if row.node_id == "worker-1")
    await story.health(worker, Verdict.UNHEALTHY, "no lease for 5 min")
    cluster = await seen(alice)
    assert (cluster["state"], cluster["reason"]["message"]) == ("degraded", "3 of 4 nodes are ready.")
    await story.refuses(worker.pool_id, Reason(code="TooManyBad", message="Too many nodes are bad at once."))
    assert (await seen(alice))["reason"]["code"] == "TooManyBad"
    assert (await seen(alice, "/v1/clusters/shop/pools/worker"))["refusals"][0]["gate"] == "blast_radius"
    await alice.patch("/v1/clusters/shop/pools/worker", json={"count": 3})
    assert (await seen(alice))["state"] == "updating"


async def test_a_cluster_whose_api_is_away_is_degraded(alice: httpx.AsyncClient, story: Story) -> None:
    await story.becomes_ready()
    await story.cluster_health(Verdict.UNHEALTHY, Reason(code="ApiAway", message="The Kubernetes API does not answer."))
    cluster = await seen(alice)
    assert (cluster["state"], cluster["reason"]["code"]) == ("degraded", "ApiAway")


async def test_a_deleted_cluster_leaves_lists_and_its_name_and_stays_in_history(
    platform: Platform, alice: httpx.AsyncClient, story: Story
) -> None:
    await story.becomes_ready()
    await alice.delete("/v1/clusters/shop")
    story = Story(platform, await announced_spec(platform), story.rows)
    await story.infrastructure(
        InfrastructurePhase.DELETING,
        remaining=(provisioner.Remainder(kind="server", cloud_id="s-1", name="shop-worker-00001"),),
    )
    assert "server shop-worker-00001" in (await seen(alice))["reason"]["message"]
    await story.goes()
    assert (await seen(alice, "/v1/clusters"))["items"] == []
    assert (await alice.get("/v1/clusters/shop")).status_code == 404
    gone = await seen(alice, f"/v1/clusters/{story.spec.cluster_id}")
    assert (gone["state"], gone["nodes_ready"]) == ("deleted", 0)
    assert (await seen(alice, "/v1/clusters?state=deleted"))["items"][0]["name"] == "shop"
    assert (await seen(alice, f"/v1/clusters/{story.spec.cluster_id}/nodes"))["items"] == []
    assert (await alice.post("/v1/clusters", json={"name": "shop"})).status_code == 202


async def test_a_node_is_told_in_one_line_of_three_owners(alice: httpx.AsyncClient, story: Story) -> None:
    await story.names_nodes()
    worker = next(row for row in story.all_rows if row.node_id == "worker-1")
    assert (await seen(alice, "/v1/clusters/shop/nodes?pool=worker"))["items"][0]["state"] == "pending"
    steps = (
        Step(name="boot", title="Boot", state=StepState.DONE),
        Step(name="join", title="Join", state=StepState.RUNNING),
    )
    await story.node(worker, NodePhase.CONFIGURING, percent=70, steps=steps, addresses=("10.1.0.9",), server_id="s-9")
    node = (await seen(alice, "/v1/clusters/shop/nodes?pool=worker"))["items"][0]
    assert (node["state"], node["step"], node["percent"]) == ("configuring", "Join", 70)
    assert (node["addresses"], node["zone"]) == (["10.1.0.9"], "zone-1")
    await story.node(worker, NodePhase.PROVISIONED, percent=100)
    assert (await seen(alice, "/v1/clusters/shop/nodes/worker-1"))["state"] == "joining"
    await story.health(worker, Verdict.HEALTHY)
    detail = await seen(alice, f"/v1/clusters/shop/nodes/{worker.name}")
    assert (detail["state"], detail["witnesses"][0]["name"], detail["reason"]) == ("ready", "kubernetes", None)


async def test_a_failed_node_shows_its_cause_and_evidence(alice: httpx.AsyncClient, story: Story) -> None:
    await story.names_nodes()
    worker = next(row for row in story.all_rows if row.node_id == "worker-1")
    cause = Reason(code="NoValidHost", message="The cloud found no host for it.")
    await story.node(
        worker,
        NodePhase.FAILED,
        event=provisioner.NodeProvisioningFailed,
        cause=cause,
        evidence=Evidence(console="panic"),
    )
    detail = await seen(alice, "/v1/clusters/shop/nodes/worker-1")
    assert (detail["state"], detail["reason"]["code"], detail["evidence"]["console"]) == (
        "failed",
        "NoValidHost",
        "panic",
    )
    assert [each["id"] for each in (await seen(alice, "/v1/clusters/shop/nodes?state=failed"))["items"]] == ["worker-1"]


async def test_what_a_node_leaves_behind_is_shown_when_it_is_gone(alice: httpx.AsyncClient, story: Story) -> None:
    await story.names_nodes()
    worker = next(row for row in story.all_rows if row.node_id == "worker-1")
    cause = Reason(code="NoRoute", message="Its agent never called: no route from the network net-1.")
    await story.removes(worker, cause=cause, evidence=Evidence(console="cannot reach", incarnation=1))
    listed = (await seen(alice, "/v1/clusters/shop/nodes?pool=worker"))["items"]
    assert "worker-1" not in {node["id"] for node in listed}
    for path in ("/v1/clusters/shop/nodes/worker-1", f"/v1/clusters/shop/nodes/{worker.name}"):
        gone = await seen(alice, path)
        assert (gone["state"], gone["reason"]["message"], gone["evidence"]["console"]) == (
            "removed",
            cause.message,
            "cannot reach",
        )
    (only,) = (await seen(alice, "/v1/clusters/shop/nodes?state=removed"))["items"]
    assert only["id"] == "worker-1"


async def test_the_health_of_the_former_server_does_not_make_a_new_one_ready(
    alice: httpx.AsyncClient, story: Story
) -> None:
    await story.becomes_ready()
    rows = story.rows[story.spec.pools[0].pool_id]
    rows[0] = rows[0].model_copy(update={"incarnation": 2})
    await story.table(rows[0].pool_id)
    assert (await seen(alice, "/v1/clusters/shop/nodes/etcd-1"))["state"] == "joining"


async def test_a_removed_node_leaves_the_list(alice: httpx.AsyncClient, story: Story) -> None:
    await story.becomes_ready()
    worker = next(row for row in story.all_rows if row.node_id == "worker-1")
    await story.removes(worker)
    names = [each["id"] for each in (await seen(alice, "/v1/clusters/shop/nodes"))["items"]]
    assert names == ["controller-1", "etcd-1", "worker-2"]


async def test_lists_come_page_by_page(alice: httpx.AsyncClient, story: Story, platform: Platform) -> None:
    clock = platform.clock
    assert isinstance(clock, SteppingClock)
    await story.names_nodes()
    for number in range(3):
        clock.step(timedelta(seconds=1))
        small = [{"name": role, "role": role, "count": 1} for role in ("etcd", "controller", "worker")]
        await alice.post("/v1/clusters", json={"name": f"shop-{number}", "pools": small})
    for path, name in (("/v1/clusters", "name"), ("/v1/operations", "cluster"), ("/v1/clusters/shop/nodes", "name")):
        whole = [each[name] for each in (await seen(alice, path))["items"]]
        assert len(whole) == 4
        parts, marker = [], None
        for _ in range(4):
            page = await seen(alice, f"{path}?limit=3" + (f"&marker={marker}" if marker else ""))
            parts += [each[name] for each in page["items"]]
            marker = page["next"]
            if marker is None:
                break
        assert parts == whole, path
    assert [each["name"] for each in (await seen(alice, "/v1/clusters?name=shop-1"))["items"]] == ["shop-1"]
    assert (await seen(alice, "/v1/operations?cluster=shop-2&state=running"))["items"][0]["cluster"] == "shop-2"


async def test_a_page_goes_on_after_a_node_that_is_gone_or_changed_meanwhile(
    alice: httpx.AsyncClient, story: Story
) -> None:
    await story.names_nodes()
    path = "/v1/clusters/shop/nodes?limit=1"
    whole = [each["id"] for each in (await seen(alice, "/v1/clusters/shop/nodes"))["items"]]
    worker = next(row for row in story.all_rows if row.node_id == "worker-1")
    assert whole.index("worker-1") == 2
    await story.node(worker, NodePhase.BOOTING)
    assert (await seen(alice, f"{path}&state=pending&marker=worker-1"))["items"][0]["id"] == whole[3]
    await story.removes(worker)
    assert (await seen(alice, f"{path}&marker=worker-1"))["items"][0]["id"] == whole[3]
    unknown = await alice.get(f"{path}&marker=nobody")
    assert (unknown.status_code, unknown.json()["errors"][0]["field"]) == (422, "marker")


async def test_nodes_of_an_unknown_pool_are_not_none_but_not_found(alice: httpx.AsyncClient, story: Story) -> None:
    await story.names_nodes()
    answer = await alice.get("/v1/clusters/shop/nodes?pool=wrokers")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "it has: etcd, controller, worker" in answer.json()["detail"]
    assert (await seen(alice, "/v1/clusters/shop/nodes?pool=worker&state=failed"))["items"] == []


async def test_an_operation_that_was_overtaken_ends_with_the_one_that_replaced_it(
    platform: Platform, alice: httpx.AsyncClient, story: Story
) -> None:
    first = story.spec.operation_id
    await alice.patch("/v1/clusters/shop/pools/worker", json={"count": 3})
    story = Story(platform, await announced_spec(platform), story.rows)
    await story.becomes_ready()
    overtaken = await seen(alice, f"/v1/operations/{first}")
    assert (overtaken["state"], overtaken["cause"]["code"]) == ("succeeded", "Overtaken")
    assert (await seen(alice))["state"] == "ready"


async def test_stale_and_foreign_facts_change_nothing(alice: httpx.AsyncClient, story: Story) -> None:
    await story.becomes_ready()
    before = await seen(alice)
    elsewhere = story.platform.elsewhere
    elsewhere._sequence = 0
    await story.infrastructure(InfrastructurePhase.BUILDING)
    assert await seen(alice) == before
    await elsewhere.says(
        "monitor", monitor.ClusterUnhealthy, "clusters/unknown/health",
        monitor.ClusterHealth(cluster_id="unknown", verdict=Verdict.UNHEALTHY, since=story.now),
    )  # fmt: skip
    assert await seen(alice) == before


async def test_regions_alerts_and_addons_are_shown(
    platform: Platform, alice: httpx.AsyncClient, bob: httpx.AsyncClient, story: Story
) -> None:
    alert = Alert(
        alert_id="a-1", name=AlertName.LONG_NODE_PROVISIONING, severity=Severity.WARNING,
        cluster_id=story.spec.cluster_id, message="Node shop-worker-00001 takes long.", raised_at=story.now,
    )  # fmt: skip
    await platform.elsewhere.says("monitor", monitor.AlertRaised, "alerts/a-1", alert)
    assert (await seen(alice, "/v1/alerts?cluster=shop"))["items"][0]["name"] == "LongNodeProvisioning"
    assert (await seen(bob, "/v1/alerts"))["items"] == []
    resolved = alert.model_copy(update={"resolved_at": story.now})
    await platform.elsewhere.says("monitor", monitor.AlertResolved, "alerts/a-1", resolved)
    assert (await seen(alice, "/v1/alerts"))["items"] == []
    assert (await seen(alice, "/v1/alerts?resolved=true"))["items"][0]["resolved_at"] is not None

    trust = RegionTrust(region="sandbox", round_finished_at=story.now, trusted=True)
    await platform.elsewhere.says("monitor", monitor.RegionObserved, "regions/sandbox", trust)
    async with platform.client() as stranger:
        region = (await seen(stranger, "/v1/regions"))["items"][0]
    assert (region["trusted"], region["default_flavors"], region["releases"][0]) == (
        True,
        {"any": "m1.small"},
        "v1.37.2",
    )

    await story.addon("flannel", addon_manager.AddonPhase.INSTALLING)
    assert (await seen(alice))["addons"][0] == {
        "name": "flannel", "phase": "installing", "version": None, "wanted_version": "1", "reason": None,
    }  # fmt: skip


async def test_what_is_kept_for_a_time_is_dropped_after_it(
    platform: Platform, alice: httpx.AsyncClient, story: Story
) -> None:
    clock = platform.clock
    assert isinstance(clock, SteppingClock)
    await platform.service.start()
    clock.step(timedelta(days=8))
    await platform.settle()
    async with platform.client(platform.identity.issue("alice", "shop")) as again:
        page = await again.get("/v1/events", headers={"Accept": "application/json"})
        assert page.json()["items"] == []
        assert (await seen(again))["name"] == "shop"
