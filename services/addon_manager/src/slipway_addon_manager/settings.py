"""The addon manager's settings; each with its unit and the reason for its default."""

from datetime import timedelta

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from slipway_chassis.settings import ServiceSettings


class Settings(ServiceSettings):
    """Read from the environment: SLIPWAY_ADDON_MANAGER_REGION, SLIPWAY_ADDON_MANAGER_DATABASE_URL ..."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_prefix="SLIPWAY_ADDON_MANAGER_")

    database_url: str = "sqlite+aiosqlite:///.slipway/addon_manager.db"
    """SQLAlchemy URL of this service's own database."""
    workers: int = Field(default=8, ge=1)
    """Clusters worked on at once: most of it is waiting for their APIs."""
    call_timeout: timedelta = timedelta(seconds=10)
    """One call of a cluster's API, or of the provisioner; well below the lease, so that a dead one loses no lease."""
    credential_lifetime: timedelta = timedelta(hours=24)
    """Of the credential to a cluster; renewed at half-life. The provisioner allows no more."""
    repair_every: timedelta = timedelta(minutes=5)
    """How often all objects are applied again, so that what somebody changed comes back."""
    settle_every: timedelta = timedelta(seconds=10)
    """Between two looks at pods that are not available yet."""
    patience: timedelta = timedelta(minutes=5)
    """How long pods may be missing before an addon counts as degraded: images are pulled, nodes come and go."""
