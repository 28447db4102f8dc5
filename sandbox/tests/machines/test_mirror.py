"""The mirror of programs and its releases.yaml."""

import hashlib
from pathlib import Path

import pytest
import yaml

from slipway_sandbox.machines.mirror import PROGRAMS, make_mirror


def test_every_artifact_is_there_with_its_digest(tmp_path: Path) -> None:
    described = yaml.safe_load(make_mirror(tmp_path, ["v1.36.3", "v1.37.2"]).read_text())["releases"]
    assert list(described) == ["v1.36.3", "v1.37.2"]
    for release in described.values():
        assert set(release["artifacts"]) == set(PROGRAMS)
        for artifact in release["artifacts"].values():
            content = (tmp_path / artifact["file"]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == artifact["sha256"]


def test_placeholders_are_the_same_every_time(tmp_path: Path) -> None:
    texts = [make_mirror(tmp_path, ["v1.36.3"]).read_text() for _ in range(2)]
    assert texts[0] == texts[1]


def test_real_programs_are_taken_from_a_folder(tmp_path: Path) -> None:
    source = tmp_path / "real"
    source.mkdir()
    for program in PROGRAMS:
        (source / program).write_text(f"real {program}")
    make_mirror(tmp_path / "mirror", ["v1.36.3"], {"v1.36.3": source})
    assert (tmp_path / "mirror/v1.36.3/kubelet").read_text() == "real kubelet"


def test_a_folder_without_programs_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="point --from"):
        make_mirror(tmp_path / "mirror", ["v1.36.3"], {"v1.36.3": tmp_path / "empty"})
