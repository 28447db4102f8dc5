"""The servers of a cloud as the machine runner sees them: through Nova's admin API, or in the sandbox's process."""

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Protocol

_MICROVERSION = "2.90"
_PAGE = 500
_BOOTS = ("create", "reboot", "start")


class CloudAway(Exception):
    """The cloud did not answer, or not with what was asked for: nothing is known."""


@dataclass(frozen=True)
class CloudServer:
    """One server. `boots` grows with every boot."""

    id: str
    name: str
    status: str
    zone: str
    address: str
    user_data: str
    boots: int


class Servers(Protocol):
    """Where servers come from. Calls may block."""

    def all(self) -> list[CloudServer]:
        """Every server of every project. Raises CloudAway."""

    def is_gone(self, server_id: str) -> bool:
        """Whether the cloud says that there is no such server. Raises CloudAway."""


class NovaServers:
    """Nova's admin API of one entry of clouds.yaml."""

    def __init__(self, cloud: str) -> None:
        import openstack

        self._connection = openstack.connect(cloud=cloud, api_timeout=30)
        self._boots: dict[str, tuple[str, int]] = {}

    def all(self) -> list[CloudServer]:
        """By pages; a server that changed is asked for its boots."""
        found: list[CloudServer] = []
        marker = ""
        while True:
            page = self._get(f"/servers/detail?all_tenants=1&limit={_PAGE}{marker}").json()["servers"]
            found += [self._server(body) for body in page]
            if len(page) < _PAGE:
                self._boots = {server.id: self._boots[server.id] for server in found if server.id in self._boots}
                return found
            marker = f"&marker={page[-1]['id']}"

    def is_gone(self, server_id: str) -> bool:
        return self._get(f"/servers/{server_id}", missing=True) is None

    def close(self) -> None:
        """Closes its connections."""
        self._connection.close()

    def _server(self, body: dict[str, Any]) -> CloudServer:
        addresses = [
            entry["addr"]
            for entries in body.get("addresses", {}).values()
            for entry in entries
            if entry["version"] == 4 and entry.get("OS-EXT-IPS:type", "fixed") == "fixed"
        ]
        return CloudServer(
            id=body["id"],
            name=body["name"],
            status=body["status"],
            zone=body.get("OS-EXT-AZ:availability_zone") or "",
            address=addresses[0] if addresses else "",
            user_data=decode_user_data(body.get("OS-EXT-SRV-ATTR:user_data")),
            boots=self._count_boots(body),
        )

    def _count_boots(self, body: dict[str, Any]) -> int:
        """From the server's actions, asked for only when the server was updated since."""
        if body["status"] != "ACTIVE":
            return self._boots.get(body["id"], ("", 0))[1]
        updated, boots = self._boots.get(body["id"], ("", 0))
        if updated != body["updated"]:
            answer = self._get(f"/servers/{body['id']}/os-instance-actions", missing=True)
            actions = answer.json()["instanceActions"] if answer is not None else []
            boots = sum(1 for action in actions if action["action"] in _BOOTS)
            self._boots[body["id"]] = (body["updated"], boots)
        return boots

    def _get(self, path: str, *, missing: bool = False) -> Any:
        from keystoneauth1.exceptions import ClientException

        try:
            answer = self._connection.compute.get(path, microversion=_MICROVERSION, raise_exc=False)
        except ClientException as error:
            raise CloudAway(f"{type(error).__name__} {error}") from error
        if missing and answer.status_code == 404:
            return None
        if answer.status_code != 200:
            raise CloudAway(f"GET {path} answered {answer.status_code}")
        return answer


@dataclass
class SandboxServers:
    """The emulated cloud of this very process (`slipway_sandbox.cloud.Cloud`)."""

    cloud: Any

    def all(self) -> list[CloudServer]:
        return [
            CloudServer(
                id=view.id,
                name=view.name,
                status=view.status,
                zone=view.zone,
                address=view.addresses[0] if view.addresses else "",
                user_data=view.user_data,
                boots=view.boots,
            )
            for view in self.cloud.servers_view()
        ]

    def is_gone(self, server_id: str) -> bool:
        return all(view.id != server_id for view in self.cloud.servers_view())


def decode_user_data(encoded: str | None) -> str:
    """User data as text; empty when there is none or it is no text."""
    try:
        return base64.b64decode(encoded or "").decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
