"""The agents' interface: who may speak for a node, and what it gets."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from slipway_chassis.tables import work
from slipway_chassis.testing import a_database
from slipway_contracts.agent import Plan
from slipway_contracts.values import Mover, Role
from slipway_provisioner.agent_api import NODE_KIND
from slipway_provisioner.answers import Answer
from slipway_provisioner.domain.pki import AuthorityName, is_issued_by, make_request, read_certificate
from slipway_provisioner.domain.plans.model import Endpoint
from slipway_provisioner.domain.plans.testing import CLUSTER_ID
from slipway_provisioner.plan_progress import forget_node, plan_progress
from slipway_provisioner.store import metadata
from slipway_provisioner.store_agents import AgentRow, end_token
from slipway_provisioner.store_keys import read_cluster_keys
from slipway_provisioner.store_plans import PlanRow
from slipway_provisioner.testing.interfaces import OBSERVE_URL, PROGRAM, Caller, Interfaces, a_caller


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Interfaces]:
    database = await a_database(tmp_path, metadata)
    bench = Interfaces(database)
    await bench.add_cluster()
    yield bench
    await database.close()


def code(answer: Answer) -> tuple[int, str | None]:
    """Status, and the problem's code."""
    return answer.status, answer.body.get("code") if isinstance(answer.body, dict) else None


async def dirty(bench: Interfaces) -> list[str]:
    """The nodes that the reconciler is to look at."""
    async with bench.database.reading() as session:
        return [row.key for row in await session.execute(select(work.c.key).where(work.c.kind == NODE_KIND))]


async def test_program_and_time_are_for_everybody(bench: Interfaces) -> None:
    nobody = Caller(bench, "unknown", "none")
    assert await nobody.ask("GET", "program") == Answer(200, PROGRAM)
    assert await nobody.ask("GET", "time") == Answer(200, {"now": bench.clock.now().isoformat()})


async def test_a_claim_gives_an_identity_and_wakes_the_node(bench: Interfaces) -> None:
    agent = await a_caller(bench, Role.WORKER)
    answer = await agent.claim()
    assert answer.status == 200
    assert isinstance(answer.body, dict)
    assert answer.body["observe_url"] == OBSERVE_URL
    assert agent.peer is not None
    assert (agent.peer.name, agent.peer.kind) == (agent.node_id, "agent")
    assert await dirty(bench) == [agent.node_id]


async def test_the_same_key_may_claim_again_at_any_time(bench: Interfaces) -> None:
    agent = await a_caller(bench, Role.WORKER)
    await agent.claim()
    bench.clock.step(timedelta(days=400))
    assert (await agent.claim()).status == 200


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"token": "guessed"}, (403, "UnknownToken"), id="a guessed token"),
        pytest.param({"node_id": "another"}, (403, "UnknownToken"), id="a node that does not exist"),
        pytest.param({"csr_pem": "nonsense"}, (422, "InvalidRequest"), id="no request for a certificate"),
        pytest.param({"clock": "2025-12-31T22:00:00Z"}, (409, "ClockSkew"), id="a clock two hours behind"),
        pytest.param({"clock": "yesterday"}, (422, "InvalidBody"), id="a field that is wrong"),
    ],
)
async def test_a_claim_is_refused_for(bench: Interfaces, change: dict[str, str], expected: tuple[int, str]) -> None:
    agent = await a_caller(bench, Role.WORKER)
    assert code(await agent.claim(**change)) == expected
    assert agent.peer is None


async def test_another_key_is_refused_and_counted(bench: Interfaces) -> None:
    agent = await a_caller(bench, Role.WORKER)
    await agent.claim()
    thief = Caller(bench, agent.node_id, agent.token)
    assert code(await thief.claim()) == (403, "TokenTaken")
    async with bench.database.reading() as session:
        row = await session.get(AgentRow, agent.node_id)
        assert row is not None
        assert row.refused_claims == 1
        progress = await plan_progress(session, agent.node_id, bench.clock.now())
        assert progress.waiting is not None
        assert progress.waiting.code == "TokenTaken"
    assert (await agent.claim()).status == 200


