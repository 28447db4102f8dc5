"""The signing call: each service gets credentials for its own persona, and nothing more."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from slipway_chassis.testing import a_database
from slipway_contracts.signing import SignedCredential
from slipway_provisioner.answers import Answer
from slipway_provisioner.domain.cluster_keys import make_cluster_keys
from slipway_provisioner.domain.pki import is_issued_by, make_request, read_certificate
from slipway_provisioner.domain.plans.model import Endpoint
from slipway_provisioner.domain.plans.testing import CLUSTER_ID
from slipway_provisioner.signing import bootstrap_access, own_access
from slipway_provisioner.store import metadata
from slipway_provisioner.testing.interfaces import Interfaces

_, CSR = make_request("system:masters")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Interfaces]:
    database = await a_database(tmp_path, metadata)
    yield Interfaces(database)
    await database.close()


async def ask(bench: Interfaces, caller: str, persona: str, *, cluster_id: str = CLUSTER_ID, **changes: Any) -> Answer:
    body = {"persona": persona, "csr_pem": CSR, "lifetime": 3600.0} | changes
    path = f"/v1/clusters/{cluster_id}/credentials"
    return await bench.signing_api.dispatch("POST", path, {}, body, bench.service(caller))


def code(answer: Answer) -> tuple[int, str]:
    assert isinstance(answer.body, dict)
    return answer.status, answer.body["code"]


def credential(answer: Answer) -> SignedCredential:
    assert answer.status == 200, answer.body
    return SignedCredential.model_validate(answer.body)


@pytest.mark.parametrize(
    ("caller", "persona", "more", "subject"),
    [
        ("api", "user", {"user_name": "ann@0123"}, "CN=ann@0123,O=slipway:users"),
        ("monitor", "monitor", {}, "CN=slipway:monitor"),
        ("addon_manager", "addon_manager", {}, "CN=slipway:addon-manager"),
    ],
    ids=["user", "monitor", "addon manager"],
)
async def test_each_service_gets_its_own_persona(
    bench: Interfaces, caller: str, persona: str, more: dict[str, str], subject: str
) -> None:
    keys = await bench.add_cluster()
    given = credential(await ask(bench, caller, persona, **more))
    certificate = read_certificate(given.certificate_pem)
    assert certificate.subject.rfc4514_string() == subject
    assert is_issued_by(certificate, keys.kubernetes.certificate_pem)
    assert (given.endpoint, given.ca_pem) == ("https://10.0.0.5:6443", keys.kubernetes.certificate_pem)
    assert given.expires_at == bench.clock.now() + timedelta(hours=1)


@pytest.mark.parametrize(
    ("caller", "persona", "hours"),
    [("api", "user", 12), ("monitor", "monitor", 24), ("addon_manager", "addon_manager", 24)],
)
async def test_lifetimes_are_cut(bench: Interfaces, caller: str, persona: str, hours: int) -> None:
    await bench.add_cluster()
    name = {"user_name": "ann"} if persona == "user" else {}
    given = credential(await ask(bench, caller, persona, lifetime=1e9, **name))
    assert given.expires_at == bench.clock.now() + timedelta(hours=hours)


async def test_no_service_gets_anothers_persona(bench: Interfaces) -> None:
    await bench.add_cluster()
    allowed = {
        (caller, persona)
        for caller in ("api", "monitor", "addon_manager", "healer", "provisioner", "anybody")
        for persona in ("user", "monitor", "addon_manager")
        if (await ask(bench, caller, persona, **({"user_name": "ann"} if persona == "user" else {}))).status == 200
    }
    assert allowed == {("api", "user"), ("monitor", "monitor"), ("addon_manager", "addon_manager")}


async def test_an_agent_named_like_a_service_is_none(bench: Interfaces) -> None:
    await bench.add_cluster()
    impostor = bench.service("api", bench.agents)
    assert impostor is not None
    body = {"persona": "user", "csr_pem": CSR, "lifetime": 60.0, "user_name": "ann"}
    path = f"/v1/clusters/{CLUSTER_ID}/credentials"
    for peer in (impostor, None):
        assert code(await bench.signing_api.dispatch("POST", path, {}, body, peer)) == (401, "NoServiceCertificate")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("system:admin", "ReservedName", id="Kubernetes' own"),
        pytest.param("slipway:monitor", "ReservedName", id="Slipway's own"),
        pytest.param("kubeadm:x", "ReservedName", id="kubeadm's own"),
        pytest.param(None, "InvalidName", id="no name"),
        pytest.param("", "InvalidName", id="an empty name"),
        pytest.param(" ann", "InvalidName", id="a blank at the start"),
        pytest.param("a\nb", "InvalidName", id="a line break"),
        pytest.param("a" * 256, "InvalidName", id="too long"),
    ],
)
async def test_names_that_are_no_users_are_refused(bench: Interfaces, name: str | None, expected: str) -> None:
    await bench.add_cluster()
    assert code(await ask(bench, "api", "user", user_name=name)) == (422, expected)


async def test_a_key_that_cannot_be_signed_says_why(bench: Interfaces) -> None:
    await bench.add_cluster()
    assert code(await ask(bench, "monitor", "monitor", csr_pem="x")) == (422, "CannotSign")


async def test_a_service_has_no_name_of_its_own_choice(bench: Interfaces) -> None:
    await bench.add_cluster()
    assert code(await ask(bench, "monitor", "monitor", user_name="root")) == (422, "InvalidName")


async def test_clusters_that_are_not_there_are_told_from_those_not_ready(bench: Interfaces) -> None:
    assert code(await ask(bench, "monitor", "monitor")) == (404, "UnknownCluster")
    await bench.add_cluster(endpoint_address=None)
    assert code(await ask(bench, "monitor", "monitor")) == (409, "NotReadyYet")


async def test_a_deleted_cluster_is_unknown(bench: Interfaces) -> None:
    await bench.add_cluster(phase="deleted")
    assert code(await ask(bench, "monitor", "monitor")) == (404, "UnknownCluster")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", f"/v1/clusters/{CLUSTER_ID}/credentials"), ("POST", "/v1/clusters"), ("POST", "/v1/clusters/a/b/c")],
)
async def test_other_paths_are_not_found(bench: Interfaces, method: str, path: str) -> None:
    assert (await bench.signing_api.dispatch(method, path, {}, {}, bench.service("api"))).status == 404


def test_the_provisioners_own_access_is_short_and_masters_shorter() -> None:
    now = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    keys = make_cluster_keys(CLUSTER_ID, now)
    own = own_access(keys, Endpoint("10.0.0.5", 6443), now)
    masters = bootstrap_access(keys, Endpoint("10.0.0.5", 6443), now)
    subjects = [read_certificate(each.certificate_pem).subject.rfc4514_string() for each in (own, masters)]
    assert subjects == ["CN=slipway:provisioner", "CN=slipway:provisioner,O=system:masters"]
    assert read_certificate(masters.certificate_pem).not_valid_after_utc == now + timedelta(minutes=5)
    assert "PRIVATE KEY" not in repr(masters)
