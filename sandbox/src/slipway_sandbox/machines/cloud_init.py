"""cloud-init's part of a first boot: which user data is Slipway's, and what it puts on the disk and runs."""

from dataclasses import dataclass

import yaml

from slipway_node_agent.config import BOOTSTRAP_PATH

_MARK = "#cloud-config"


@dataclass(frozen=True)
class WriteFile:
    """One entry of write_files."""

    path: str
    content: str
    mode: int


@dataclass(frozen=True)
class CloudConfig:
    """The parts of a cloud-config that nodes use."""

    files: tuple[WriteFile, ...]
    commands: tuple[tuple[str, ...], ...]


def read_cloud_config(user_data: str) -> CloudConfig | None:
    """The cloud-config of a node, or None when the user data is not one that starts Slipway's agent."""
    if not user_data.startswith(_MARK):
        return None
    try:
        config = yaml.safe_load(user_data) or {}
        files = tuple(
            WriteFile(entry["path"], entry.get("content", ""), int(str(entry.get("permissions", "0644")), 8))
            for entry in config.get("write_files", [])
        )
        commands = tuple(
            ("sh", "-c", command) if isinstance(command, str) else tuple(str(word) for word in command)
            for command in config.get("runcmd", [])
        )
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError):
        return None
    if not any(entry.path == BOOTSTRAP_PATH for entry in files):
        return None
    return CloudConfig(files, commands)
