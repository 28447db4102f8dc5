"""What can be done to the emulated cloud behind everybody's back, in process; control.py offers it over HTTP."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from threading import RLock
from typing import Literal

from slipway_sandbox.cloud.faults import Effect, Fault, Faults
from slipway_sandbox.cloud.messages import Json
from slipway_sandbox.cloud.model import CloudTimes, Server
from slipway_sandbox.cloud.neutron.binding import delete_port
from slipway_sandbox.cloud.nova.lifecycle import fail, vanish
from slipway_sandbox.cloud.nova.views import addresses_of, server_status
from slipway_sandbox.cloud.octavia.tree import forget
from slipway_sandbox.cloud.state import State

KillMode = Literal["shutoff", "error", "vanish"]


def decode_user_data(server: Server) -> str:
    """A server's user data as text; what is no base64 or no UTF-8 is shown as it came."""
    try:
        return base64.b64decode(server.user_data or "").decode()
    except (binascii.Error, UnicodeDecodeError):
        return server.user_data or ""


@dataclass(frozen=True)
class ServerView:
    """A server as the machine runner needs it; `boots` grows with every boot."""

    id: str
    project_id: str
    name: str
    status: str
    power_state: int
    boots: int
    zone: str
    host: str
    addresses: tuple[str, ...]
    user_data: str
    metadata: Json


