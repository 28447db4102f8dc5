"""The composition root: everything real is wired from files, and what is wrong with them is said."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway_addon_manager.app import build_app
from slipway_addon_manager.settings import Settings
from slipway_addon_manager.testing import some_releases
from slipway_chassis.tls import make_service_pki


def some_settings(folder: Path, **more: Any) -> Settings:
    make_service_pki(folder / "pki", ["127.0.0.1"])
    (folder / "releases.yaml").write_text(yaml.safe_dump(some_releases().table.model_dump(mode="json")))
    region = {
        "name": "tokyo",
        "cloud": "tokyo",
        "mirror": "http://mirror.example",
        "releases_file": str(folder / "releases.yaml"),
        "agent_url": "https://agents.example",
        "observe_url": "https://observe.example",
        "signing_url": "https://signing.example",
    }
    (folder / "regions.yaml").write_text(yaml.safe_dump({"regions": [region]}))
    values = {
        "region": "tokyo",
        "database_url": f"sqlite+aiosqlite:///{folder}/addon_manager.db",
        "regions_file": folder / "regions.yaml",
        "tls_cert_file": folder / "pki/addon_manager.pem",
        "tls_key_file": folder / "pki/addon_manager.key",
        "tls_ca_file": folder / "pki/ca.pem",
    }
    return Settings(**(values | more))


async def test_everything_is_wired_and_nothing_starts(tmp_path: Path) -> None:
    app = build_app(some_settings(tmp_path))
    assert app.service.source == "addon_manager/tokyo"
    assert app.service.kinds == ["resync", "cluster"]
    assert not (tmp_path / "addon_manager.db").exists()
    await app.service.database.close()


async def test_an_unknown_region_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match=r"no region is named osaka; regions\.yaml has: tokyo"):
        build_app(some_settings(tmp_path, region="osaka"))


async def test_a_missing_certificate_names_its_variable(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="SLIPWAY_ADDON_MANAGER_TLS_CERT_FILE"):
        build_app(some_settings(tmp_path, tls_cert_file=None))


async def test_a_missing_releases_file_is_named(tmp_path: Path) -> None:
    settings = some_settings(tmp_path)
    (tmp_path / "releases.yaml").unlink()
    with pytest.raises(ValueError, match=r"releases\.yaml: cannot be read"):
        build_app(settings)
