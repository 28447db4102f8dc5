"""The real kubectl, with the kubeconfig that `slipway` handed out: through the load balancer, as its user."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Kubectl:
    """One cluster as its user sees it."""

    program: Path
    kubeconfig: Path

    def __call__(self, *arguments: str) -> str:
        """Run it; AssertionError shows what it said when it fails."""
        return self._run(*arguments)

    def apply(self, manifest: str) -> str:
        """Apply a manifest."""
        return self._run("apply", "-f", "-", written=manifest)

    @contextmanager
    def forwarded(self, target: str, port: int) -> Iterator[str]:
        """The URL of a port of a pod, forwarded to this machine until the end of the block."""
        command = [*self._command("port-forward", target, f":{port}", "--address=127.0.0.1")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as forwarding:
            try:
                assert forwarding.stdout is not None
                said = forwarding.stdout.readline()  # Forwarding from 127.0.0.1:41537 -> 8080
                assert said.startswith("Forwarding from "), said
                yield "http://" + said.split()[2]
            finally:
                forwarding.terminate()

    def _command(self, *arguments: str) -> list[str]:
        return [str(self.program), "--kubeconfig", str(self.kubeconfig), *arguments]

    def _run(self, *arguments: str, written: str | None = None) -> str:
        command = self._command("--request-timeout=20s", *arguments)
        ended = subprocess.run(command, input=written, capture_output=True, text=True, timeout=60)
        assert ended.returncode == 0, f"kubectl {' '.join(arguments)}:\n{ended.stdout}{ended.stderr}"
        return ended.stdout

    def rolled_out(self, *deployment: str) -> None:
        """Wait until all its pods are available; AssertionError shows what holds them up."""
        try:
            self("rollout", "status", *deployment, "--timeout=55s")
        except AssertionError as error:
            pods, events = self("describe", "pods"), self("get", "events", "--all-namespaces")
            raise AssertionError(f"{error}\n{pods}\n{events}") from error

    def get(self, *arguments: str) -> Any:
        """An object, or a list of them."""
        return json.loads(self("get", *arguments, "-o", "json"))

    def ready_nodes(self) -> set[str]:
        """Names of the nodes that say of themselves that they are ready."""
        return {
            node["metadata"]["name"]
            for node in self.get("nodes")["items"]
            for condition in node["status"].get("conditions", ())
            if condition["type"] == "Ready" and condition["status"] == "True"
        }

    def phase(self, pod: str) -> str:
        """Pending, Running, Succeeded or Failed."""
        return str(self.get("pod", pod)["status"]["phase"])

    def hosts(self, label: str) -> set[str]:
        """Names of the nodes on which pods with this label run."""
        pods = self.get("pods", "-l", label)["items"]
        return {pod["spec"]["nodeName"] for pod in pods if pod["status"]["phase"] == "Running"}
