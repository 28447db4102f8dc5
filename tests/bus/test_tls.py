"""The bus over TLS: with the operator's CA, with a certificate of our own where the broker wants one, or not at all."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData

from slipway_chassis.amqp import tls_of
from slipway_chassis.bus import RabbitBus
from slipway_chassis.clock import SystemClock
from slipway_chassis.runner import App, running
from slipway_chassis.service import Service
from slipway_chassis.settings import ServiceSettings
from slipway_chassis.testing import a_database, eventually
from slipway_chassis.tls import make_service_pki
from slipway_platform.broker import PrivateBroker, rabbitmq_server
from slipway_platform.layout import free_port

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Tls:
    """A broker that wants its clients' certificates, and files that fit."""

    url: str
    pki: Path


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tls]:
    if rabbitmq_server() is None:
        pytest.skip("no rabbitmq-server here: install the package to test TLS")
    folder = tmp_path_factory.mktemp("broker")
    pki = folder / "pki"
    make_service_pki(pki, ["127.0.0.1"])
    port = free_port()
    broker = PrivateBroker(
        folder,
        [
            f"listeners.ssl.1 = 127.0.0.1:{port}",
            f"ssl_options.cacertfile = {pki}/ca.pem",
            f"ssl_options.certfile = {pki}/api.pem",
            f"ssl_options.keyfile = {pki}/api.key",
            "ssl_options.verify = verify_peer",
            "ssl_options.fail_if_no_peer_cert = true",
        ],
    )
    try:
        broker.start()
        yield Tls(f"amqps://guest:guest@127.0.0.1:{port}/", pki)
    finally:
        broker.stop()


@asynccontextmanager
async def a_bus(tls: Tls, folder: Path, **files: Path) -> AsyncIterator[tuple[Service, RabbitBus]]:
    database = await a_database(folder)
    service = Service("healer", "tokyo", database, SystemClock(), MetaData(), {})
    try:
        async with running(App(service, ServiceSettings(amqp_url=tls.url, workers=1, **files))) as bus:
            yield service, bus
    finally:
        await database.close()


async def test_a_service_works_over_tls_with_its_own_certificate(tls: Tls, tmp_path: Path) -> None:
    files = {
        "amqp_ca_file": tls.pki / "ca.pem",
        "amqp_cert_file": tls.pki / "healer.pem",
        "amqp_key_file": tls.pki / "healer.key",
    }
    async with a_bus(tls, tmp_path, **files) as (service, bus):
        await eventually(bus.is_ready, "the healer consumes")
        await eventually(lambda: service.metrics.published._value.get() >= 1, "the healer speaks")


async def test_a_broker_of_another_ca_is_not_talked_to(
    tls: Tls, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_service_pki(tmp_path / "other", ["127.0.0.1"])
    async with a_bus(tls, tmp_path, amqp_ca_file=tmp_path / "other" / "ca.pem") as (_, bus):
        await eventually(lambda: "CERTIFICATE_VERIFY_FAILED" in caplog.text, "the log says why")
        assert not await bus.is_ready()
    assert "guest:guest" not in caplog.text


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"amqp_url": "amqp://b/", "amqp_ca_file": "ca.pem"}, "amqps://"),
        ({"amqp_url": "amqps://b/", "amqp_cert_file": "a.pem"}, "belong together"),
        ({"amqp_url": "amqps://b/", "amqp_ca_file": "not-there.pem"}, "not-there.pem"),
    ],
    ids=["files without TLS", "a certificate without its key", "a file that is not there"],
)
def test_settings_that_do_not_fit_are_refused_with_a_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        tls_of(ServiceSettings(**settings))
