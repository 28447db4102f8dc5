"""The emulated cloud: requests in, answers out, no socket, no thread, no sleeping."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from datetime import datetime
from ipaddress import IPv4Network
from random import Random
from threading import RLock

from slipway_sandbox.cloud import cinder, glance, keystone, neutron, nova, octavia, swift
from slipway_sandbox.cloud.control import CONTROL_ROUTES
from slipway_sandbox.cloud.faults import Fault, Faults, afflict
from slipway_sandbox.cloud.levers import Levers
from slipway_sandbox.cloud.messages import Refused, Request, Response, answer
from slipway_sandbox.cloud.model import CloudTimes
from slipway_sandbox.cloud.nova.catalogue import NEWEST
from slipway_sandbox.cloud.ranges import FIRST
from slipway_sandbox.cloud.seed import furnish
from slipway_sandbox.cloud.service import ANONYMOUS, Call, RouteTable, caller_of
from slipway_sandbox.cloud.state import State
from slipway_sandbox.cloud.wording import no_route, unauthorized, word

LOG = logging.getLogger(__name__)
MICROVERSION = re.compile(r"^2\.(\d+)$")


class Cloud(Levers):
    """One emulated cloud.

    `now` is the only source of time: what takes time is worked out when somebody looks. `seed` decides
    every id, so two clouds with the same seed, addresses and requests answer the same. Safe to call from
    several threads; calls are worked on one after the other.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        *,
        seed: int = 0,
        times: CloudTimes | None = None,
        addresses: IPv4Network = FIRST,
    ) -> None:
        super().__init__(State(clock=now, chance=Random(seed), times=times or CloudTimes()), Faults(), RLock())
        self._side_chance = Random(seed + 1)
        self._tables = {
            "identity": RouteTable(keystone.ROUTES),
            "image": RouteTable(glance.ROUTES),
            "compute": RouteTable(nova.ROUTES),
            "network": RouteTable(neutron.ROUTES),
            "block-storage": RouteTable(cinder.ROUTES),
            "load-balancer": RouteTable(octavia.ROUTES),
            "object-store": RouteTable(swift.ROUTES),
        }
        furnish(self.state, addresses)

    def handle(self, request: Request) -> Response:
        """Answer one request; never raises."""
        with self.lock:
            self.state.agenda.run_due(self.state.now())
            service, _, rest = request.path.lstrip("/").partition("/")
            if service == "_control":
                return self._handle_control(request, rest)
            if service not in self._tables:
                return word("identity", Refused(404, f"No service at /{service}."))
            fault = self.faults.pick(service, request)
            if fault is None:
                response = self._serve(service, rest, request)
            else:
                response = self._afflicted(fault, service, rest, request)
            request_id = f"req-{self._request_id()}"
            response.headers.setdefault("x-openstack-request-id", request_id)
            return response

    def _request_id(self) -> str:
        return f"{self._side_chance.getrandbits(128):032x}"

    def _afflicted(self, fault: Fault, service: str, rest: str, request: Request) -> Response:
        return afflict(fault, service, self._request_id, lambda: self._serve(service, rest, request))

    def _serve(self, service: str, rest: str, request: Request) -> Response:
        origin = f"http://{request.headers.get('host', 'sandbox')}"
        caller = caller_of(self.state, request.headers.get("x-auth-token"))
        found = self._tables[service].find(request.method, rest)
        if caller is None and not (found and found[0].public):
            return unauthorized(service, origin)
        if found is None:
            return no_route(service)
        route, params = found
        try:
            version = _microversion(request) if service == "compute" else (2, 1)
            call = Call(
                state=self.state,
                request=request,
                caller=caller or ANONYMOUS,
                params=params,
                origin=origin,
                base=f"{origin}/{service}",
                microversion=version,
            )
            response = route.handler(call)
        except Refused as refusal:
            response, version = word(service, refusal), (2, 1)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            # A body of an unexpected shape: the services check by schema and answer 400.
            LOG.info("Malformed request method=%s path=%s error=%r", request.method, request.path, error)
            response, version = word(service, Refused(400, "Malformed request body.", "HTTPBadRequest")), (2, 1)
        if service == "compute":
            _say_version(response, version)
        return response

    def _handle_control(self, request: Request, rest: str) -> Response:
        found = CONTROL_ROUTES.find(request.method, rest)
        if found is None:
            return answer(404, {"error": f"no control operation {request.method} {request.path}"})
        handler, params = found
        try:
            return handler(self, request, params)
        except (KeyError, ValueError, TypeError, Refused) as error:
            status = 404 if isinstance(error, KeyError) else 400
            return answer(status, {"error": str(error).strip("'\"")})


def _microversion(request: Request) -> tuple[int, int]:
    text = ""
    for part in request.headers.get("openstack-api-version", "").split(","):
        service, _, number = part.strip().partition(" ")
        if service == "compute":
            text = number
    text = text or request.headers.get("x-openstack-nova-api-version", "")
    if not text:
        return (2, 1)
    if text == "latest":
        return NEWEST
    match = MICROVERSION.match(text)
    if match is None:
        message = f"API Version String {text} is of invalid format. Must be of format MajorNum.MinorNum."
        raise Refused(400, message)
    minor = int(match[1])
    if not 1 <= minor <= NEWEST[1]:
        message = f"Version {text} is not supported by the API. Minimum is 2.1 and maximum is 2.{NEWEST[1]}."
        raise Refused(406, message)
    return (2, minor)


def _say_version(response: Response, version: tuple[int, int]) -> None:
    number = f"{version[0]}.{version[1]}"
    response.headers["OpenStack-API-Version"] = f"compute {number}"
    response.headers["X-OpenStack-Nova-API-Version"] = number
    response.headers["Vary"] = "OpenStack-API-Version, X-OpenStack-Nova-API-Version"
