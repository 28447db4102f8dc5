"""The units: systemd understands them, and the settings beside them exist and are complete."""

import configparser
import importlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slipway_chassis.settings import load_settings
from slipway_chassis.tls import SERVICES
from slipway_platform.prepare import prepare

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy/systemd"
OWN_SECRETS = {"database_url", "amqp_url"}


def variables(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("service", SERVICES)
def test_the_settings_are_known_and_complete(service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(tmp_path, [])
    given = variables(UNITS / "env" / "common.env") | variables(UNITS / "env" / f"{service}.env")
    for name, value in given.items():
        monkeypatch.setenv(name, value.replace(f"/etc/slipway/secrets/{service}", str(tmp_path)))
    settings_class = importlib.import_module(f"slipway_{service}.settings").Settings
    settings = load_settings(settings_class, {"SLIPWAY_SECRETS_DIR": str(tmp_path)})
    fields = {f"SLIPWAY_{service.upper()}_{name.upper()}" for name in settings_class.model_fields}
    assert {name for name in given if name.startswith(f"SLIPWAY_{service.upper()}")} <= fields
    assert settings.database_url.startswith("postgresql+asyncpg://")
    files = {value for value in settings.model_dump().values() if isinstance(value, Path)} - {settings.regions_file}
    assert all(path.is_file() for path in files)


@pytest.mark.parametrize("service", SERVICES)
def test_the_file_says_which_secrets_belong_beside_it(service: str) -> None:
    path = UNITS / "env" / f"{service}.env"
    said = " ".join(line for line in path.read_text().splitlines() if line.startswith("#"))
    named = {Path(value).name for value in variables(path).values() if "/secrets/" in value}
    assert all(name in said for name in named | {f"slipway_{service}_{each}" for each in OWN_SECRETS})


def test_services_ask_for_the_ports_that_compose_has_too(
    compose: dict[str, dict[str, dict[str, dict[str, str]]]],
) -> None:
    for service in SERVICES:
        key = f"SLIPWAY_{service.upper()}_HTTP_PORT"
        here = variables(UNITS / "env" / f"{service}.env")[key]
        assert here == compose["services"][service.replace("_", "-")]["environment"][key]


def test_every_service_has_a_user_of_its_own() -> None:
    lines = [line.split() for line in (UNITS / "sysusers.conf").read_text().splitlines() if line.startswith("u ")]
    assert [words[1] for words in lines] == [f"slipway-{service}" for service in SERVICES]


def test_the_unit_is_closed_and_starts_what_is_installed() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNITS / "slipway@.service")
    service = unit["Service"]
    assert service["ExecStart"].endswith("-m slipway_%i run")
    assert service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert all(importlib.util.find_spec(f"slipway_{each}.__main__") for each in SERVICES)


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze: install the distribution's package systemd")
    text = (UNITS / "slipway@.service").read_text()
    # a program that is here, and a user that is here: the rest is as it is
    program = text.replace("/opt/slipway/%i/bin/python", sys.executable).replace("slipway-%i", "root")
    (tmp_path / "slipway@healer.service").write_text(program)
    shutil.copy(UNITS / "slipway.target", tmp_path)
    ran = subprocess.run(
        ["systemd-analyze", "verify", "./slipway@healer.service", "./slipway.target"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    ours = [line for line in ran.stderr.splitlines() if "slipway" in line]
    assert ours == []
