"""Connections to the cloud by openstacksdk: one for each project, over one pool, with bounded calls in flight.

The service user's token is scoped to the project that the call is for. The SDK finds the endpoints and keeps the
token; bodies are raw JSON, for its resource objects cost a hundred times the processor time.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import requests
from keystoneauth1 import exceptions, loading
from keystoneauth1 import session as keystone
from openstack.config import OpenStackConfig
from openstack.config.cloud_region import CloudRegion
from openstack.connection import Connection
from openstack.exceptions import ConfigException, SDKException

from slipway_chassis.calls import ProviderCalls
from slipway_chassis.errors import GiveUp
from slipway_contracts.values import Mover
from slipway_provisioner.adapters.failures import failure_from, failure_of
from slipway_provisioner.ports import Run

T = TypeVar("T")

MICROVERSION = "2.90"
"""Nova's: user-given host names, tags, server groups with one policy."""

POOL = 64
"""Connections kept open; the SDK's default of 10 closes and opens one for most calls."""

_SCOPES = (
    "project_id",
    "project_name",
    "project_domain_name",
    "project_domain_id",
    "domain_id",
    "domain_name",
    "system_scope",
)


@dataclass(frozen=True)
class Answer:
    """A status and the body, if it is a JSON object."""

    status: int
    body: dict[str, Any]


Connect = Callable[[str], Connection]
"""A connection whose token is scoped to this project."""


class Sessions:
    """Calls in one region."""

    def __init__(
        self, connect: Connect, run: Run[Any], calls_in_flight: int, calls: ProviderCalls | None = None
    ) -> None:
        self._connect = connect
        self._run = run
        self._calls = calls or ProviderCalls()
        self._places = asyncio.Semaphore(calls_in_flight)
        self._known: dict[str, Connection] = {}
        self._lock = threading.Lock()

    async def call(
        self,
        project_id: str,
        service: str,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        expected: tuple[int, ...] = (),
    ) -> Answer:
        """One request. Statuses of success and the `expected` ones are returned; all else is raised (see ports)."""
        async with self._places:
            with self._calls.made("openstack", f"{method} {service}"):
                answer: Answer = await self._run(
                    partial(self._call, project_id, service, method, path, params or {}, body, expected)
                )
        return answer

    def _call(
        self,
        project_id: str,
        service: str,
        method: str,
        path: str,
        params: Mapping[str, str],
        body: Mapping[str, Any] | None,
        expected: tuple[int, ...],
    ) -> Answer:
        more: dict[str, Any] = {"microversion": MICROVERSION} if service == "compute" else {}
        if body is not None:
            more["json"] = body
        try:
            proxy = getattr(self._connection(project_id), service)
            # no retries below: the SDK takes an answer that did not come in time for a request that was not sent
            response = proxy.request(path, method, params=dict(params), raise_exc=False, connect_retries=0, **more)
        except ConfigException as error:
            raise GiveUp("CloudMisconfigured", f"clouds.yaml: {error}", whose_move=Mover.OPERATOR) from error
        except (exceptions.ClientException, SDKException, requests.exceptions.RequestException, OSError) as error:
            raise failure_from(service, error) from error
        if response.status_code >= 400 and response.status_code not in expected:
            raise failure_of(service, method, response.status_code, response.text, response.headers)
        return Answer(response.status_code, _object(response))

    def _connection(self, project_id: str) -> Connection:
        with self._lock:
            if project_id not in self._known:
                self._known[project_id] = self._connect(project_id)
            return self._known[project_id]


def connect_as(
    cloud: str, timeout: timedelta, http: requests.Session | None = None, clouds_file: Path | None = None
) -> Connect:
    """Connections of the clouds.yaml entry's user, scoped to whatever project is asked for.

    `http` is the pool that all of them share; a simulation mounts its in-process cloud there. `clouds_file` instead of
    the usual places of clouds.yaml.
    """
    pool = http if http is not None else _pooled()

    class PooledSession(keystone.Session):
        """The SDK makes a session for each connection; all of them share one pool."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "session": pool})

    files = [str(clouds_file)] if clouds_file is not None else None
    # the environment's OS_CLIENT_CONFIG_FILE would win over a file that is named here
    config = OpenStackConfig(session_constructor=PooledSession, config_files=files, load_envvars=clouds_file is None)

    def connect(project_id: str) -> Connection:
        region = config.get_one(cloud=cloud, api_timeout=timeout.total_seconds())
        if region.config.get("auth_type") == "v3applicationcredential":
            raise ConfigException(f"{cloud} is an application credential, which is bound to one project")
        auth = {name: value for name, value in region.config["auth"].items() if name not in _SCOPES}
        loader: Any = loading.get_plugin_loader(region.config["auth_type"])
        plugin = loader.load_from_options(**auth, project_id=project_id)
        scoped = CloudRegion(
            name=cloud,
            region_name=region.region_name,
            config=region.config,
            auth_plugin=plugin,
            session_constructor=PooledSession,
        )
        return Connection(config=scoped)

    return connect


def in_threads(executor: Executor) -> Run[Any]:
    """Runs blocking calls in the executor's threads."""

    async def run(call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, call)

    return run


async def inline(call: Callable[[], T]) -> T:
    """Runs a blocking call right here: for simulations, whose cloud is in the same process."""
    return call()


def _pooled() -> requests.Session:
    http = requests.Session()
    for scheme in ("http://", "https://"):
        http.mount(scheme, keystone.TCPKeepAliveAdapter(pool_connections=POOL, pool_maxsize=POOL))
    return http


def _object(response: requests.Response) -> dict[str, Any]:
    if not response.content:
        return {}
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
