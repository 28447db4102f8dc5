"""How another program calls the command as the same person: options and variables, never a secret."""

from collections.abc import Mapping
from pathlib import Path

from slipway_cli.session import Options

_SECRET = frozenset({"password", "token"})
_FILES = ("OS_CLIENT_CONFIG_FILE", "OS_CLIENT_SECURE_FILE")


def options_again(options: Options, environment: Mapping[str, str]) -> list[str]:
    """The options of this call, and what OS_CLOUD and SLIPWAY_ENDPOINT say where no option does."""
    named = {
        "--os-cloud": options.cloud or environment.get("OS_CLOUD"),
        "--endpoint": options.endpoint or environment.get("SLIPWAY_ENDPOINT"),
        "--region": options.slipway_region,
        "--os-auth-type": options.auth_type,
        **{f"--os-{name.replace('_', '-')}": options.auth[name] for name in options.auth if name not in _SECRET},
        "--os-region-name": options.region_name,
        "--os-cacert": _absolute(options.cacert),
    }
    words = [word for name, value in named.items() if value for word in (name, value)]
    return [*words, "--insecure"] if options.insecure else words


def variables_again(environment: Mapping[str, str]) -> dict[str, str]:
    """Where clouds.yaml is, if it is not where everybody looks."""
    return {name: str(Path(environment[name]).absolute()) for name in _FILES if environment.get(name)}


def lacks_secrets(options: Options, environment: Mapping[str, str]) -> bool:
    """Whether such a call must be given more: a password of the command line or of OS_*, but not of clouds.yaml."""
    if _SECRET & set(options.auth):
        return True
    chosen = options.cloud or environment.get("OS_CLOUD")
    return not chosen and bool(options.auth or environment.get("OS_AUTH_URL"))


def _absolute(path: str | None) -> str | None:
    return str(Path(path).absolute()) if path else None
