"""What a user, an administrator and a careless hand do to a cluster."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from slipway_platform.platform import Platform
from tests.openstack.tenant import Tenant


@dataclass(frozen=True)
class Desk:
    """One cluster of one tenant on one platform."""

    platform: Platform
    tenant: Tenant
    cluster: str

    def slipway(self, *arguments: str) -> str:
        """Run the command as the tenant's user; returns what it printed, fails with what it complained of."""
        environment = {
            **os.environ,
            "OS_CLIENT_CONFIG_FILE": str(self.platform.clouds_yaml),
            "OS_CLOUD": self.tenant.access.user,
            "SLIPWAY_ENDPOINT": self.platform.endpoint,
        }
        command = [sys.executable, "-m", "slipway_cli", *arguments]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert ended.returncode == 0, f"slipway {' '.join(arguments)}: {ended.stdout[-3000:]}{ended.stderr[-3000:]}"
        return ended.stdout

    def ask(self, path: str) -> Any:
        """GET of the cluster's REST API."""
        token = self.tenant.cloud.auth_token
        url = f"{self.platform.endpoint}/v1/clusters/{self.cluster}{path}"
        return httpx.get(url, headers={"X-Auth-Token": token}, timeout=20).raise_for_status().json()

    def nodes(self, role: str | None = None) -> dict[str, dict[str, Any]]:
        """The nodes by name."""
        rows = self.ask("/nodes")["items"]
        return {row["name"]: row for row in rows if role in (None, row["role"])}

    def workers(self) -> list[str]:
        """Names of the workers that are ready, oldest first."""
        ready = [row for row in self.nodes("worker").values() if row["state"] == "ready"]
        return [row["name"] for row in sorted(ready, key=lambda row: (row["created_at"], row["name"]))]

    def refusals(self) -> set[str]:
        """Codes of what the healer holds back in the pool of workers."""
        return {each["reason"]["code"] for each in self.ask("/pools/worker")["refusals"]}

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The cluster's events of one type."""
        events = json.loads(self.slipway("event", "list", "--cluster", self.cluster, "-f", "json"))
        return [event for event in events if event["type"] == kind]

    def lose_server(self, name: str) -> None:
        """Delete a node's server behind Slipway's back, as the tenant's user may."""
        self.tenant.cloud.compute.delete_server(self.nodes()[name]["server_id"])

    def lose_host(self, name: str) -> None:
        """All that runs on the node stops dead, and its server is in ERROR, as after the loss of a hypervisor."""
        self.stop(name, "machine")
        self.tenant.admin.compute.reset_server_state(self.nodes()[name]["server_id"], "error")

    def stop(self, name: str, what: str) -> None:
        """Stop a part of the machine, which its cloud does not notice."""
        url = f"{self.platform.machines_control}/machines/{name}/stop"
        httpx.post(url, json={"what": what}, timeout=20).raise_for_status()

    def restart_provisioner(self, **settings: str) -> None:
        """Stop the provisioner and start it with further settings."""
        self.platform.processes["provisioner"].stop()
        self.platform.start_service(
            "provisioner", {f"SLIPWAY_PROVISIONER_{name.upper()}": value for name, value in settings.items()}
        )
        self.platform.wait_ready("provisioner")

    def request(self, folder: Path, **pools: dict[str, Any]) -> Path:
        """A file for `slipway cluster create --file`."""
        path = folder / "cluster.json"
        path.write_text(json.dumps({"pools": [{"name": role, "role": role, **pool} for role, pool in pools.items()]}))
        return path
