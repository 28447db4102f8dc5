"""releases.yaml: what a region says, and what is shipped."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway_chassis.releases import (
    OPTIONAL_PACKAGES,
    REQUIRED_PROGRAMS,
    Range,
    Release,
    completed,
    load_releases,
    shipped,
)


def programs(release: str = "v1.36.3") -> dict[str, Any]:
    return {name: {"file": f"{release}/{name}", "sha256": "0" * 64} for name in REQUIRED_PROGRAMS}


def document() -> dict[str, Any]:
    """A region that says everything itself."""
    release = Release.model_validate(completed("v1.36.3", {"artifacts": programs()}))
    return {"releases": {"v1.36.3": release.model_dump(mode="json")}}


def written(folder: Path, releases: dict[str, Any]) -> Path:
    file = folder / "releases.yaml"
    file.write_text(yaml.safe_dump({"releases": releases}))
    return file


def test_the_files_are_enough_what_else_belongs_to_a_release_is_shipped(tmp_path: Path) -> None:
    known = {release: {"artifacts": programs(release)} for release in ("v1.36.3", "v1.36.10", "v1.37.2")}
    table = load_releases(written(tmp_path, known))
    assert table.names == ("v1.37.2", "v1.36.10", "v1.36.3")
    release = table.named("v1.37.2")
    assert release.images["kube_proxy"] == "registry.k8s.io/kube-proxy:v1.37.2"
    assert release.images["coredns"] == "registry.k8s.io/coredns/coredns:v1.14.6"
    assert table.named("v1.36.3").images["coredns"] == "registry.k8s.io/coredns/coredns:v1.14.2"
    assert release.image_repository == "registry.k8s.io"
    assert release.artifacts["kubelet"].file == "v1.37.2/kubelet"


def test_what_a_region_says_itself_goes_first(tmp_path: Path) -> None:
    own = {
        "artifacts": programs(),
        "images": {"coredns": "registry.example/coredns:v9"},
        "supports": {"containerd": {"at_least": "1.6.0"}},
    }
    release = load_releases(written(tmp_path, {"v1.36.3": own})).named("v1.36.3")
    assert release.images["coredns"] == "registry.example/coredns:v9"
    assert release.images["pause"] == "registry.k8s.io/pause:3.10.2"
    assert release.supports["containerd"] == Range(at_least="1.6.0")
    assert "runc" in release.supports


def test_a_mirror_may_have_what_images_lack(tmp_path: Path) -> None:
    packages = {name: {"file": f"packages/{name}.tar.gz", "sha256": "1" * 64} for name in OPTIONAL_PACKAGES}
    own = {"artifacts": programs() | packages, "package_versions": {"containerd": "2.2.0"}}
    release = load_releases(written(tmp_path, {"v1.36.3": own})).named("v1.36.3")
    assert release.artifacts["cni_plugins"].file == "packages/cni_plugins.tar.gz"
    assert release.package_versions["containerd"] == "2.2.0"
    assert release.package_versions["runc"] == shipped()["v1.36"]["package_versions"]["runc"]


def test_an_empty_heading_says_nothing(tmp_path: Path) -> None:
    own = {"artifacts": programs(), "images": None, "supports": None}
    assert load_releases(written(tmp_path, {"v1.36.3": own})).named("v1.36.3").images["pause"]


def test_of_an_unknown_release_everything_has_to_be_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"v1\.99\.0\.images: Field required"):
        load_releases(written(tmp_path, {"v1.99.0": {"artifacts": programs()}}))


@pytest.mark.parametrize("minor", sorted(shipped()))
def test_what_is_shipped_is_complete_and_fits_together(minor: str) -> None:
    release = Release.model_validate(completed(f"{minor}.1", {"artifacts": programs()}))
    assert release.supports["etcd"].has(release.etcd_version)
    assert all(":" in image and "{" not in image for image in release.images.values())
    assert {"containerd", "runc"} <= set(release.supports)
    assert set(release.package_versions) == set(OPTIONAL_PACKAGES)


@pytest.mark.parametrize(
    ("version", "is_in"),
    [("2.0.0", True), ("2.10.1", True), ("1.99.0", False), ("3.0.0", False), ("10.0.0", False)],
)
def test_versions_are_compared_as_numbers(version: str, *, is_in: bool) -> None:
    assert Range(at_least="2.0.0", below="3.0.0").has(version) is is_in


def test_an_unknown_release_names_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match=r"no release v1.1.1; releases.yaml has: v1.36.3"):
        load_releases(written(tmp_path, document()["releases"])).named("v1.1.1")


def broken(*path: str, value: object = None) -> str:
    """The document with one entry replaced, or removed without a value."""
    changed = document()
    place = changed["releases"]["v1.36.3"]
    for name in path[:-1]:
        place = place[name]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return yaml.safe_dump(changed)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("{", "is not YAML", id="not YAML"),
        pytest.param("[]", "there is no release in it", id="not a mapping"),
        pytest.param("releases: {}", "there is no release in it", id="nothing"),
        pytest.param("releases: {v1.36.3: 3}", "valid dictionary", id="a release that is a number"),
        pytest.param(broken("images", value=["pause"]), "valid dictionary", id="a list of images"),
        pytest.param(broken("artifacts", "etcd"), "programs are missing: etcd", id="a program is missing"),
        pytest.param(broken("artifacts", "etcd", "sha256", value="abc"), "64 lower-case", id="no digest"),
        pytest.param(broken("artifacts", "etcd", "file", value="../etcd"), "below the mirror", id="outside the mirror"),
        pytest.param(broken("images", "kube_apiserver", value="x"), "must be <repository>", id="no repository"),
        pytest.param(broken("etcd_version", value="3"), "etcd_version", id="no version"),
        pytest.param(broken("etcd_version", value="3.4.0"), "etcd_version 3.4.0 is not supported", id="an old etcd"),
        pytest.param(broken("package_versions", "runc", value="2"), "runc: '2' is no version", id="half a version"),
        pytest.param(
            broken("package_versions", "containerd", value="1.7.28"),
            "containerd 1.7.28 is not supported: 2.0.0 or newer, and older than 3.0.0 is",
            id="a containerd out of the range",
        ),
    ],
)
def test_a_mistake_is_named_with_its_file_and_field(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "releases.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=says) as caught:
        load_releases(file)
    assert str(file) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        load_releases(tmp_path / "releases.yaml")
