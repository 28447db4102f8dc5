"""A Slipway that serves a project of a real cloud whose servers boot, with real programs of Kubernetes."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from slipway_platform.layout import RegionPlan
from slipway_platform.platform import Platform, running
from slipway_platform.testing import User
from tests.e2e.kubectl import Kubectl
from tests.lab import missing, service_user

RELEASE = "v1.36.3"
HOST = os.environ.get("SLIPWAY_TEST_HOST", "10.77.0.1")
"""Where the servers reach this machine."""
REGISTRY = os.environ.get("SLIPWAY_TEST_REGISTRY", f"http://{HOST}:5001")
"""A mirror of the registries that Kubernetes' images come from."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs servers that boot, and the time that they take."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.realnodes)
            item.add_marker(pytest.mark.timeout(1800))
            item.add_marker(pytest.mark.filterwarnings("ignore:The _compute_attributes method"))


@pytest.fixture
def zone() -> str:
    """An availability zone whose servers boot."""
    named = os.environ.get("SLIPWAY_TEST_REAL_ZONE")
    if not named:
        pytest.skip(
            "no servers that boot: set SLIPWAY_TEST_REAL_ZONE to the availability zone of a cloud that has them"
        )
    if lacking := missing():
        pytest.skip(lacking)
    return named


@pytest.fixture
def programs(zone: str) -> Path:
    """A folder of Kubernetes' programs, kubectl among them."""
    folder = os.environ.get("KUBEBUILDER_ASSETS")
    if not folder:
        pytest.skip("no programs: set KUBEBUILDER_ASSETS to a folder with kubelet, kubeadm, kubectl and etcd")
    return Path(folder)


@pytest.fixture
def user(zone: str, programs: Path, amqp_url: str, tmp_path: Path) -> Iterator[User]:
    """Somebody with a project in the cloud, whose servers come from images without Kubernetes."""
    folder = tmp_path / "platform"
    folder.mkdir()
    with service_user(tmp_path) as access:
        platform = Platform(
            folder,
            amqp_url,
            _region(zone),
            access=access,
            machines_of=None,
            host=HOST,
            releases={RELEASE: programs},
            # the cloud, its servers and Slipway share the processors of one machine
            settings={"api": {"CLOUD_TIMEOUT": "25"}},
        )
        with running(platform):
            somebody = User(platform)
            yield somebody
            somebody.close()


def _region(zone: str) -> RegionPlan:
    """Machines that are containers: their kernel and its control groups are their host's."""
    return RegionPlan(
        name="booting",
        zones=(zone,),
        defaults={
            "image": "debian-12-node",
            "flavor": {"any": "node.small", "controller": "node.large"},
            "network": "nodes",
            "release": RELEASE,
        },
        machine={
            "cgroup_driver": "cgroupfs",
            "fail_cgroup_v1": False,
            "fail_swap_on": False,
            "any_runtime": True,
            "conntrack_max_per_core": 0,
            "conntrack_min": 0,
        },
        endpoint={"ready_delay": 1.0},
        registry_mirrors=dict.fromkeys(("registry.k8s.io", "ghcr.io", "docker.io"), REGISTRY),
    )


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Show a line at once: this takes minutes."""

    def show(line: str) -> None:
        with capsys.disabled():
            print(line, flush=True)

    return show


@pytest.fixture
def step(say: Callable[[str], None]) -> Callable[[str], AbstractContextManager[None]]:
    """Says how long each step of the story took."""

    @contextmanager
    def timed(what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        say(f"{time.monotonic() - began:6.1f} s  {what}")

    return timed


@pytest.fixture
def kubectl(programs: Path, tmp_path: Path) -> Kubectl:
    """The user's kubectl; its kubeconfig is written by the test."""
    return Kubectl(programs / "kubectl", tmp_path / "kubeconfig")
