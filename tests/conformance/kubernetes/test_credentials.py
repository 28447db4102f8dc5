"""Credentials that do not hold: a cluster's API lets nobody in whom its own CA does not vouch for now.

The real API server answers 401; the emulated one's TLS library ends the handshake. Each test asks with one that holds
first, so that nothing else is taken for a refusal. A removed binding is in test_kubernetes_conformance.py.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from slipway_sandbox.machines.authority import Authority, Credential

OWNER = ("root", ("system:masters",))
REFUSED = (401, "handshake")

Ask = Callable[[Credential | None], Awaitable[int | str]]


@pytest.fixture
def ask(kubernetes: Any, tmp_path: Path) -> Ask:
    """The status of a request with a credential, or "handshake" where there is no connection without it."""

    def status(credential: Credential | None) -> int | str:
        context = ssl.create_default_context(cadata=kubernetes.ca_pem)
        # from 1.3 on a client learns only after the handshake that its certificate is refused
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        if credential is not None:
            pair = tmp_path / "pair"
            pair.write_text(credential.certificate_pem + credential.key_pem)
            context.load_cert_chain(pair)
        with httpx.Client(base_url=kubernetes.url, verify=context, timeout=20) as client:
            try:
                return client.get("/api/v1/nodes").status_code
            except httpx.ConnectError as error:
                if "[SSL:" in str(error) or "reset" in str(error):
                    return "handshake"
                raise

    return lambda credential: asyncio.to_thread(status, credential)


async def test_an_expired_one_is_refused(kubernetes: Any, ask: Ask) -> None:
    assert await ask(kubernetes.credential(*OWNER)) == 200
    expired = kubernetes.credential(*OWNER, lifetime=-timedelta(seconds=1))
    assert await ask(expired) in REFUSED


@pytest.mark.parametrize("name", ["kubernetes", "another"])
async def test_another_clusters_is_refused_whatever_its_ca_is_called(name: str, kubernetes: Any, ask: Ask) -> None:
    assert await ask(kubernetes.credential(*OWNER)) == 200
    assert await ask(Authority(name).issue(*OWNER)) in REFUSED


async def test_a_refused_one_is_not_the_same_as_none(ask: Ask) -> None:
    assert await ask(None) == 403, "system:anonymous"
