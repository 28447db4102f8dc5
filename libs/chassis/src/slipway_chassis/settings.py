"""The settings that every service has. A service's own settings class subclasses this with its own prefix."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from pydantic import AnyHttpUrl, Field, TypeAdapter, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

SECRETS_DIRS = ("SLIPWAY_SECRETS_DIR", "CREDENTIALS_DIRECTORY")
"""Variables that name a folder of settings, one file each; the second is systemd's."""

DATABASE_DRIVERS = ("postgresql+asyncpg", "sqlite+aiosqlite")


class ServiceSettings(BaseSettings):
    """Frozen; read from the environment with the service's prefix, e.g. SLIPWAY_HEALER_DATABASE_URL.

    What is wrong is said without the value: it may hold a password, and the sentence goes into a log.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    region: str = "sandbox"
    """The region it serves; `global` for the api."""
    database_url: str = Field(default="sqlite+aiosqlite:///.slipway/service.db", repr=False)
    """SQLAlchemy URL: postgresql+asyncpg://... or sqlite+aiosqlite:///FILE; may hold a password and is never shown."""
    amqp_url: str = Field(default="amqp://guest:guest@127.0.0.1:5672/", repr=False)
    """RabbitMQ, with the virtual host; holds a password and is never shown."""
    amqp_ca_file: Path | None = None
    """For amqps://: the CA of the broker's certificate (PEM); else the system's."""
    amqp_cert_file: Path | None = None
    """For a broker that asks its clients for a certificate (PEM)."""
    amqp_key_file: Path | None = None
    """Its key (PEM)."""
    bus_users: bool = False
    """Every service has its own user of the broker (docs/bus.md): what another one says in its name goes to the dead
    letters. Switch it on everywhere at once, after all services connect as their own users."""
    consumers_gone_after: timedelta = timedelta(seconds=60)
    """The broker answers but some consumer of ours is gone for so long: the process ends, to be started anew."""
    bus_namespace: str = "slipway"
    """Prefix of the exchanges; another one lets several platforms share a broker."""
    http_host: str = "127.0.0.1"
    """Where /livez, /readyz and /metrics (and the service's own plain HTTP) listen."""
    http_port: int = 0
    """0: any free port; it is logged."""
    workers: int = Field(default=4, ge=1)
    """Objects reconciled at once in this process."""
    lease_for: timedelta = timedelta(seconds=60)
    """How long a replica may work on one object before another takes over."""
    grace: timedelta = timedelta(seconds=15)
    """How long a graceful stop waits for work in progress."""
    migrate: bool = True
    """Apply the migrations at start; operators with several replicas may run `migrate` themselves and set it off."""
    log_format: str = Field(default="console", pattern="^(console|json)$")
    """json for machines, console for people."""
    log_level: str = "INFO"
    """The lowest level that is logged."""
    regions_file: Path = Path("regions.yaml")
    """What the regions are; see docs/openstack.md."""
    tls_cert_file: Path | None = None
    """This service's certificate for mutual TLS (PEM)."""
    tls_key_file: Path | None = None
    """Its key (PEM)."""
    tls_ca_file: Path | None = None
    """The CA that signs the services' certificates (PEM)."""
    otlp_endpoint: str = Field(default="", validation_alias="SLIPWAY_OTLP_ENDPOINT")
    """Where traces go, by OTLP over HTTP, e.g. http://collector:4318; empty: nowhere. The same for all services."""

    @field_validator("database_url")
    @classmethod
    def _database_is_one_that_we_speak_to(cls, value: str) -> str:
        try:
            driver = make_url(value).drivername
        except ArgumentError:
            raise ValueError("this is no URL of a database") from None
        if driver not in DATABASE_DRIVERS:
            raise ValueError(f"{driver} is none of the drivers {' and '.join(DATABASE_DRIVERS)}")
        return value

    @field_validator("otlp_endpoint")
    @classmethod
    def _endpoint_is_an_address(cls, value: str) -> str:
        if value:
            TypeAdapter(AnyHttpUrl).validate_python(value)
        return value.rstrip("/")


S = TypeVar("S", bound=ServiceSettings)


def load_settings(settings_class: type[S], environ: Mapping[str, str]) -> S:
    """The settings from the environment, and from the folder of secrets where one is named: a file
    slipway_healer_database_url there is SLIPWAY_HEALER_DATABASE_URL. The environment goes first.

    Raises ValueError that names the setting, or the folder that is not there.
    """
    named = next((environ[each] for each in SECRETS_DIRS if environ.get(each)), None)
    if named is None:
        return settings_class()
    if not Path(named).is_dir():
        raise ValueError(f"{named}: the folder of secrets is not there")
    return settings_class(_secrets_dir=named)
