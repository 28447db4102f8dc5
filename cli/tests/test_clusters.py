"""Clusters by the command: made, looked at, scaled, entered, deleted; in every form of output."""

import base64
import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from typer.testing import Result

from slipway_api.testing_server import Served
from slipway_api.testing_story import Story, announced_spec
from slipway_contracts.operations import OperationState
from slipway_contracts.provisioner import Evidence
from slipway_contracts.values import Reason

Run = Callable[..., Result]

SMALL = ("--etcd", "1", "--controllers", "1", "--workers", "1")


def a_story(served: Served) -> Story:
    """What happens to the cluster that was changed last."""
    return Story(served.platform, served.do(announced_spec(served.platform)))


def meanwhile(served: Served, tell: Callable[[], object]) -> threading.Thread:
    """Tell a story as soon as the command has asked for something and follows what happens."""
    feed = served.platform.gateway.feed
    before = served.do(feed.newest())

    def wait_and_tell() -> None:
        for _ in range(2000):
            if served.do(feed.newest()) > before and feed.followers:
                break
            threading.Event().wait(0.01)
        tell()

    thread = threading.Thread(target=wait_and_tell)
    thread.start()
    return thread


def test_a_cluster_is_created_and_the_command_says_how_to_come_back(served: Served, slipway: Run) -> None:
    made = slipway("cluster", "create", "shop", "--workers", "6", "--no-wait", "-f", "json")
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["nodes_wanted"] == 14
    assert "slipway operation watch" in made.stderr


def test_in_a_pipe_the_progress_is_plain_lines_to_the_end(served: Served, slipway: Run) -> None:
    telling = meanwhile(served, lambda: served.do(a_story(served).becomes_ready()))
    made = slipway("cluster", "create", "shop", *SMALL)
    telling.join(10)
    assert made.exit_code == 0, made.output
    lines = made.stderr.splitlines()
    assert any(line.endswith("  Node shop-worker-00001 is configuring") for line in lines), made.stderr
    assert any(" 100 %  Operation create cluster is succeeded" in line for line in lines), made.stderr
    assert "Create cluster shop succeeded after" in made.stderr
    assert "\x1b" not in made.output
    assert "https://10.1.0.4:6443" in made.stdout
    assert "slipway cluster kubeconfig shop" in made.stderr


def test_in_a_pipe_an_operation_is_told_from_its_own_beginning_on(served: Served, slipway: Run) -> None:
    slipway("cluster", "create", "shop", *SMALL, "--no-wait")
    served.do(a_story(served).becomes_ready())
    telling = meanwhile(served, lambda: served.do(a_story(served).becomes_ready()))
    scaled = slipway("pool", "scale", "shop", "worker", "2")
    telling.join(10)
    first = scaled.stderr.splitlines()[0]
    assert first.endswith("  Cluster shop is wanted as of generation 2"), scaled.stderr


def test_a_failed_operation_is_a_failed_command(served: Served, slipway: Run) -> None:
    cause = Reason(code="NoHost", message="The cloud found no host.")
    telling = meanwhile(served, lambda: served.do(a_story(served).operation(OperationState.FAILED, 30, cause=cause)))
    made = slipway("cluster", "create", "shop", *SMALL)
    telling.join(10)
    assert made.exit_code == 1
    assert "Create cluster shop failed after" in made.stderr
    assert "The cloud found no host." in made.stderr


def test_scaling_and_deleting_are_watched_too(served: Served, slipway: Run) -> None:
    assert slipway("cluster", "create", "shop", *SMALL, "--no-wait").exit_code == 0
    served.do(a_story(served).becomes_ready())
    telling = meanwhile(served, lambda: served.do(a_story(served).becomes_ready()))
    scaled = slipway("pool", "scale", "shop", "worker", "2")
    telling.join(10)
    assert scaled.exit_code == 0, scaled.output
    assert "Scale pool shop succeeded" in scaled.stderr
    telling = meanwhile(served, lambda: served.do(a_story(served).goes()))
    deleted = slipway("cluster", "delete", "shop")
    telling.join(10)
    assert deleted.exit_code == 0, deleted.output
    assert "Delete cluster shop succeeded" in deleted.stderr
    assert json.loads(slipway("cluster", "list", "-f", "json").stdout) == []


def test_lists_and_objects_in_every_form(served: Served, slipway: Run) -> None:
    slipway("cluster", "create", "shop", *SMALL, "--no-wait")
    served.do(a_story(served).becomes_ready())
    table = slipway("cluster", "list").stdout.splitlines()
    assert table[0].split() == ["NAME", "STATE", "RELEASE", "REGION", "NODES", "ENDPOINT", "REASON"]
    assert table[1].split() == ["shop", "ready", "v1.36.3", "sandbox", "3/3", "https://10.1.0.4:6443"]
    assert slipway("cluster", "list", "-f", "value", "-c", "name", "-c", "state").stdout == "shop ready\n"
    assert yaml.safe_load(slipway("cluster", "show", "shop", "-f", "yaml").stdout)["state"] == "ready"
    assert slipway("cluster", "show", "shop", "-f", "value", "-c", "endpoint").stdout == "https://10.1.0.4:6443\n"
    assert json.loads(slipway("cluster", "show", "shop", "-f", "json", "-c", "name").stdout) == {"name": "shop"}
    shown = slipway("cluster", "show", "shop").stdout
    assert "etcd 1/1, controller 1/1, worker 1/1" in shown
    assert "alice@id-of-alice" in shown
    nodes = slipway("node", "list", "shop", "-f", "value", "-c", "name", "-c", "state", "-c", "percent").stdout
    assert "shop-worker-00001 ready 100\n" in nodes
    assert "kubernetes: healthy (Ready for 20 s)" in slipway("node", "show", "shop", "worker-1").stdout
    assert slipway("pool", "list", "shop", "-f", "value", "-c", "name", "-c", "count").stdout.startswith("etcd 1\n")
    operations = json.loads(slipway("operation", "list", "--cluster", "shop", "-f", "json").stdout)
    assert operations[0]["state"] == "succeeded"
    assert "succeeded" in slipway("operation", "show", operations[0]["id"]).stdout
    assert "v1.37.2, v1.36.3" in slipway("region", "list").stdout
    assert slipway("alert", "list", "-f", "json").stdout == "[]\n"
    events = slipway("event", "list", "--cluster", "shop", "-f", "value", "-c", "message").stdout
    assert "Node shop-worker-00001 is healthy\n" in events


