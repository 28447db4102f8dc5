"""Each way to fail has its exit code and one sentence that says what to do; nobody sees a traceback."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import Result

from slipway_api.testing_server import Served
from slipway_chassis.tls import make_service_pki
from slipway_cli.client import Client
from slipway_cli.session import Options, log_in

Run = Callable[..., Result]


def sentence(result: Result) -> str:
    """What the command said; it must not be more than a person wants to read."""
    assert "Traceback" not in result.output
    assert result.stderr.startswith("slipway: "), result.stderr
    return result.stderr


def test_no_cloud_is_configured(slipway: Run, environment: dict[str, str], tmp_path: Path) -> None:
    del environment["OS_CLOUD"]
    (tmp_path / "clouds.yaml").write_text("clouds: {}")
    result = slipway("cluster", "list")
    assert result.exit_code == 3
    assert "No cloud is configured: write a clouds.yaml and set OS_CLOUD" in sentence(result)


def test_no_cloud_is_chosen(slipway: Run, environment: dict[str, str]) -> None:
    del environment["OS_CLOUD"]
    result = slipway("cluster", "list")
    assert result.exit_code == 3
    assert "No cloud is chosen: give --os-cloud NAME or set OS_CLOUD" in sentence(result)


def test_the_chosen_cloud_does_not_exist(slipway: Run) -> None:
    result = slipway("--os-cloud", "atlantis", "cluster", "list")
    assert result.exit_code == 3
    assert "There is no cloud atlantis in clouds.yaml." in sentence(result)


def test_a_cloud_without_a_password(slipway: Run, environment: dict[str, str], served: Served) -> None:
    environment["OS_CLIENT_CONFIG_FILE"] = "/nonexistent"
    del environment["OS_CLOUD"]
    environment |= {"OS_AUTH_URL": served.auth_url, "OS_USERNAME": "alice"}
    result = slipway("cluster", "list")
    assert result.exit_code == 3
    assert "password is a required attribute" in sentence(result)


def test_a_wrong_password(slipway: Run) -> None:
    result = slipway("--os-cloud", "mallory", "cluster", "list")
    assert result.exit_code == 3
    assert "Keystone refuses you" in sentence(result)
    assert "wrong" not in sentence(result), "a password is shown to nobody"


def test_keystone_is_not_reachable(slipway: Run, environment: dict[str, str]) -> None:
    result = slipway("--os-auth-url", "http://127.0.0.1:1/v3", "cluster", "list")
    assert result.exit_code == 6
    assert "Keystone at http://127.0.0.1:1/v3 does not answer" in sentence(result)


def test_a_keystone_that_fails_is_not_one_that_refuses(slipway: Run, served: Served) -> None:
    served.keystone.failing = True
    result = slipway("cluster", "list")
    assert result.exit_code == 6
    assert f"Keystone at {served.auth_url} does not answer" in sentence(result)


def test_keystones_certificate_is_not_trusted(slipway: Run, tmp_path: Path) -> None:
    make_service_pki(tmp_path / "pki", ["127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pki" / "api.pem", tmp_path / "pki" / "api.key")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=shake_hands, args=(listener, context), daemon=True)
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/v3"
        result = slipway("cluster", "list", "--os-auth-url", url)
    assert result.exit_code == 6
    assert f"The certificate of Keystone at {url} is not trusted; name its CA by --os-cacert" in sentence(result)


def shake_hands(listener: socket.socket, context: ssl.SSLContext) -> None:
    """Show the certificate to everybody who calls, until the listener is closed."""
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                context.wrap_socket(connection, server_side=True).close()


@pytest.mark.parametrize("content", [None, "no certificate"], ids=["no file", "no certificate in it"])
def test_a_ca_file_that_cannot_be_used(slipway: Run, tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    result = slipway("cluster", "list", "--os-cacert", str(path))
    assert result.exit_code == 3
    assert f"The CA file {path} cannot be used" in sentence(result)
    assert "check --os-cacert or OS_CACERT." in sentence(result)


def test_the_api_is_not_reachable(slipway: Run) -> None:
    result = slipway("cluster", "list", "--endpoint", "http://127.0.0.1:1")
    assert result.exit_code == 6
    assert "The Slipway API at http://127.0.0.1:1 is not reachable" in sentence(result)
    assert "SLIPWAY_ENDPOINT" in sentence(result)


def test_something_else_listens_there(slipway: Run, served: Served) -> None:
    result = slipway("cluster", "list", "--endpoint", f"{served.url}/identity")
    assert result.exit_code == 6
    assert "not as Slipway does" in sentence(result)


def test_no_endpoint_is_known(slipway: Run, environment: dict[str, str]) -> None:
    del environment["SLIPWAY_ENDPOINT"]
    result = slipway("cluster", "list")
    assert result.exit_code == 3
    assert "give --endpoint URL or set SLIPWAY_ENDPOINT" in sentence(result)


def test_the_catalogue_names_the_endpoint(slipway: Run, environment: dict[str, str], served: Served) -> None:
    del environment["SLIPWAY_ENDPOINT"]
    endpoint = {"id": "e", "interface": "public", "url": f"{served.url}/v1", "region": "R", "region_id": "R"}
    served.keystone.catalogue = [{"id": "s", "type": "slipway", "name": "slipway", "endpoints": [endpoint]}]
    assert slipway("cluster", "list", "-f", "json").stdout == "[]\n"


def test_another_service_of_the_catalogue_is_not_taken_for_slipway(
    slipway: Run, environment: dict[str, str], served: Served
) -> None:
    del environment["SLIPWAY_ENDPOINT"]
    endpoint = {"id": "e", "interface": "public", "url": f"{served.url}/v1", "region": "R", "region_id": "R"}
    served.keystone.catalogue = [{"id": "s", "type": "container-infra", "name": "magnum", "endpoints": [endpoint]}]
    result = slipway("cluster", "list")
    assert result.exit_code == 3
    assert "the cloud's catalogue names none" in sentence(result)


@pytest.mark.parametrize("name", ["", ".", "..", "shop/pools/worker"])
def test_what_is_no_name_reaches_nothing_else(slipway: Run, name: str) -> None:
    slipway("cluster", "create", "shop", "--no-wait")
    for command in (("cluster", "delete", name), ("pool", "delete", "shop", name), ("operation", "watch", name)):
        result = slipway(*command)
        assert result.exit_code == 2, command
        assert "is no name or id" in sentence(result)
    assert len(json.loads(slipway("pool", "list", "shop", "-f", "json").stdout)) == 3


def test_a_name_with_signs_of_a_url_is_only_not_found(slipway: Run) -> None:
    for name in ("shop?x=1", "shop#x", "sh%6fp"):
        slipway("cluster", "create", "shop", "--no-wait")
        result = slipway("cluster", "show", name)
        assert (result.exit_code, f"There is no cluster '{name}'" in sentence(result)) == (4, True)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"name: shop\npools: 3\n", "its pools are no list of mappings"),
        (b"name: shop\npools: [worker]\n", "its pools are no list of mappings"),
        (b"- shop\n", "it is no mapping"),
        (b"name: 2026-01-01\n", "put it in quotes"),
        (b"name: \xff\n", "is neither YAML nor JSON"),
        (b"name: [\n", "is neither YAML nor JSON"),
    ],
    ids=["a number of pools", "pools by name", "a list", "a date", "other bytes", "half a list"],
)
def test_a_file_that_describes_no_cluster(slipway: Run, tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "shop.yaml").write_bytes(content)
    result = slipway("cluster", "create", "--file", str(tmp_path / "shop.yaml"), "--workers", "2")
    assert result.exit_code == 2
    assert why in sentence(result)


def test_a_cluster_that_does_not_exist(slipway: Run) -> None:
    for command in (
        ("cluster", "show", "x"),
        ("pool", "list", "x"),
        ("node", "show", "x", "y"),
        ("operation", "show", "x"),
    ):
        result = slipway(*command)
        assert result.exit_code == 4, command
        assert "There is no" in sentence(result)


def test_a_request_that_is_refused_names_field_and_remedy(slipway: Run) -> None:
    result = slipway("cluster", "create", "shop", "--flavor", "m9.huge", "--etcd", "3")
    assert result.exit_code == 5
    assert sentence(result) == (
        "slipway: The flavor does not exist.\n"
        "  flavor: the project sees no flavor 'm9.huge'. Choose one of those that 'openstack flavor list' shows.\n"
    )
    many = slipway("cluster", "create", "My_Shop", "--etcd", "4")
    assert (many.exit_code, len(many.stderr.splitlines())) == (5, 3)


def test_a_reader_is_told_which_role_she_needs(slipway: Run) -> None:
    result = slipway("cluster", "create", "shop", "--os-cloud", "rita")
    assert result.exit_code == 5
    assert "ask for the role member" in sentence(result)


@pytest.mark.parametrize(
    "line",
    [
        ("cluster", "fly"),
        ("cluster", "create", "--etcd", "three"),
        ("cluster", "list", "--nonsense"),
        ("pool", "scale", "a"),
    ],
)
def test_a_wrong_command_line(slipway: Run, line: tuple[str, ...]) -> None:
    result = slipway(*line)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_an_unknown_column_names_the_known_ones(slipway: Run) -> None:
    slipway("cluster", "create", "shop", "--no-wait")
    result = slipway("cluster", "list", "-c", "colour")
    assert result.exit_code == 2
    assert "There is no column colour; there are:" in sentence(result)


def test_a_token_that_was_revoked_meanwhile_is_renewed(
    served: Served, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    before = served.keystone.logins
    client = Client(log_in(Options()))
    assert client.get("/v1/clusters")["items"] == []
    served.platform.identity.revoke(client.login.token())
    served.platform.gateway.gatekeeper.forget_all()
    assert client.get("/v1/clusters")["items"] == []
    assert served.keystone.logins == before + 2
    client.close()


def test_ctrl_c_detaches_and_says_how_to_come_back(served: Served, slipway: Run, environment: dict[str, str]) -> None:
    slipway("cluster", "create", "shop", "--no-wait")
    (operation,) = json.loads(slipway("operation", "list", "-f", "json").stdout)
    process = subprocess.Popen(
        # a job in the background of a shell is started with SIGINT ignored
        ["env", "--default-signal=INT", sys.executable, "-m", "slipway_cli", "operation", "watch", operation["id"]],
        env=os.environ | environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        first = process.stderr.readline()
        assert "Cluster shop is wanted as of generation 1" in first
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=10)
    finally:
        process.kill()
    assert process.returncode == 130
    assert rest == (
        f"slipway: Detached; the operation goes on. Come back with: slipway operation watch {operation['id']}\n"
    )


def test_help_costs_no_import_of_openstacksdk() -> None:
    check = "import sys, slipway_cli.main; sys.exit(sorted(set(sys.modules) & {'openstack', 'keystoneauth1'}) != [])"
    assert subprocess.run([sys.executable, "-c", check], timeout=30).returncode == 0
