"""The images: each Dockerfile copies what its program needs and no more, and what it builds runs."""

import asyncio
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from slipway_chassis.testing import eventually
from slipway_chassis.tls import SERVICES
from slipway_platform.layout import free_port
from slipway_platform.prepare import prepare
from tests.deployment.dockerfile import Build, Dockerfile, read_dockerfile

ROOT = Path(__file__).parents[2]
MEMBERS = {
    f"services/{service}": read_dockerfile(ROOT / "services" / service / "Dockerfile") for service in SERVICES
} | {"sandbox": read_dockerfile(ROOT / "sandbox" / "Dockerfile")}
everywhere = pytest.mark.parametrize(("member", "dockerfile"), MEMBERS.items(), ids=MEMBERS)


def declared(member: str) -> dict[str, dict[str, object]]:
    document: dict[str, dict[str, object]] = tomllib.loads((ROOT / member / "pyproject.toml").read_text())
    return document


def needed(member: str) -> set[str]:
    """The workspace members that a member stands on, itself included."""
    manifests = [
        path for pattern in ("libs/*", "services/*", "agents/*") for path in ROOT.glob(f"{pattern}/pyproject.toml")
    ]
    places = [str(path.parent.relative_to(ROOT)) for path in manifests]
    homes = {str(declared(place)["project"]["name"]): place for place in places}
    found: set[str] = set()
    waiting = [member]
    while waiting:
        each = waiting.pop()
        found.add(each)
        dependencies = declared(each)["project"]["dependencies"]
        assert isinstance(dependencies, list)
        waiting += [homes[name] for name in dependencies if name in homes and homes[name] not in found]
    return found


@everywhere
def test_it_copies_what_the_member_stands_on(member: str, dockerfile: Dockerfile) -> None:
    manifests = {path.removesuffix("/pyproject.toml") for path in dockerfile.copied if path.endswith("/pyproject.toml")}
    sources = {path for path in dockerfile.copied if (ROOT / path).is_dir()}
    assert manifests == needed(member)
    assert all(any(each == path or each.startswith(f"{path}/") for path in sources) for each in needed(member))


@everywhere
def test_it_runs_as_nobody_special_and_says_whether_it_is_well(member: str, dockerfile: Dockerfile) -> None:
    assert dockerfile.of("USER") == ["10001"]
    assert dockerfile.of("HEALTHCHECK")
    assert dockerfile.of("ENTRYPOINT")
    assert all(":latest" not in each and ":" in each for each in dockerfile.of("FROM"))


def test_the_services_differ_in_their_names_only() -> None:
    def anonymous(service: str) -> list[str]:
        text = "\n".join(" ".join(each) for each in MEMBERS[f"services/{service}"].instructions)
        for name in (service, service.replace("_", "-")):
            text = text.replace(name, "x").replace(name.upper(), "X")
        return text.splitlines()

    agent = [each for each in anonymous("provisioner") if "agents/node_agent" not in each]
    assert all(anonymous(service) == agent for service in SERVICES if service != "provisioner")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("service", os.environ.get("SLIPWAY_TEST_IMAGES", "healer provisioner").split())
def test_what_it_builds_is_alive(service: str, tmp_path: Path) -> None:
    build = Build(ROOT, tmp_path / "root")
    build.run(MEMBERS[f"services/{service}"])
    with started(build, service, tmp_path) as port:
        asyncio.run(eventually(lambda: answers(port, "/livez"), f"{service} answers /livez", within=60))
        ready = httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False)
        asked = [build.program("python"), "-m", "slipway_chassis.probe", service]
        named = {f"SLIPWAY_{service.upper()}_HTTP_PORT": str(port)}
        probe = subprocess.run(asked, env=named, capture_output=True, text=True)
    assert ready.json()["checks"] == {"database": True, "bus": False}
    assert (probe.returncode, '"bus":false' in probe.stdout) == (1, True)


def answers(port: int, path: str) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


@contextmanager
def started(build: Build, service: str, folder: Path) -> Iterator[int]:
    """The service with its compose settings, on SQLite, with a broker that is away."""
    program = build.program(f"slipway-{service.replace('_', '-')}")
    port = free_port()
    prefix = f"SLIPWAY_{service.upper()}_"
    environment = {
        **compose_environment(service, folder),
        f"{prefix}HTTP_PORT": str(port),
        f"{prefix}DATABASE_URL": f"sqlite+aiosqlite:///{folder}/service.db",
        f"{prefix}AMQP_URL": "amqp://127.0.0.1:1/",
        f"{prefix}MIGRATE": "true",
    } | ({f"{prefix}AGENT_PORT": "0"} if service in ("provisioner", "monitor") else {})
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([program, "run"], env=environment, cwd=folder, stdout=log, stderr=log)
        try:
            yield port
            assert process.poll() is None, (folder / "log").read_text()
        finally:
            process.terminate()
            process.wait(timeout=30)


def compose_environment(service: str, folder: Path) -> dict[str, str]:
    """What docker-compose.yml gives to the service, with its files laid out in a folder."""
    prepare(folder / "secrets", [])
    (folder / "secrets" / "clouds.yaml").write_text((ROOT / "deploy/compose/clouds.yaml").read_text())
    mirror = [
        sys.executable,
        "-m",
        "slipway_sandbox",
        "mirror",
        "--dir",
        str(folder / "mirror"),
        "--release",
        "v1.36.3",
    ]
    subprocess.run(mirror, check=True, capture_output=True)
    regions = (ROOT / "deploy/compose/config/regions.yaml").read_text()
    (folder / "regions.yaml").write_text(regions.replace("/var/lib/slipway/sandbox/mirror", str(folder / "mirror")))
    document = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    given = document["services"][service.replace("_", "-")]["environment"]
    places = {"/run/secrets": str(folder / "secrets"), "/etc/slipway/regions.yaml": str(folder / "regions.yaml"),
              "${SLIPWAY_REGION:-sandbox}": "sandbox", "${SLIPWAY_LISTEN:-127.0.0.1}": "127.0.0.1",
              "${SLIPWAY_AGENT_LISTEN:-127.0.0.1}": "127.0.0.1", "${SLIPWAY_OTLP_ENDPOINT:-}": ""}  # fmt: skip
    for place, here in places.items():
        given = {key: value.replace(place, here) for key, value in given.items()}
    return dict(given)