def test_a_node_that_is_gone_says_in_one_sentence_why_it_did_not_come_up(served: Served, slipway: Run) -> None:
    slipway("cluster", "create", "shop", *SMALL, "--no-wait")
    story = a_story(served)
    served.do(story.names_nodes())
    worker = next(row for row in story.all_rows if row.node_id == "worker-1")
    cause = Reason(
        code="NoRoute", message="Its agent never called: no route from the network net-1 to https://a.example."
    )
    served.do(story.removes(worker, cause=cause, evidence=Evidence(console="slipway: cannot reach", incarnation=1)))
    shown = slipway("node", "show", "shop", worker.name).stdout
    assert cause.message in shown
    assert "of server 1" in shown
    assert "slipway: cannot reach" in shown


def test_a_request_can_come_from_a_file(served: Served, slipway: Run, tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text("name: shop\npools:\n- {name: gpu, role: worker, count: 2, flavor: m1.large}\n")
    made = slipway("cluster", "create", "--file", str(file), "--workers", "4", "--no-wait", "-f", "json")
    assert made.exit_code == 0, made.output
    assert {pool["name"]: pool["count"] for pool in json.loads(made.stdout)["pools"]}["gpu"] == 4


def test_a_kubeconfig_has_the_key_that_was_made_here_and_is_for_its_owner_alone(
    served: Served, slipway: Run, tmp_path: Path
) -> None:
    slipway("cluster", "create", "shop", *SMALL, "--no-wait")
    served.do(a_story(served).becomes_ready())
    written = slipway("cluster", "kubeconfig", "shop")
    assert written.exit_code == 0, written.output
    path = tmp_path / "shop.kubeconfig"
    assert path.stat().st_mode & 0o777 == 0o600
    user = yaml.safe_load(path.read_text())["users"][0]["user"]
    key = serialization.load_pem_private_key(base64.b64decode(user["client-key-data"]), None)
    certificate = x509.load_pem_x509_certificate(base64.b64decode(user["client-certificate-data"]))
    assert certificate.public_key() == key.public_key()
    assert "PRIVATE KEY" not in str(served.platform.signer.signed)
    printed = slipway("cluster", "kubeconfig", "shop", "-o", "-")
    assert yaml.safe_load(printed.stdout)["current-context"] == "alice@id-of-alice@shop"


def test_a_kubeconfig_is_merged_into_the_one_there_is(served: Served, slipway: Run, tmp_path: Path) -> None:
    slipway("cluster", "create", "shop", *SMALL, "--no-wait")
    served.do(a_story(served).becomes_ready())
    path = tmp_path / ".kube" / "config"
    path.parent.mkdir()
    other = {"name": "other", "cluster": {"server": "https://other"}}
    stale = {"name": "shop", "cluster": {"server": "https://stale"}}
    path.write_text(yaml.safe_dump({"clusters": [other, stale], "users": [], "contexts": [], "preferences": {"x": 1}}))
    assert slipway("cluster", "kubeconfig", "shop", "--merge").exit_code == 0
    merged = yaml.safe_load(path.read_text())
    servers = {each["name"]: each["cluster"]["server"] for each in merged["clusters"]}
    assert servers == {"other": "https://other", "shop": "https://10.1.0.4:6443"}
    assert (merged["preferences"], merged["current-context"]) == ({"x": 1}, "alice@id-of-alice@shop")
    path.write_text("- nonsense")
    refused = slipway("cluster", "kubeconfig", "shop", "--merge")
    assert (refused.exit_code, path.read_text()) == (1, "- nonsense")


def test_on_a_terminal_a_picture_is_drawn_until_the_end(
    served: Served, slipway: Run, environment: dict[str, str]
) -> None:
    slipway("cluster", "create", "shop", *SMALL, "--no-wait")
    story = a_story(served)
    master, terminal = os.openpty()
    command = [sys.executable, "-m", "slipway_cli", "operation", "watch", story.spec.operation_id]
    process = subprocess.Popen(command, env=os.environ | environment | {"TERM": "xterm"}, stderr=terminal)
    os.close(terminal)
    try:
        drawn = _read_until(master, b"create cluster shop")
        served.do(story.becomes_ready())
        drawn += _read_until(master, b"succeeded after")
        assert process.wait(10) == 0
    finally:
        process.kill()
        os.close(master)
    assert b"Ctrl-C detaches" in drawn


def _read_until(descriptor: int, text: bytes) -> bytes:
    drawn = b""
    for _ in range(200):
        if text in drawn:
            return drawn
        if select.select([descriptor], [], [], 0.1)[0]:
            drawn += os.read(descriptor, 65536)
    raise AssertionError(f"{text!r} was not drawn: {drawn!r}")
