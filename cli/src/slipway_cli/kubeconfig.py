"""Kubeconfigs: the private key is made here, and goes nowhere but into the file."""

import base64
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from slipway_cli.credentials import API_VERSION
from slipway_cli.errors import CommandFailed, Exit

INSTALL_HINT = (
    "The command slipway gives the credentials to this cluster, and is not on the PATH. Install the Python package "
    "slipway-cli, or write a kubeconfig with a key instead: slipway cluster kubeconfig NAME."
)
"""What kubectl says where the command is not installed."""


def make_key() -> tuple[str, str]:
    """A fresh P-256 key and a certificate request that it has signed, both in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private.decode(), request.public_bytes(serialization.Encoding.PEM).decode()


def complete(template: dict[str, Any], key_pem: str) -> dict[str, Any]:
    """The API's kubeconfig with the key in it."""
    users = [
        {**user, "user": {**user["user"], "client-key-data": base64.b64encode(key_pem.encode()).decode()}}
        for user in template["users"]
    ]
    return {**template, "users": users}


def with_plugin(template: dict[str, Any], arguments: list[str], variables: Mapping[str, str]) -> dict[str, Any]:
    """The API's kubeconfig whose user is this command, with these arguments and variables: no key, no certificate."""
    plugin = {
        "apiVersion": API_VERSION,
        "command": "slipway",
        "args": arguments,
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "installHint": INSTALL_HINT,
        "interactiveMode": "Never",
        "provideClusterInfo": True,
    }
    return {**template, "users": [{"name": user["name"], "user": {"exec": plugin}} for user in template["users"]]}


def merge(existing: dict[str, Any], added: dict[str, Any]) -> dict[str, Any]:
    """The existing kubeconfig with the entries of another; those of the same name are replaced."""
    merged = dict(existing)
    for section in ("clusters", "users", "contexts"):
        names = {entry["name"] for entry in added[section]}
        kept = [entry for entry in existing.get(section) or [] if entry["name"] not in names]
        merged[section] = [*kept, *added[section]]
    merged["current-context"] = added["current-context"]
    merged.setdefault("apiVersion", "v1")
    merged.setdefault("kind", "Config")
    return merged


def write(path: Path, document: dict[str, Any]) -> None:
    """Write the file for its owner alone, whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "w") as file:
            file.write(to_yaml(document))
        Path(temporary).replace(path)
    except OSError as error:
        raise CommandFailed(Exit.FAILED, f"{path} cannot be written: {error.strerror}.") from error


def read(path: Path) -> dict[str, Any]:
    """The kubeconfig in a file; an empty one when there is no file."""
    if not path.exists():
        return {}
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise CommandFailed(Exit.FAILED, f"{path} cannot be read as a kubeconfig; nothing was changed.") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise CommandFailed(Exit.FAILED, f"{path} is no kubeconfig; nothing was changed.")
    return document


def default_path() -> Path:
    """Where kubectl looks: the first file of KUBECONFIG, or ~/.kube/config."""
    named = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    return Path(named) if named else Path.home() / ".kube" / "config"


def to_yaml(document: dict[str, Any]) -> str:
    """The document as YAML."""
    return yaml.safe_dump(document, sort_keys=False)
