"""The provisioner's settings; each with its unit and the reason for its default."""

from datetime import timedelta
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from slipway_chassis.settings import ServiceSettings


class Settings(ServiceSettings):
    """Read from the environment: SLIPWAY_PROVISIONER_REGION, SLIPWAY_PROVISIONER_DATABASE_URL ..."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_prefix="SLIPWAY_PROVISIONER_")

    workers: int = Field(default=16, ge=1)
    """Objects reconciled at once: most of that time is waiting for the cloud, whose calls have a limit of their own."""
    calls_in_flight: int = Field(default=16, ge=1)
    """Cloud calls at once in this process; more only makes a cloud's API answer later or with 503."""
    call_timeout: timedelta = timedelta(seconds=30)
    """One cloud call; the SDK's own default is to wait for ever."""
    api_timeout: timedelta = timedelta(seconds=10)
    """One call to a cluster's Kubernetes API."""
    settle_for: timedelta = timedelta(seconds=60)
    """After a create without an answer: how long it may still appear; twice the call's timeout."""
    poll_changing: timedelta = timedelta(seconds=1)
    """Between two lists of a project's servers while one of them is being built or deleted."""
    poll_idle: timedelta = timedelta(seconds=15)
    """Between two lists otherwise; one call each."""
    full_list_every: timedelta = timedelta(minutes=5)
    """Between two lists of all servers; in between only of what changed."""
    node_check_every: timedelta = timedelta(seconds=60)
    """A node that nothing happened to is looked at again."""
    cluster_check_every: timedelta = timedelta(seconds=60)
    """Bindings, labels and releases of a cluster that nothing happened to are looked at again."""
    parts_check_every: timedelta = timedelta(minutes=2)
    """Load balancer, floating IP and security group rules of a cluster are looked for again, so that what somebody
    deleted is made again; about ten calls of the cloud."""
    ledger_check_every: timedelta = timedelta(minutes=10)
    """All that carries our marks in a project is compared with the ledger; one list of each kind."""
    forgotten_kept_for: timedelta = timedelta(minutes=30)
    """What a restored ledger had forgotten waits so long for somebody who wants it: three repetitions of all facts."""
    endpoint_drain_limit: timedelta = timedelta(seconds=60)
    """A controller that leaves gets no new connections for so long before its server goes: kube-apiserver's own limit
    of an ordinary request (--request-timeout)."""
    drain_limit: timedelta = timedelta(minutes=15)
    """PodDisruptionBudgets are honoured for so long; then the node goes."""
    server_metadata: dict[str, str] = {}
    """Further metadata of every new server, as JSON, for the operator's own labels and cost centres; keys that begin
    with `slipway_` are Slipway's own. Nova's own default limit is 128 keys."""
    agent_host: str = "127.0.0.1"
    """Where the listener for agents and signing binds."""
    agent_port: int = 0
    """Its port; 0: any free port; it is logged."""
    agent_ca_cert_file: Path | None = None
    """The CA of the agents' certificates (PEM)."""
    agent_ca_key_file: Path | None = None
    """Its key (PEM)."""
    master_key_file: Path | None = None
    """32 bytes, base64: the key that the clusters' keys are encrypted under."""

    @field_validator("server_metadata")
    @classmethod
    def _own_keys_stay(cls, value: dict[str, str]) -> dict[str, str]:
        taken = sorted(key for key in value if key.startswith("slipway_"))
        if taken:
            raise ValueError(f"{', '.join(taken)}: Slipway recognises its servers by the keys that begin with slipway_")
        return value
