"""slipway-admin.yaml: the broker as the operator's user sees it, and how to ask each service."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slipway_admin.errors import CommandFailed, Exit

DEFAULT_URL = "amqp://guest:guest@127.0.0.1:5672/"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ServiceAccess(_Section):
    """How to ask one service, e.g. the service healer/tokyo."""

    check: tuple[str, ...] = Field(default=(), description="the command that prints its report, program first")
    url: str | None = Field(default=None, description="where its /readyz answers, e.g. http://127.0.0.1:8082")
    environment: dict[str, str] = Field(default={}, repr=False, description="more variables for the command")


class Configuration(_Section):
    """Everything that the command knows of a platform."""

    amqp_url: str = Field(default=DEFAULT_URL, repr=False)
    amqp_url_file: Path | None = Field(default=None, description="a file that holds the URL instead")
    amqp_ca_file: Path | None = None
    amqp_cert_file: Path | None = None
    amqp_key_file: Path | None = None
    management_url: str | None = Field(default=None, description="RabbitMQ's management API, with the same user")
    namespace: str = "slipway"
    services: dict[str, ServiceAccess] = Field(default={}, description="by source: healer/tokyo, api/global")


def load_configuration(path: Path | None, amqp_url: str | None) -> Configuration:
    """Read the file, if one is named; the URL given goes first. CommandFailed says what is wrong."""
    values: dict[str, Any] = {}
    try:
        if path is not None:
            values = yaml.safe_load(path.read_text()) or {}
        configuration = Configuration.model_validate(values)
        if amqp_url is None and configuration.amqp_url_file is not None:
            amqp_url = configuration.amqp_url_file.read_text().strip()
    except OSError as error:
        raise CommandFailed(Exit.CANNOT, f"{error.filename}: cannot be read: {error.strerror}.") from error
    except yaml.YAMLError as error:
        raise CommandFailed(Exit.CANNOT, f"{path}: is not YAML: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CommandFailed(Exit.CANNOT, f"{path}: {where}: {first['msg']}.") from error
    return configuration if amqp_url is None else configuration.model_copy(update={"amqp_url": amqp_url})
