"""The plan of a controller: kubeadm writes the control plane's static pods, in its "external CA" mode.

So the flags follow each release, and no CA key lies on the node. kubeadm wants its PKI folder and five kubeconfigs
complete before it writes a manifest.
"""

import json

from slipway_contracts.agent import Action, Certificate, Command, File, HttpProbe, PlanStep, Remove
from slipway_provisioner.domain.pki import AuthorityName
from slipway_provisioner.domain.plans.kubeadm import CONFIG, ENCRYPTION, kubeadm_config
from slipway_provisioner.domain.plans.kubelet import CLIENT, SERVING, kubelet_kubeconfig, start_kubelet
from slipway_provisioner.domain.plans.machine import prepare_machine
from slipway_provisioner.domain.plans.model import (
    API_SERVER_PORT,
    KUBERNETES,
    MANIFESTS,
    PKI,
    WAIT_FOR_OTHERS,
    Kubeconfig,
    PlanInputs,
    certificate,
    host_port,
)
from slipway_provisioner.domain.plans.profiles import Profiles

_AUTHORITIES = {
    AuthorityName.KUBERNETES: f"{PKI}/ca.crt",
    AuthorityName.FRONT_PROXY: f"{PKI}/front-proxy-ca.crt",
    AuthorityName.ETCD: f"{PKI}/etcd/ca.crt",
}
_PLAIN = ("apiserver", "apiserver-kubelet-client", "apiserver-etcd-client", "front-proxy-client")
_COMPONENTS = {"controller-manager": "system:kube-controller-manager", "scheduler": "system:kube-scheduler"}
_ADMINS = {"admin": "kubernetes-admin", "super-admin": "kubernetes-super-admin"}


def controller_steps(inputs: PlanInputs, profiles: Profiles) -> tuple[PlanStep, ...]:
    """Prepare and install while etcd comes up; then the control plane, the kubelet, the API."""
    programs = (inputs.program("kubelet"), inputs.program("kubeadm"))
    return (
        prepare_machine(inputs),
        PlanStep(name="install", title="Install Kubernetes", actions=programs),
        _certificates(inputs, profiles),
        _await_etcd(inputs),
        _control_plane(inputs, profiles),
        start_kubelet(inputs),
        _await_api_server(),
    )


def _certificates(inputs: PlanInputs, profiles: Profiles) -> PlanStep:
    assert inputs.endpoint is not None
    # As the workers' kubelets: kubeadm compares this file's server with the endpoint in some releases.
    kubelet = kubelet_kubeconfig(inputs, inputs.endpoint.url)
    actions: list[Action] = [
        *(File(path=path, content=inputs.keys.certificates[name]) for name, path in _AUTHORITIES.items()),
        *_secrets(inputs),
        *(certificate(inputs, name, profiles[name], f"{PKI}/{name}") for name in _PLAIN),
        *(_component(inputs, profiles, name, user, _own_url(inputs)) for name, user in _COMPONENTS.items()),
        certificate(inputs, "kubelet", profiles["kubelet"], CLIENT, kubelet),
        certificate(inputs, "kubelet-serving", profiles["kubelet-serving"], SERVING),
    ]
    return PlanStep(name="certificates", title="Get the control plane's certificates", actions=tuple(actions))


def _secrets(inputs: PlanInputs) -> tuple[File, ...]:
    secrets = inputs.keys.secrets
    assert secrets is not None, "a controller's plan is rendered with the controllers' secrets"
    keys = (
        File(path=f"{PKI}/sa.key", content=secrets.service_accounts.private_pem, mode=0o600),
        File(path=f"{PKI}/sa.pub", content=secrets.service_accounts.public_pem),
    )
    if not inputs.spec.encrypt_secrets:
        return keys
    return (*keys, File(path=ENCRYPTION, content=_encryption_config(secrets.encryption_key), mode=0o600))


def _encryption_config(key: str) -> str:
    providers = [{"secretbox": {"keys": [{"name": "key1", "secret": key}]}}, {"identity": {}}]
    config = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": providers}],
    }
    return json.dumps(config, indent=1) + "\n"


def _await_etcd(inputs: PlanInputs) -> PlanStep:
    first, *others = (f"{url}/readyz" for url in inputs.etcd_urls())
    quorum = HttpProbe(
        url=first,
        alternatives=tuple(others),
        ca_path=_AUTHORITIES[AuthorityName.ETCD],
        cert_path=f"{PKI}/apiserver-etcd-client.crt",
        key_path=f"{PKI}/apiserver-etcd-client.key",
        timeout=WAIT_FOR_OTHERS,
        waiting_code="WaitingForEtcd",
        waiting="etcd has no quorum yet",
        for_others=True,
    )
    return PlanStep(name="etcd-wait", title="Wait for etcd", actions=(quorum,))


def _control_plane(inputs: PlanInputs, profiles: Profiles) -> PlanStep:
    """Admin files are made, used and removed within one step: the agent asks for them only if kubeadm must run."""
    assert inputs.endpoint is not None
    url = inputs.endpoint.url
    admins = [_component(inputs, profiles, name, user, url) for name, user in _ADMINS.items()]
    kubeadm = Command(
        argv=(inputs.program_path("kubeadm"), "init", "phase", "control-plane", "all", "--config", CONFIG),
        creates=f"{MANIFESTS}/kube-apiserver.yaml",
        redo_on=(CONFIG, ENCRYPTION) if inputs.spec.encrypt_secrets else (CONFIG,),
    )
    paths = [path for each in admins for path in (each.kubeconfig_path, each.key_path, each.cert_path)]
    actions: list[Action] = [
        File(path=CONFIG, content=kubeadm_config(inputs), mode=0o600),
        *admins,
        kubeadm,
        *(Remove(path=path) for path in paths if path),
    ]
    return PlanStep(name="control-plane", title="Write the control plane", actions=tuple(actions))


def _component(inputs: PlanInputs, profiles: Profiles, name: str, user: str, server: str) -> Certificate:
    kubeconfig = Kubeconfig(path=f"{KUBERNETES}/{name}.conf", server=server, user=user)
    return certificate(inputs, name, profiles[name], f"{PKI}/{name}", kubeconfig)


def _await_api_server() -> PlanStep:
    ready = HttpProbe(
        url=f"https://127.0.0.1:{API_SERVER_PORT}/readyz",
        ca_path=_AUTHORITIES[AuthorityName.KUBERNETES],
        timeout=900.0,
        waiting_code="WaitingForApiServer",
        waiting="the node's own API server does not answer yet; its images may still be pulled",
    )
    return PlanStep(name="api-server", title="Wait for the API server", actions=(ready,))


def _own_url(inputs: PlanInputs) -> str:
    return f"https://{host_port(inputs.address, API_SERVER_PORT)}"
