"""The healer's settings: where it keeps its database, and the limits of healing in its region."""

from datetime import timedelta

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from slipway_chassis.settings import ServiceSettings
from slipway_healer.domain.model import Policy


class Settings(ServiceSettings):
    """Frozen; read from SLIPWAY_HEALER_*."""

    model_config = SettingsConfigDict(env_prefix="SLIPWAY_HEALER_", frozen=True, extra="ignore")

    database_url: str = "sqlite+aiosqlite:///.slipway/healer.db"
    """SQLAlchemy URL of this service's own database."""
    region_fresh_for: timedelta = timedelta(seconds=30)
    """Nothing is destroyed on an observation of the region that is older."""
    witness_fresh_for: timedelta = timedelta(seconds=30)
    """Nor on a witness that last looked longer ago."""
    reboot_wait: timedelta = timedelta(minutes=5)
    """How long a rebooted node has to come back before it is replaced."""
    reboot_memory: timedelta = timedelta(hours=1)
    """A node that falls ill again within this time is not rebooted again but replaced."""
    failures_in_a_row: int = Field(default=3, ge=1)
    """So many failed attempts quarantine a pool's spec."""
    first_backoff: timedelta = timedelta(seconds=30)
    """After the second failed attempt in a row; doubled with each further one."""
    trial_every: timedelta = timedelta(minutes=30)
    """How often a quarantined pool may try one node."""
    blast_nodes: int = Field(default=2, ge=0)
    """So many bad workers of a pool are always healed..."""
    blast_of_pool: float = Field(default=0.2, ge=0, le=1)
    """... or this part of the pool, where that is more."""
    blast_of_cluster: float = Field(default=0.4, ge=0, le=1)
    """With more than this part of a cluster bad, nothing in it is destroyed."""
    blast_lapses_after: timedelta = timedelta(minutes=30)
    """Then one node at a time, if the cloud itself confirms the loss."""
    bucket_size: int = Field(default=20, ge=1)
    """Replacements and reboots in the region that may be admitted at once."""
    bucket_refill: timedelta = timedelta(seconds=6)
    """How often one more is admitted."""
    look_every: timedelta = timedelta(seconds=60)
    """How often each cluster is looked at when no event asks for it; spread by a fifth."""
    default_addons: tuple[str, ...] = ("rbac", "kube-proxy", "flannel", "coredns")
    """A cluster is complete when these are installed."""

    def policy(self) -> Policy:
        """The limits, as decisions take them."""
        names = Policy.__dataclass_fields__.keys() & type(self).model_fields.keys()
        return Policy(**{name: getattr(self, name) for name in names})
