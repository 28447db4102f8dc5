"""The mirror of programs and its releases.yaml."""

import hashlib
from pathlib import Path

import pytest
import yaml

from slipway_sandbox.machines.mirror import PACKAGES, PROGRAMS, make_mirror


def test_every_artifact_is_there_with_its_digest(tmp_path: Path) -> None:
    described = yaml.safe_load(make_mirror(tmp_path, ["v1.36.3", "v1.37.2"]).read_text())["releases"]
    assert list(described) == ["v1.36.3", "v1.37.2"]
    for release in described.values():
        assert set(release["artifacts"]) == {*PROGRAMS, *PACKAGES}
        for artifact in release["artifacts"].values():
            content = (tmp_path / artifact["file"]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == artifact["sha256"]


def test_placeholders_are_the_same_every_time(tmp_path: Path) -> None:
    texts = [make_mirror(tmp_path, ["v1.36.3"]).read_text() for _ in range(2)]
    assert texts[0] == texts[1]


def a_folder(tmp_path: Path, *more: str) -> Path:
    """Of an operator: the release's programs, and other files that were fetched."""
    source = tmp_path / "real"
    source.mkdir()
    for name in (*PROGRAMS, *more):
        (source / name).write_text(f"real {name}")
    return source


def made_of(tmp_path: Path, source: Path) -> dict[str, dict[str, str]]:
    """The artifacts of the release that the mirror is made of."""
    described = yaml.safe_load(make_mirror(tmp_path / "mirror", ["v1.36.3"], {"v1.36.3": source}).read_text())
    artifacts: dict[str, dict[str, str]] = described["releases"]["v1.36.3"]["artifacts"]
    return artifacts


def test_real_programs_are_taken_from_a_folder(tmp_path: Path) -> None:
    assert set(made_of(tmp_path, a_folder(tmp_path))) == set(PROGRAMS), "packages only where there are some"
    assert (tmp_path / "mirror/v1.36.3/kubelet").read_text() == "real kubelet"


@pytest.mark.parametrize(
    ("package", "file"),
    [
        ("containerd", "containerd-2.1.6-linux-amd64.tar.gz"),
        ("containerd", "containerd-static-2.1.6-linux-arm64.tar.gz"),
        ("runc", "runc.amd64"),
        ("runc", "runc"),
        ("cni_plugins", "cni-plugins-linux-amd64-v1.9.0.tgz"),
    ],
)
def test_packages_are_known_by_upstreams_names_and_get_their_digests(tmp_path: Path, package: str, file: str) -> None:
    artifacts = made_of(tmp_path, a_folder(tmp_path, file, f"{file}.sha256sum", "runc.sha256sum", "README"))
    assert set(artifacts) == {*PROGRAMS, package}
    content = (tmp_path / "mirror" / artifacts[package]["file"]).read_bytes()
    assert content == f"real {file}".encode()
    assert artifacts[package]["sha256"] == hashlib.sha256(content).hexdigest()


def test_two_files_of_one_package_are_a_question_for_the_operator(tmp_path: Path) -> None:
    source = a_folder(tmp_path, "containerd-2.1.6-linux-amd64.tar.gz", "containerd-2.2.0-linux-amd64.tar.gz")
    with pytest.raises(ValueError, match="containerd 2 times, leave one of them"):
        made_of(tmp_path, source)


def test_a_folder_without_programs_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="point --from"):
        make_mirror(tmp_path / "mirror", ["v1.36.3"], {"v1.36.3": tmp_path / "empty"})
