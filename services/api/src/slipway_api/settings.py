"""The settings of the api: SLIPWAY_API_... in the environment."""

from datetime import timedelta
from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from slipway_chassis.settings import ServiceSettings


class Settings(ServiceSettings):
    """Frozen. The api is global: it serves all regions of regions.yaml."""

    model_config = SettingsConfigDict(env_prefix="SLIPWAY_API_", frozen=True, extra="ignore")

    region: str = "global"
    """Fixed: there is one api for all regions."""
    clouds_file: Path | None = None
    """clouds.yaml, for the addresses of the regions' Keystones; else where openstacksdk looks for it."""
    token_cached_for: timedelta = Field(default=timedelta(minutes=5), le=timedelta(minutes=5))
    """How long a validated token is believed without asking Keystone again; never longer than the token's life."""
    cloud_timeout: float = Field(default=10.0, gt=0)
    """Seconds until Keystone, Nova, Neutron, Glance, Cinder or a provisioner counts as away."""
    events_kept: timedelta = timedelta(days=7)
    """How far back the stream of events can be resumed."""
    idempotency_kept: timedelta = timedelta(hours=24)
    """How long an answer is repeated for its Idempotency-Key."""
    events_poll: float = Field(default=0.5, gt=0)
    """Seconds between looks for events that another replica has recorded."""
    events_heartbeat: float = Field(default=15.0, gt=0)
    """Seconds between comments in a silent stream, so that proxies keep it open."""
