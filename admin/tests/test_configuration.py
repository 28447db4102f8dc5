"""The configuration and the command line: what is wrong is said in one sentence, secrets are never shown."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from slipway_admin.configuration import load_configuration
from slipway_admin.doctor import clock_findings
from slipway_admin.errors import CommandFailed
from slipway_admin.main import app


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("services: [healer]", "services"),
        ("amqp: x", "amqp: Extra inputs are not permitted"),
        ("amqp_url_file: /nowhere/url", "/nowhere/url: cannot be read"),
        ("{", "is not YAML"),
    ],
    ids=["another shape", "an unknown field", "a file that is not there", "no YAML"],
)
def test_a_wrong_configuration_is_refused_with_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "slipway-admin.yaml"
    file.write_text(text)
    with pytest.raises(CommandFailed) as refused:
        load_configuration(file, None)
    assert sentence in refused.value.message


def test_the_url_comes_from_the_environment_first_then_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("amqp://operator:sesame@broker/\n")
    file = tmp_path / "slipway-admin.yaml"
    file.write_text(f"amqp_url_file: {tmp_path}/url")
    read = load_configuration(file, None)
    assert read.amqp_url == "amqp://operator:sesame@broker/"
    assert "sesame" not in repr(read)
    assert load_configuration(file, "amqp://other/").amqp_url == "amqp://other/"


def test_without_services_or_regions_the_command_asks_for_them() -> None:
    said = CliRunner().invoke(app, ["dead-letters", "list"])
    assert said.exit_code == 2
    assert "--region" in said.stderr


def test_the_doctor_needs_a_configuration() -> None:
    said = CliRunner().invoke(app, ["doctor"])
    assert said.exit_code == 2
    assert "names no services" in said.stderr


@pytest.mark.parametrize(
    ("ahead", "found"), [(0, False), (2, False), (30, True), (-30, True)], ids=["same", "rounding", "ahead", "behind"]
)
def test_the_clock_of_an_http_answer_is_compared_as_far_as_it_can_be(ahead: int, found: bool) -> None:
    now = datetime.now(UTC)
    said = format_datetime(now + timedelta(seconds=ahead), usegmt=True)
    assert bool(clock_findings("Skew", "x", said, now)) is found
