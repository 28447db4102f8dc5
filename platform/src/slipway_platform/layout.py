"""What a platform needs on disk before its processes start: keys, regions, databases' places, free ports."""

import base64
import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from slipway_chassis.tls import SERVICES, make_service_pki


@dataclass(frozen=True)
class CloudAccess:
    """Which clouds.yaml entries the platform uses."""

    clouds_yaml: Path
    user: str
    """The entry that users log in with."""
    service: str
    """The entry of Slipway's service user."""
    observer: str | None = None
    """The entry that may list the servers of all projects."""


@dataclass(frozen=True)
class RegionPlan:
    """What is particular to the region of this platform; the rest is the same everywhere."""

    name: str = "sandbox"
    zones: tuple[str, ...] = ()
    defaults: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    endpoint: dict[str, Any] = field(default_factory=dict)
    registry_mirrors: dict[str, str] = field(default_factory=dict)
    networks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ports:
    """Where the processes listen."""

    api: int
    agents: int
    observations: int
    mirror: int
    cloud: int
    machines: int
    health: dict[str, int]

    def of_service(self, service: str) -> int:
        """Where a service answers /readyz and /metrics; the api there also serves its users."""
        return self.api if service == "api" else self.health[service]


def free_ports() -> Ports:
    """Ports that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(6 + len(SERVICES))]
    numbers = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    api, agents, observations, mirror, cloud, machines, *health = numbers
    return Ports(api, agents, observations, mirror, cloud, machines, dict(zip(SERVICES, health, strict=True)))


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Layout:
    """The folder of one platform."""

    folder: Path
    host: str
    ports: Ports

    @property
    def pki(self) -> Path:
        """The services' certificates and the agents' CA."""
        return self.folder / "pki"

    @property
    def regions_file(self) -> Path:
        """regions.yaml."""
        return self.folder / "regions.yaml"

    @property
    def mirror(self) -> Path:
        """The folder of programs that machines fetch, with releases.yaml."""
        return self.folder / "mirror"

    @property
    def logs(self) -> Path:
        """One file a process."""
        return self.folder / "logs"

    def prepare(self, access: CloudAccess, region: RegionPlan) -> None:
        """Write everything that is not there yet."""
        self.logs.mkdir(parents=True, exist_ok=True)
        make_service_pki(self.pki, sorted({"localhost", "127.0.0.1", self.host}))
        key = self.pki / "master.key"
        if not key.exists():
            key.touch(mode=0o600)
            key.write_text(base64.b64encode(secrets.token_bytes(32)).decode())
        self.regions_file.write_text(yaml.safe_dump({"regions": [self._region(access, region)]}, sort_keys=False))

    def _region(self, access: CloudAccess, region: RegionPlan) -> dict[str, Any]:
        return {
            "name": region.name,
            "cloud": access.service,
            "observer_cloud": access.observer,
            "zones": list(region.zones),
            "networks": list(region.networks),
            "mirror": f"http://{self.host}:{self.ports.mirror}",
            "releases_file": str(self.mirror / "releases.yaml"),
            "registry_mirrors": region.registry_mirrors,
            "defaults": region.defaults,
            "endpoint": region.endpoint,
            "machine": region.machine,
            "agent_url": f"https://{self.host}:{self.ports.agents}",
            "observe_url": f"https://{self.host}:{self.ports.observations}",
            "signing_url": f"https://{self.host}:{self.ports.agents}",
        }

    def environment(
        self,
        service: str,
        *,
        amqp_url: str,
        namespace: str,
        database_url: str,
        access: CloudAccess,
        region: str,
        ports: Ports | None = None,
    ) -> dict[str, str]:
        """The settings of one service; a further replica listens on ports of its own."""
        ports = ports or self.ports
        values = {
            "REGION": "global" if service == "api" else region,
            "DATABASE_URL": database_url,
            "AMQP_URL": amqp_url,
            "BUS_NAMESPACE": namespace,
            "HTTP_PORT": str(ports.of_service(service)),
            "REGIONS_FILE": str(self.regions_file),
            "TLS_CERT_FILE": str(self.pki / f"{service}.pem"),
            "TLS_KEY_FILE": str(self.pki / f"{service}.key"),
            "TLS_CA_FILE": str(self.pki / "ca.pem"),
            "LOG_FORMAT": "json",
            **self._particular(service, ports),
        }
        prefix = f"SLIPWAY_{service.upper()}_"
        return {"OS_CLIENT_CONFIG_FILE": str(access.clouds_yaml)} | {
            prefix + key: value for key, value in values.items()
        }

    def _particular(self, service: str, ports: Ports) -> dict[str, str]:
        if service == "provisioner":
            return {
                "AGENT_HOST": self.host,
                "AGENT_PORT": str(ports.agents),
                "AGENT_CA_CERT_FILE": str(self.pki / "agent-ca.pem"),
                "AGENT_CA_KEY_FILE": str(self.pki / "agent-ca.key"),
                "MASTER_KEY_FILE": str(self.pki / "master.key"),
            }
        if service == "monitor":
            return {
                "AGENT_HOST": self.host,
                "AGENT_PORT": str(ports.observations),
                "AGENT_CA_CERT_FILE": str(self.pki / "agent-ca.pem"),
            }
        return {}
