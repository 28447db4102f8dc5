"""The region's servers by openstacksdk: authentication, catalogue and requests; raw JSON, parsed narrowly.

With an observer whose role may list all projects (`observer_cloud` in regions.yaml) one paged list covers the region;
without it the service user lists each project that has clusters.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

import requests
from keystoneauth1 import exceptions as failures
from keystoneauth1.adapter import Adapter
from keystoneauth1.loading import get_plugin_loader
from keystoneauth1.session import Session, TCPKeepAliveAdapter
from openstack.config import OpenStackConfig
from openstack.exceptions import ConfigException
from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from slipway_chassis.calls import ProviderCalls
from slipway_chassis.errors import RetryLater
from slipway_chassis.regions import Region
from slipway_contracts.values import Mover, Reason
from slipway_monitor.domain.model import ServerView
from slipway_monitor.ports import ServerPage

T = TypeVar("T")

MICROVERSION = "2.90"
PAGE = 1000
MOST_PAGES = 100
SOON = timedelta(seconds=10)
POOL = 64

_SCOPES = (
    "project_name",
    "project_id",
    "project_domain_name",
    "project_domain_id",
    "domain_id",
    "domain_name",
    "system_scope",
)

Run = Callable[[Callable[[], T]], Awaitable[T]]
"""Runs a blocking call: in a thread, or inline in a simulation."""


class Compute(Protocol):
    """What is used of Nova: one GET, with keystoneauth's own errors where nothing answers."""

    def get(self, url: str, *, microversion: str, params: dict[str, str], raise_exc: bool) -> Any:
        """As keystoneauth1.adapter.Adapter.get."""
        ...


Connect = Callable[[str | None], Compute]
"""Nova as seen with a token for this project, or as the region's observer (None)."""


class _Fault(BaseModel):
    message: str = ""


class _Server(BaseModel):
    id: str
    status: str
    tenant_id: str
    updated: AwareDatetime | None = None
    task_state: str | None = Field(default=None, alias="OS-EXT-STS:task_state")
    metadata: dict[str, str] = {}
    fault: _Fault | None = None


class _List(BaseModel):
    servers: list[_Server]
    servers_links: list[dict[str, str]] = []


class _One(BaseModel):
    server: _Server


class OpenStackServers:
    """ServerList."""

    def __init__(
        self, connect: Connect, run: Run[Any], *, everywhere: bool, calls: ProviderCalls | None = None
    ) -> None:
        self._connect = connect
        self._in_thread = run
        self._calls = calls or ProviderCalls()
        self._everywhere = everywhere
        self._known: dict[str | None, Compute] = {}

    async def list(self, projects: Sequence[str], changed_since: datetime | None) -> ServerPage:
        """See the port."""
        if self._everywhere:
            servers = await self._run(lambda: self._all_of(None, changed_since))
            return ServerPage(servers, {})
        answers = await asyncio.gather(*(self._project(project, changed_since) for project in projects))
        found = [server for answer in answers if not isinstance(answer, Reason) for server in answer]
        unreached = {
            project: answer for project, answer in zip(projects, answers, strict=True) if isinstance(answer, Reason)
        }
        return ServerPage(found, unreached)

    async def get(self, project_id: str, server_id: str) -> ServerView | None:
        """See the port."""
        scope = None if self._everywhere else project_id
        answer: ServerView | None = await self._run(lambda: self._one(scope, server_id))
        return answer

    async def _run(self, call: Callable[[], Any]) -> Any:
        with self._calls.made("openstack", "GET compute"):
            return await self._in_thread(call)

    async def _project(self, project: str, changed_since: datetime | None) -> Sequence[ServerView] | Reason:
        try:
            servers: Sequence[ServerView] = await self._run(lambda: self._all_of(project, changed_since))
        except RetryLater as failure:
            return failure.reason
        return servers

    def _all_of(self, scope: str | None, changed_since: datetime | None) -> Sequence[ServerView]:
        params = {"limit": str(PAGE)}
        if scope is None:
            params["all_tenants"] = "1"
        if changed_since is not None:
            params["changes-since"] = changed_since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        found: list[ServerView] = []
        for _ in range(MOST_PAGES):
            page = self._read(_List, self._get(scope, "/servers/detail", params))
            found.extend(_view(server) for server in page.servers)
            if not page.servers or not any(link.get("rel") == "next" for link in page.servers_links):
                return found
            params = params | {"marker": page.servers[-1].id}
        raise RetryLater(SOON, "CloudListEndless", f"The cloud's list of servers has more than {MOST_PAGES} pages")

    def _one(self, scope: str | None, server_id: str) -> ServerView | None:
        answer = self._get(scope, f"/servers/{server_id}", {})
        return None if answer is None else _view(self._read(_One, answer).server)

    def _get(self, scope: str | None, url: str, params: dict[str, str]) -> Any:
        """The answer; None for 404 (of a list too, which is then no list)."""
        try:
            if scope not in self._known:
                self._known[scope] = self._connect(scope)
            answer = self._known[scope].get(url, microversion=MICROVERSION, params=params, raise_exc=False)
        except (failures.Unauthorized, failures.Forbidden) as error:
            self._known.pop(scope, None)
            raise _failed("CloudUnauthorized", f"The cloud refused the credentials: {error}", Mover.OPERATOR) from error
        except (ConfigException, failures.MissingRequiredOptions, failures.NoMatchingPlugin) as error:
            raise _failed("CloudMisconfigured", f"clouds.yaml: {error}", Mover.OPERATOR) from error
        except (failures.ClientException, OSError) as error:
            raise _failed("CloudUnreachable", f"The cloud's API failed: {error}", Mover.CLOUD) from error
        return _checked(answer)

    def _read(self, model: type[Any], answer: Any) -> Any:
        try:
            return model.model_validate_json(answer.content if answer is not None else b"")
        except ValidationError as error:
            raise _failed("CloudAnswerInvalid", "The cloud's answer is no list of servers", Mover.CLOUD) from error


