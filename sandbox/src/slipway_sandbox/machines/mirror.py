"""A region's mirror of programs: a folder with every release's programs, and `releases.yaml` with their digests."""

import gzip
import hashlib
import io
import os
import re
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

PROGRAMS = ("kubelet", "kubeadm", "kubectl", "etcd", "etcdctl", "etcdutl")
PACKAGES = {
    "containerd": "containerd-2.1.6-linux-amd64.tar.gz",
    "runc": "runc.amd64",
    "cni_plugins": "cni-plugins-linux-amd64-v1.9.0.tgz",
}
"""What an image may lack, and the file of the placeholder, named as upstream names it."""
RELEASES_FILE = "releases.yaml"

_UPSTREAM = {
    "containerd": re.compile(r"containerd-(static-)?\d+\.\d+\.\d+-linux-\w+\.tar\.gz"),
    "runc": re.compile(r"runc(\.(amd64|arm64|ppc64le|riscv64|s390x))?"),
    "cni_plugins": re.compile(r"cni-plugins-linux-\w+-v\d+\.\d+\.\d+\.tgz"),
}
"""Names of upstream's files."""
_CONTENTS = {
    "containerd": ("bin/containerd", "bin/containerd-shim-runc-v2", "bin/ctr"),
    "cni_plugins": ("./bridge", "./host-local", "./loopback", "./portmap", "./LICENSE"),
}
"""Of the placeholders that are archives."""


def make_mirror(folder: Path, releases: Sequence[str], sources: Mapping[str, Path] | None = None) -> Path:
    """Fills the folder and writes `releases.yaml` into it, whose path is returned; what is there may stay.

    `sources` maps a release to a folder of real programs, and of those packages that the mirror is to have; a release
    without one gets small placeholder files, which emulated machines take for programs. What else belongs to a release,
    the services know. Raises ValueError for a release without a program in its source, or with two of a package.
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
    for package, name in _packages(source).items():
        target = folder / release / name
        if source is None:
            target.write_bytes(_placeholder(package, release))
        else:
            _place(source / name, target)
        artifacts[package] = {"file": f"{release}/{name}", "sha256": _digest(target, digests)}
    return {"artifacts": artifacts}


def _packages(source: Path | None) -> dict[str, str]:
    """The files of the packages that the source has."""
    if source is None:
        return PACKAGES
    names = sorted(path.name for path in source.iterdir())
    found = {package: [name for name in names if pattern.fullmatch(name)] for package, pattern in _UPSTREAM.items()}
    for package, files in found.items():
        if len(files) > 1:
            raise ValueError(f"{source} has {package} {len(files)} times, leave one of them: {', '.join(files)}")
    return {package: files[0] for package, files in found.items() if files}


def _placeholder(package: str, release: str) -> bytes:
    """The same bytes every time."""
    if package not in _CONTENTS:
        return f"An emulated {package} of {release}\n".encode()
    archive = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=archive, mode="wb", filename="", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as files,
    ):
        for name in _CONTENTS[package]:
            content = f"An emulated {name} of {release}\n".encode()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            files.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


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
