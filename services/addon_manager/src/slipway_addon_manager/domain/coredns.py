"""CoreDNS: names of Services and pods, at the tenth Service address, where every kubelet sends its pods' questions.

Configuration: https://coredns.io/plugins/kubernetes/ and kubeadm's defaults.
"""

from typing import Any

from slipway_addon_manager.domain.model import Inputs, Manifest, digest_of
from slipway_addon_manager.domain.objects import (
    CONFIG_DIGEST,
    NAMESPACE,
    account,
    cluster_role,
    cluster_role_binding,
    config_map,
    service_account,
)

NAME = "coredns"
SERVICE = "kube-dns"
"""The name that everything looks for, whatever serves it."""
REPLICAS = 2
DNS_ADDRESS_INDEX = 10
_LABELS = {"k8s-app": SERVICE}

_RULES: list[dict[str, Any]] = [
    {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
]


def coredns(inputs: Inputs) -> list[Manifest]:
    """Account, permissions, configuration, two pods, and the Service."""
    config = {"Corefile": _corefile(inputs.spec.dns_domain)}
    return [
        service_account(NAME),
        cluster_role("slipway:coredns", _RULES),
        cluster_role_binding("slipway:coredns", "slipway:coredns", account(NAME)),
        config_map(NAME, config),
        _deployment(inputs, digest_of(config)),
        _service(inputs),
    ]


def _corefile(domain: str) -> str:
    return f""".:53 {{
    errors
    health {{
        lameduck 5s
    }}
    ready
    kubernetes {domain} in-addr.arpa ip6.arpa {{
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }}
    prometheus :9153
    forward . /etc/resolv.conf {{
        max_concurrent 1000
    }}
    cache 30
    loop
    reload
    loadbalance
}}
"""


def _deployment(inputs: Inputs, config_digest: str) -> Manifest:
    template = {
        "metadata": {"labels": _LABELS, "annotations": {CONFIG_DIGEST: config_digest}},
        "spec": {
            "serviceAccountName": NAME,
            "priorityClassName": "system-cluster-critical",
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [
                {"key": "CriticalAddonsOnly", "operator": "Exists"},
                {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"},
            ],
            "affinity": _apart(),
            "dnsPolicy": "Default",
            "containers": [_container(inputs)],
            "volumes": [
                {"name": "config", "configMap": {"name": NAME, "items": [{"key": "Corefile", "path": "Corefile"}]}}
            ],
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": _LABELS},
        "spec": {
            "replicas": REPLICAS,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
            "selector": {"matchLabels": _LABELS},
            "template": template,
        },
    }


def _apart() -> dict[str, Any]:
    """On two nodes where there are two."""
    term = {"labelSelector": {"matchLabels": _LABELS}, "topologyKey": "kubernetes.io/hostname"}
    preferred = [{"weight": 100, "podAffinityTerm": term}]
    return {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}


def _container(inputs: Inputs) -> dict[str, Any]:
    return {
        "name": NAME,
        "image": inputs.images["coredns"],
        "args": ["-conf", "/etc/coredns/Corefile"],
        "ports": [
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
            {"name": "metrics", "containerPort": 9153, "protocol": "TCP"},
        ],
        "resources": {"limits": {"memory": "170Mi"}, "requests": {"cpu": "100m", "memory": "70Mi"}},
        "livenessProbe": {
            "httpGet": {"path": "/health", "port": 8080, "scheme": "HTTP"},
            "initialDelaySeconds": 60,
            "timeoutSeconds": 5,
            "failureThreshold": 5,
        },
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181, "scheme": "HTTP"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
    }


def _service(inputs: Inputs) -> Manifest:
    labels = {**_LABELS, "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": SERVICE,
            "namespace": NAMESPACE,
            "labels": labels,
            "annotations": {"prometheus.io/port": "9153", "prometheus.io/scrape": "true"},
        },
        "spec": {
            "clusterIP": inputs.service_address(DNS_ADDRESS_INDEX),
            "selector": _LABELS,
            "ports": [
                {"name": "dns", "port": 53, "targetPort": 53, "protocol": "UDP"},
                {"name": "dns-tcp", "port": 53, "targetPort": 53, "protocol": "TCP"},
                {"name": "metrics", "port": 9153, "targetPort": 9153, "protocol": "TCP"},
            ],
        },
    }
