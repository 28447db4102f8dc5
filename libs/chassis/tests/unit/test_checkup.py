"""What `slipway-<service> check` says of a service's own database and files."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from slipway_chassis import work
from slipway_chassis.checkup import certificates, examine
from slipway_chassis.findings import Severity, skew
from slipway_chassis.runner import App
from slipway_chassis.settings import ServiceSettings
from slipway_chassis.tls import make_service_pki


async def found(service: Any, **more: Any) -> dict[str, str]:
    report = await examine(App(service, ServiceSettings(), **more))
    assert report.source == "healer/tokyo"
    return {each.code: each.message for each in report.findings}


async def test_a_new_service_has_no_findings_and_names_its_queues(builder: Any) -> None:
    healer, _ = await builder("healer")
    report = await examine(App(healer, ServiceSettings()))
    assert [each for each in report.findings if each.code != "DatabaseClockSkew"] == []
    assert [each.name for each in report.queues] == ["healer.tokyo.cluster", "healer.tokyo.resync"]
    assert "cluster.spec_changed.v1.tokyo" in report.queues[0].keys


async def test_a_message_that_waits_and_work_that_nobody_does_are_named(builder: Any, clock: Any) -> None:
    healer, _ = await builder("healer")
    await healer.start()
    clock.step(timedelta(minutes=15))
    said = await found(healer)
    assert "1 messages wait, the oldest for 900 s" in said["OutboxLags"]
    assert "nobody is at them" in said["WorkOverdue"]


async def test_what_fails_again_and_again_is_named_with_its_error(builder: Any, clock: Any) -> None:
    healer, reconciler = await builder("healer")
    reconciler.fail_with = KeyError("a mistake")
    async with healer.transaction() as session:
        await work.mark_dirty(session, "cluster", "c1", clock.now())
    for _ in range(6):
        await healer.work_once()
        clock.step(timedelta(minutes=10))
    assert "a mistake" in (await found(healer))["WorkFails"]


async def test_a_database_that_only_lets_time_pass_is_away_too(builder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    healer, _ = await builder("healer")

    def reading() -> Any:
        raise TimeoutError  # as asyncpg says it of a connection that nobody answers: without a word

    monkeypatch.setattr(healer.database, "reading", reading)
    assert (await found(healer))["DatabaseAway"] == "Its database cannot be read: TimeoutError"


async def test_a_clock_unlike_the_databases_is_an_error(builder: Any, request: pytest.FixtureRequest) -> None:
    healer, _ = await builder("healer")
    if healer.database.is_sqlite:
        pytest.skip("SQLite has the clock of its process")
    assert "its database's" in (await found(healer))["DatabaseClockSkew"]


@pytest.mark.parametrize(
    ("seconds", "severity"),
    [(0.5, None), (-1.9, None), (3.0, Severity.WARNING), (-60.0, Severity.ERROR)],
    ids=["a little ahead", "a little behind", "ahead", "far behind"],
)
def test_clocks_may_differ_by_less_than_two_seconds(seconds: float, severity: Severity | None) -> None:
    assert [each.severity for each in skew("Skew", "x", "y", seconds)] == ([severity] if severity else [])


@pytest.mark.parametrize(
    ("age", "severity"),
    [(0, None), (340, Severity.WARNING), (362, Severity.ERROR), (400, Severity.ERROR)],
    ids=["new", "ends soon", "ends within a week", "ended"],
)
def test_certificates_are_named_before_they_end(tmp_path: Path, age: int, severity: Severity | None) -> None:
    now = datetime.now(UTC)
    make_service_pki(tmp_path, ["127.0.0.1"], now - timedelta(days=age))
    settings = ServiceSettings(tls_cert_file=tmp_path / "healer.pem", tls_ca_file=tmp_path / "ca.pem")
    said = certificates("healer/tokyo", settings, now)
    assert [(each.code, each.severity) for each in said] == ([("CertificateEnds", severity)] if severity else [])


def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (said,) = certificates("healer/tokyo", ServiceSettings(tls_cert_file=tmp_path / "none.pem"), datetime.now(UTC))
    assert said.code == "CertificateUnreadable"
    assert "none.pem" in said.message
