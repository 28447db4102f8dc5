"""The exec plugin: what it prints, what it keeps and for whom, when it asks again, how it fails."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from typer.testing import Result

from slipway_api.testing_server import PASSWORD, Served
from slipway_api.testing_story import announced_spec
from slipway_cli.client import Client
from slipway_cli.kubeconfig import make_key
from slipway_cli.session import Options, log_in

Run = Callable[..., Result]

V1 = "client.authentication.k8s.io/v1"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Where credentials are kept."""
    return tmp_path / ".cache" / "slipway" / "credentials"


def from_now(**passed: float) -> datetime:
    return (datetime.now(UTC) + timedelta(**passed)).replace(microsecond=0)


def given(result: Result) -> dict[str, Any]:
    """The status of the credential that was printed, and nothing else was."""
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    document = json.loads(result.stdout)
    assert (document["apiVersion"], document["kind"]) == (V1, "ExecCredential")
    status: dict[str, Any] = document["status"]
    return status


def exec_info(version: str = V1, **cluster: str) -> str:
    spec = {"interactive": False, "cluster": cluster}
    return json.dumps({"apiVersion": version, "kind": "ExecCredential", "spec": spec})


def test_a_credential_is_a_certificate_for_the_key_beside_it(served: Served, slipway: Run, cluster: str) -> None:
    status = given(slipway("cluster", "credential", "shop"))
    assert set(status) == {"expirationTimestamp", "clientCertificateData", "clientKeyData"}
    certificate = x509.load_pem_x509_certificate(status["clientCertificateData"].encode())
    key = serialization.load_pem_private_key(status["clientKeyData"].encode(), None)
    assert certificate.public_key() == key.public_key()
    assert certificate.subject.rfc4514_string() == "CN=alice@id-of-alice"
    assert datetime.fromisoformat(status["expirationTimestamp"]) == served.platform.signer.expires_at
    assert "PRIVATE KEY" not in str(served.platform.signer.signed)


def test_a_kept_credential_is_given_without_asking_anybody(
    served: Served, slipway: Run, cluster: str, environment: dict[str, str]
) -> None:
    first = given(slipway("cluster", "credential", "shop"))
    logins, served.platform.signer.away = served.keystone.logins, True
    assert given(slipway("cluster", "credential", "shop")) == first
    assert (served.keystone.logins, len(served.platform.signer.signed)) == (logins, 1)


