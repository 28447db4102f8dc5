"""The plan's certificates: the agent makes and keeps the keys, the provisioner signs, kubeconfigs embed the result."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from slipway_node_agent.effects import Doing
from slipway_node_agent.errors import StepFailed
from slipway_node_agent.run import Run
from slipway_node_agent.services import ServiceFailed

Entry = Mapping[str, Any]


def ensure_certificates(run: Run, entries: Sequence[Entry]) -> Doing[None]:
    """All these certificates are in place and fit their keys; those that are not are asked for in one call."""
    wanted = [entry for entry in entries if decide_reason(run, entry) is not None]
    if not wanted:
        return
    keys = {entry["name"]: _ensure_key(run, entry["key_path"]) for entry in wanted}
    requests = {name: run.host.make_csr(key, name) for name, key in keys.items()}
    run.host.log("Asking for certificates", names=",".join(requests))
    try:
        signed = yield from run.provisioner.certificates(run.revision, requests)
    except ServiceFailed as failure:
        code = "ProvisionerUnreachable" if failure.status is None else "CertificatesNotSigned"
        message = f"the provisioner did not sign {', '.join(requests)}: {failure.message}"
        raise StepFailed(code, message, retry_after=failure.retry_after) from None
    for entry in wanted:
        _store(run, entry, keys[entry["name"]], signed.get(entry["name"]))
    run.remember()


def decide_reason(run: Run, entry: Entry) -> str | None:
    """Why this certificate must be asked for; None when what is there will do."""
    key, cert = run.host.read_file(entry["key_path"]), run.host.read_file(entry["cert_path"])
    if key is None or cert is None:
        return "missing"
    facts = run.host.certificate(cert)
    if facts is None or facts.public_key != run.host.public_key(key):
        return "does not match its key"
    if facts.not_after <= run.host.now():
        return "expired"
    return None if run.memory.certificates.get(entry["name"]) == _generation(entry) else "generation moved"


def ensure_kubeconfig(run: Run, entry: Entry) -> None:
    """The kubeconfig of this entry, if it has one, embeds the present key and certificate."""
    path = entry.get("kubeconfig_path")
    if path is None:
        return
    key, cert = run.host.read_file(entry["key_path"]), run.host.read_file(entry["cert_path"])
    authority = run.host.read_file(entry["kubeconfig_ca_path"])
    if key is None or cert is None or authority is None:
        message = f"{entry['kubeconfig_ca_path']} must be written before the kubeconfig {path}"
        raise StepFailed("MalformedPlan", message)
    text = render_kubeconfig(entry["kubeconfig_server"], authority, entry["kubeconfig_user"], cert, key)
    if run.host.read_file(path) != text or run.host.mode(path) != 0o600:
        run.host.write_file(path, text, 0o600)


def render_kubeconfig(server: str, authority: str, user: str, certificate: str, key: str) -> str:
    """A kubeconfig with one cluster, one user, one context; JSON strings are YAML strings."""
    return f"""apiVersion: v1
kind: Config
clusters:
- name: cluster
  cluster:
    server: {json.dumps(server)}
    certificate-authority-data: {_data(authority)}
users:
- name: {json.dumps(user)}
  user:
    client-certificate-data: {_data(certificate)}
    client-key-data: {_data(key)}
contexts:
- name: default
  context:
    cluster: cluster
    user: {json.dumps(user)}
current-context: default
"""


def _ensure_key(run: Run, path: str) -> str:
    """The key is kept for the node's life; a broken one is replaced."""
    key = run.host.read_file(path)
    if key is None or run.host.public_key(key) is None:
        key = run.host.generate_key()
        run.host.write_file(path, key, 0o600)
    return key


def _store(run: Run, entry: Entry, key: str, certificate: str | None) -> None:
    facts = run.host.certificate(certificate) if certificate else None
    if certificate is None or facts is None or facts.public_key != run.host.public_key(key):
        raise StepFailed(
            "CertificateMismatch", f"the provisioner's certificate {entry['name']} is not for this node's key"
        )
    if facts.not_after <= run.host.now():
        message = f"the certificate {entry['name']} has expired by this machine's clock: set its time"
        raise StepFailed("ClockSkew", message)
    run.host.write_file(entry["cert_path"], certificate, 0o644)
    run.memory.certificates[entry["name"]] = _generation(entry)


def _generation(entry: Entry) -> int:
    return int(entry.get("generation", 1))


def _data(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
