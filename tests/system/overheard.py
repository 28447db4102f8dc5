"""A run of the platform at which somebody listens everywhere: events, logs, traces, answers, databases, the cloud."""

import asyncio
import json
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aio_pika
import httpx
import psycopg
import yaml
from psycopg import sql
from sqlalchemy import select

from slipway_api.openapi import document
from slipway_chassis.database import Database
from slipway_chassis.tls import SERVICES
from slipway_chassis.topology import BusNames
from slipway_node_agent.config import BOOTSTRAP_PATH
from slipway_platform.platform import Platform
from slipway_platform.testing import User
from slipway_provisioner.crypto import load_master_key
from slipway_provisioner.store_agents import AgentRow, agent_token
from slipway_provisioner.store_keys import read_cluster_keys
from slipway_sandbox.machines.machine import Machine
from slipway_sandbox.machines.runner import MachineRunner, run_machines
from slipway_sandbox.machines.servers import NovaServers
from tests.system.secrecy import Secret, a_binary, a_private_key, a_text, private_keys_in


@dataclass
class Overheard:
    """What was said, by place; and what nobody may say."""

    places: dict[str, bytes] = field(default_factory=dict, repr=False)
    secrets: dict[str, Secret] = field(default_factory=dict, repr=False)
    """By themselves: one that lies at several places is one secret."""
    cluster_id: str = ""

    def hear(self, place: str, said: str | bytes) -> None:
        """Said once more at this place."""
        spoken = said.encode() if isinstance(said, str) else said
        self.places[place] = self.places.get(place, b"") + spoken + b"\n"

    def keep(self, secret: Secret) -> None:
        """Nobody may say this."""
        self.secrets[secret.text] = secret


class Tap:
    """A queue of our own that gets every event."""

    def __init__(self, platform: Platform) -> None:
        self._url, self._events = platform.amqp_url, BusNames(platform.namespace).events
        self._name = f"{platform.namespace}.tap"
        asyncio.run(self._with_channel(self._bind))

    def drain(self) -> list[bytes]:
        """All that was published since, with its headers; and the queue is gone."""
        heard: list[bytes] = asyncio.run(self._with_channel(self._drain))
        return heard

    async def _with_channel(self, do: Callable[[Any], Any]) -> Any:
        async with await aio_pika.connect(self._url) as connection:
            return await do(await connection.channel())

    async def _bind(self, channel: Any) -> None:
        queue = await channel.declare_queue(self._name, arguments={"x-expires": 600_000})
        await queue.bind(self._events, "#")

    async def _drain(self, channel: Any) -> list[bytes]:
        queue, heard = await channel.get_queue(self._name), []
        while (message := await queue.get(no_ack=True, fail=False)) is not None:
            heard.append(message.body + f"\n{message.routing_key} {message.properties} {message.headers}".encode())
        await queue.delete(if_empty=False)
        return heard


