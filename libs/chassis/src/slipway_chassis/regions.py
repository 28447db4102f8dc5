"""regions.yaml: what an operator says of each region. Read by every service that needs to know its cloud."""

from collections import Counter
from enum import StrEnum
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from slipway_chassis.machines import KubeletInput, RootVolumeInput, RuntimeInput


class EndpointKind(StrEnum):
    """How a cluster's API is reached."""

    OCTAVIA = "octavia"


class Reach(StrEnum):
    """How services get to endpoints: on a network they share, or by a floating IP."""

    FLAT = "flat"
    FLOATING_IP = "floating_ip"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Endpoint(_Section):
    """The endpoint of the clusters' Kubernetes APIs."""

    kind: EndpointKind = EndpointKind.OCTAVIA
    reach: Reach = Reach.FLAT
    floating_network: str | None = Field(default=None, description="external network of the floating IPs: name or id")
    port: int = Field(default=6443, ge=1, le=65535)
    ready_delay: float = Field(
        default=5.0, gt=0, le=8, description="seconds between health checks of a controller; see `seen_down_after`"
    )

    @field_validator("kind", mode="before")
    @classmethod
    def _kind_is_known(cls, value: object) -> object:
        known = [kind.value for kind in EndpointKind]
        if value not in known:
            raise ValueError(f"{value!r} is no kind of endpoint; this release can make: {', '.join(known)}")
        return value

    @model_validator(mode="after")
    def _reach_is_possible(self) -> "Endpoint":
        if (self.reach is Reach.FLOATING_IP) != (self.floating_network is not None):
            raise ValueError("reach: floating_ip needs floating_network, the external network; reach: flat takes none")
        return self

    @property
    def seen_down_after(self) -> float:
        """Seconds after which a controller that is not ready gets no more requests, at most: two failed checks.

        An API server waits longer than this before it stops to listen, and kubelet gives it 30 s in all: so a check
        is made at least every 8 s.
        """
        delay = self.check_every
        return 2.0 * delay + self.check_timeout

    @property
    def check_every(self) -> int:
        """Seconds between two health checks, as load balancers take them: whole."""
        return max(2, round(self.ready_delay))

    @property
    def check_timeout(self) -> int:
        """Seconds that a check may take."""
        return self.check_every - 1


class Machine(_Section):
    """What this region's machines need of a kubelet beyond the defaults."""

    cgroup_driver: str = Field(default="systemd", pattern="^(systemd|cgroupfs)$")
    fail_cgroup_v1: bool = True
    fail_swap_on: bool = True
    any_runtime: bool = Field(default=False, description="let containerd and runc of any version pass, with a word")
    conntrack_max_per_core: int | None = None
    conntrack_min: int | None = None


class Defaults(_Section):
    """What a user gets who names nothing: names as in the cloud."""

    image: str | None = None
    flavor: dict[str, str] = Field(default={}, description="by role; `any` for all others")
    network: str | None = None
    release: str | None = None


class NamedNodeSpec(_Section):
    """One version of a description of machines that pools refer to by name; the region's defaults fill its blanks."""

    name: str = Field(pattern=r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$")
    version: int = Field(default=1, ge=1, description="a changed description is a new version; pools choose when")
    description: str = ""
    image: str | None = Field(default=None, description="as users see it")
    flavor: str | None = None
    root_volume: RootVolumeInput | None = None
    runtime: RuntimeInput = RuntimeInput()
    kubelet: KubeletInput = KubeletInput()

    @property
    def reference(self) -> str:
        """name@version."""
        return f"{self.name}@{self.version}"


class Volumes(_Section):
    """Whether machines may boot from volumes here, and of which types."""

    enabled: bool = Field(default=False, description="the cloud has block storage, and users may use it")
    types: tuple[str, ...] = Field(default=(), description="volume types that users may name; empty: only the default")


class Region(_Section):
    """One region."""

    name: str
    cloud: str = Field(description="clouds.yaml entry of Slipway's service user")
    auth_url: str | None = Field(default=None, description="the Keystone that users authenticate at; else the cloud's")
    observer_cloud: str | None = Field(
        default=None, description="entry whose role may list the servers of all projects; else listed per project"
    )
    zones: tuple[str, ...] = ()
    networks: tuple[str, ...] = Field(default=(), description="CIDRs that cluster CIDRs must not overlap with")
    mirror: str = Field(description="base URL of the programs that machines fetch")
    releases_file: Path = Field(description="releases.yaml: versions, files and digests of each release")
    registry_mirrors: dict[str, str] = Field(default={}, description="upstream registry -> URL of its mirror")
    defaults: Defaults = Defaults()
    node_specs: tuple[NamedNodeSpec, ...] = Field(default=(), description="machines that pools refer to by name")
    volumes: Volumes = Volumes()
    endpoint: Endpoint = Endpoint()
    machine: Machine = Machine()
    agent_url: str = Field(description="https URL of the provisioner as machines reach it")
    observe_url: str = Field(description="https URL of the monitor as machines reach it")
    signing_url: str = Field(description="https URL of the provisioner as the other services reach it")

    @model_validator(mode="after")
    def _each_node_spec_once(self) -> "Region":
        twice = [name for name, times in Counter(spec.reference for spec in self.node_specs).items() if times > 1]
        if twice:
            raise ValueError(f"node_specs: {', '.join(twice)} is described twice; a change is a new version")
        return self

    def node_spec(self, reference: str) -> NamedNodeSpec:
        """The node spec `name` in its newest version, or `name@version`; LookupError names those that there are."""
        name, at, version = reference.partition("@")
        found = [spec for spec in self.node_specs if spec.name == name and (not at or str(spec.version) == version)]
        if not found:
            known = ", ".join(spec.reference for spec in self.node_specs) or "none"
            raise LookupError(f"the region {self.name} has no node spec {reference[:80]!r}; it has: {known}")
        return max(found, key=lambda spec: spec.version)


class Regions(_Section):
    """All regions."""

    regions: tuple[Region, ...]

    def named(self, name: str) -> Region:
        """The region of this name; LookupError when there is none."""
        for region in self.regions:
            if region.name == name:
                return region
        known = ", ".join(region.name for region in self.regions) or "none"
        raise LookupError(f"no region is named {name}; regions.yaml has: {known}")


def load_regions(path: Path) -> Regions:
    """Read regions.yaml; ValueError names the file, the field and what is wrong with it."""
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: is not YAML: {error}") from error
    try:
        return Regions.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        sentence = str(first["msg"]).removeprefix("Value error, ")
        raise ValueError(f"{path}: {where}: {sentence}") from error
