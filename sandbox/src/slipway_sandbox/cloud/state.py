"""Everything one emulated cloud knows: its records, its clock and its (seeded) chance."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from random import Random

from slipway_sandbox.cloud.agenda import Agenda
from slipway_sandbox.cloud.messages import Json
from slipway_sandbox.cloud.model import (
    Account,
    ApplicationCredential,
    Assignment,
    Balanced,
    CloudTimes,
    Flavor,
    Host,
    Image,
    Project,
    Server,
    ServerGroup,
    Token,
    User,
)

NETWORK_KINDS = ("network", "subnet", "port", "security_group", "security_group_rule", "floatingip", "router")
Clock = Callable[[], datetime]


@dataclass
class BuildTrouble:
    """How many of the next builds fail, and how."""

    no_valid_host: int = 0
    failing: int = 0


@dataclass
class State:
    """The records of one cloud, each in a dict by id, in order of creation."""

    clock: Clock
    chance: Random
    times: CloudTimes = field(default_factory=CloudTimes)
    region: str = "RegionOne"
    agenda: Agenda = field(default_factory=Agenda)
    trouble: BuildTrouble = field(default_factory=BuildTrouble)
    projects: dict[str, Project] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    assignments: list[Assignment] = field(default_factory=list)
    credentials: dict[str, ApplicationCredential] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    flavors: dict[str, Flavor] = field(default_factory=dict)
    images: dict[str, Image] = field(default_factory=dict)
    hosts: dict[str, Host] = field(default_factory=dict)
    servers: dict[str, Server] = field(default_factory=dict)
    groups: dict[str, ServerGroup] = field(default_factory=dict)
    network: dict[str, dict[str, Json]] = field(default_factory=lambda: {kind: {} for kind in NETWORK_KINDS})
    addresses: dict[str, set[str]] = field(default_factory=dict)
    next_address: dict[str, int] = field(default_factory=dict)
    balanced: dict[str, Balanced] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    server_count: int = 0

    def now(self) -> datetime:
        """The cloud's time, aware and in UTC."""
        return self.clock()

    def new_uuid(self) -> str:
        """An id as Nova, Neutron and Octavia write it; the same seed gives the same ids."""
        return str(uuid.UUID(int=self.chance.getrandbits(128), version=4))

    def new_hex(self) -> str:
        """An id as Keystone writes it."""
        return f"{self.chance.getrandbits(128):032x}"

    def project_named(self, name: str) -> Project:
        """The project of that name; KeyError where there is none."""
        for project in self.projects.values():
            if project.name == name:
                return project
        raise KeyError(name)

    def live_servers(self, project_id: str | None = None) -> list[Server]:
        """Servers that exist, of one project or of all, oldest first."""
        return [
            server for server in self.servers.values() if not server.deleted and project_id in (None, server.project_id)
        ]


def iso_z(moment: datetime) -> str:
    """`2026-11-23T06:08:01Z`."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_micro(moment: datetime | None) -> str | None:
    """`2026-11-23T06:08:01.000000`, as Nova writes times that may be absent."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000000") if moment else None