@contextmanager
def machines_at_hand(cloud: str) -> Iterator[MachineRunner]:
    """Machines for the cloud's servers, within this process: their disks can be read here."""
    started: list[MachineRunner] = []
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run() -> None:
        servers = NovaServers(cloud)
        try:
            async with run_machines(servers) as runner:
                started.append(runner)
                ready.set()
                await stop.wait()
        finally:
            ready.set()
            servers.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    try:
        ready.wait(30)
        assert started, "the machine runner did not start"
        yield started[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def keep_the_clusters_keys(heard: Overheard, platform: Platform) -> None:
    """From the provisioner's own database, with its own functions: keys and agents' tokens."""
    master_file = platform.layout.pki / "master.key"
    heard.keep(a_binary("master key", "master.key", master_file.read_text().strip()))
    assert platform.database_url is not None
    url = platform.database_url("provisioner")

    async def read() -> None:
        master, database = load_master_key(master_file), Database(url)
        async with database.reading() as session:
            keys = await read_cluster_keys(session, master, heard.cluster_id)
            agents = (await session.execute(select(AgentRow))).scalars().all()
        await database.close()
        assert keys is not None
        for name, authority in keys.authorities.items():
            heard.keep(a_private_key("CA's key", name, authority.key_pem))
        heard.keep(a_private_key("service accounts' key", "sa.key", keys.service_accounts.private_pem))
        heard.keep(a_binary("Secrets' encryption key", "encryption.json", keys.encryption_key))
        for agent in agents:
            heard.keep(a_text("agent's token", agent.node_id, agent_token(master, agent.node_id, agent.incarnation)))

    asyncio.run(read())


def keep_the_machines_keys(heard: Overheard, machine: Machine) -> None:
    """The keys that an agent made, wherever they lie; and what the console shows is heard."""
    disk = machine.host.disk
    for path in disk.folder("/"):
        for pem in private_keys_in(disk.text(path) or ""):
            if pem not in heard.secrets:
                heard.keep(a_private_key("node's key", f"{machine.name}:{path}", pem))
    heard.hear("machines' consoles", "\n".join(machine.host.console))


def keep_the_services_keys(heard: Overheard, platform: Platform) -> None:
    """The keys of the services' own TLS, and of the CAs that the operator has."""
    for path in platform.layout.pki.glob("*.key"):
        if path.name != "master.key":
            heard.keep(a_private_key("service's key", path.name, path.read_text()))


def hear_answers(heard: Overheard, user: User) -> None:
    """Every document that the API gives about everything."""
    cluster = f"/v1/clusters/{heard.cluster_id}"
    names = {
        "{cluster}": [heard.cluster_id],
        "{pool}": [each["name"] for each in user.get(f"{cluster}/pools")["items"]],
        "{node}": [each["id"] for each in user.nodes(heard.cluster_id)],
        "{operation}": [each["id"] for each in user.get("/v1/operations")["items"]],
    }
    for path, methods in json.loads(document())["paths"].items():
        if "get" not in methods:
            continue
        paths = [path]
        for placeholder, values in names.items():
            paths = (
                [each.replace(placeholder, value) for each in paths for value in values]
                if placeholder in path
                else paths
            )
        for each in paths:
            answer = user.http.get(each)
            heard.hear("API's answers", f"{each} {answer.headers}\n{answer.raise_for_status().text}")


def hear_the_services(heard: Overheard, platform: Platform) -> None:
    """Logs of all processes, and what the services' metrics say."""
    for path in platform.layout.logs.glob("*.log"):
        heard.hear(f"log of {path.stem}", path.read_bytes())
    for service in SERVICES:
        heard.hear("metrics", httpx.get(f"{platform.address(service)}/metrics", timeout=10).text)


def hear_databases(heard: Overheard, admin_url: str, databases: dict[str, str]) -> None:
    """Each row of each table of each service, as PostgreSQL prints it."""
    for service, name in databases.items():
        with psycopg.connect(admin_url, dbname=name) as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            for (table,) in tables:
                rows = connection.execute(sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(table))).fetchall()
                heard.hear(f"database of {service}", f"{table}\n" + "\n".join(row[0] for row in rows))


def hear_the_cloud(heard: Overheard, platform: Platform, user: User) -> None:
    """What the project's members read of its resources; user data without the one token that belongs there."""
    tokens = {each.name: each.text for each in heard.secrets.values() if each.kind == "agent's token"}
    servers = httpx.get(f"{platform.cloud_control}/servers", timeout=10).raise_for_status().json()["servers"]
    for server in servers:
        files = {each["path"]: each["content"] for each in yaml.safe_load(server["user_data"])["write_files"]}
        bootstrap = json.loads(files[BOOTSTRAP_PATH])
        assert bootstrap["token"] == tokens[server["metadata"]["slipway_node"]], "the token is this node's own"
        heard.hear("servers' user data", server["user_data"].replace(bootstrap["token"], "its own token"))
    compute, network, balancers = user.cloud.compute, user.cloud.network, user.cloud.load_balancer
    for resources in (
        compute.servers(), compute.server_groups(), network.ports(), network.security_groups(),
        balancers.load_balancers(), balancers.listeners(), balancers.pools(), balancers.health_monitors(),
    ):  # fmt: skip
        heard.hear("cloud's resources", json.dumps([each.to_dict() for each in resources], default=str))


def a_password() -> str:
    """One that is nowhere by chance."""
    return secrets.token_urlsafe(24)


def say(heard: Overheard, user: User, *arguments: str) -> None:
    """Run the command and hear what it says on both its channels."""
    command = user.begin(*arguments)
    output, said = command.communicate(timeout=150)
    assert command.returncode == 0, said
    heard.hear("what the command says", output + said)


def keep_the_kubeconfigs_key(heard: Overheard, path: Path) -> None:
    """The key that the user's command made."""
    (pem,) = private_keys_in(path.read_text())
    heard.keep(a_private_key("kubeconfig's key", path.name, pem))
