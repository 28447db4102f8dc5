"""No secret is said: not on the bus, in logs, traces, answers, user data or databases, in a cluster's whole life."""

import base64
import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from yarl import URL

from slipway_chassis.tls import SERVICES
from slipway_platform.broker import PrivateBroker, rabbitmq_server
from slipway_platform.demo import sandbox_region
from slipway_platform.platform import Platform, running
from slipway_platform.testing import User
from slipway_provisioner.domain.pki import make_key_pair, make_request
from tests.system import overheard
from tests.system.collector import Collector
from tests.system.overheard import Overheard
from tests.system.secrecy import Secret, a_binary, a_private_key, a_text, find_betrayals

pytestmark = pytest.mark.timeout(300)
CLUSTER = "discreet"
OF_THIS_RUN = ""
PLACES = {
    **dict.fromkeys(("events", "traces", "API's answers", "cloud's resources", "what the command says"), OF_THIS_RUN),
    **{f"log of {each}": f'"service": "{each}"' for each in SERVICES},
    **{f"database of {each}": OF_THIS_RUN for each in SERVICES},
    "servers' user data": "its own token",
    "machines' consoles": "Plan applied",
    "metrics": "slipway_provisioner_claims_refused_total",
}
"""Where was listened, and a word that shows that it was: the cluster's id unless said otherwise."""
KINDS = (
    "master key", "CA's key", "service accounts' key", "Secrets' encryption key", "agent's token", "node's key",
    "kubeconfig's key", "service's key", "password of the broker", "password of a database", "user's token",
)  # fmt: skip


@pytest.fixture(scope="module")
def bus_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[URL]:
    """A broker whose password is nowhere by chance."""
    if rabbitmq_server() is None:
        pytest.skip("a broker with a password of its own needs the package rabbitmq-server")
    password = overheard.a_password()
    lines = ["default_user = slipway", f"default_pass = {password}"]
    broker = PrivateBroker(tmp_path_factory.mktemp("secret-broker"), lines)
    try:
        broker.start()
        yield URL(broker.url).with_user("slipway").with_password(password)
    finally:
        broker.stop()


@pytest.fixture(scope="module")
def databases(postgres_url: str) -> Iterator[dict[str, URL]]:
    """A database for each service, owned by a role with a password of its own; dropped afterwards."""
    admin, mark = URL(postgres_url), secrets.token_hex(4)
    urls = {
        each: admin.with_scheme("postgresql+asyncpg").with_user(f"secret_{each}_{mark}")
        .with_password(overheard.a_password()).with_path(f"/secret_{each}_{mark}")
        for each in SERVICES
    }  # fmt: skip
    with psycopg.connect(postgres_url, autocommit=True) as server:
        try:
            for url in urls.values():
                name, password = sql.Identifier(str(url.user)), sql.Literal(url.password)
                server.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, password))
                server.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, name))
            yield urls
        finally:
            for url in urls.values():
                name = sql.Identifier(str(url.user))
                server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
                server.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(name))


