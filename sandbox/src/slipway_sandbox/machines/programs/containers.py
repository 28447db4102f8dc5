"""A static pod: its one container's command, and which files of the host it can see."""

import posixpath
from dataclasses import dataclass
from typing import Any

import yaml

from slipway_sandbox.machines.command_lines import parse_flags
from slipway_sandbox.machines.host import EmulatedHost
from slipway_sandbox.machines.process import Exited


@dataclass(frozen=True)
class StaticPod:
    """One static pod of one host."""

    host: EmulatedHost
    manifest: dict[str, Any]

    @property
    def name(self) -> str:
        """The pod's name, without the node's."""
        return str(self.manifest["metadata"]["name"])

    @property
    def container(self) -> dict[str, Any]:
        """The container that counts."""
        found: dict[str, Any] = self.manifest["spec"]["containers"][0]
        return found

    @property
    def program(self) -> str:
        """What it runs."""
        return posixpath.basename(str(self.container["command"][0]))

    @property
    def flags(self) -> dict[str, str]:
        """The flags of its command line."""
        return parse_flags([*self.container["command"][1:], *self.container.get("args", [])])

    @property
    def release(self) -> str:
        """The image's tag."""
        return str(self.container["image"]).rpartition(":")[2]

    def host_path(self, path: str) -> str | None:
        """Where a file of the container lies on the host; None when it is not mounted."""
        sources = {volume["name"]: volume.get("hostPath", {}).get("path") for volume in self._volumes()}
        for mount in self.container.get("volumeMounts", []):
            inside, source = posixpath.normpath(mount["mountPath"]), sources.get(mount["name"])
            if source and (path == inside or path.startswith(inside + "/")):
                return str(source).rstrip("/") + path[len(inside) :]
        return None

    def read(self, path: str) -> str | None:
        """A file as the container sees it; None when it is not there or its folder is not mounted."""
        source = self.host_path(path)
        return None if source is None else self.host.read_file(source)

    def require(self, flag: str) -> str:
        """The text of the file that a flag names. Raises Exited when flag or file is missing."""
        path = self.flags.get(flag)
        if not path:
            raise Exited(f"--{flag} is required")
        text = self.read(path)
        if text is None:
            raise Exited(f"--{flag}: open {path}: no such file or directory")
        return text

    def _volumes(self) -> list[dict[str, Any]]:
        return list(self.manifest["spec"].get("volumes", []))


def read_static_pod(host: EmulatedHost, text: str) -> StaticPod:
    """Raises Exited when the text is no pod."""
    try:
        manifest = yaml.safe_load(text)
        pod = StaticPod(host, manifest)
        if manifest["kind"] != "Pod" or not pod.program or not pod.name:
            raise Exited("the manifest is no Pod")
    except (yaml.YAMLError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise Exited(f"Could not process manifest file: {error}") from error
    return pod
