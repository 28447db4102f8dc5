"""Where the API is and who we are: clouds.yaml and OS_* read by openstacksdk, exactly as `openstack` reads them."""

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipway_cli.errors import CommandFailed, Exit

SERVICE_TYPE = "slipway"
"""Under which the catalogue may name the API."""


@dataclass
class Options:
    """The options that come before the command; what is None is left to the environment and clouds.yaml."""

    endpoint: str | None = None
    slipway_region: str | None = None
    cloud: str | None = None
    auth: dict[str, str] = field(default_factory=dict)
    """--os-auth-url, --os-username ... as openstacksdk names them: auth_url, username ..."""
    auth_type: str | None = None
    region_name: str | None = None
    cacert: str | None = None
    insecure: bool = False
    debug: bool = False


@dataclass(frozen=True)
class Login:
    """An endpoint, and a way to get tokens for it."""

    endpoint: str
    token: Callable[[], str]
    renew: Callable[[], str]
    verify: bool | ssl.SSLContext = True
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with every request."""


def log_in(options: Options) -> Login:
    """Authenticate at Keystone; CommandFailed says what is missing or refused."""
    cloud = _configuration(options)
    session = cloud.get_session()
    auth_url = cloud.get_auth_args().get("auth_url")
    verify = _trust(cloud.get_requests_verify_args()[0])
    _token(session, auth_url)

    def renew() -> str:
        session.invalidate()
        return _token(session, auth_url)

    return Login(
        endpoint=endpoint_of(options, session),
        token=lambda: _token(session, auth_url),
        renew=renew,
        verify=verify,
        headers={"Slipway-Region": options.slipway_region} if options.slipway_region else {},
    )


def _trust(verify: bool | str | None) -> bool | ssl.SSLContext:
    """Whom TLS trusts, as openstacksdk says it: everybody (False), the system's CAs, or those of a file or folder."""
    if not isinstance(verify, str):
        return verify is not False
    folder = Path(verify).is_dir()
    try:
        return ssl.create_default_context(cafile=None if folder else verify, capath=verify if folder else None)
    except OSError as error:
        raise CommandFailed(
            Exit.AUTH,
            f"The CA file {verify} cannot be used ({error.strerror or error}); check --os-cacert or OS_CACERT.",
        ) from error


def _configuration(options: Options) -> Any:
    # openstacksdk takes longer to import than all the rest: only commands that need it pay
    from keystoneauth1.exceptions import MissingRequiredOptions
    from openstack.config import OpenStackConfig
    from openstack.exceptions import ConfigException

    overrides: dict[str, Any] = {"auth": dict(options.auth)} if options.auth else {}
    if options.auth_type:
        overrides["auth_type"] = options.auth_type
    if options.region_name:
        overrides["region_name"] = options.region_name
    if options.cacert:
        overrides["cacert"] = options.cacert
    if options.insecure:
        overrides["verify"] = False
    try:
        config = OpenStackConfig()
        if not options.cloud and not options.auth:
            _require_choice(config)
        return config.get_one(cloud=options.cloud, **overrides)
    except MissingRequiredOptions as error:
        names = ", ".join(option.dest for option in error.options)
        raise CommandFailed(Exit.AUTH, f"The configuration of the cloud lacks: {names}.") from error
    except ConfigException as error:
        raise _config_failed(options, str(error)) from error


def _token(session: Any, auth_url: str | None) -> str:
    from keystoneauth1 import exceptions as refused

    try:
        token = session.get_token()
    except (refused.Unauthorized, refused.NotFound) as error:
        raise CommandFailed(
            Exit.AUTH, f"Keystone refuses you: {_short(error)} Check user, password and project of the cloud."
        ) from error
    except refused.SSLError as error:
        raise CommandFailed(
            Exit.UNREACHABLE,
            f"The certificate of Keystone at {auth_url} is not trusted; name its CA by --os-cacert or OS_CACERT.",
        ) from error
    except (refused.ConnectionError, refused.DiscoveryFailure, refused.HttpServerError) as error:
        raise CommandFailed(
            Exit.UNREACHABLE, f"Keystone at {auth_url} does not answer; check auth_url and the network."
        ) from error
    except refused.ClientException as error:
        raise CommandFailed(Exit.AUTH, f"Keystone cannot be used: {_short(error)}") from error
    except Exception as error:
        # keystoneauth's password plugin has no class of its own for "password is a required attribute"
        if type(error) is not Exception:
            raise
        raise CommandFailed(Exit.AUTH, f"The configuration of the cloud is incomplete: {_short(error)}") from error
    if not token:
        raise CommandFailed(Exit.AUTH, "The cloud's configuration gives no token; choose another auth_type.")
    return str(token)


def endpoint_of(options: Options, session: Any) -> str:
    """The API's address: --endpoint, SLIPWAY_ENDPOINT, or what the catalogue says."""
    named = options.endpoint or os.environ.get("SLIPWAY_ENDPOINT")
    if named:
        return named.rstrip("/")
    found = _in_catalogue(session)
    if found:
        return found.rstrip("/").removesuffix("/v1")
    raise CommandFailed(
        Exit.AUTH,
        "No Slipway API is known: give --endpoint URL or set SLIPWAY_ENDPOINT (the cloud's catalogue names none).",
    )


def _in_catalogue(session: Any) -> str | None:
    from keystoneauth1.exceptions import ClientException

    try:
        found = session.get_endpoint(service_type=SERVICE_TYPE, interface="public")
    except ClientException:
        return None
    return str(found) if found else None


def _require_choice(config: Any) -> None:
    """Something must choose a cloud: OS_* in the environment, or that there is only one."""
    if any(name.startswith("OS_") and name != "OS_CLIENT_CONFIG_FILE" for name in os.environ):
        return
    names = [name for name in config.get_cloud_names() if name != "defaults"]
    if not names:
        raise CommandFailed(
            Exit.AUTH,
            "No cloud is configured: write a clouds.yaml and set OS_CLOUD, or set OS_AUTH_URL, OS_USERNAME, "
            "OS_PASSWORD and OS_PROJECT_NAME.",
        )
    if len(names) > 1:
        raise CommandFailed(
            Exit.AUTH,
            f"No cloud is chosen: give --os-cloud NAME or set OS_CLOUD to one of those in {config.config_filename}: "
            f"{', '.join(sorted(names))}.",
        )


def _config_failed(options: Options, why: str) -> CommandFailed:
    named = options.cloud or os.environ.get("OS_CLOUD")
    if named and "was not found" in why:
        return CommandFailed(Exit.AUTH, f"There is no cloud {named} in clouds.yaml. Check --os-cloud or OS_CLOUD.")
    return CommandFailed(Exit.AUTH, f"The cloud's configuration is wrong: {why}")


def _short(error: Exception) -> str:
    text = str(error).split(" (Request-ID", maxsplit=1)[0].split("(HTTP", maxsplit=1)[0].strip()
    return text if text.endswith(".") else f"{text}."
