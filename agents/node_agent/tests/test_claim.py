"""How the agent comes by its identity."""

from __future__ import annotations

import json
import random
from datetime import datetime, timezone

import pytest

from slipway_node_agent.claim import decide_skew
from slipway_node_agent.config import CERT_PATH, IDENTITY_PATH, KEY_PATH, TRUST_PATH, AgentConfig
from slipway_node_agent.effects import Call, Reply
from slipway_node_agent.host import HostRefused
from slipway_node_agent.plans import plan_loop
from slipway_node_agent.testing import TOKEN, FakeDriver, FakeHost, FakeServices, a_host

NOON = datetime(2030, 1, 1, 12, 0, tzinfo=timezone.utc)


def start(services: FakeServices) -> FakeDriver:
    return FakeDriver(services, plan_loop(services.host, AgentConfig(random=random.Random(1))))


def is_claimed(services: FakeServices) -> bool:
    return CERT_PATH in services.host.files


def test_the_identity_is_stored_and_no_one_else_can_read_the_key() -> None:
    services = FakeServices(a_host())
    driver = start(services)
    driver.until(lambda: is_claimed(services))
    assert services.host.mode(KEY_PATH) == 0o600
    assert services.host.read_file(TRUST_PATH) == "CA host\nCA services\n"
    assert json.loads(services.host.read_file(IDENTITY_PATH) or "") == {
        "observe_url": "https://monitor.example",
        "observe_every": 10.0,
    }
    calls = [effect for effect in driver.effects if isinstance(effect, Call)]
    assert [(call.method, call.path, call.cert_path) for call in calls] == [
        ("GET", "/v1/agent/time", None),
        ("POST", "/v1/agent/claim", None),
        ("GET", "/v1/agent/plan?after=0&wait=30", CERT_PATH),
    ], "from then on mutual TLS"


def test_a_claimed_agent_does_not_claim_again_after_a_restart() -> None:
    services = FakeServices(a_host())
    start(services).until(lambda: is_claimed(services))
    start(services).step()
    assert len(services.claims) == 1


def test_a_lost_answer_is_claimed_again_with_the_same_key() -> None:
    services = FakeServices(a_host())
    driver = start(services)
    driver.until(lambda: len(services.claims) == 1)
    start(services).until(lambda: is_claimed(services))
    assert len({claim["csr_pem"] for claim in services.claims}) == 1


def test_an_expired_identity_is_claimed_again_with_the_same_key() -> None:
    services = FakeServices(a_host(), signed_for=3600.0)
    driver = start(services)
    driver.until(lambda: is_claimed(services))
    driver.until(lambda: len(services.claims) == 2)
    assert services.host.seconds >= 3600
    assert len({claim["csr_pem"] for claim in services.claims}) == 1


def test_a_refused_claim_is_repeated_slowly_and_said_without_the_token() -> None:
    services = FakeServices(a_host(), bound_key="another")
    driver = start(services)
    driver.until(lambda: len(services.claims) == 5)
    assert services.host.seconds >= 4 * 48
    assert any("the token belongs to another key" in line for line in services.host.journal)
    assert not any(TOKEN in line for line in services.host.journal)


def test_a_busy_provisioner_is_given_the_time_it_asks_for() -> None:
    services = FakeServices(a_host())
    services.refuse["/v1/agent/claim"] = Reply(503, None, {"retry-after": "17"})
    driver = start(services)
    driver.until(lambda: services.host.seconds > 0)
    assert services.host.seconds >= 17


@pytest.mark.parametrize("skew", [-600.0, 600.0], ids=["behind", "ahead"])
def test_a_wrong_clock_is_said_and_the_provisioner_learns_of_it(skew: float) -> None:
    host = a_host()
    host.skew = skew
    services = FakeServices(host)
    start(services).until(lambda: bool(services.claims))
    assert any("code=ClockSkew" in line and f"seconds={skew:.0f}" in line for line in host.journal)
    assert services.claims[0]["clock"] == host.now().isoformat()


BAD_ANSWERS = {
    "no JSON object": Reply(200, None),
    "no certificate": Reply(200, {"ca_pem": "CA", "observe_url": "https://m"}),
    "a certificate of another key": Reply(
        200, {"certificate_pem": "CERT 99 2040-01-01T00:00:00+00:00", "ca_pem": "CA", "observe_url": "https://m"}
    ),
    "a certificate of the past": Reply(
        200, {"certificate_pem": "CERT 1 2020-01-01T00:00:00+00:00", "ca_pem": "CA", "observe_url": "https://m"}
    ),
}


@pytest.mark.parametrize("answer", BAD_ANSWERS.values(), ids=BAD_ANSWERS.keys())
def test_a_claim_is_not_believed_that_answers(answer: Reply) -> None:
    services = FakeServices(a_host())
    services.refuse["/v1/agent/claim"] = answer
    driver = start(services)
    driver.until(lambda: any("Claim failed" in line for line in services.host.journal))
    assert not is_claimed(services)
    services.refuse.clear()
    driver.until(lambda: is_claimed(services))


@pytest.mark.parametrize(
    ("host", "code"),
    [
        (FakeHost(), "BootstrapMissing"),
        (FakeHost(files={"/etc/slipway/agent.json": ("{}", 0o600)}), "BootstrapInvalid"),
    ],
    ids=["missing", "incomplete"],
)
def test_without_a_bootstrap_the_agent_ends_and_says_why(host: FakeHost, code: str) -> None:
    with pytest.raises(HostRefused) as refused:
        start(FakeServices(host)).step()
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("server", "travel", "skew"),
    [
        ("2030-01-01T12:00:00Z", 0.0, 0.0),
        ("2030-01-01T11:58:00.500000+00:00", 1.0, 119.0),
        ("2030-01-01T13:00:00+01:00", 0.0, 0.0),
        ("2030-01-01T12:00:00", 0.0, None),
        ("yesterday", 0.0, None),
    ],
    ids=["equal", "ahead, travel halved", "another zone", "naive", "nonsense"],
)
def test_skew(server: str, travel: float, skew: float | None) -> None:
    assert decide_skew(NOON, server, travel) == skew
