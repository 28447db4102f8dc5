"""A user of the cloud who makes, scales and deletes a cluster, with her own token, as the REST API would pass it on."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from slipway_api.changes import Answer, RequestContext
from slipway_api.domain.people import Caller
from slipway_api.domain.problems import Problem
from slipway_api.domain.requests import ClusterRequest, PoolChange, PoolRequest
from slipway_api.gateway import Gateway
from slipway_api.listings import PageRequest, list_clusters
from slipway_contracts.values import Role
from slipway_sandbox.cloud.testing import Tenant
from slipway_simulation.journal import Journal
from slipway_simulation.processes import Running, ServiceProcess, Unreachable

NAME = "blue"
Change = Callable[[Gateway, Caller, RequestContext], Awaitable[Answer]]


class NotAccepted(Exception):
    """The request was not accepted, for now or for good: ask again with the same key."""


@dataclass
class User:
    """One user; her requests have Idempotency-Keys, so that she may repeat them."""

    api: ServiceProcess
    tenant: Tenant
    journal: Journal
    asked: int = 0

    async def create(self, counts: dict[Role, int]) -> None:
        """A cluster with pools of these sizes. Raises NotAccepted."""
        pools = tuple(PoolRequest(name=role.value, role=role, count=count) for role, count in counts.items())
        request = ClusterRequest(name=NAME, pools=pools)
        await self._ask("create", lambda gateway, caller, context: gateway.clusters.create(caller, context, request))

    async def scale(self, count: int, cluster: str = NAME) -> None:
        """That many workers. Raises NotAccepted."""
        request = PoolChange(count=count)
        await self._ask(
            f"scale to {count}",
            lambda gateway, caller, context: gateway.pools.change(caller, context, cluster, "worker", request),
        )

    async def delete(self, cluster: str = NAME) -> None:
        """The cluster is to go. Raises NotAccepted."""
        await self._ask("delete", lambda gateway, caller, context: gateway.clusters.delete(caller, context, cluster))

    async def require_kept_out(self, cluster_id: str) -> None:
        """I11: of a cluster of another project she sees and changes nothing, though she knows its id.

        Raises NotAccepted when nobody answers.
        """
        self.tenant.log_in()

        async def listed(running: Running) -> list[Any]:
            gateway: Gateway = running.interfaces["gateway"]
            caller = await gateway.gatekeeper.caller(self.tenant.token, None)
            async with gateway.service.database.reading() as session:
                return [*await list_clusters(session, caller, PageRequest(100), name=None, states=(), region=None)]

        try:
            seen = await self.api.call(listed)
        except Unreachable as down:
            raise NotAccepted(str(down)) from down
        if seen:
            self.journal.violated(f"I11: a stranger sees {seen}")
        for attempt in (partial(self.scale, 0), self.delete):
            try:
                await attempt(cluster_id)
            except NotAccepted as refusal:
                if isinstance(refusal.__cause__, Unreachable):
                    raise
                if not (isinstance(refusal.__cause__, Problem) and refusal.__cause__.code == "not_found"):
                    self.journal.violated(f"I11: a stranger learns: {refusal}")
            else:
                self.journal.violated("I11: a stranger may change somebody else's cluster")

    async def _ask(self, what: str, change: Change) -> None:
        async def answer(running: Running) -> Any:
            gateway: Gateway = running.interfaces["gateway"]
            caller = await gateway.gatekeeper.caller(self.tenant.token, None)
            context = RequestContext(request_id="request", action=what, idempotency_key=what, request_hash=what)
            return await change(gateway, caller, context)

        self.asked += 1
        try:
            answered = await self.api.call(answer)
        except Unreachable as down:
            raise NotAccepted(str(down)) from down
        except Problem as problem:
            if problem.status == 401:
                self.tenant.log_in()
            raise NotAccepted(str(problem)) from problem
        self.journal.say(f"User asks to {what}", status=answered.status)
