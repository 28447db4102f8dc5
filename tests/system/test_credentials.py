"""Who may enter a cluster, as its users meet it: by the plugin, after a removal, with another cluster's credential."""

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from kubernetes_asyncio import client, config

from slipway_platform.testing import User, until
from tests.system import cluster_api

pytestmark = pytest.mark.timeout(240)

NODES = "/api/v1/nodes"


@pytest.fixture
def caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Gives the command another, empty cache folder."""

    def choose(name: str) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))

    choose("cache")
    return choose


def ask_plugin(kubeconfig: Path) -> subprocess.CompletedProcess[str]:
    """Call the kubeconfig's plugin as kubectl does; nothing but its arguments and variables says who asks."""
    document = yaml.safe_load(kubeconfig.read_text())
    plugin, cluster = document["users"][0]["user"]["exec"], document["clusters"][0]["cluster"]
    assert plugin["command"] == "slipway"
    information = {
        "apiVersion": plugin["apiVersion"],
        "kind": "ExecCredential",
        "spec": {"interactive": False, "cluster": cluster},
    }
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "XDG_CACHE_HOME") if name in os.environ}
    environment |= {each["name"]: each["value"] for each in plugin["env"]}
    environment["KUBERNETES_EXEC_INFO"] = json.dumps(information)
    program = Path(sys.executable).with_name("slipway")
    return subprocess.run(
        [program, *plugin["args"]], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def with_key(kubeconfig: Path) -> Path:
    """The kubeconfig with what the plugin gives in the plugin's place, in a file beside it."""
    answered = ask_plugin(kubeconfig)
    assert answered.returncode == 0, answered.stderr
    status, document = json.loads(answered.stdout)["status"], yaml.safe_load(kubeconfig.read_text())
    document["users"][0]["user"] = {
        "client-certificate-data": cluster_api.encoded(status["clientCertificateData"]),
        "client-key-data": cluster_api.encoded(status["clientKeyData"]),
    }
    beside = kubeconfig.with_name(f"{kubeconfig.name}.with-key")
    beside.write_text(yaml.safe_dump(document))
    return beside


@pytest.fixture
def kubeconfig(user: User, standing: str, tmp_path: Path, caches: Callable[[str], None]) -> Path:
    """Of the standing cluster, with the plugin."""
    path = tmp_path / "kubeconfig"
    user.slipway("cluster", "kubeconfig", standing, "--exec", "-o", str(path))
    return path


def test_the_plugin_leads_into_the_cluster(kubeconfig: Path) -> None:
    assert "client-key-data" not in kubeconfig.read_text()
    with cluster_api.opened(with_key(kubeconfig)) as api:
        assert cluster_api.got(api, NODES)["items"]
    assert ask_plugin(kubeconfig).stdout == ask_plugin(kubeconfig).stdout, "it is kept"


async def test_a_client_library_enters_by_the_plugin(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    for name in ("OS_CLOUD", "SLIPWAY_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    configuration = client.Configuration()
    await config.load_kube_config(str(kubeconfig), client_configuration=configuration)
    async with client.ApiClient(configuration) as api:
        assert (await client.CoreV1Api(api).list_node()).items


@pytest.fixture
def restored(user: User, standing: str) -> Iterator[None]:
    """Afterwards the cluster's users are as before."""
    before = user.get(f"/v1/clusters/{standing}")["users"]
    yield
    user.http.patch(f"/v1/clusters/{standing}", json={"users": before}).raise_for_status()


@pytest.mark.usefixtures("restored")
def test_who_is_removed_is_out_and_stays_out_until_she_asks(
    user: User, standing: str, kubeconfig: Path, caches: Callable[[str], None]
) -> None:
    held = with_key(kubeconfig)
    with cluster_api.opened(held) as api:
        assert api.get(NODES).status_code == 200
        user.http.patch(f"/v1/clusters/{standing}", json={"users": []}).raise_for_status()
        until(lambda: api.get(NODES).status_code == 403, "the credential that she holds is refused", 60)
    caches("another")
    refused = ask_plugin(kubeconfig)
    assert (refused.returncode, refused.stdout) == (5, "")
    assert "ask for access" in refused.stderr
    assert user.get(f"/v1/clusters/{standing}")["users"] == []
    user.slipway("cluster", "kubeconfig", standing, "--exec", "-o", str(kubeconfig))
    with cluster_api.opened(with_key(kubeconfig)) as api:
        until(lambda: api.get(NODES).status_code == 200, "she is in again", 60)


def test_another_clusters_credential_is_refused(
    user: User, small: tuple[str, ...], kubeconfig: Path, tmp_path: Path
) -> None:
    user.slipway("cluster", "create", "other", *small)
    try:
        foreign = tmp_path / "foreign"
        user.slipway("cluster", "kubeconfig", "other", "--exec", "-o", str(foreign))
        own, mixed = with_key(kubeconfig), with_key(foreign)
        with cluster_api.opened(mixed) as api:
            assert api.get(NODES).status_code == 200, "in its own cluster it holds"
        with cluster_api.opened(own, ssl.TLSVersion.TLSv1_2) as api:
            assert api.get(NODES).status_code == 200, "and in this one its own does"
        document: dict[str, Any] = yaml.safe_load(own.read_text())
        document["users"] = yaml.safe_load(mixed.read_text())["users"]
        mixed.write_text(yaml.safe_dump(document))
        with cluster_api.opened(mixed, ssl.TLSVersion.TLSv1_2) as api:
            assert is_refused(api)
    finally:
        user.slipway("cluster", "delete", "other", "--yes")


def is_refused(api: httpx.Client) -> bool:
    """A real API server answers 401; the emulated one's TLS library ends the handshake."""
    try:
        return api.get(NODES).status_code == 401
    except httpx.ConnectError as error:
        return "[SSL:" in str(error) or "reset" in str(error)
