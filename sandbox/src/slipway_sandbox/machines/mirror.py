"""A region's mirror of programs: a folder with every release's programs, and `releases.yaml` with their digests."""

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

PROGRAMS = ("kubelet", "kubeadm", "kubectl", "etcd", "etcdctl", "etcdutl")
RELEASES_FILE = "releases.yaml"


def make_mirror(folder: Path, releases: Sequence[str], sources: Mapping[str, Path] | None = None) -> Path:
    """Fills the folder and writes `releases.yaml` into it, whose path is returned; what is there may stay.

    `sources` maps a release to a folder of real programs; a release without one gets small placeholder files, which
    emulated machines take for programs. What else belongs to a release, the services know. Raises ValueError for a
    release without a program in its source.
    """
    described = {release: _release(folder, release, (sources or {}).get(release)) for release in releases}
    path = folder / RELEASES_FILE
    path.write_text(yaml.safe_dump({"releases": described}, sort_keys=False))
    return path


def _release(folder: Path, release: str, source: Path | None) -> dict[str, Any]:
    (folder / release).mkdir(parents=True, exist_ok=True)
    digests: dict[Path, str] = {}
    artifacts = {}
    for program in PROGRAMS:
        target = folder / release / program
        if source is None:
            target.write_text(f"An emulated {program} of {release}\n")
        else:
            _place(source / program, target)
        artifacts[program] = {"file": f"{release}/{program}", "sha256": _digest(target, digests)}
    return {"artifacts": artifacts}


def _place(source: Path, target: Path) -> None:
    """A hard link where the file system allows it: the programs are large."""
    if not source.exists():
        raise ValueError(f"there is no program {source}: point --from to a folder with {', '.join(PROGRAMS)}")
    real = source.resolve()
    if target.exists():
        if target.samefile(real):
            return
        target.unlink()
    try:
        os.link(real, target)
    except OSError:
        shutil.copy2(real, target)


def _digest(path: Path, known: dict[Path, str]) -> str:
    """SHA-256; several programs may be one file, which is read once."""
    for other, digest in known.items():
        if path.samefile(other):
            return digest
    with path.open("rb") as file:
        known[path] = hashlib.file_digest(file, "sha256").hexdigest()
    return known[path]