async def test_a_step_that_is_done_with_a_word_is_shown_as_a_notice(bench: Interfaces) -> None:
    agent = await a_caller(bench, Role.WORKER)
    await agent.claim()
    await bench.plan(Role.WORKER)
    said = {"code": "RuntimeOutOfRange", "message": "containerd is 1.6.20; the region lets it pass"}
    await agent.report(1, ("machine", "done"), **said)
    async with bench.database.reading() as session:
        progress = await plan_progress(session, agent.node_id, bench.clock.now())
    (notice,) = progress.notices
    assert (notice.code, notice.message, notice.whose_move) == (said["code"], said["message"], Mover.OPERATOR)
    assert (progress.failed, progress.cause, progress.waiting) == (False, None, None)


async def test_a_token_ends_with_its_deadline(bench: Interfaces) -> None:
    agent = await a_caller(bench, Role.WORKER)
    async with bench.database.transaction() as session:
        await end_token(session, agent.node_id, 1, bench.clock.now() + timedelta(minutes=1))
    bench.clock.step(timedelta(minutes=2))
    assert code(await agent.claim()) == (403, "TokenExpired")


async def test_a_replaced_server_speaks_no_more_for_its_node(bench: Interfaces) -> None:
    old = await a_caller(bench, Role.ETCD)
    await old.claim()
    await bench.plan(Role.ETCD)
    await old.report(1, ("install", "done"))
    token = await bench.add_node(Role.ETCD, incarnation=2)
    assert token != old.token
    assert code(await old.ask("GET", "plan")) == (403, "NotThisNode")
    assert code(await old.claim()) == (403, "UnknownToken")
    async with bench.database.reading() as session:
        progress = await plan_progress(session, old.node_id, bench.clock.now())
    assert (progress.applied_revision, progress.claimed) == (0, False)
    new = Caller(bench, old.node_id, token)
    assert (await new.claim()).status == 200
    assert (await new.ask("GET", "plan")).status == 204, "the old server's plan is not the new one's"
    await bench.plan(Role.ETCD)
    assert (await new.ask("GET", "plan")).status == 200


async def test_the_token_of_one_server_is_the_same_each_time(bench: Interfaces) -> None:
    assert await bench.add_node(Role.WORKER) == await bench.add_node(Role.WORKER)
    late = await bench.add_node(Role.WORKER, incarnation=2)
    assert await bench.add_node(Role.WORKER, incarnation=1) != late, "an old incarnation's repetition changes nothing"
    assert (await Caller(bench, "node-worker-1", late).claim()).status == 200


async def test_a_plan_is_handed_out_once_for_each_revision(bench: Interfaces) -> None:
    agent = await a_caller(bench, Role.CONTROLLER)
    await agent.claim()
    assert (await agent.ask("GET", "plan", after=0, wait=0)).status == 204
    assert await bench.plan(Role.CONTROLLER) == 1
    answer = await agent.ask("GET", "plan", after=0)
    assert isinstance(answer.body, dict)
    assert Plan.model_validate(answer.body).revision == 1
    assert await bench.plan(Role.CONTROLLER) == 1, "the same content keeps its revision"
    assert (await agent.ask("GET", "plan", after=1)).status == 204
    assert await bench.plan(Role.CONTROLLER, endpoint=Endpoint("10.0.0.6", 6443)) == 2
    assert (await agent.ask("GET", "plan", after=1)).status == 200


async def test_an_agent_that_knows_a_newer_plan_than_a_restored_database_gets_a_newer_one(bench: Interfaces) -> None:
    agent = await a_caller(bench, Role.CONTROLLER)
    await agent.claim()
    await bench.plan(Role.CONTROLLER)
    answer = await agent.ask("GET", "plan", after=7)
    assert isinstance(answer.body, dict)
    assert Plan.model_validate(answer.body).revision == 8
    assert (await agent.ask("GET", "plan", after=8, wait=0)).status == 204


async def test_a_question_for_a_plan_is_held_for_a_while(bench: Interfaces) -> None:
    agent = await a_caller(bench, Role.WORKER)
    await agent.claim()
    asked_at = bench.clock.now()
    assert (await agent.ask("GET", "plan", after=0, wait=30)).status == 204
    assert bench.clock.now() - asked_at == timedelta(seconds=30)
    assert (await agent.ask("GET", "plan", after=0, wait=9999)).status == 204
    assert bench.clock.now() - asked_at == timedelta(seconds=85), "load balancers cut what is silent for a minute"