@pytest.fixture(scope="module")
def heard(
    bus_url: URL, databases: dict[str, URL], postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Overheard:
    """A cluster was created, entered and deleted; all that was said meanwhile, and all that must not have been."""
    folder = tmp_path_factory.mktemp("secrets")
    platform = Platform(
        folder, str(bus_url), sandbox_region(), machines_of=None,
        database_url=lambda service: str(databases[service]),
        settings={each: {"LOG_LEVEL": "DEBUG"} for each in SERVICES},
    )  # fmt: skip
    heard = Overheard()
    heard.keep(a_text("password of the broker", "slipway", str(bus_url.password)))
    for service, url in databases.items():
        heard.keep(a_text("password of a database", service, str(url.password)))
    with Collector() as collector, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLIPWAY_OTLP_ENDPOINT", collector.endpoint)
        patch.setenv("OS_CLIENT_CONFIG_FILE", str(platform.clouds_yaml))
        with running(platform), overheard.machines_at_hand("sandbox-admin") as runner:
            user, tap = User(platform), overheard.Tap(platform)
            try:
                names = {service: url.path.strip("/") for service, url in databases.items()}

                def stop_and_look() -> None:
                    overheard.keep_the_clusters_keys(heard, platform)
                    for machine in list(runner.machines.values()):
                        overheard.keep_the_machines_keys(heard, machine)
                    overheard.hear_the_cloud(heard, platform, user)
                    overheard.hear_databases(heard, postgres_url, names)

                _live(heard, user, folder, stop_and_look)
                overheard.keep_the_services_keys(heard, platform)
                overheard.hear_answers(heard, user)
                overheard.hear_databases(heard, postgres_url, names)
                overheard.hear_the_services(heard, platform)
                heard.hear("events", b"\n".join(tap.drain()))
            finally:
                user.close()
        heard.hear("traces", b"\n".join(collector.received))
    return heard


def _live(heard: Overheard, user: User, folder: Path, stop_and_look: Callable[[], None]) -> None:
    """A cluster's life, as its user has it."""
    small = ("--etcd", "1", "--controllers", "1", "--workers", "1")
    heard.keep(a_text("user's token", "of a person", user.http.headers["X-Auth-Token"]))
    overheard.say(heard, user, "cluster", "create", CLUSTER, *small)
    heard.cluster_id = user.get(f"/v1/clusters/{CLUSTER}")["id"]
    file = folder / "kubeconfig"
    overheard.say(heard, user, "cluster", "kubeconfig", CLUSTER, "-o", str(file))
    overheard.keep_the_kubeconfigs_key(heard, file)
    pem, request = make_request("somebody")
    heard.keep(a_private_key("kubeconfig's key", "asked for by REST", pem))
    answer = user.http.post(f"/v1/clusters/{CLUSTER}/kubeconfig", json={"csr_pem": request})
    heard.hear("API's answers", answer.raise_for_status().text)
    mistaken = user.http.post(f"/v1/clusters/{CLUSTER}/kubeconfig", json={"csr_pem": pem})
    assert mistaken.status_code == 422, "somebody sends the key where the request belongs"
    heard.hear("API's answers", mistaken.text)
    stop_and_look()
    overheard.hear_answers(heard, user)
    overheard.say(heard, user, "cluster", "delete", CLUSTER, "--yes")


def test_all_kinds_of_secrets_are_known(heard: Overheard) -> None:
    assert {each.kind for each in heard.secrets.values()} == set(KINDS)
    by_kind = [each.kind for each in heard.secrets.values()]
    assert by_kind.count("CA's key") == 3
    assert by_kind.count("agent's token") == 3
    assert by_kind.count("node's key") >= 3 + 3 + 8 + 2, "agents', etcd's, a controller's, a worker's"


@pytest.mark.parametrize("place", PLACES)
def test_nothing_secret_is_said(heard: Overheard, place: str) -> None:
    said = heard.places[place]
    assert (PLACES[place] or heard.cluster_id).encode() in said, "somebody listened"
    assert find_betrayals(heard.secrets.values(), {place: said}) == []
    assert b"PRIVATE KEY-----" not in said


def test_no_place_was_forgotten(heard: Overheard) -> None:
    others = {place: said for place, said in heard.places.items() if place not in PLACES}
    assert set(others) == {"log of cloud", "log of mirror", "log of make-mirror"}
    assert find_betrayals(heard.secrets.values(), others) == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_search_would_have_found_each_kind_in_a_log(heard: Overheard, kind: str) -> None:
    log = heard.places["log of provisioner"]
    for secret in [each for each in heard.secrets.values() if each.kind == kind]:
        line = json.dumps(
            {"event": "Something went wrong", "level": "debug", "body": json.dumps({"said": secret.text})}
        )
        planted = log[: len(log) // 2] + line.encode() + log[len(log) // 2 :]
        found = {each.secret for each in find_betrayals(heard.secrets.values(), {"log": planted})}
        assert f"{secret.kind}: {secret.name}" in found


KEY = make_key_pair().private_pem
NUMBER = a_private_key("key", "planted", KEY)
TOKEN = secrets.token_urlsafe(32)
SYMMETRIC = base64.b64encode(secrets.token_bytes(32)).decode()


def der(pem: str) -> bytes:
    return base64.b64decode("".join(pem.splitlines()[1:-1]))


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        pytest.param(NUMBER, KEY.encode(), id="a PEM"),
        pytest.param(NUMBER, json.dumps({"key": KEY}).encode(), id="a PEM in JSON"),
        pytest.param(NUMBER, json.dumps(json.dumps({"key": KEY})).encode(), id="a PEM in JSON in JSON"),
        pytest.param(NUMBER, KEY.replace("\n", "\n      ").encode(), id="an indented PEM"),
        pytest.param(NUMBER, KEY.replace("\n", "").encode(), id="a PEM on one line"),
        pytest.param(NUMBER, b"client-key-data: " + base64.b64encode(KEY.encode()), id="a kubeconfig"),
        pytest.param(NUMBER, base64.b64encode(b'{"k":"' + KEY.encode()), id="a PEM in other base64"),
        pytest.param(NUMBER, b"x" + der(KEY), id="a DER"),
        pytest.param(NUMBER, b"\\x" + der(KEY).hex().encode(), id="a DER as PostgreSQL prints bytes"),
        pytest.param(NUMBER, repr(der(KEY)).encode(), id="a DER as Python prints bytes"),
        pytest.param(a_text("token", "planted", TOKEN), f"GET /v1?token={TOKEN}&x=1".encode(), id="a token in an URL"),
        pytest.param(a_text("token", "planted", TOKEN), base64.b64encode(f"u:{TOKEN}".encode()), id="basic login"),
        pytest.param(
            a_binary("key", "planted", SYMMETRIC), f'"secret": "{SYMMETRIC}"'.encode(), id="an encryption key"
        ),
        pytest.param(a_binary("key", "planted", SYMMETRIC), base64.b64decode(SYMMETRIC), id="its bytes"),
    ],
)
def test_the_search_finds_a_planted_secret(secret: Secret, said: bytes) -> None:
    line = b'{"event": "Certificates signed", "trace_id": "4bf92f3577b34da6"}\n'
    assert [each.place for each in find_betrayals([secret], {"log": line + said + line})] == ["log"]
    assert find_betrayals([secret], {"log": line * 3}) == []
