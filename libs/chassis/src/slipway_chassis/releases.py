"""releases.yaml: which Kubernetes releases a region offers, and all that belongs to each: one table for every service.

The region's file says which files its mirror has, with their digests; what else belongs to a release is shipped here.
"""

import re
from functools import cache
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

REQUIRED_PROGRAMS = ("kubelet", "kubeadm", "etcd", "etcdctl", "etcdutl")
OPTIONAL_PACKAGES = ("containerd", "runc", "cni_plugins")
"""Of the mirror too, for machines whose image lacks them."""
REQUIRED_IMAGES = ("pause", "kube_apiserver", "kube_proxy", "coredns", "flannel", "flannel_cni")
VERSION = r"^\d+\.\d+\.\d+$"
T = TypeVar("T")

_DIGEST = re.compile(r"^[0-9a-f]{64}$")
_RELEASE = re.compile(r"^(v\d+\.\d+)\.\d+$")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Program(_Section):
    """One program in the mirror."""

    file: str = Field(description="path below the region's mirror")
    sha256: str

    @field_validator("file")
    @classmethod
    def _below_the_mirror(cls, file: str) -> str:
        path = PurePosixPath(file)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise ValueError(f"{file!r} is no path below the mirror")
        return file

    @field_validator("sha256")
    @classmethod
    def _a_digest(cls, digest: str) -> str:
        if not _DIGEST.match(digest):
            raise ValueError("a SHA-256 has 64 lower-case hexadecimal digits")
        return digest


class Range(_Section):
    """Versions from one, and older than another."""

    at_least: str = Field(pattern=VERSION)
    below: str | None = Field(default=None, pattern=VERSION)

    @property
    def told(self) -> str:
        """For people."""
        return f"{self.at_least} or newer" + (f", and older than {self.below}" if self.below else "")

    def has(self, version: str) -> bool:
        """Whether the version is one of them; as numbers, so that 3.10.0 is newer than 3.9.0."""
        found = _numbers(version)
        return _numbers(self.at_least) <= found and (self.below is None or found < _numbers(self.below))


class Release(_Section):
    """One Kubernetes release and what belongs to it."""

    artifacts: dict[str, Program]
    images: dict[str, str]
    etcd_version: str = Field(pattern=VERSION)
    package_versions: dict[str, str] = Field(default={}, description="of what a mirror gives to images that lack it")
    kubelet_skew: int = Field(default=3, ge=0, description="minor versions that a kubelet may be older by")
    supports: dict[str, Range] = Field(default={}, description="versions of other programs that it runs with")

    @field_validator("artifacts")
    @classmethod
    def _all_programs(cls, artifacts: dict[str, Program]) -> dict[str, Program]:
        return _require(artifacts, REQUIRED_PROGRAMS, "programs")

    @field_validator("images")
    @classmethod
    def _all_images(cls, images: dict[str, str]) -> dict[str, str]:
        _require(images, REQUIRED_IMAGES, "images")
        if images["kube_apiserver"].find("/kube-apiserver:") < 1:
            raise ValueError("kube_apiserver must be <repository>/kube-apiserver:<release>")
        return images

    @field_validator("package_versions")
    @classmethod
    def _whole_versions(cls, versions: dict[str, str]) -> dict[str, str]:
        for name, version in versions.items():
            if not re.match(VERSION, version):
                raise ValueError(f"{name}: {version!r} is no version such as 1.2.3")
        return versions

    @model_validator(mode="after")
    def _versions_in_range(self) -> "Release":
        found = {"etcd": ("etcd_version", self.etcd_version)}
        found |= {name: (f"package_versions.{name}", version) for name, version in self.package_versions.items()}
        for name, (where, version) in found.items():
            supported = self.supports.get(name)
            if supported is not None and not supported.has(version):
                raise ValueError(f"{where} {version} is not supported: {supported.told} is")
        return self

    @property
    def image_repository(self) -> str:
        """Where kubeadm finds the control plane's images."""
        return self.images["kube_apiserver"].rpartition("/")[0]


class Releases(_Section):
    """All releases that a region offers."""

    releases: dict[str, Release]

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, newest first."""
        return tuple(sorted(self.releases, key=lambda name: _numbers(name.lstrip("v")), reverse=True))

    def named(self, name: str) -> Release:
        """The release; LookupError names those that there are."""
        if name not in self.releases:
            known = ", ".join(sorted(self.releases)) or "none"
            raise LookupError(f"the region has no release {name}; releases.yaml has: {known}")
        return self.releases[name]


def load_releases(path: Path) -> Releases:
    """Read a region's releases.yaml; ValueError names the file, the field and what is wrong with it."""
    try:
        document = yaml.safe_load(path.read_text())
        if not isinstance(document, dict) or not isinstance(document.get("releases"), dict) or not document["releases"]:
            raise ValueError(f"{path}: releases: there is no release in it")
        known = {str(name): completed(str(name), written) for name, written in document["releases"].items()}
        return Releases.model_validate({"releases": known})
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: is not YAML: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{path}: {where}: {first['msg']}") from error


@cache
def shipped() -> dict[str, dict[str, Any]]:
    """What belongs to each known minor release, by its name."""
    table: dict[str, dict[str, Any]] = yaml.safe_load(files(__package__).joinpath("releases.yaml").read_text())
    return table


def completed(name: str, written: Any) -> Any:
    """What the region says of a release, with the blanks filled; of an unknown release it has to say everything."""
    match = _RELEASE.match(name)
    usual = shipped().get(match[1]) if match else None
    if usual is None or not isinstance(written, dict):
        return written
    merged = {**usual, **written}
    for part in ("images", "supports", "package_versions"):
        said = written.get(part) or {}
        if not isinstance(said, dict):
            return written
        merged[part] = {**usual[part], **said}
    merged["images"] = {key: str(image).replace("{release}", name) for key, image in merged["images"].items()}
    return merged


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _require(entries: dict[str, T], names: tuple[str, ...], what: str) -> dict[str, T]:
    missing = [name for name in names if name not in entries]
    if missing:
        raise ValueError(f"{what} are missing: {', '.join(missing)}")
    return entries
