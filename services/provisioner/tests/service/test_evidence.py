"""Nodes that do not come up: why, for how long a token counts, and what is kept when the server is gone."""

from datetime import timedelta

import pytest

from slipway_contracts.healer import Wanted
from slipway_contracts.provisioner import NodePhase, NodeState
from slipway_contracts.values import Mover, Role
from slipway_provisioner.domain.model import ServerOrder
from slipway_provisioner.domain.pki import make_request
from slipway_provisioner.testing.bench import Bench, read_bootstrap
from slipway_provisioner.testing.builders import a_cluster, a_row, rows_of

WORKER, CONTROLLER = "blue-worker-1", "blue-controller-1"
CANNOT = "slipway: cannot reach https://agents.invalid/p: No route to host; again in 30 s"
CONSOLE = "cloud-init ran\nthe token {token}\n" + CANNOT + "\n"


def state(bench: Bench, name: str) -> NodeState:
    return bench.nodes()[name]


def token_of(bench: Bench, name: str) -> str:
    order = bench.cloud.server_of(name).order
    assert isinstance(order, ServerOrder)
    return str(read_bootstrap(order.user_data)["token"])


async def claim(bench: Bench, name: str, *, behind: timedelta = timedelta(0)) -> tuple[int, str]:
    """An agent claims the node now, by a clock of its own."""
    order = bench.cloud.server_of(name).order
    assert isinstance(order, ServerOrder)
    bootstrap = read_bootstrap(order.user_data)
    body = {
        "token": bootstrap["token"],
        "node_id": bootstrap["node_id"],
        "csr_pem": make_request("agent")[1],
        "clock": (bench.clock.now() - behind).isoformat(),
        "hostname": name,
        "agent_version": "1",
        "boot_id": "1",
    }
    answer = await bench.agent_api.dispatch("POST", "/v1/agent/claim", {}, body, None)
    assert isinstance(answer.body, dict)
    return answer.status, str(answer.body.get("code", ""))


@pytest.fixture
async def silent(bench: Bench) -> Bench:
    """A worker's agent never calls: its machine has no route to us. One second is left to its deadline."""
    bench.silent.add(WORKER)
    spec = a_cluster()
    await bench.want(spec)
    for role in Role:
        await bench.table(role, *rows_of(spec, role, bench.clock.now()))
    await bench.pass_time(12)
    bench.cloud.consoles[WORKER] = CONSOLE.format(token=token_of(bench, WORKER))
    active_at = state(bench, WORKER).active_at
    assert active_at is not None
    bench.clock.step(active_at + timedelta(minutes=10) - timedelta(seconds=1) - bench.clock.now())
    await bench.settle()
    return bench


def assert_explained(bench: Bench) -> None:
    node = state(bench, WORKER)
    assert node.cause is not None
    assert (node.cause.code, node.cause.whose_move) == ("NoRoute", Mover.USER)
    assert "network-1" in node.cause.message
    assert "No route to host" in node.cause.message
    assert node.evidence is not None
    assert node.evidence.console is not None
    assert "cannot reach" in node.evidence.console
    assert "[removed]" in node.evidence.console
    assert (node.evidence.incarnation, node.evidence.last_step) == (1, None)


async def test_an_agent_that_never_called_is_explained_at_its_deadline(silent: Bench) -> None:
    bench, token = silent, token_of(silent, WORKER)
    assert state(bench, WORKER).cause is None
    await bench.pass_time(2)
    assert state(bench, WORKER).phase is NodePhase.BOOTING
    assert_explained(bench)
    assert bench.cloud.calls["console"] == 1
    await bench.pass_time(200)
    assert bench.cloud.calls["console"] == 1, "once is enough"
    assert token not in str([event.data for event in bench.published])


async def test_a_token_ends_at_the_deadline_of_its_server(silent: Bench) -> None:
    await silent.pass_time(2)
    assert await claim(silent, WORKER) == (403, "TokenExpired")


async def test_until_then_the_token_counts(silent: Bench) -> None:
    assert (await claim(silent, WORKER))[0] == 200


@pytest.mark.parametrize("looked", [True, False], ids=["after it was explained", "before anybody looked"])
async def test_what_explains_it_stays_when_its_server_is_gone(silent: Bench, *, looked: bool) -> None:
    bench = silent
    if looked:
        await bench.pass_time(2)
    else:
        bench.clock.step(timedelta(seconds=2))
    row = a_row(Role.WORKER, now=bench.clock.now(), wanted=Wanted.REMOVED)
    await bench.table(Role.WORKER, row)
    await bench.pass_time(10)
    assert state(bench, WORKER).phase is NodePhase.REMOVED
    assert_explained(bench)


async def test_a_node_that_was_not_wanted_any_more_is_no_failure(silent: Bench) -> None:
    await silent.table(Role.WORKER, a_row(Role.WORKER, now=silent.clock.now(), wanted=Wanted.REMOVED))
    await silent.pass_time(10)
    assert (state(silent, WORKER).phase, state(silent, WORKER).cause) == (NodePhase.REMOVED, None)
    assert silent.cloud.calls["console"] == 0


async def test_a_stable_nodes_evidence_stays_until_a_server_comes_up(bench: Bench) -> None:
    bench.silent.add(CONTROLLER)
    spec = a_cluster(workers=0)
    await bench.want(spec)
    for role in (Role.ETCD, Role.CONTROLLER):
        await bench.table(role, *rows_of(spec, role, bench.clock.now()))
    await bench.pass_time(12)
    bench.clock.step(timedelta(minutes=10))
    await bench.settle()
    assert state(bench, CONTROLLER).evidence is not None
    await bench.table(Role.CONTROLLER, a_row(Role.CONTROLLER, now=bench.clock.now(), incarnation=2))
    await bench.pass_time(10)
    again = state(bench, CONTROLLER)
    assert (again.phase, again.row.incarnation, again.cause) == (NodePhase.BOOTING, 2, None)
    assert again.evidence is not None
    assert again.evidence.incarnation == 1
    bench.silent.clear()
    await bench.pass_time(30)
    assert (state(bench, CONTROLLER).phase, state(bench, CONTROLLER).evidence) == (NodePhase.PROVISIONED, None)


async def test_a_clock_that_is_wrong_is_said_while_the_server_boots(silent: Bench) -> None:
    assert await claim(silent, WORKER, behind=timedelta(hours=2)) == (409, "ClockSkew")
    await silent.settle()
    waiting = state(silent, WORKER).waiting
    assert state(silent, WORKER).phase is NodePhase.BOOTING
    assert waiting is not None
    assert (waiting.code, waiting.whose_move) == ("ClockSkew", Mover.OPERATOR)
    await silent.pass_time(2)
    cause = state(silent, WORKER).cause
    assert cause is not None
    assert cause.code == "ClockSkew", "what is known goes before what a console suggests"
