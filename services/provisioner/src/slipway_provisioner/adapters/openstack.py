"""The Cloud port on OpenStack's APIs: Nova, Neutron and Octavia, by raw requests over openstacksdk's sessions."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from slipway_chassis.errors import GiveUp, RetryLater
from slipway_contracts.values import Mover, Role
from slipway_provisioner.adapters.resources import (
    RESOURCES,
    body_of,
    found_of,
    member_of,
    server_of,
)
from slipway_provisioner.adapters.sessions import Sessions
from slipway_provisioner.domain.model import Found, Kind, Member, MemberView, Order, ServerView
from slipway_provisioner.domain.security_groups import ANYWHERE, GroupRule
from slipway_provisioner.ports import Conflict

PAGE = 500
"""Servers in one page; Nova's own maximum is 1000."""

MOST_PAGES = 200
CONSOLE_LINES = 80

_MARKED = (Kind.PORT, Kind.SECURITY_GROUP, Kind.LOAD_BALANCER, Kind.FLOATING_IP)
"""Kinds that are listed to see what is left, besides servers; server groups have no place for a mark."""

_TAGGED_LATER = (Kind.PORT, Kind.SECURITY_GROUP, Kind.FLOATING_IP)
"""Neutron takes tags only in a call of their own."""

_NAMELESS = (Kind.SERVER_GROUP, Kind.FLOATING_IP)
"""Kinds whose lists cannot be asked for a name: Nova has no filter there, floating IPs have no names."""