async def test_a_stop_lets_waiting_agents_go(bench: Interfaces) -> None:
    agent = await a_caller(bench, Role.WORKER)
    await agent.claim()
    bench.agent_api.stop()
    asked_at = bench.clock.now()
    assert (await agent.ask("GET", "plan", after=0, wait=30)).status == 204
    assert bench.clock.now() == asked_at


@pytest.mark.parametrize(
    ("path", "method"), [("plan", "GET"), ("certificates", "POST"), ("report", "POST")], ids=lambda each: each
)
async def test_only_agents_get_plans(bench: Interfaces, path: str, method: str) -> None:
    agent = await a_caller(bench, Role.WORKER)
    assert code(await agent.ask(method, path))[0] == 401
    agent.peer = bench.service("monitor")
    assert code(await agent.ask(method, path))[0] == 401


async def test_certificates_are_signed_strictly_by_the_plan(bench: Interfaces) -> None:
    agent = await a_caller(bench, Role.WORKER)
    await agent.claim()
    await bench.plan(Role.WORKER)
    _, csr = make_request("system:masters")
    requests = [{"name": name, "csr_pem": csr} for name in ("kubelet", "kubelet-serving")]
    answer = await agent.ask("POST", "certificates", {"revision": 1, "requests": requests})
    assert isinstance(answer.body, dict)
    client, serving = (read_certificate(each["certificate_pem"]) for each in answer.body["certificates"])
    assert client.subject.rfc4514_string() == "CN=system:node:demo-workers-aaaa1,O=system:nodes"
    keys = await bench_keys(bench)
    assert is_issued_by(client, keys)
    assert is_issued_by(serving, keys)


async def bench_keys(bench: Interfaces) -> str:
    async with bench.database.reading() as session:
        keys = await read_cluster_keys(session, bench.master, CLUSTER_ID)
    assert keys is not None
    return keys.authorities[AuthorityName.KUBERNETES].certificate_pem


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param({"revision": 1, "name": "apiserver"}, (403, "NotInPlan"), id="another role's certificate"),
        pytest.param({"revision": 2, "name": "kubelet"}, (409, "AnotherRevision"), id="another revision"),
        pytest.param({"revision": 1, "name": "kubelet", "csr_pem": "x"}, (422, "CannotSign"), id="no request"),
    ],
)
async def test_certificates_are_refused_for(
    bench: Interfaces, body: dict[str, object], expected: tuple[int, str]
) -> None:
    agent = await a_caller(bench, Role.WORKER)
    await agent.claim()
    await bench.plan(Role.WORKER)
    request = {"name": body["name"], "csr_pem": body.get("csr_pem", agent.csr)}
    answer = await agent.ask("POST", "certificates", {"revision": body["revision"], "requests": [request]})
    assert code(answer) == expected


async def test_reports_become_steps_and_percent(bench: Interfaces) -> None:
    agent = await a_caller(bench, Role.ETCD)
    await agent.claim()
    revision = await bench.plan(Role.ETCD)
    await agent.report(revision, ("install", "done"), ("certificates", "done"), ("etcd", "running"))
    async with bench.database.reading() as session:
        progress = await plan_progress(session, agent.node_id, bench.clock.now())
    states = [(step.title, step.state.value) for step in progress.steps]
    assert states == [
        ("Install etcd", "done"),
        ("Get etcd's certificates", "done"),
        ("Start etcd", "running"),
        ("Wait for etcd's quorum", "pending"),
    ]
    assert (progress.percent, progress.applied) == (50, False)
    names = ("install", "certificates", "etcd", "etcd-quorum")
    await agent.report(revision, *((name, "done") for name in names))
    async with bench.database.reading() as session:
        progress = await plan_progress(session, agent.node_id, bench.clock.now())
    assert (progress.percent, progress.applied) == (100, True)


