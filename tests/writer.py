"""Somebody who writes into a cluster without a pause while its machines are lost and replaced."""

import base64
import ssl
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

NAMESPACE = "default"
EVERY = 0.25
"""Seconds between two writes."""
PATIENCE = 10.0
"""Seconds for one request."""


class Writer:
    """Makes one ConfigMap after the other through the endpoint of a kubeconfig; keeps which were acknowledged."""

    def __init__(self, kubeconfig: Path) -> None:
        self._client = _client(kubeconfig)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._write, name="writer", daemon=True)
        self.acknowledged: list[str] = []
        self.failures: Counter[str] = Counter()
        """Failed requests by what failed."""

    def start(self) -> None:
        """Write, from now on."""
        self._thread.start()

    def stop(self) -> None:
        """No more writes."""
        self._stopping.set()
        self._thread.join(PATIENCE * 2)
        assert not self._thread.is_alive(), "the last write did not end"

    def lost(self) -> set[str]:
        """Acknowledged writes that are not there."""
        there: set[str] = set()
        token = ""
        while True:
            query = {"limit": "500", "labelSelector": "written=yes", "continue": token}
            answer = self._client.get(self._path(), params=query).raise_for_status().json()
            there |= {item["metadata"]["name"] for item in answer["items"]}
            token = answer["metadata"].get("continue", "")
            if not token:
                return set(self.acknowledged) - there

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()

    def __str__(self) -> str:
        """In one line, for people."""
        causes = ", ".join(f"{count} x {what}" for what, count in self.failures.most_common()) or "none"
        return f"{len(self.acknowledged)} writes acknowledged; failed requests: {causes}"

    def _write(self) -> None:
        number = 0
        while not self._stopping.wait(EVERY):
            number += 1
            name = f"write-{number:06}"
            while not self._stopping.is_set():
                if self._acknowledged(name):
                    self.acknowledged.append(name)
                    break
                self._stopping.wait(EVERY)

    def _acknowledged(self, name: str) -> bool:
        body = {"metadata": {"name": name, "labels": {"written": "yes"}}, "data": {"at": str(time.time())}}
        try:
            answer = self._client.post(self._path(), json=body)
        except httpx.HTTPError as error:
            self.failures[type(error).__name__] += 1
            return False
        # a conflict: a request before this one was done after all, though its answer was lost
        if answer.status_code in (201, 409):
            return True
        self.failures[f"{answer.status_code} {answer.json().get('message', '')[:80]}"] += 1
        return False

    def _path(self) -> str:
        return f"/api/v1/namespaces/{NAMESPACE}/configmaps"


@contextmanager
def writing(kubeconfig: Path) -> Iterator[Writer]:
    """Somebody writes until the end of the block."""
    writer = Writer(kubeconfig)
    writer.start()
    try:
        yield writer
    finally:
        writer.stop()


def _client(kubeconfig: Path) -> httpx.Client:
    config: dict[str, Any] = yaml.safe_load(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=_decoded(cluster["certificate-authority-data"]))
    with tempfile.NamedTemporaryFile("w") as pair:  # private to this user, and gone at once
        pair.write(_decoded(user["client-certificate-data"]) + "\n" + _decoded(user["client-key-data"]))
        pair.flush()
        context.load_cert_chain(pair.name)
    return httpx.Client(base_url=cluster["server"], verify=context, timeout=PATIENCE)


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()
