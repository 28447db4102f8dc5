"""The command against an API and a Keystone on a real port, with fakes behind them."""

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml
from typer.testing import CliRunner, Result

from slipway_api.testing_server import PASSWORD, Served, serving_in_thread
from slipway_api.testing_story import Story, announced_spec
from slipway_cli.main import app

_projects = count(1)


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One platform for all tests. It is silent: what it logs would get between the command's lines."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with serving_in_thread(tmp_path_factory.mktemp("platform")) as there:
        yield there
    structlog.reset_defaults()


@pytest.fixture
def served(running: Served) -> Served:
    """The platform; each test has a project of its own in it."""
    running.keystone.catalogue, running.keystone.failing = [], False
    return running


@pytest.fixture
def environment(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variables that the command sees; a test may change them."""
    for name in ("OS_CLOUD", "OS_AUTH_URL", "SLIPWAY_ENDPOINT", "KUBECONFIG", "XDG_CACHE_HOME", "KUBERNETES_EXEC_INFO"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    clouds = tmp_path / "clouds.yaml"
    project = f"shop-{next(_projects)}"
    people = ("alice", "rita", "mallory")
    clouds.write_text(yaml.safe_dump({"clouds": {who: _cloud(served, who, project) for who in people}}))
    return {
        "OS_CLIENT_CONFIG_FILE": str(clouds),
        "OS_CLOUD": "alice",
        "SLIPWAY_ENDPOINT": served.url,
        "HOME": str(tmp_path),
        "NO_COLOR": "1",
    }


@pytest.fixture
def slipway(environment: dict[str, str]) -> Callable[..., Result]:
    """Calls the command with these arguments."""

    def call(*arguments: str, typed: str | None = None) -> Result:
        return CliRunner(env=environment).invoke(app, list(arguments), input=typed)

    return call


@pytest.fixture
def cluster(served: Served, slipway: Callable[..., Result]) -> Iterator[str]:
    """The id of a ready cluster `shop`. What is signed for it ends in an hour, if the test does not say otherwise."""
    small = ("--etcd", "1", "--controllers", "1", "--workers", "1")
    assert slipway("cluster", "create", "shop", *small, "--no-wait").exit_code == 0
    spec = served.do(announced_spec(served.platform))
    served.do(Story(served.platform, spec).becomes_ready())
    signer = served.platform.signer
    before = signer.expires_at
    signer.expires_at = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)  # as certificates have it
    signer.signed.clear()
    yield spec.cluster_id
    signer.expires_at, signer.away = before, False


def _cloud(served: Served, who: str, project: str) -> dict[str, Any]:
    auth = {
        "auth_url": served.auth_url,
        "username": who,
        "password": PASSWORD if who != "mallory" else "wrong",
        "project_name": project,
        "user_domain_name": "Default",
        "project_domain_name": "Default",
    }
    return {"auth": auth, "identity_api_version": "3"}
