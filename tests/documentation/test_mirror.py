"""docs/mirror.md names what a mirror must hold, and its check finds a wrong file."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway_chassis.releases import OPTIONAL_PACKAGES, REQUIRED_PROGRAMS, Releases, completed, load_releases
from slipway_sandbox.machines.mirror import PACKAGES, PROGRAMS, make_mirror

DOCUMENT = (Path(__file__).parents[2] / "docs" / "mirror.md").read_text()
TOLD = set(re.findall(r"`([^`\n]+)`", DOCUMENT))
RELEASE = "v1.36.3"


class Quiet(SimpleHTTPRequestHandler):
    """A web server with files."""

    def log_message(self, *arguments: Any) -> None:
        """Requests are not of interest."""


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder with a mirror, and its URL."""
    make_mirror(tmp_path, [RELEASE])
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield tmp_path, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def checked(folder: Path, url: str) -> list[str]:
    """What the document's program says."""
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    command = [sys.executable, "-c", program, str(folder / "releases.yaml"), url]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def test_programs_and_images_are_those_of_the_release(tmp_path: Path) -> None:
    release = load_releases(make_mirror(tmp_path, [RELEASE])).named(RELEASE)
    assert set(release.images.values()) == {
        each for each in TOLD if re.match(r"(registry\.k8s|ghcr)\.io/.*:v?\d", each)
    }
    assert set(REQUIRED_PROGRAMS) <= set(PROGRAMS) <= TOLD


def test_packages_are_those_of_the_release_by_upstreams_names(tmp_path: Path) -> None:
    release = load_releases(make_mirror(tmp_path, [RELEASE])).named(RELEASE)
    assert set(PACKAGES) == set(OPTIONAL_PACKAGES) == set(release.package_versions)
    assert {*PACKAGES, *PACKAGES.values()} <= TOLD
    for name, version in release.package_versions.items():
        (row,) = [line for line in DOCUMENT.splitlines() if line.startswith(f"| `{name}` |")]
        assert version in row


def test_the_check_passes_a_right_mirror_and_names_the_images(mirror: tuple[Path, str]) -> None:
    said = checked(*mirror)
    assert {f"right {RELEASE} {program}" for program in (*PROGRAMS, *PACKAGES)} <= set(said)
    assert "registry.k8s.io/pause:3.10.2" in said


def test_the_check_finds_a_wrong_file(mirror: tuple[Path, str]) -> None:
    folder, _ = mirror
    (folder / RELEASE / "kubelet").write_text("<html>Not found</html>")
    wrong = [line for line in checked(*mirror) if line.startswith("WRONG")]
    assert [line.split()[-1] for line in wrong] == ["kubelet"]


def test_the_images_named_otherwise_are_taken(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(releases:.*?)```", DOCUMENT, re.DOTALL)
    (named,) = yaml.safe_load(block)["releases"].values()
    made = yaml.safe_load(make_mirror(tmp_path, [RELEASE]).read_text())["releases"][RELEASE]
    releases = Releases.model_validate({"releases": {RELEASE: completed(RELEASE, {**made, **named})}})
    assert releases.named(RELEASE).image_repository == "registry.example/k8s"