async def test_waiting_for_others_is_counted_apart_from_own_faults(bench: Interfaces) -> None:
    agent = await a_caller(bench, Role.WORKER)
    await agent.claim()
    bench.clock.step(timedelta(seconds=20))
    revision = await bench.plan(Role.WORKER)
    waiting = {"code": "WaitingForControlPlane", "message": "not yet", "for_others": True}
    await agent.report(revision, ("control-plane-wait", "waiting"), **waiting)
    bench.clock.step(timedelta(seconds=60))
    await agent.report(revision, ("control-plane-wait", "waiting"), **waiting)
    bench.clock.step(timedelta(seconds=40))
    await agent.report(revision, ("control-plane-wait", "done"), ("kubelet", "waiting"), code="WaitingForKubelet")
    bench.clock.step(timedelta(seconds=500))
    await agent.report(revision, ("kubelet", "failed"), code="UnitNotActive", message="kubelet.service is failed")
    async with bench.database.reading() as session:
        progress = await plan_progress(session, agent.node_id, bench.clock.now())
    assert progress.waited_for_others == 20 + 60 + 40
    assert progress.failed
    assert progress.cause is not None
    assert (progress.cause.code, progress.cause.message) == ("UnitNotActive", "kubelet.service is failed")


async def test_a_silent_agent_is_not_waiting_for_ever(bench: Interfaces) -> None:
    agent = await a_caller(bench, Role.WORKER)
    await agent.claim()
    revision = await bench.plan(Role.WORKER)
    await agent.report(revision, ("control-plane-wait", "waiting"), for_others=True)
    bench.clock.step(timedelta(hours=5))
    await agent.report(revision, ("control-plane-wait", "done"))
    async with bench.database.reading() as session:
        assert (await plan_progress(session, agent.node_id, bench.clock.now())).waited_for_others == 120


async def test_a_report_about_an_old_revision_changes_nothing(bench: Interfaces) -> None:
    agent = await a_caller(bench, Role.WORKER)
    await agent.claim()
    await bench.plan(Role.WORKER)
    await bench.plan(Role.WORKER, endpoint=Endpoint("10.0.0.6", 6443))
    assert (await agent.report(1, ("kubelet", "done"))).status == 204
    async with bench.database.reading() as session:
        row = await session.get(PlanRow, agent.node_id)
        assert row is not None
        assert (row.revision, row.applied_revision, row.report) == (2, 0, [])


async def test_an_agent_reports_about_its_own_node_only(bench: Interfaces) -> None:
    agent = await a_caller(bench, Role.WORKER)
    await agent.claim()
    agent.node_id = "another"
    assert code(await agent.report(1, ("kubelet", "done"))) == (403, "AnotherNode")


async def test_a_clock_that_is_wrong_is_reported_as_a_cause(bench: Interfaces) -> None:
    agent = await a_caller(bench, Role.WORKER)
    await agent.claim(clock=(bench.clock.now() + timedelta(minutes=5)).isoformat())
    async with bench.database.reading() as session:
        progress = await plan_progress(session, agent.node_id, bench.clock.now())
    assert progress.cause is not None
    assert progress.cause.code == "ClockSkew"
    assert "300 s ahead" in progress.cause.message


async def test_a_removed_node_is_a_stranger(bench: Interfaces) -> None:
    agent = await a_caller(bench, Role.WORKER)
    await agent.claim()
    async with bench.database.transaction() as session:
        await forget_node(session, agent.node_id)
    assert code(await agent.ask("GET", "plan")) == (403, "NotThisNode")
    assert code(await agent.claim()) == (403, "UnknownToken")


@pytest.mark.parametrize("query", [{"after": "-1"}, {"wait": "x"}, {"after": "9" * 20}], ids=str)
async def test_a_bad_query_says_so(bench: Interfaces, query: dict[str, str]) -> None:
    agent = await a_caller(bench, Role.WORKER)
    await agent.claim()
    assert code(await agent.ask("GET", "plan", **query)) == (400, "InvalidQuery")


async def test_unknown_paths_are_not_found(bench: Interfaces) -> None:
    assert (await Caller(bench, "n", "t").ask("GET", "nonsense")).status == 404


def all_bytes(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


async def test_no_secret_is_in_clear_in_the_database(bench: Interfaces, tmp_path: Path) -> None:
    await bench.add_node(Role.CONTROLLER)
    await bench.plan(Role.CONTROLLER)
    await bench.database.close()
    content = all_bytes(tmp_path)
    assert b"BEGIN CERTIFICATE" in content, "the files hold what was stored"
    assert b"PRIVATE KEY" not in content
    assert b"secretbox" not in content
