"""docker-compose.yml: every setting exists, every secret is made, and each service gets all that it needs."""

import base64
import importlib
import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import make_url
from yarl import URL

from slipway_chassis.regions import load_regions
from slipway_chassis.settings import load_settings
from slipway_chassis.tls import SERVICES
from slipway_platform.bus_definitions import password_hash
from slipway_platform.demo import sandbox_region
from slipway_platform.prepare import DEFINITIONS, prepare
from slipway_sandbox.cloud.login import clouds_config

ROOT = Path(__file__).parents[2]


def settings_of(service: str) -> Any:
    return importlib.import_module(f"slipway_{service}.settings").Settings


def container(compose: dict[str, Any], service: str) -> dict[str, Any]:
    found: dict[str, Any] = compose["services"][service.replace("_", "-")]
    return found


def expanded(text: str) -> str:
    """Compose's ${NAME:-default} without the variable."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def is_password_of(folder: Path, user: str, password: str) -> bool:
    """Whether RabbitMQ will let the user in with it."""
    users = json.loads((folder / DEFINITIONS).read_text())["users"]
    (known,) = (each["password_hash"] for each in users if each["name"] == user)
    return bool(password_hash(password, base64.b64decode(known)[:4]) == known)


def test_every_secret_is_made_by_prepare(compose: dict[str, Any], tmp_path: Path) -> None:
    made = {path.name for path in prepare(tmp_path, ["host.example"])}
    named = {Path(expanded(each["file"])) for each in compose["secrets"].values()}
    assert {path.name for path in named if path.name != "clouds.yaml"} <= made
    assert all(name == Path(each["file"]).name.rstrip("}") for name, each in compose["secrets"].items())


def test_prepare_keeps_what_is_there_and_keeps_others_out(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    prepare(folder, [])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "master.key").unlink()
    assert [path.name for path in prepare(folder, [])] == ["master.key"]
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"master.key", DEFINITIONS}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_password_of_ones_own_is_the_same_in_the_urls(tmp_path: Path) -> None:
    own = "p@ss/w:rd%41?"
    for name in ("rabbitmq_password_healer.sandbox", "database_password_healer"):
        (tmp_path / name).write_text(f"{own}\n")
    prepare(tmp_path, [])
    assert make_url((tmp_path / "slipway_healer_database_url").read_text()).password == own
    assert URL((tmp_path / "slipway_healer_amqp_url").read_text()).password == own
    assert is_password_of(tmp_path, "healer.sandbox", own)


@pytest.mark.parametrize("service", SERVICES)
def test_every_secret_and_file_that_a_service_names_is_given_to_it(compose: dict[str, Any], service: str) -> None:
    for name in (service, f"migrate-{service}"):
        given = {each if isinstance(each, str) else each["source"] for each in container(compose, name)["secrets"]}
        assert given <= compose["secrets"].keys()
        files = {value for value in container(compose, name)["environment"].values() if "/run/secrets/" in value}
        assert {Path(value).name for value in files} <= given


@pytest.mark.parametrize("service", SERVICES)
def test_its_settings_are_complete_and_known(
    compose: dict[str, Any], service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path, [])
    environment = {key: expanded(value) for key, value in container(compose, service)["environment"].items()}
    for key, value in environment.items():
        monkeypatch.setenv(key, value.replace("/run/secrets", str(tmp_path)))
    settings = load_settings(settings_of(service), {"SLIPWAY_SECRETS_DIR": str(tmp_path)})
    assert settings.database_url.startswith(f"postgresql+asyncpg://{service}:")
    assert settings.amqp_url == (tmp_path / f"slipway_{service}_amqp_url").read_text()
    prefix = f"SLIPWAY_{service.upper()}_"
    fields = {f"{prefix}{name.upper()}" for name in type(settings).model_fields}
    assert {key for key in environment if key.startswith("SLIPWAY_")} <= fields | {
        "SLIPWAY_SECRETS_DIR",
        "SLIPWAY_OTLP_ENDPOINT",
    }


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_is_a_user_of_its_own_on_the_bus(compose: dict[str, Any], service: str, tmp_path: Path) -> None:
    prepare(tmp_path, [], "tokyo")
    (conf,) = (each for each in compose["services"]["rabbitmq"]["volumes"] if each.endswith(".conf:ro"))
    loaded = (ROOT / conf.partition(":")[0]).read_text().partition("load_definitions = ")[2].strip()
    assert compose["services"]["rabbitmq"]["secrets"] == [Path(loaded).name]
    bus = json.loads((tmp_path / Path(loaded).name).read_text())
    login = URL((tmp_path / f"slipway_{service}_amqp_url").read_text())
    assert login.user == ("api.global" if service == "api" else f"{service}.tokyo")
    assert is_password_of(tmp_path, str(login.user), str(login.password))
    assert [each["vhost"] for each in bus["permissions"] if each["user"] == login.user] == [login.path]
    assert container(compose, service)["environment"][f"SLIPWAY_{service.upper()}_BUS_USERS"] == "true"


def test_nobody_listens_on_a_port_of_somebody_else(compose: dict[str, Any]) -> None:
    ports = [
        value
        for each in compose["services"].values()
        for key, value in dict(each.get("environment", {})).items()
        if key.endswith("_PORT")
    ]
    assert len(ports) == len(set(ports)) == 7


@pytest.mark.parametrize("service", SERVICES)
def test_migrations_run_before_and_only_once(compose: dict[str, Any], service: str) -> None:
    after = container(compose, service)["depends_on"]
    assert after[f"migrate-{service.replace('_', '-')}"] == {"condition": "service_completed_successfully"}
    assert container(compose, service)["environment"][f"SLIPWAY_{service.upper()}_MIGRATE"] == "false"
    assert container(compose, f"migrate-{service}")["command"] == ["migrate"]


def test_no_password_is_in_the_file(compose: dict[str, Any]) -> None:
    for name, each in compose["services"].items():
        for key, value in dict(each.get("environment", {})).items():
            assert not re.search("PASS|SECRET_KEY|TOKEN", key) or key.endswith("_FILE"), name
            assert "@" not in str(value), f"{name}: {key} has a login"


def test_the_region_is_the_sandbox_and_its_logins_are_right() -> None:
    region = load_regions(ROOT / "deploy/compose/config/regions.yaml").named("sandbox")
    plan = sandbox_region()
    assert region.zones == plan.zones
    assert region.defaults.model_dump(exclude_none=True) == plan.defaults
    clouds = yaml.safe_load((ROOT / "deploy/compose/clouds.yaml").read_text())
    assert clouds == clouds_config("http://127.0.0.1:18780")
