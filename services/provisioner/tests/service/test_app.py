"""The composition root, with the files that an operator gives it."""

import base64
import ssl
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
import yaml

from slipway_chassis.tls import make_service_pki
from slipway_contracts.api import ClusterSpecChanged
from slipway_contracts.healer import PoolRemoved
from slipway_provisioner.app import build_app
from slipway_provisioner.settings import Settings
from slipway_provisioner.testing.builders import a_region, some_releases


def some_settings(folder: Path, **changes: object) -> Settings:
    """All files there, and any free port."""
    pki = folder / "pki"
    make_service_pki(pki, ["127.0.0.1", "localhost"])
    releases = folder / "releases.yaml"
    releases.write_text(yaml.safe_dump(some_releases().model_dump(mode="json")))
    regions = folder / "regions.yaml"
    region = a_region().model_copy(update={"releases_file": releases})
    regions.write_text(yaml.safe_dump({"regions": [region.model_dump(mode="json")]}))
    master = folder / "master.key"
    master.write_text(base64.b64encode(b"k" * 32).decode())
    values = {
        "region": "tokyo",
        "database_url": f"sqlite+aiosqlite:///{folder}/provisioner.db",
        "regions_file": regions,
        "master_key_file": master,
        "agent_ca_cert_file": pki / "agent-ca.pem",
        "agent_ca_key_file": pki / "agent-ca.key",
        "tls_cert_file": pki / "provisioner.pem",
        "tls_key_file": pki / "provisioner.key",
        "tls_ca_file": pki / "ca.pem",
    }
    return Settings(**{**values, **changes})  # type: ignore[arg-type]


async def test_the_service_is_wired(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = build_app(some_settings(tmp_path))
    assert {ClusterSpecChanged, PoolRemoved} <= set(app.service.consumes)
    assert {"cluster", "table", "node", "servers"} <= set(app.service.kinds)
    (serve,) = app.servers
    async with serve():
        port = int(capsys.readouterr().out.partition("port=")[2].split()[0])
        trust = ssl.create_default_context(cafile=str(tmp_path / "pki" / "ca.pem"))
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(timeout=timeout) as client:
            answer = await client.get(f"https://127.0.0.1:{port}/v1/agent/program", ssl=trust)
            assert answer.status == 200
            assert (await answer.read()).startswith(b"#!/usr/bin/env python3")
    for close in app.closing:
        close()
    await app.service.database.close()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"master_key_file": None}, "set SLIPWAY_PROVISIONER_MASTER_KEY_FILE"),
        ({"agent_ca_cert_file": Path("absent.pem")}, "absent.pem cannot be read"),
        ({"region": "osaka"}, "no region is named osaka"),
    ],
    ids=["no master key", "a file that is not there", "an unknown region"],
)
def test_what_is_wrong_with_the_settings_is_said(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises((ValueError, LookupError), match=said):
        build_app(some_settings(tmp_path, **changes))


def test_slipways_own_metadata_is_not_for_labels() -> None:
    with pytest.raises(ValueError, match="slipway_node: Slipway recognises its servers by"):
        Settings(region="tokyo", server_metadata={"slipway_node": "x"})


def test_every_duration_is_positive() -> None:
    settings = Settings(region="tokyo")
    durations = [value for value in settings.model_dump().values() if isinstance(value, timedelta)]
    assert durations
    assert all(value > timedelta(0) for value in durations)
