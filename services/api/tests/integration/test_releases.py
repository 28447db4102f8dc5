"""The releases of a region, as its file says."""

from pathlib import Path

import pytest

from slipway_api.adapters.releases import ReleaseFiles
from slipway_api.testing import a_region

DIGEST = "a" * 64
PROGRAMS = ("kubelet", "kubeadm", "kubectl", "etcd", "etcdctl", "etcdutl")


def write(path: Path, *releases: str) -> None:
    lines = ["releases:"]
    for release in releases:
        lines += [f"  {release}:", "    artifacts:"]
        lines += [f"      {each}: {{file: {release}/{each}, sha256: {DIGEST}}}" for each in PROGRAMS]
    path.write_text("\n".join(lines) + "\n")


def test_a_changed_file_counts_from_the_next_start_on_as_in_the_regions_own_services(tmp_path: Path) -> None:
    path = tmp_path / "releases.yaml"
    region = a_region(releases_file=path)
    write(path, "v1.36.3")
    running = ReleaseFiles()
    assert running.of(region).releases == ("v1.36.3",)
    write(path, "v1.37.2", "v1.36.3")
    assert running.of(region).releases == ("v1.36.3",)
    assert ReleaseFiles().of(region).releases == ("v1.37.2", "v1.36.3")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"releases\.yaml"):
        ReleaseFiles().of(a_region(releases_file=tmp_path / "releases.yaml"))
