"""Pools by the command: what their machines are made of, their labels and taints."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import Result

Run = Callable[..., Result]

SMALL = ("--etcd", "1", "--controllers", "1", "--workers", "1", "--no-wait")


def pool(slipway: Run, name: str = "worker") -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(slipway("pool", "show", "shop", name, "-f", "json").stdout)
    return shown


def test_node_specs_are_listed_and_pools_refer_to_them(slipway: Run) -> None:
    listed = slipway("node-spec", "list")
    assert "large" in listed.stdout
    assert "for builds" in listed.stdout
    assert slipway("cluster", "create", "shop", *SMALL).exit_code == 0
    added = slipway(
        "pool", "create", "shop", "gpu", "--node-spec", "large@1", "--taint", "gpu=yes:NoSchedule", "--no-wait"
    )
    assert added.exit_code == 0, added.output
    shown = pool(slipway, "gpu")
    assert (shown["node_spec"], shown["flavor_id"]) == ("large@1", "f-large")
    assert shown["taints"] == [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]


def test_labels_taints_and_machines_of_a_pool_are_changed(slipway: Run) -> None:
    slipway("cluster", "create", "shop", *SMALL)
    change = ("pool", "set", "shop", "worker", "--no-wait")
    assert slipway(*change, "--label", "tier=a", "--label", "team=x", "--taint", "slow:NoExecute").exit_code == 0
    assert (pool(slipway)["labels"], pool(slipway)["taints"][0]["value"]) == ({"tier": "a", "team": "x"}, "")
    assert slipway(*change, "--no-labels", "--max-pods", "50").exit_code == 0
    shown = pool(slipway)
    assert (shown["labels"], shown["kubelet"]["max_pods"], shown["node_spec"]) == ({}, 50, "worker@2")
    refused = slipway(*change, "--root-volume", "40:ssd")
    assert refused.exit_code != 0
    assert "do not boot from volumes" in refused.stderr


@pytest.mark.parametrize(
    "arguments",
    [(), ("--label", "tier"), ("--taint", "gpu"), ("--taint", "gpu:Never"), ("--root-volume", "big")],
    ids=["nothing", "a label without a value", "a taint without an effect", "an unknown effect", "a size in words"],
)
def test_what_cannot_be_understood_is_said_before_anything_is_asked(arguments: tuple[str, ...], slipway: Run) -> None:
    assert slipway("pool", "set", "shop", "worker", *arguments).exit_code == 2