def connect_as(
    region: Region, timeout: timedelta, *, http: requests.Session | None = None, clouds_file: Path | None = None
) -> Connect:
    """Nova for the region's service user in one project, or for its observer in all.

    `http` is the pool that all share (a simulation mounts its in-process cloud there); `clouds_file` stands in for
    the usual places of clouds.yaml.
    """
    pool = http if http is not None else _pooled()
    # the environment's OS_CLIENT_CONFIG_FILE would win over a file that is named here
    files: dict[str, Any] = {"load_envvars": clouds_file is None}
    if clouds_file is not None:
        files["config_files"] = [str(clouds_file)]

    def connect(project_id: str | None) -> Compute:
        name = region.observer_cloud if project_id is None else region.cloud
        cloud = OpenStackConfig(**files).get_one(cloud=name)
        options = dict(cloud.config["auth"])
        if project_id is not None:
            options = {key: value for key, value in options.items() if key not in _SCOPES} | {"project_id": project_id}
        plugin: Any = get_plugin_loader(cloud.config["auth_type"]).load_from_options(**options)
        verify, cert = cloud.get_requests_verify_args()
        session = Session(auth=plugin, session=pool, verify=verify, cert=cert, timeout=timeout.total_seconds())
        compute: Compute = Adapter(
            session,
            service_type="compute",
            interface=cloud.get_interface("compute"),
            region_name=cloud.get_region_name("compute"),
        )
        return compute

    return connect


def _pooled() -> requests.Session:
    http = requests.Session()
    for scheme in ("http://", "https://"):
        http.mount(scheme, TCPKeepAliveAdapter(pool_connections=POOL, pool_maxsize=POOL))
    return http


def in_threads(executor: Executor) -> Run[Any]:
    """Runs blocking calls in the executor's threads."""

    async def run(call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, call)

    return run


async def inline(call: Callable[[], T]) -> T:
    """Runs a blocking call right here: for simulations, whose cloud is in the same process."""
    return call()


def _view(server: _Server) -> ServerView:
    return ServerView(
        server_id=server.id,
        project_id=server.tenant_id,
        status=server.status,
        task_state=server.task_state,
        updated=server.updated,
        cluster_id=server.metadata.get("slipway_cluster"),
        node_id=server.metadata.get("slipway_node"),
        fault=server.fault.message[:300] if server.fault else None,
    )


def _checked(answer: Any) -> Any:
    status = int(answer.status_code)
    if status == 404:
        return None
    if status in (401, 403):
        message = f"The cloud answered {status}: the user may not list servers; see docs/openstack.md for its roles"
        raise _failed("CloudForbidden", message, Mover.OPERATOR)
    if status != 200:
        raise _failed("CloudUnreachable", f"The cloud's API answered {status}", Mover.CLOUD)
    return answer


def _failed(code: str, message: str, whose_move: Mover) -> RetryLater:
    return RetryLater(SOON, code, message[:500], whose_move=whose_move)
