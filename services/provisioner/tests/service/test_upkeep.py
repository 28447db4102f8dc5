"""Labels and taints of the pools, on the Node objects of a running cluster."""

from dataclasses import replace

from slipway_contracts.api import ClusterSpec, Taint
from slipway_contracts.provisioner import NodePhase
from slipway_contracts.values import Role
from slipway_provisioner.ports import KubernetesNode
from slipway_provisioner.testing.bench import Bench
from slipway_provisioner.testing.builders import a_cluster

WORKER = "blue-worker-1"


def wanted(generation: int, **changes: object) -> ClusterSpec:
    pools = [pool.model_copy(update=changes) if pool.role is Role.WORKER else pool for pool in a_cluster().pools]
    return a_cluster(generation=generation, pools=tuple(pools))


def nodes(bench: Bench) -> dict[str, KubernetesNode]:
    endpoint = bench.infrastructure().endpoint
    assert endpoint is not None
    return bench.kubernetes.at(endpoint).nodes


async def test_labels_and_taints_change_in_place_and_what_somebody_takes_off_is_put_back(established: Bench) -> None:
    bench = established
    server = bench.nodes()[WORKER].server_id
    taint = Taint(key="gpu", value="yes", effect="NoSchedule")
    await bench.want(wanted(2, labels={"tier": "a", "team": "x"}, taints=(taint,)))
    await bench.pass_time(15)
    node = nodes(bench)[WORKER]
    assert node.labels.items() >= {"tier": "a", "team": "x"}.items()
    assert node.taints == ({"key": "gpu", "value": "yes", "effect": "NoSchedule"},)
    assert (bench.nodes()[WORKER].server_id, bench.nodes()[WORKER].phase) == (server, NodePhase.PROVISIONED)

    nodes(bench)[WORKER] = replace(node, labels={"mine": "stays"}, taints=())
    await bench.pass_time(80)
    mended = nodes(bench)[WORKER]
    assert mended.labels == {**node.labels, "mine": "stays"}
    assert mended.taints == node.taints

    await bench.want(wanted(3, labels={"tier": "a"}, taints=()))
    await bench.pass_time(15)
    assert nodes(bench)[WORKER].taints == ()
    assert "team" not in nodes(bench)[WORKER].labels
    assert nodes(bench)[WORKER].labels["mine"] == "stays"
