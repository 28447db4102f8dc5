"""A cloud in the same process behind `requests`: for simulations that want neither sockets nor waiting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from io import BytesIO
from urllib.parse import urlsplit

import requests
from keystoneauth1.identity import v3
from keystoneauth1.session import Session
from openstack.connection import Connection
from requests.adapters import BaseAdapter
from urllib3 import HTTPResponse

from slipway_sandbox.cloud.cloud import Cloud
from slipway_sandbox.cloud.login import clouds_config
from slipway_sandbox.cloud.messages import Breakage, Request, Response

ORIGIN = "http://sandbox.invalid"


def _wait_not(_delay: timedelta) -> None:
    """Delays pass at once unless the caller has a clock to step."""


class CloudTransport(BaseAdapter):
    """Answers every request to its origin from a `Cloud`.

    Mount it in the `requests.Session` that a keystoneauth session uses: `session.mount(ORIGIN, transport)`.
    `on_delay` is told of injected delays (a simulation steps its clock there). Raises `requests`' ReadTimeout
    and ConnectionError as faults ask for; with "timeout-after" the work has then been done.
    """

    def __init__(self, cloud: Cloud, on_delay: Callable[[timedelta], None] = _wait_not) -> None:
        super().__init__()
        self.cloud = cloud
        self._on_delay = on_delay

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: float | tuple[float, float] | tuple[float, None] | None = None,
        verify: bool | str = True,
        cert: bytes | str | tuple[bytes | str, bytes | str] | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Work on one request."""
        del stream, verify, cert, proxies
        body = request.body or b""
        asked = Request.of(
            request.method or "GET",
            request.url or "",
            headers={**dict(request.headers), "host": urlsplit(request.url or "").netloc},
            body=body.encode() if isinstance(body, str) else bytes(body),
        )
        answered = self.cloud.handle(asked)
        patience = timeout[1] if isinstance(timeout, tuple) else timeout
        self._suffer(answered, request, patience)
        return self._build(request, answered)

    def _suffer(self, answered: Response, request: requests.PreparedRequest, patience: float | None) -> None:
        if answered.breakage is Breakage.REFUSED:
            raise requests.exceptions.ConnectionError("Connection refused (by the sandbox)", request=request)
        if answered.breakage is Breakage.TIMEOUT:
            raise requests.exceptions.ReadTimeout("Read timed out (by the sandbox)", request=request)
        if answered.breakage is Breakage.CUT:
            raise requests.exceptions.ChunkedEncodingError("Connection broken (by the sandbox)", request=request)
        if answered.delay:
            waited = min(answered.delay, patience or answered.delay)
            self._on_delay(timedelta(seconds=waited))
            if patience is not None and answered.delay > patience:
                raise requests.exceptions.ReadTimeout("Read timed out (by the sandbox)", request=request)

    def _build(self, request: requests.PreparedRequest, answered: Response) -> requests.Response:
        response = requests.Response()
        response.status_code = answered.status
        response.headers.update(answered.headers)
        response.headers.setdefault("Content-Length", str(len(answered.body)))
        response.url = request.url or ""
        response.request = request
        response.encoding = "utf-8"
        response.raw = HTTPResponse(
            body=BytesIO(answered.body),
            status=answered.status,
            headers=answered.headers,
            preload_content=False,
        )
        return response

    def close(self) -> None:
        """Nothing is open."""


def connect(
    cloud: Cloud,
    login: str = "sandbox",
    project: str | None = None,
    on_delay: Callable[[timedelta], None] = _wait_not,
    timeout: float = 30.0,
) -> Connection:
    """openstacksdk's connection to a cloud in the same process.

    `login` is an entry of the sandbox's clouds.yaml; `project` scopes it elsewhere (the service user's way).
    """
    entry = clouds_config(ORIGIN)["clouds"][login]["auth"]
    http = requests.Session()
    http.mount(ORIGIN, CloudTransport(cloud, on_delay))
    auth = v3.Password(**{**entry, "project_name": project or entry["project_name"]})
    session = Session(auth=auth, session=http, timeout=timeout)
    return Connection(session=session, region_name="RegionOne", compute_default_microversion="2.90")
