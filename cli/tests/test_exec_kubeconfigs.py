"""Kubeconfigs whose user is the command: what is in them, and that it is enough for whoever uses them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import yaml
from typer.testing import Result

from slipway_api.testing_server import PASSWORD, Served

Run = Callable[..., Result]

V1 = "client.authentication.k8s.io/v1"


def test_a_kubeconfig_with_the_plugin_holds_no_key(served: Served, slipway: Run, cluster: str, tmp_path: Path) -> None:
    written = slipway("cluster", "kubeconfig", "shop", "--exec")
    assert (written.exit_code, written.stderr) == (0, ""), written.output
    path = tmp_path / "shop.kubeconfig"
    assert path.stat().st_mode & 0o777 == 0o600
    document = yaml.safe_load(path.read_text())
    (user,) = document["users"]
    assert set(user["user"]) == {"exec"}
    plugin = user["user"]["exec"]
    assert (plugin["apiVersion"], plugin["command"], plugin["interactiveMode"]) == (V1, "slipway", "Never")
    assert plugin["args"] == [
        "--os-cloud", "alice", "--endpoint", served.url, "cluster", "credential", cluster
    ]  # fmt: skip
    assert plugin["env"] == [{"name": "OS_CLIENT_CONFIG_FILE", "value": str(tmp_path / "clouds.yaml")}]
    assert (plugin["provideClusterInfo"], "slipway-cli" in plugin["installHint"]) == (True, True)
    assert document["contexts"][0]["context"] == {"cluster": "shop", "user": user["name"]}
    assert document["clusters"][0]["cluster"]["server"] == "https://10.1.0.4:6443"
    assert served.platform.signer.signed == []


def test_the_plugin_works_where_nothing_else_is_set(
    served: Served, slipway: Run, cluster: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    printed = slipway("cluster", "kubeconfig", "shop", "--exec", "--hours", "1.5", "-o", "-")
    document = yaml.safe_load(printed.stdout)
    plugin, entered = document["users"][0]["user"]["exec"], document["clusters"][0]["cluster"]
    info = {"apiVersion": V1, "kind": "ExecCredential", "spec": {"interactive": False, "cluster": entered}}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    bare = {name: os.environ[name] for name in ("PATH", "COVERAGE_PROCESS_START") if name in os.environ}
    bare |= {"HOME": str(elsewhere), "KUBERNETES_EXEC_INFO": json.dumps(info)}
    bare |= {each["name"]: each["value"] for each in plugin["env"]}
    program = Path(sys.executable).with_name(plugin["command"])
    ran = subprocess.run(
        [program, *plugin["args"]], env=bare, cwd=elsewhere, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(ran.stdout)["apiVersion"] == plugin["apiVersion"]
    (signed,) = served.platform.signer.signed
    assert (signed.user_name, signed.lifetime) == ("alice@id-of-alice", 5400)


def test_no_secret_of_the_command_line_is_written(served: Served, slipway: Run, cluster: str) -> None:
    asked = ("--os-password", PASSWORD, "--os-username", "alice", "--os-user-domain-name", "Default", "--insecure")
    written = slipway("cluster", "kubeconfig", "shop", "--exec", "-o", "-", *asked)
    assert written.exit_code == 0, written.output
    assert PASSWORD not in written.stdout
    arguments = yaml.safe_load(written.stdout)["users"][0]["user"]["exec"]["args"]
    assert arguments[4:9] == ["--os-username", "alice", "--os-user-domain-name", "Default", "--insecure"]
    assert "kubectl needs it in OS_* variables" in written.stderr


def test_the_plugin_replaces_a_key_in_a_merged_kubeconfig(slipway: Run, cluster: str, tmp_path: Path) -> None:
    for more in ((), ("--exec",)):
        assert slipway("cluster", "kubeconfig", "shop", "--merge", *more).exit_code == 0
    (user,) = yaml.safe_load((tmp_path / ".kube" / "config").read_text())["users"]
    assert set(user["user"]) == {"exec"}
