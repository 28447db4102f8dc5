"""What an operator may write in regions.yaml about machines, and how it is found again."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway_chassis.machines import as_contract
from slipway_chassis.regions import Region, load_regions
from slipway_contracts.api import KubeletOptions, RuntimeOptions

BASE: dict[str, Any] = {
    "name": "tokyo",
    "cloud": "slipway",
    "mirror": "http://mirror.example",
    "releases_file": "releases.yaml",
    "agent_url": "https://agents.example",
    "observe_url": "https://monitor.example",
    "signing_url": "https://provisioner.example",
}


def read(folder: Path, **changes: Any) -> Region:
    path = folder / "regions.yaml"
    path.write_text(yaml.safe_dump({"regions": [BASE | changes]}))
    return load_regions(path).named("tokyo")


def test_a_node_spec_is_found_by_name_in_its_newest_version_or_in_the_one_that_is_named(tmp_path: Path) -> None:
    versions = [{"name": "standard", "version": number, "flavor": f"f{number}"} for number in (2, 10, 1)]
    region = read(tmp_path, node_specs=versions)
    assert region.node_spec("standard").reference == "standard@10"
    assert region.node_spec("standard@2").flavor == "f2"
    for unknown in ("standard@3", "standard@", "standard@02", "other"):
        with pytest.raises(LookupError, match="it has: standard@2, standard@10, standard@1"):
            region.node_spec(unknown)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a version twice": ({"node_specs": [{"name": "a"}, {"name": "a", "version": 1}]}, "a@1 is described twice"),
    "an option that does not exist": ({"node_specs": [{"name": "a", "kubelet": {"maxpods": 3}}]}, "kubelet.maxpods"),
    "an amount that is none": (
        {"node_specs": [{"name": "a", "kubelet": {"system_reserved": {"memory": "lots"}}}]}, "system_reserved.memory",
    ),
    "a mirror that is no URL": (
        {"node_specs": [{"name": "a", "runtime": {"registry_mirrors": {"docker.io": "there"}}}]}, "registry_mirrors",
    ),
    "one log file": ({"node_specs": [{"name": "a", "runtime": {"log_max_files": 1}}]}, "log_max_files"),
    "a volume of nothing": ({"node_specs": [{"name": "a", "root_volume": {"size": 0}}]}, "root_volume.size"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(case: str, tmp_path: Path) -> None:
    changes, named = WRONG[case]
    with pytest.raises(ValueError, match=named):
        read(tmp_path, **changes)


def test_what_is_written_becomes_the_contracts_value(tmp_path: Path) -> None:
    kubelet = {"max_pods": 60, "kube_reserved": {"cpu": "200m"}, "eviction_hard": {"memory_available": "5%"}}
    spec = read(tmp_path, node_specs=[{"name": "a", "kubelet": kubelet}]).node_spec("a")
    assert as_contract(KubeletOptions, spec.kubelet) == KubeletOptions.model_validate(kubelet)
    assert as_contract(RuntimeOptions, spec.runtime) == RuntimeOptions()
