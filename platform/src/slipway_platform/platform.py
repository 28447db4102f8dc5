"""The whole platform on one machine: the sandbox or a given cloud, the five services, their databases and bus names."""

import asyncio
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aio_pika
import httpx

from slipway_chassis.tls import SERVICES
from slipway_chassis.topology import BusNames, by_noun
from slipway_contracts.catalogue import EVENT_TYPES
from slipway_platform.layout import CloudAccess, Layout, Ports, RegionPlan, free_ports
from slipway_platform.processes import Process, ReadyCheck, wait_until

READY_WITHIN = 180.0


@dataclass
class Platform:
    """Processes that belong together. Every one of them can be killed and started again by itself."""

    folder: Path
    amqp_url: str
    region: RegionPlan
    access: CloudAccess | None = None
    """None: the sandbox's own cloud."""
    machines_of: str | None = "sandbox-admin"
    """The entry by which the machine runner sees all servers; None: the cloud's servers boot by themselves."""
    zone_exclude: tuple[str, ...] = ()
    """Zones whose servers really boot: the machine runner leaves them alone."""
    binaries: tuple[Path, ...] = ()
    """Folders of real programs that the machines' etcd and control planes are made of; none: emulated ones."""
    host: str = "127.0.0.1"
    """Where machines reach the services."""
    releases: dict[str, Path | None] = field(default_factory=lambda: {"v1.36.3": None})
    """The mirror's releases, each with a folder of real programs; None: placeholders for emulated machines."""
    database_url: Callable[[str], str] | None = None
    """By service; None: an SQLite file each."""
    settings: dict[str, dict[str, str]] = field(default_factory=dict)
    """Further settings by service, e.g. {"monitor": {"ALERT_UNHEALTHY": "60"}}."""
    replicas: int = 1
    """Of every service; more than one needs a database that they share, which SQLite is not."""
    namespace: str = field(default_factory=lambda: f"slipway-{secrets.token_hex(3)}")
    processes: dict[str, Process] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.layout = Layout(self.folder, self.host, free_ports())
        self._ports = {1: self.layout.ports}

    @property
    def endpoint(self) -> str:
        """The REST API."""
        return f"http://127.0.0.1:{self.layout.ports.api}"

    @property
    def clouds_yaml(self) -> Path:
        """The clouds.yaml that users of this platform need."""
        return self.cloud_access.clouds_yaml

    @property
    def cloud_access(self) -> CloudAccess:
        """The given cloud, or the sandbox's."""
        return self.access or CloudAccess(
            self.folder / "cloud" / "clouds.yaml", "sandbox", "sandbox-service", "sandbox-admin"
        )

    @property
    def cloud_control(self) -> str:
        """The control API of the sandbox's cloud."""
        return f"http://127.0.0.1:{self.layout.ports.cloud}/_control"

    @property
    def machines_control(self) -> str:
        """The control API of the machine runner."""
        return f"http://127.0.0.1:{self.layout.ports.machines}"

    @property
    def hosts(self) -> Path:
        """A folder for each machine, by its server's id, with the files of its real programs."""
        return self.folder / "hosts"

    def start(self) -> None:
        """Start everything and wait until it is ready; ProcessFailedError says what is not."""
        self.layout.prepare(self.cloud_access, self.region)
        self._make_mirror()
        self._start("mirror", ["-m", "http.server", str(self.layout.ports.mirror), "--bind", self.host,
                               "--directory", str(self.layout.mirror)])  # fmt: skip
        if self.access is None:
            self._start_cloud()
        if self.machines_of is not None:
            self._start_machines(self.machines_of)
        for replica in range(1, self.replicas + 1):
            for service in SERVICES:
                self.start_service(service, replica=replica)
        self.wait_ready()

    def start_service(self, name: str, environment: dict[str, str] | None = None, *, replica: int = 1) -> Process:
        """Start one replica of a service (again). Agents know the first one's address alone."""
        url = self.database_url(name) if self.database_url else f"sqlite+aiosqlite:///{self.folder / name}.db"
        settings = self.layout.environment(
            name,
            amqp_url=self.amqp_url,
            namespace=self.namespace,
            database_url=url,
            access=self.cloud_access,
            region=self.region.name,
            ports=self._ports_of(replica),
        )
        more = {f"SLIPWAY_{name.upper()}_{key}": value for key, value in self.settings.get(name, {}).items()}
        return self._start(
            process_name(name, replica), ["-m", f"slipway_{name}", "run"], settings | more | (environment or {})
        )

    def address(self, service: str, replica: int = 1) -> str:
        """Where a replica answers /readyz and /metrics; the api there also serves its users."""
        return f"http://127.0.0.1:{self._ports_of(replica).of_service(service)}"

    def process(self, service: str, replica: int = 1) -> Process:
        """A replica that was started; KeyError when it was not."""
        return self.processes[process_name(service, replica)]

    def ready_check(self, service: str, replica: int = 1) -> ReadyCheck:
        """Whether the /readyz of a replica answers 200."""
        url = f"{self.address(service, replica)}/readyz"
        return ReadyCheck(self.process(service, replica), "ready", lambda: _answers(url))

    def wait_ready(self, *services: str) -> None:
        """Wait until all replicas of these services, or of all, are ready."""
        numbers = range(1, self.replicas + 1)
        wait_until(
            [self.ready_check(each, number) for number in numbers for each in services or SERVICES], READY_WITHIN
        )

    def stop(self) -> None:
        """Stop all processes, services first; remove what is ours from the broker."""
        services = [process_name(service, number) for number in self._ports for service in SERVICES]
        for name in services:
            if name in self.processes:
                self.processes[name].request_stop()
        for name in (*services, "machines", "cloud", "mirror"):
            if name in self.processes:
                self.processes[name].stop()
        asyncio.run(remove_namespace(self.amqp_url, self.namespace, self.region.name))

    def _ports_of(self, replica: int) -> Ports:
        if replica not in self._ports:
            self._ports[replica] = free_ports()
        return self._ports[replica]

    def _start(self, name: str, arguments: list[str], environment: dict[str, str] | None = None) -> Process:
        process = Process(
            name=name,
            command=[sys.executable, *arguments],
            environment={"OS_CLIENT_CONFIG_FILE": str(self.clouds_yaml), "PYTHONUNBUFFERED": "1"} | (environment or {}),
            log=self.layout.logs / f"{name}.log",
            cwd=self.folder,
        )
        process.start()
        self.processes[name] = process
        return process

    def _start_cloud(self) -> None:
        cloud = self._start("cloud", ["-m", "slipway_sandbox", "cloud", "--port", str(self.layout.ports.cloud),
                                      "--state-dir", str(self.folder / "cloud")])  # fmt: skip
        answers = ReadyCheck(cloud, "answering", lambda: _answers(f"{self.cloud_control}/servers"))
        wait_until([answers, ReadyCheck(cloud, "configured", self.clouds_yaml.exists)], 30.0)

    def _start_machines(self, cloud: str) -> None:
        excluded = [f"--zone-exclude={zone}" for zone in self.zone_exclude]
        real = [f"--binaries={folder}" for folder in self.binaries]
        self._start("machines", ["-m", "slipway_sandbox", "machines", "--cloud", cloud, *excluded, *real,
                                 "--hosts-dir", str(self.hosts),
                                 "--control-port", str(self.layout.ports.machines)])  # fmt: skip

    def _make_mirror(self) -> None:
        if (self.layout.mirror / "releases.yaml").exists():
            return
        arguments = ["-m", "slipway_sandbox", "mirror", "--dir", str(self.layout.mirror)]
        for release, binaries in self.releases.items():
            arguments += ["--release", release]
            if binaries is not None:
                arguments += ["--from", str(binaries)]
        if self._start("make-mirror", arguments).wait(within=120) != 0:
            self.processes["make-mirror"].require_running()


def process_name(service: str, replica: int = 1) -> str:
    """Under which name a replica's process and its log are found."""
    return service if replica == 1 else f"{service}-{replica}"


@contextmanager
def running(platform: Platform) -> Iterator[Platform]:
    """The platform between its start and its stop."""
    try:
        platform.start()
        yield platform
    finally:
        platform.stop()


async def remove_namespace(amqp_url: str, namespace: str, region: str) -> None:
    """Delete the queues and exchanges of a namespace, so that a shared broker is left as it was found."""
    names = BusNames(namespace)
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        channel = await connection.channel()
        for service in SERVICES:
            where = "global" if service == "api" else region
            for noun, _ in by_noun(list(EVENT_TYPES.values())):
                await channel.queue_delete(names.queue(service, where, noun))
            await channel.queue_delete(names.dead_letter_queue(service, where))
        for exchange in (names.events, names.dead_letters):
            await channel.exchange_delete(exchange)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
