"""Credentials between two calls of the command: one file each in the user's cache folder, for its owner alone.

A file belongs to everything that decides whose credential it is and where it leads: the cloud, project and user that
options, OS_* and clouds.yaml name, the API, the cluster. Its name is a digest of that, without passwords: so a kept
credential is found without reading the cloud's configuration, which takes longer than all the rest.
"""

import hashlib
import json
import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import platformdirs

from slipway_cli.credentials import LONGEST, Credential, from_document, to_document
from slipway_cli.session import Options

_SECRET = ("password", "passcode", "secret")
"""Not part of a file's name: from a digest of little entropy the secret can be found."""
_CONFIGURATION = ("clouds", "secure", "clouds-public")
_SUFFIXES = (".yaml", ".yml", ".json")


def default_folder() -> Path:
    """Below XDG_CACHE_HOME, or where the system has its caches."""
    return platformdirs.user_cache_path("slipway") / "credentials"


def key_of(options: Options, environment: Mapping[str, str], credential: Mapping[str, Any]) -> str:
    """A file's name for who asks (options, environment and clouds.yaml) and for what (`credential`, plain values)."""
    decides = {
        "credential": dict(credential),
        "api": options.endpoint or environment.get("SLIPWAY_ENDPOINT"),
        "region": options.slipway_region,
        "cloud": [options.cloud, options.auth_type, options.region_name],
        "auth": _without_secrets(options.auth),
        "environment": _without_secrets({name: environment[name] for name in environment if name.startswith("OS_")}),
        "files": list(_configuration(environment)),
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


class CredentialFile:
    """One kept credential; `now` is the time of the call."""

    def __init__(self, folder: Path, key: str, now: datetime) -> None:
        self.path = folder / f"{key}.json"
        self._now = now

    def find(self) -> Credential | None:
        """See credentials.Kept. A file that somebody else could have read or written does not count."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        with os.fdopen(descriptor) as file:
            if not _is_private(os.fstat(descriptor)):
                return None
            try:
                return from_document(json.load(file))
            except (OSError, ValueError):
                return None

    def keep(self, credential: Credential) -> None:
        """See credentials.Kept. What has ended for certain is removed on the way."""
        folder = self.path.parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
            self._remove_ended()
            descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".", suffix=".json")
            with os.fdopen(descriptor, "w") as file:
                json.dump(to_document(credential), file)
            Path(temporary).replace(self.path)
        except OSError as error:
            sys.stderr.write(f"slipway: the credential is not kept, {folder} cannot be used: {error.strerror}\n")

    def _remove_ended(self) -> None:
        for path in self.path.parent.glob("*.json"):
            with suppress(FileNotFoundError):  # another call was faster
                if self._now.timestamp() - path.lstat().st_mtime > LONGEST.total_seconds():
                    path.unlink()


def _is_private(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077


def _without_secrets(named: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in named.items() if not any(word in name.lower() for word in _SECRET)}


def _configuration(environment: Mapping[str, str]) -> Iterator[tuple[str, int, int]]:
    """What openstacksdk may read, with time and size: another content may name another person."""
    folders = platformdirs.PlatformDirs("openstack", "OpenStack", multipath=True)
    places = [
        Path.cwd(),
        Path(folders.user_config_dir),
        Path(environment.get("SNAP_REAL_HOME", Path.home()), ".config", "openstack"),
        *map(Path, folders.site_config_dir.split(os.pathsep)),
        Path("/etc/openstack"),
    ]
    files = [place / f"{name}{suffix}" for place in places for name in _CONFIGURATION for suffix in _SUFFIXES]
    named = [environment.get(name) for name in ("OS_CLIENT_CONFIG_FILE", "OS_CLIENT_SECURE_FILE")]
    for file in [*(Path(name).absolute() for name in named if name), *files]:
        try:
            found = file.stat()
        except OSError:
            continue
        yield str(file), found.st_mtime_ns, found.st_size
