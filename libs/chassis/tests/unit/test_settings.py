"""Settings come from the environment and from a folder of secrets; what is wrong with them is said."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict

from slipway_chassis.settings import ServiceSettings, load_settings


class Own(ServiceSettings):
    """As a service's."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_prefix="SLIPWAY_OWN_")


def test_the_environment_goes_before_the_folder_of_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slipway_own_amqp_url").write_text("amqp://own:hidden@broker/\n")
    (tmp_path / "slipway_own_region").write_text("osaka")
    monkeypatch.setenv("SLIPWAY_OWN_REGION", "tokyo")
    settings = load_settings(Own, {"SLIPWAY_SECRETS_DIR": str(tmp_path)})
    assert (settings.amqp_url, settings.region) == ("amqp://own:hidden@broker/", "tokyo")
    assert "hidden" not in repr(settings)


def test_a_folder_of_secrets_that_is_not_there_is_said() -> None:
    with pytest.raises(ValueError, match="/nowhere: the folder of secrets is not there"):
        load_settings(Own, {"CREDENTIALS_DIRECTORY": "/nowhere"})


def test_the_endpoint_of_traces_is_one_for_all_services(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Own().otlp_endpoint == ""
    monkeypatch.setenv("SLIPWAY_OTLP_ENDPOINT", "http://collector:4318/")
    assert Own().otlp_endpoint == "http://collector:4318"
    monkeypatch.setenv("SLIPWAY_OTLP_ENDPOINT", "collector")
    with pytest.raises(ValidationError, match="SLIPWAY_OTLP_ENDPOINT"):
        Own()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://healer:hidden@db/healer", "postgresql is none of the drivers postgresql\\+asyncpg"),
        ("healer:hidden@db", "no URL of a database"),
    ],
    ids=["a driver without asyncio", "no URL"],
)
def test_a_database_that_cannot_be_spoken_to_is_a_wrong_setting(
    url: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_OWN_DATABASE_URL", url)
    with pytest.raises(ValidationError, match=says) as wrong:
        Own()
    assert "database_url" in str(wrong.value)
    assert "hidden" not in str(wrong.value)


def test_no_password_is_shown_of_settings_that_are_right_or_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_OWN_DATABASE_URL", "postgresql+asyncpg://healer:hidden@db/healer")
    assert "hidden" not in repr(Own())
    monkeypatch.setenv("SLIPWAY_OTLP_ENDPOINT", "collector:hidden@")
    with pytest.raises(ValidationError, match="SLIPWAY_OTLP_ENDPOINT") as wrong:
        Own()
    assert "hidden" not in str(wrong.value)
