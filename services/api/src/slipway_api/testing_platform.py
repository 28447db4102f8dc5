"""A whole api with stand-ins around it, and the other services as far as it hears of them."""

import random
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import create_engine
from starlette.types import ASGIApp

from slipway_api.app import Parts, build_service
from slipway_api.gateway import Gateway
from slipway_api.rest.web import build_web
from slipway_api.settings import Settings
from slipway_api.store import metadata
from slipway_api.testing import REGION, FakeCloud, FakeIdentity, FakeSigner, FixedReleases, a_region
from slipway_chassis.clock import Clock, SteppingClock
from slipway_chassis.database import Database
from slipway_chassis.inbox import Receipt
from slipway_chassis.regions import Region, Regions
from slipway_chassis.service import Service
from slipway_chassis.tables import CHASSIS
from slipway_contracts.envelope import Body, Event, sequence_text, source_of


class Elsewhere:
    """The other services, as far as the api hears of them: says facts as their owners would."""

    def __init__(self, service: Service, region: str = REGION) -> None:
        self._service = service
        self._region = region
        self._sequence = 0

    async def says(self, owner: str, event_class: type[Event[Any]], subject: str, body: Body) -> Receipt:
        """The api receives this fact, newer than all before."""
        self._sequence += 1
        event = event_class(
            id=f"event-{self._sequence}",
            type=event_class.TYPE,
            source=source_of(owner, self._region),
            subject=subject,
            time=self._service.clock.now(),
            region=self._region,
            sequence=sequence_text(self._sequence),
            data=body,
        )
        return await self._service.receive(event.to_json())


@dataclass
class Platform:
    """An api with fakes around it."""

    service: Service
    gateway: Gateway
    web: ASGIApp
    clock: Clock
    identity: FakeIdentity
    cloud: FakeCloud
    signer: FakeSigner
    elsewhere: Elsewhere

    def client(self, token: str | None = None, **headers: str) -> httpx.AsyncClient:
        """A client that calls the application without a socket."""
        if token is not None:
            headers["X-Auth-Token"] = token
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.web), base_url="http://api.example", headers=headers
        )

    async def settle(self) -> None:
        """Let the api do all that is due now."""
        while await self.service.work_once():
            pass


@asynccontextmanager
async def a_platform(
    folder: Path, *, clock: Clock | None = None, regions: Sequence[Region] | None = None, name: str = "api"
) -> AsyncIterator[Platform]:
    """An api on an SQLite file in this folder; two with the same name are two replicas."""
    path = folder / f"{name}.db"
    if not path.exists():
        path.write_bytes(_empty_database())
    database = Database(f"sqlite+aiosqlite:///{path}")
    try:
        yield platform_on(database, clock=clock, regions=regions)
    finally:
        await database.close()


@cache
def _empty_database() -> bytes:
    """A file with all tables: making them for each test would take longer than most tests."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        engine = create_engine(f"sqlite:///{path}")
        for each in (CHASSIS, metadata):
            each.create_all(engine)
        engine.dispose()
        return path.read_bytes()


def platform_on(database: Database, *, clock: Clock | None = None, regions: Sequence[Region] | None = None) -> Platform:
    """An api on this database, which has its tables."""
    ticking = clock or SteppingClock()
    known = Regions(regions=tuple(regions or (a_region(),)))
    identity, cloud, signer = FakeIdentity(ticking, known.regions), FakeCloud(), FakeSigner()
    parts = Parts(
        clock=ticking,
        database=database,
        random=random.Random(1),
        regions=known,
        identity=identity,
        catalogue=cloud,
        signer=signer,
        releases=FixedReleases(),
        auth_urls={region.name: region.auth_url or "" for region in known.regions},
    )
    service, gateway = build_service(Settings(events_poll=0.02, events_heartbeat=0.05), parts)
    return Platform(service, gateway, build_web(gateway), ticking, identity, cloud, signer, Elsewhere(service))