class OpenStackCloud:
    """See ports.Cloud."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def create(self, project_id: str, order: Order) -> str:
        """See ports.Cloud."""
        resource = RESOURCES[order.kind]
        answer = await self._sessions.call(
            project_id, resource.service, "POST", resource.path, body=body_of(order), expected=(404,)
        )
        if answer.status == 404 and order.kind is Kind.FLOATING_IP:
            sentence = "No router connects the cluster's network with the region's external network: make one"
            raise GiveUp("NoRouterToOutside", sentence)
        if answer.status == 404:
            raise GiveUp("CloudRefuses", f"What {order.name} is to be made of is not there any more")
        created: str = _inside(answer.body, resource.one)["id"]
        return created

    async def find(self, project_id: str, kind: Kind, name: str, resource_id: str) -> tuple[Found, ...]:
        """See ports.Cloud."""
        resource = RESOURCES[kind]
        if kind is Kind.SERVER:
            listed = [each async for each in self._server_pages(project_id, {"name": name})]
        else:
            params = {} if kind in _NAMELESS else {"name": name}
            answer = await self._sessions.call(project_id, resource.service, "GET", resource.path, params=params)
            listed = _list(answer.body, resource.many)
        found = [read for read in (found_of(kind, each) for each in listed) if read is not None]
        if kind is Kind.FLOATING_IP:
            return tuple(each for each in found if each.resource_id == resource_id)
        return tuple(each for each in found if each.name == name and each.resource_id in (resource_id, None))

    async def get(self, project_id: str, kind: Kind, cloud_id: str) -> Found | None:
        """See ports.Cloud."""
        document = await self._show(project_id, kind, cloud_id)
        return found_of(kind, document) if document is not None else None

    async def delete(self, project_id: str, kind: Kind, cloud_id: str) -> None:
        """See ports.Cloud."""
        resource = RESOURCES[kind]
        params = {"cascade": "true"} if kind is Kind.LOAD_BALANCER else {}
        await self._sessions.call(
            project_id, resource.service, "DELETE", f"{resource.path}/{cloud_id}", params=params, expected=(404,)
        )

    async def list_marked(self, project_id: str, cluster_id: str | None = None) -> tuple[Found, ...]:
        """See ports.Cloud. Lists without filters: what was made but not tagged yet is found by its description."""
        listed = [found_of(Kind.SERVER, each) async for each in self._server_pages(project_id, {})]
        for kind in _MARKED:
            resource = RESOURCES[kind]
            params = {"project_id": project_id}
            answer = await self._sessions.call(project_id, resource.service, "GET", resource.path, params=params)
            listed.extend(found_of(kind, each) for each in _list(answer.body, resource.many))
        marked = [each for each in listed if each is not None and each.cluster_id is not None]
        return tuple(each for each in marked if cluster_id in (None, each.cluster_id))

    async def servers(self, project_id: str, changes_since: datetime | None) -> tuple[ServerView, ...]:
        """See ports.Cloud."""
        params = {}
        if changes_since is not None:
            params["changes-since"] = changes_since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return tuple([_server(each) async for each in self._server_pages(project_id, params)])

    async def server(self, project_id: str, server_id: str) -> ServerView | None:
        """See ports.Cloud."""
        document = await self._show(project_id, Kind.SERVER, server_id)
        return _server(document) if document is not None else None

    async def answers(self, project_id: str) -> None:
        """See ports.Cloud."""
        answer = await self._sessions.call(project_id, "compute", "GET", "/flavors", params={"limit": "1"})
        _list(answer.body, "flavors")

    async def start_server(self, project_id: str, server_id: str) -> None:
        """See ports.Cloud."""
        await self._act(project_id, server_id, {"os-start": None})

    async def reboot_server(self, project_id: str, server_id: str) -> None:
        """See ports.Cloud."""
        await self._act(project_id, server_id, {"reboot": {"type": "HARD"}})

    async def console(self, project_id: str, server_id: str) -> str | None:
        """See ports.Cloud."""
        path = f"/servers/{server_id}/action"
        body = {"os-getConsoleOutput": {"length": CONSOLE_LINES}}
        answer = await self._sessions.call(
            project_id, "compute", "POST", path, body=body, expected=(400, 403, 404, 409, 501)
        )
        output = answer.body.get("output")
        return output if isinstance(output, str) and output else None

    async def ensure_rules(
        self, project_id: str, group_id: str, rules: Sequence[GroupRule], groups: dict[Role, str]
    ) -> None:
        """See ports.Cloud."""
        params = {"security_group_id": group_id, "direction": "ingress"}
        answer = await self._sessions.call(project_id, "network", "GET", "/security-group-rules", params=params)
        known = {_rule_key(each) for each in _list(answer.body, "security_group_rules")}
        for rule in rules:
            wanted = _rule(group_id, rule, groups)
            if _rule_key(wanted) in known:
                continue
            try:
                await self._sessions.call(
                    project_id, "network", "POST", "/security-group-rules", body={"security_group_rule": wanted}
                )
            except Conflict:
                continue  # somebody else, an earlier self among them, has just made it

    async def ensure_tags(self, project_id: str, kind: Kind, cloud_id: str, tags: Sequence[str]) -> None:
        """See ports.Cloud."""
        if kind in _TAGGED_LATER:
            path = f"{RESOURCES[kind].path}/{cloud_id}/tags"
            await self._sessions.call(project_id, "network", "PUT", path, body={"tags": list(tags)}, expected=(404,))

    async def set_members(self, project_id: str, pool_id: str, members: Sequence[Member]) -> None:
        """See ports.Cloud."""
        body = {
            "members": [
                {
                    "name": member.node_id,
                    "address": member.address,
                    "protocol_port": member.port,
                    "weight": member.weight,
                }
                for member in members
            ]
        }
        path = _members(pool_id)
        answer = await self._sessions.call(project_id, "load_balancer", "PUT", path, body=body, expected=(404,))
        if answer.status == 404:
            raise Conflict(timedelta(seconds=1), "CloudConflict", "The load balancer's pool is not there any more")

    async def members(self, project_id: str, pool_id: str) -> tuple[MemberView, ...] | None:
        """See ports.Cloud."""
        answer = await self._sessions.call(project_id, "load_balancer", "GET", _members(pool_id), expected=(404,))
        if answer.status == 404:
            return None
        try:
            return tuple(member_of(each) for each in _list(answer.body, "members"))
        except ValidationError as error:
            raise _unreadable("a member without an address, a port or a weight") from error

    async def network_id(self, project_id: str, name: str) -> str:
        """See ports.Cloud."""
        answer = await self._sessions.call(project_id, "network", "GET", "/networks")
        named = [each["id"] for each in _list(answer.body, "networks") if name in (each["id"], each.get("name"))]
        if len(named) != 1:
            many = "no network" if not named else f"{len(named)} networks"
            raise GiveUp("UnknownNetwork", f"The project sees {many} named {name}", whose_move=Mover.OPERATOR)
        return str(named[0])

    async def lead_to(self, project_id: str, floating_ip_id: str, port_id: str) -> None:
        """See ports.Cloud."""
        path, body = f"/floatingips/{floating_ip_id}", {"floatingip": {"port_id": port_id}}
        await self._sessions.call(project_id, "network", "PUT", path, body=body)

    async def _act(self, project_id: str, server_id: str, body: dict[str, Any]) -> None:
        # 409: it is in that state already, or on its way there
        path = f"/servers/{server_id}/action"
        await self._sessions.call(project_id, "compute", "POST", path, body=body, expected=(404, 409))

    async def _show(self, project_id: str, kind: Kind, cloud_id: str) -> dict[str, Any] | None:
        resource = RESOURCES[kind]
        answer = await self._sessions.call(
            project_id, resource.service, "GET", f"{resource.path}/{cloud_id}", expected=(404,)
        )
        return None if answer.status == 404 else _inside(answer.body, resource.one)

    async def _server_pages(self, project_id: str, params: dict[str, str]) -> AsyncIterator[dict[str, Any]]:
        marker: dict[str, str] = {}
        for _ in range(MOST_PAGES):
            asked = {**params, "limit": str(PAGE), **marker}
            answer = await self._sessions.call(project_id, "compute", "GET", "/servers/detail", params=asked)
            page = _list(answer.body, "servers")
            for each in page:
                yield each
            if not page or not answer.body.get("servers_links"):
                return
            marker = {"marker": page[-1]["id"]}
        raise _unreadable("the list of servers does not end")


def _members(pool_id: str) -> str:
    return f"/lbaas/pools/{pool_id}/members"


def _rule(group_id: str, rule: GroupRule, groups: dict[Role, str]) -> dict[str, Any]:
    return {
        "security_group_id": group_id,
        "direction": "ingress",
        "ethertype": "IPv4",
        "protocol": rule.protocol,
        "port_range_min": rule.first_port,
        "port_range_max": rule.last_port,
        "remote_group_id": groups[rule.source_group] if rule.source_group is not None else None,
        "remote_ip_prefix": ANYWHERE if rule.source_group is None else None,
        "description": rule.description,
    }


def _rule_key(rule: dict[str, Any]) -> tuple[Any, ...]:
    names = ("ethertype", "protocol", "port_range_min", "port_range_max", "remote_group_id", "remote_ip_prefix")
    return tuple(rule.get(name) for name in names)


def _server(document: dict[str, Any]) -> ServerView:
    try:
        return server_of(document)
    except ValidationError as error:
        raise _unreadable("a server without an id, a name or a status") from error


def _inside(body: dict[str, Any], name: str) -> dict[str, Any]:
    inner = body.get(name)
    if not isinstance(inner, dict) or "id" not in inner:
        raise _unreadable(f"there is no {name} in it")
    return inner


def _list(body: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The list in an answer; an answer without it is broken, not empty."""
    inner = body.get(name)
    if not isinstance(inner, list) or not all(isinstance(each, dict) for each in inner):
        raise _unreadable(f"there are no {name} in it")
    return inner


def _unreadable(what: str) -> RetryLater:
    return RetryLater(
        timedelta(seconds=5), "CloudUnreadable", f"The cloud's answer cannot be used: {what}", whose_move=Mover.CLOUD
    )
