"""`kubeadm init phase control-plane all --config F`: writes the static pods of a controller, or says what is missing.

The checks are those of kubeadm's external CA mode; the manifests have kubeadm's flags and mounts.
"""

import base64
import json
import posixpath
from dataclasses import dataclass
from typing import Any

import yaml

from slipway_sandbox.machines.certificates import decide_refusal
from slipway_sandbox.machines.host import EmulatedHost
from slipway_sandbox.machines.programs import manifests

_PKI = (
    "ca.crt",
    "apiserver.crt",
    "apiserver.key",
    "apiserver-kubelet-client.crt",
    "apiserver-kubelet-client.key",
    "front-proxy-ca.crt",
    "front-proxy-client.crt",
    "front-proxy-client.key",
    "sa.key",
    "sa.pub",
)
_KUBECONFIGS = ("admin.conf", "super-admin.conf", "controller-manager.conf", "scheduler.conf", "kubelet.conf")
_OF_THE_ENDPOINT = ("admin.conf", "super-admin.conf", "kubelet.conf")
_OF_ETCD = ("caFile", "certFile", "keyFile")
_VERSIONS = ("kubeadm.k8s.io/v1beta3", "kubeadm.k8s.io/v1beta4")


class Kubeadm(Exception):
    """kubeadm ends with an error; the message is what it prints."""


@dataclass(frozen=True)
class Configuration:
    """What of kubeadm's configuration file the manifests need."""

    cluster: dict[str, Any]
    init: dict[str, Any]

    @property
    def pki(self) -> str:
        """The folder of the certificates."""
        return str(self.cluster.get("certificatesDir", "/etc/kubernetes/pki"))

    @property
    def address(self) -> str:
        """The address the API server advertises."""
        return str(self.init.get("localAPIEndpoint", {}).get("advertiseAddress", ""))

    @property
    def port(self) -> int:
        """The port the API server listens on."""
        return int(self.init.get("localAPIEndpoint", {}).get("bindPort", 6443))


def init_control_plane(host: EmulatedHost, path: str) -> str:
    """Writes the three manifests and returns what kubeadm prints. Raises Kubeadm."""
    configuration = _read(host, path)
    _check_pki(host, configuration)
    _check_kubeconfigs(host, configuration)
    written = []
    for name, manifest in manifests.control_plane(configuration.cluster, configuration.address, configuration.port):
        target = f"/etc/kubernetes/manifests/{name}.yaml"
        host.write_file(target, yaml.safe_dump(manifest, sort_keys=False), 0o600)
        written.append(f'[control-plane] Creating static Pod manifest for "{name}"')
    return "\n".join(['[control-plane] Using manifest folder "/etc/kubernetes/manifests"', *written])


def _read(host: EmulatedHost, path: str) -> Configuration:
    text = host.read_file(path)
    if text is None:
        raise Kubeadm(f'error: unable to read config from "{path}": open {path}: no such file or directory')
    try:
        documents = [document for document in yaml.safe_load_all(text) if document]
    except yaml.YAMLError as error:
        raise Kubeadm(f"error converting YAML to JSON: {error}") from error
    kinds = {document.get("kind"): document for document in documents}
    for document in documents:
        group = str(document.get("apiVersion", ""))
        if group.startswith("kubeadm.k8s.io/") and group not in _VERSIONS:
            raise Kubeadm(f'error: your configuration file uses an old or unknown API spec: "{group}"')
    if "ClusterConfiguration" not in kinds:
        raise Kubeadm("error: no ClusterConfiguration kind was found in the YAML file")
    configuration = Configuration(kinds["ClusterConfiguration"], kinds.get("InitConfiguration", {}))
    if not configuration.cluster.get("kubernetesVersion"):
        raise Kubeadm("error: could not fetch a Kubernetes version from the internet: set kubernetesVersion")
    external = configuration.cluster.get("etcd", {}).get("external", {})
    if lacking := [key for key in ("endpoints", *_OF_ETCD) if not external.get(key)]:
        raise Kubeadm(f"error: etcd.external has no {', '.join(lacking)} (etcd on controllers is not emulated)")
    if not configuration.address:
        raise Kubeadm("error: unable to select an IP from default routes: set localAPIEndpoint.advertiseAddress")
    return configuration


def _check_pki(host: EmulatedHost, configuration: Configuration) -> None:
    missing = [name for name in _PKI if not host.exists(f"{configuration.pki}/{name}")]
    external = configuration.cluster["etcd"]["external"]
    missing += [external[key] for key in _OF_ETCD if not host.exists(external[key])]
    if missing:
        raise Kubeadm(f"error execution phase control-plane: couldn't load certificates or keys: {', '.join(missing)}")
    authority = host.read_file(f"{configuration.pki}/ca.crt") or ""
    for name in ("apiserver", "apiserver-kubelet-client"):
        text = host.read_file(f"{configuration.pki}/{name}.crt") or ""
        if refusal := decide_refusal(text, authority, host.now()):
            raise Kubeadm(f"error execution phase control-plane: certificate {name} is not valid: {refusal}")


def _check_kubeconfigs(host: EmulatedHost, configuration: Configuration) -> None:
    authority = (host.read_file(f"{configuration.pki}/ca.crt") or "").strip()
    endpoint = str(configuration.cluster.get("controlPlaneEndpoint", ""))
    for name in _KUBECONFIGS:
        path = f"/etc/kubernetes/{name}"
        text = host.read_file(path)
        if text is None:
            raise Kubeadm(f"error execution phase control-plane: failed to load {path}: no such file or directory")
        server, trusted, shown = _kubeconfig(path, text)
        if trusted.strip() != authority:
            raise Kubeadm(f'a kubeconfig file "{path}" exists already but has got the wrong CA cert')
        if refusal := decide_refusal(shown, authority, host.now()):
            raise Kubeadm(f'a kubeconfig file "{path}" exists already but its certificate is refused: {refusal}')
        if name in _OF_THE_ENDPOINT and endpoint and endpoint not in server:
            message = f'a kubeconfig file "{path}" exists already but has an unexpected API Server URL:'
            raise Kubeadm(f"{message} expected: https://{endpoint}, got: {server}")


def _kubeconfig(path: str, text: str) -> tuple[str, str, str]:
    """Server, CA and client certificate."""
    try:
        config = yaml.safe_load(text)
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        trusted = base64.b64decode(cluster["certificate-authority-data"]).decode()
        shown = base64.b64decode(user["client-certificate-data"]).decode()
        return cluster["server"], trusted, shown
    except (yaml.YAMLError, KeyError, TypeError, IndexError, ValueError) as error:
        message = f'failed to load kubeconfig "{posixpath.basename(path)}": {type(error).__name__} {error}'
        raise Kubeadm(json.dumps(message)) from error
