"""Real programs that emulated machines may run: folders with etcd and a release's control plane."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
"""What a cluster needs besides its kubelets, which stay emulated."""

_HOW = "envtest has the first two, a release's kubernetes-server-linux-amd64.tar.gz the others"
_ANSWERS_WITHIN = 30.0


class BinariesUnusable(Exception):
    """A folder of real programs is not what was asked for; the message says what to do."""


@dataclass(frozen=True)
class Binaries:
    """Folders of real programs by release, such as v1.36.3; `hosts` is the folder that gets the machines' files."""

    folders: Mapping[str, Path]
    hosts: Path

    def of_release(self, program: str, release: str) -> Path | None:
        """A Kubernetes program of exactly this release, or None."""
        folder = self.folders.get(release)
        return folder / program if folder else None

    @property
    def etcd(self) -> Path:
        """etcd, whose version is not bound to a release of Kubernetes: the one beside the first release given."""
        return next(iter(self.folders.values())) / "etcd"


def find_binaries(folders: Sequence[Path], hosts: Path) -> Binaries:
    """The programs in these folders by the release that they say they are. Raises BinariesUnusable."""
    found: dict[str, Path] = {}
    for folder in folders:
        missing = [program for program in PROGRAMS if not (folder / program).exists()]
        if missing:
            raise BinariesUnusable(f"there is no {', '.join(missing)} in {folder}: {_HOW}")
        found[_release(folder / "kube-apiserver")] = folder.resolve()
    return Binaries(found, hosts.resolve())


def _release(program: Path) -> str:
    try:
        said = subprocess.run(
            [str(program), "--version"], capture_output=True, check=True, text=True, timeout=_ANSWERS_WITHIN
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise BinariesUnusable(f"{program} does not run here: {error}") from error
    words = said.split()
    if not words or not words[-1].startswith("v"):
        raise BinariesUnusable(f"{program} does not say its release: {said.strip()[:200]}")
    return words[-1]