def test_what_is_kept_is_for_its_owner_alone(slipway: Run, cluster: str, cache: Path) -> None:
    cache.mkdir(parents=True, mode=0o755)
    slipway("cluster", "credential", "shop")
    (file,) = cache.iterdir()
    assert (cache.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    assert PASSWORD not in file.name + file.read_text()


@pytest.mark.parametrize(
    ("minutes", "signatures"),
    [pytest.param(4, 2, id="ends in four minutes"), pytest.param(6, 1, id="ends in six minutes")],
)
def test_it_is_renewed_shortly_before_its_end(
    minutes: float, signatures: int, served: Served, slipway: Run, cluster: str
) -> None:
    served.platform.signer.expires_at = from_now(minutes=minutes)
    first = given(slipway("cluster", "credential", "shop"))
    second = given(slipway("cluster", "credential", "shop"))
    assert len(served.platform.signer.signed) == signatures
    assert (first == second) is (signatures == 1)


def test_while_nobody_can_sign_the_old_one_does_until_its_end(
    served: Served, slipway: Run, cluster: str, environment: dict[str, str], cache: Path
) -> None:
    signer = served.platform.signer
    signer.expires_at = from_now(minutes=4)
    first = given(slipway("cluster", "credential", "shop"))
    signer.away = True
    assert given(slipway("cluster", "credential", "shop")) == first
    for file in cache.iterdir():
        file.unlink()
    refused = slipway("cluster", "credential", "shop")
    assert (refused.exit_code, refused.stdout) == (6, "")
    assert refused.stderr == "slipway: The provisioner does not answer.\n"


def test_a_credential_that_ended_before_it_came_says_that_clocks_differ(
    served: Served, slipway: Run, cluster: str, cache: Path
) -> None:
    served.platform.signer.expires_at = from_now(minutes=-1)
    refused = slipway("cluster", "credential", "shop")
    assert (refused.exit_code, refused.stdout, cache.exists()) == (1, "", False)
    assert "check the clock here" in refused.stderr


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda file: file.chmod(0o644), id="others may read it"),
        pytest.param(lambda file: file.write_text("{"), id="half a file"),
        pytest.param(lambda file: file.write_text("[]"), id="something else"),
        pytest.param(lambda file: file.write_text(another_key_in(file)), id="another key"),
        pytest.param(lambda file: file.rename(file.with_name("x")).with_name(file.name).symlink_to("x"), id="a link"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_made_again(
    spoil: Callable[[Path], object], served: Served, slipway: Run, cluster: str, cache: Path
) -> None:
    given(slipway("cluster", "credential", "shop"))
    (file,) = cache.iterdir()
    spoil(file)
    again = given(slipway("cluster", "credential", "shop"))
    assert len(served.platform.signer.signed) == 2
    assert file.stat(follow_symlinks=False).st_mode == 0o100600
    assert json.loads(file.read_text())["status"] == again


def another_key_in(file: Path) -> str:
    """The kept credential with a key that its certificate is not for."""
    document = json.loads(file.read_text())
    document["status"]["clientKeyData"] = make_key()[0]
    return json.dumps(document)


def test_who_asks_where_and_for_what_is_kept_apart(
    served: Served, slipway: Run, cluster: str, environment: dict[str, str], cache: Path
) -> None:
    ca = exec_info(**{"server": "https://10.1.0.4:6443", "certificate-authority-data": "b25l"})
    calls: list[tuple[tuple[str, ...], dict[str, str]]] = [
        ((), {}),
        (("--hours", "2"), {}),
        (("--endpoint", f"{served.url}/"), {}),
        (("--os-cloud", "alice"), {}),
        (("--os-project-name", "another"), {}),
        ((), {"KUBERNETES_EXEC_INFO": ca}),
    ]
    kept = 0
    for more, variables in calls:
        environment.update(variables)
        result = slipway("cluster", "credential", "shop", *more)
        kept += result.exit_code == 0
        assert len(list(cache.iterdir())) == kept, more
    assert kept == len(calls) - 1, "another project has no such cluster"
    clouds = Path(environment["OS_CLIENT_CONFIG_FILE"])
    clouds.write_text(clouds.read_text().replace("username: rita", "username: rosa"))
    assert slipway("cluster", "credential", "shop").exit_code == 0
    assert len(list(cache.iterdir())) == kept + 1, "clouds.yaml may name another person now"


def test_passwords_change_no_files_name(
    served: Served, slipway: Run, cluster: str, environment: dict[str, str], cache: Path
) -> None:
    given(slipway("cluster", "credential", "shop"))
    environment["OS_PASSWORD"] = PASSWORD
    given(slipway("cluster", "credential", "shop"))
    assert len(list(cache.iterdir())) == 1


def test_what_has_ended_does_not_stay(slipway: Run, cluster: str, cache: Path) -> None:
    cache.mkdir(parents=True)
    for name, hours in (("old", -13), ("young", -11)):
        file = cache / f"{name}.json"
        file.touch()
        moment = from_now(hours=hours).timestamp()
        os.utime(file, (moment, moment))
    given(slipway("cluster", "credential", "shop"))
    left = {file.name for file in cache.iterdir()}
    assert ("young.json" in left, "old.json" in left) == (True, False)


def test_without_a_place_to_keep_it_the_credential_is_given_all_the_same(
    slipway: Run, cluster: str, tmp_path: Path
) -> None:
    (tmp_path / ".cache").write_text("no folder")
    result = slipway("cluster", "credential", "shop")
    assert result.exit_code == 0
    assert "clientKeyData" in json.loads(result.stdout)["status"]
    assert result.stderr.startswith("slipway: the credential is not kept")


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        pytest.param("nonsense", "is no ExecCredential in JSON", id="no JSON"),
        pytest.param('["x"]', "is no ExecCredential in JSON", id="no object"),
        pytest.param(exec_info("client.authentication.k8s.io/v1beta1"), f"ExecCredential of {V1}", id="a version"),
    ],
)
def test_a_caller_that_speaks_otherwise_is_told_so(
    said: str, sentence: str, slipway: Run, environment: dict[str, str], cluster: str
) -> None:
    environment["KUBERNETES_EXEC_INFO"] = said
    refused = slipway("cluster", "credential", "shop")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert sentence in refused.stderr


def test_every_failure_leaves_standard_output_empty(slipway: Run, cluster: str, cache: Path) -> None:
    for code, line in (
        (3, ("credential", "shop", "--os-cloud", "mallory")),
        (4, ("credential", "none")),
        (5, ("credential", "shop", "--os-cloud", "rita")),
        (6, ("credential", "shop", "--endpoint", "http://127.0.0.1:1")),
    ):
        refused = slipway("cluster", *line)
        assert (refused.exit_code, refused.stdout) == (code, ""), refused.output
        assert refused.stderr.startswith("slipway: ")
    assert not cache.exists()


def test_a_renewal_does_not_let_in_again_who_was_removed(
    served: Served, slipway: Run, cluster: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert slipway("cluster", "kubeconfig", cluster, "--exec", "--os-cloud", "rita", "--no-wait").exit_code == 0
    served.platform.signer.expires_at = from_now(minutes=4)
    given(slipway("cluster", "credential", cluster, "--os-cloud", "rita"))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    owner = Client(log_in(Options()))
    owner.patch(f"/v1/clusters/{cluster}", {"users": [{"name": "alice@id-of-alice", "persona": "member"}]})
    owner.close()
    refused = slipway("cluster", "credential", cluster, "--os-cloud", "rita")
    assert (refused.exit_code, refused.stdout) == (5, "")
    assert "The users of shop do not name rita@id-of-rita" in refused.stderr
    assert [user.name for user in served.do(announced_spec(served.platform)).users] == ["alice@id-of-alice"]


def test_a_kept_credential_costs_no_import_of_openstacksdk() -> None:
    loaded = "set(sys.modules) & {'openstack', 'keystoneauth1'}"
    check = f"import sys, slipway_cli.commands.access; sys.exit(sorted({loaded}) != [])"
    assert subprocess.run([sys.executable, "-c", check], timeout=30).returncode == 0