class Levers:
    """The control side of a cloud. Every method raises KeyError for an id that does not exist."""

    def __init__(self, state: State, faults: Faults, lock: RLock) -> None:
        self.state = state
        self.faults = faults
        self.lock = lock

    def _look(self) -> datetime:
        now = self.state.now()
        self.state.agenda.run_due(now)
        return now

    def _server(self, server_id: str) -> Server:
        server = self.state.servers[server_id]
        if server.deleted:
            raise KeyError(server_id)
        return server

    def servers_view(self) -> list[ServerView]:
        """Every server that exists, of all projects."""
        with self.lock:
            self._look()
            return [self._view(server) for server in self.state.live_servers()]

    def _view(self, server: Server) -> ServerView:
        networks = addresses_of(self.state, server)
        fixed = [item["addr"] for items in networks.values() for item in items if item["OS-EXT-IPS:type"] == "fixed"]
        return ServerView(
            id=server.id,
            project_id=server.project_id,
            name=server.name,
            status=server_status(server),
            power_state=server.power_state,
            boots=server.boots,
            zone=server.host.zone if server.host else "",
            host=server.host.name if server.host else "",
            addresses=tuple(fixed),
            user_data=decode_user_data(server),
            metadata=dict(server.metadata),
        )

    def kill_server(self, server_id: str, mode: KillMode = "shutoff") -> None:
        """Let a server die: powered off, in ERROR, or gone, which lets its ports go. ValueError for another mode."""
        with self.lock:
            now = self._look()
            server = self._server(server_id)
            if mode == "vanish":
                vanish(self.state, server, now)
            elif mode == "error":
                fail(server, now, "The sandbox was asked to break this server.")
                server.power_state = 4
            elif mode == "shutoff":
                server.vm_state, server.task_state, server.power_state = "stopped", None, 4
                server.updated = now
            else:
                raise ValueError(f"unknown mode {mode!r}; known are shutoff, error, vanish")

    def append_console(self, server_id: str, text: str) -> None:
        """Add lines to a server's console log."""
        with self.lock:
            self._look()
            self._server(server_id).console.extend(text.rstrip("\n").split("\n"))

    def delete_port(self, port_id: str) -> None:
        """Delete a port whoever uses it."""
        with self.lock:
            self._look()
            if port_id not in self.state.network["port"]:
                raise KeyError(port_id)
            delete_port(self.state, port_id)

    def delete_balancer(self, balancer_id: str) -> None:
        """Delete a load balancer and everything in it, at once."""
        with self.lock:
            self._look()
            if self.state.balanced[balancer_id].kind != "loadbalancer":
                raise KeyError(balancer_id)
            inside = [item for item in self.state.balanced.values() if item.balancer_id == balancer_id]
            for item in inside:
                forget(self.state, item)

    def break_balancer(self, balancer_id: str) -> None:
        """Put a load balancer into ERROR: it can only be deleted then."""
        with self.lock:
            self._look()
            if self.state.balanced[balancer_id].kind != "loadbalancer":
                raise KeyError(balancer_id)
            self.state.balanced[balancer_id].provisioning = "ERROR"

    def set_member_health(self, member_id: str, status: str | None) -> None:
        """Say how a pool member is seen: ONLINE, ERROR, or None for the default."""
        with self.lock:
            self._look()
            self.state.balanced[member_id].health = status

    def set_host_up(self, host: str, *, up: bool) -> None:
        """Let a hypervisor die or come back; its servers keep their status."""
        with self.lock:
            self._look()
            self.state.hosts[host].up = up

    def set_quota(self, project: str, limits: dict[str, int]) -> None:
        """Change quotas of a project (id or name), whichever service they belong to."""
        with self.lock:
            found = self.state.projects.get(project) or self.state.project_named(project)
            tables = (found.compute_quota, found.network_quota, found.volume_quota, found.balancer_quota)
            for name, limit in limits.items():
                table = next((table for table in tables if name in table), None)
                if table is None:
                    known = sorted(name for table in tables for name in table)
                    raise ValueError(f"unknown quota {name!r}; known are {', '.join(known)}")
                table[name] = int(limit)

    def set_times(self, seconds: dict[str, float]) -> None:
        """How long things take from now on, in seconds, by the names in CloudTimes."""
        with self.lock:
            known = [each.name for each in fields(CloudTimes)]
            for name in seconds:
                if name not in known:
                    raise ValueError(f"unknown time {name!r}; known are {', '.join(known)}")
            changed = {name: timedelta(seconds=float(value)) for name, value in seconds.items()}
            self.state.times = replace(self.state.times, **changed)

    def revoke_tokens(self, user: str | None = None) -> int:
        """Revoke the tokens of a user (name), or all; returns how many."""
        with self.lock:
            doomed = [
                token for token in self.state.tokens.values() if user in (None, self.state.users[token.user_id].name)
            ]
            for token in doomed:
                del self.state.tokens[token.id]
            return len(doomed)

    def fail_next_builds(self, count: int, *, no_valid_host: bool = False) -> None:
        """Let the next builds end in ERROR: without a host, or after being placed."""
        with self.lock:
            if no_valid_host:
                self.state.trouble.no_valid_host = count
            else:
                self.state.trouble.failing = count

    def arm(self, fault: Fault) -> Fault:
        """Arm a fault; see `Fault` for what it can match and do."""
        with self.lock:
            return self.faults.add(fault)

    def fail_next(self, service: str, method: str, path: str, status: int, count: int | None = 1) -> Fault:
        """Answer the next matching calls with an error; for 429 with `Retry-After: 1`."""
        retry_after = 1 if status == 429 else None
        return self.arm(
            Fault(Effect.STATUS, service, method, path, status=status, count=count, retry_after=retry_after)
        )

    def time_out_after(self, service: str, method: str, path: str, count: int | None = 1) -> Fault:
        """Do the next matching calls, and let their callers see a timeout."""
        return self.arm(Fault(Effect.TIMEOUT_AFTER, service, method, path, count=count))

    def take_down(self, service: str = "", effect: Effect = Effect.STATUS) -> Fault:
        """Take a whole API (or all) down until its fault is cleared: 503, or refused connections."""
        return self.arm(Fault(effect, service, status=503, count=None))

    def summary(self) -> dict[str, dict[str, int]]:
        """How many resources each project has, by project name: what is left after a clean-up."""
        with self.lock:
            self._look()
            return {project.name: self._count(project.id) for project in self.state.projects.values()}

    def _count(self, project_id: str) -> dict[str, int]:
        state = self.state
        counts = {"servers": len(state.live_servers(project_id))}
        counts["server_groups"] = sum(1 for group in state.groups.values() if group.project_id == project_id)
        for kind in ("port", "security_group", "floatingip", "network"):
            records = state.network[kind].values()
            own = [each for each in records if each["project_id"] == project_id and each.get("name") != "default"]
            counts[f"{kind}s"] = len(own)
        counts["load_balancers"] = sum(
            1 for i in state.balanced.values() if i.kind == "loadbalancer" and i.project_id == project_id
        )
        account = state.accounts.get(project_id)
        counts["objects"] = sum(len(blobs) for blobs in account.containers.values()) if account else 0
        return counts
