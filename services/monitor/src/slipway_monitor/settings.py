"""The monitor's settings; each with its unit and the reason for its default."""

from datetime import timedelta
from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from slipway_chassis.settings import ServiceSettings
from slipway_monitor.domain.alerts import AlertLimits
from slipway_monitor.domain.model import Limits
from slipway_monitor.domain.trust import TrustLimits


class Settings(ServiceSettings):
    """Read from the environment: SLIPWAY_MONITOR_REGION, SLIPWAY_MONITOR_DATABASE_URL ..."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_prefix="SLIPWAY_MONITOR_")

    workers: int = Field(default=16, ge=1)
    """Clusters looked at at once: a look is mostly waiting, and one at a dead endpoint waits for its whole timeout."""
    agent_host: str = "127.0.0.1"
    """Where the listener for agents' observations binds."""
    agent_port: int = Field(default=0, ge=0, le=65535)
    """Its port; 0: any free port; it is logged. Must be that of the region's observe_url."""
    agent_ca_cert_file: Path | None = None
    """The CA that signs the agents' certificates (PEM)."""
    round_every: timedelta = timedelta(seconds=10)
    """Between two rounds over the region: healing needs one younger than 30 s."""
    cloud_timeout: timedelta = timedelta(seconds=8)
    """One call of the cloud's API; a round must end before the next is due, also when the cloud hangs."""
    full_list_every: timedelta = timedelta(minutes=5)
    """Between two lists of all servers; in between only of what changed."""
    look_every: timedelta = timedelta(seconds=10)
    """Between two looks into a cluster: a kubelet renews its lease as often."""
    look_soonest: timedelta = timedelta(milliseconds=100)
    """Between two looks while a node may become ready at any moment; grows with the time that it takes, up to 2 s."""
    look_timeout: timedelta = timedelta(seconds=5)
    """One call of a cluster's API."""
    credential_lifetime: timedelta = timedelta(hours=24)
    """Of the read-only credential to a cluster; renewed at half-life."""
    lease_suspect: timedelta = timedelta(seconds=25)
    """Two renewals missing."""
    lease_dead: timedelta = timedelta(seconds=40)
    """As long as Kubernetes' own node controller waits (--node-monitor-grace-period of old; a lease's duration)."""
    agent_silent: timedelta = timedelta(seconds=60)
    """Six observations missing; observations are stored at least twice a minute."""
    join_grace: timedelta = timedelta(minutes=5)
    """How long after its plan was applied a node may take to be healthy for the first time."""
    alert_node_provisioning: timedelta = timedelta(minutes=10)
    """LongNodeProvisioning."""
    alert_cluster_provisioning: timedelta = timedelta(minutes=20)
    """LongClusterProvisioning."""
    alert_unhealthy: timedelta = timedelta(minutes=5)
    """UnhealthyNodeCondition and UnhealthyClusterCondition."""

    @property
    def limits(self) -> Limits:
        """By when something counts as wrong."""
        return Limits(
            lease_suspect=self.lease_suspect,
            lease_dead=self.lease_dead,
            agent_silent=self.agent_silent,
            join_grace=self.join_grace,
            look_every=self.look_every,
            look_soonest=self.look_soonest,
        )

    @property
    def trust_limits(self) -> TrustLimits:
        """How much loss makes the region suspect: the design's figures, not for tuning."""
        return TrustLimits()

    @property
    def alert_limits(self) -> AlertLimits:
        """How long a condition lasts before somebody is told."""
        return AlertLimits(
            self.alert_node_provisioning,
            self.alert_cluster_provisioning,
            self.alert_unhealthy,
            self.alert_unhealthy,
        )
