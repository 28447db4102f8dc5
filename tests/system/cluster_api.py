"""A cluster's API as somebody with a kubeconfig sees it."""

import base64
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml


@contextmanager
def opened(kubeconfig: Path, newest_tls: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED) -> Iterator[httpx.Client]:
    """The API that a kubeconfig leads to; its parts are put beside it.

    With TLS 1.2 the refusal of a certificate ends the handshake; later ones tell it when the request is under way.
    """
    document = yaml.safe_load(kubeconfig.read_text())
    server, person = document["clusters"][0]["cluster"], document["users"][0]["user"]
    files: list[Path] = []
    for name, text in (("ca", server["certificate-authority-data"]), ("cert", person["client-certificate-data"]),
                       ("key", person["client-key-data"])):  # fmt: skip
        files.append(kubeconfig.with_name(f"{kubeconfig.name}.{name}"))
        files[-1].write_bytes(decoded(text))
    context = mutual_tls(*files)
    context.maximum_version = newest_tls
    with httpx.Client(base_url=server["server"], verify=context, timeout=20) as client:
        yield client


def mutual_tls(ca: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """For a client with a certificate that trusts this CA alone."""
    context = ssl.create_default_context(cafile=str(ca))
    context.load_cert_chain(certificate, key)
    return context


def got(client: httpx.Client, path: str, **query: str) -> Any:
    """The document at a path; httpx.HTTPStatusError when it is refused."""
    return client.get(path, params=query).raise_for_status().json()


def is_ready(thing: dict[str, Any]) -> bool:
    """Whether a Node or a Pod says that it is ready."""
    conditions = thing["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def encoded(text: str) -> str:
    """As JSON carries what may be no text."""
    return base64.b64encode(text.encode()).decode()


def decoded(text: str) -> bytes:
    """The reverse of `encoded`."""
    return base64.b64decode(text)
