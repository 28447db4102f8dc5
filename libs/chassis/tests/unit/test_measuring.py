"""What is measured by looking into the database: outbox, work, certificates."""

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import MetaData, update

from slipway_chassis import work
from slipway_chassis.clock import SteppingClock
from slipway_chassis.measuring import certificate_ends, measure
from slipway_chassis.service import Service
from slipway_chassis.settings import ServiceSettings
from slipway_chassis.tables import work as work_table
from slipway_chassis.testing import a_database
from slipway_chassis.tls import make_service_pki


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    clock = SteppingClock()
    database = await a_database(tmp_path)
    yield Service(name="healer", region="tokyo", database=database, clock=clock, metadata=MetaData(), routes={})
    await database.close()


def value(service: Service, name: str, labels: Mapping[str, str] | None = None) -> float | None:
    return service.registry.get_sample_value(name, dict(labels or {}))


async def test_the_age_of_the_oldest_message_and_their_number(service: Service) -> None:
    await measure(service)
    assert value(service, "slipway_outbox_age_seconds") == 0
    async with service.transaction() as session:
        await service.announcer.request_resync(session)
        await service.announcer.request_resync(session)
    assert isinstance(service.clock, SteppingClock)
    service.clock.step(timedelta(seconds=90))
    await measure(service)
    assert value(service, "slipway_outbox_age_seconds") == 90
    assert value(service, "slipway_outbox_messages") == 2
    assert value(service, "slipway_measured_timestamp_seconds") == service.clock.now().timestamp()


async def test_each_object_is_counted_by_its_state(service: Service) -> None:
    now = service.clock.now()
    async with service.transaction() as session:
        for key, due_in in (("later", 60), ("now", 0), ("long ago", -300), ("taken", -300)):
            await work.mark_dirty(session, "resync", key, now + timedelta(seconds=due_in))
        taken = update(work_table).where(work_table.c.key == "taken")
        await session.execute(taken.values(lease_until=now + timedelta(seconds=30), failures=3))
    await measure(service)
    states = ("waiting", "due", "overdue", "leased", "failing")
    counted = {state: value(service, "slipway_work_rows", {"kind": "resync", "state": state}) for state in states}
    assert counted == dict.fromkeys(states, 1)
    assert value(service, "slipway_work_lag_seconds", {"kind": "resync"}) == 300


def test_the_ends_of_the_certificates_that_settings_name(tmp_path: Path) -> None:
    make_service_pki(tmp_path, ["localhost"])
    (tmp_path / "broken.pem").write_text("no certificate")
    settings = ServiceSettings(tls_cert_file=tmp_path / "healer.pem", tls_ca_file=tmp_path / "broken.pem")
    assert list(certificate_ends(settings)) == ["tls_cert_file"]
