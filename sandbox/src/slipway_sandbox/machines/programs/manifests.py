"""The static pod manifests of a controller, with kubeadm's flags, probes and mounts."""

import posixpath
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]


def control_plane(cluster: Json, address: str, port: int) -> Iterator[tuple[str, Json]]:
    """(name, manifest) of the three pods, from a ClusterConfiguration."""
    pki = str(cluster.get("certificatesDir", "/etc/kubernetes/pki"))
    yield "kube-apiserver", _pod(cluster, "kube-apiserver", _api_server_flags(cluster, pki, address, port), pki, port)
    flags = _controller_manager_flags(cluster, pki)
    yield "kube-controller-manager", _pod(cluster, "kube-controller-manager", flags, pki, 10257)
    yield "kube-scheduler", _pod(cluster, "kube-scheduler", _scheduler_flags(), pki, 10259)


def _api_server_flags(cluster: Json, pki: str, address: str, port: int) -> dict[str, str]:
    networking = cluster.get("networking", {})
    etcd = cluster["etcd"]["external"]
    return {
        "advertise-address": address,
        "allow-privileged": "true",
        "authorization-mode": "Node,RBAC",
        "client-ca-file": f"{pki}/ca.crt",
        "enable-admission-plugins": "NodeRestriction",
        "enable-bootstrap-token-auth": "true",
        "kubelet-client-certificate": f"{pki}/apiserver-kubelet-client.crt",
        "kubelet-client-key": f"{pki}/apiserver-kubelet-client.key",
        "kubelet-preferred-address-types": "InternalIP,ExternalIP,Hostname",
        "proxy-client-cert-file": f"{pki}/front-proxy-client.crt",
        "proxy-client-key-file": f"{pki}/front-proxy-client.key",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-client-ca-file": f"{pki}/front-proxy-ca.crt",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-username-headers": "X-Remote-User",
        "etcd-cafile": etcd["caFile"],
        "etcd-certfile": etcd["certFile"],
        "etcd-keyfile": etcd["keyFile"],
        "etcd-servers": ",".join(etcd["endpoints"]),
        "secure-port": str(port),
        "service-account-issuer": f"https://kubernetes.default.svc.{networking.get('dnsDomain', 'cluster.local')}",
        "service-account-key-file": f"{pki}/sa.pub",
        "service-account-signing-key-file": f"{pki}/sa.key",
        "service-cluster-ip-range": networking.get("serviceSubnet", "10.96.0.0/12"),
        "tls-cert-file": f"{pki}/apiserver.crt",
        "tls-private-key-file": f"{pki}/apiserver.key",
    }


def _controller_manager_flags(cluster: Json, pki: str) -> dict[str, str]:
    config, networking = "/etc/kubernetes/controller-manager.conf", cluster.get("networking", {})
    flags = {
        "authentication-kubeconfig": config,
        "authorization-kubeconfig": config,
        "bind-address": "127.0.0.1",
        "client-ca-file": f"{pki}/ca.crt",
        "cluster-name": cluster.get("clusterName", "kubernetes"),
        "cluster-signing-cert-file": "",
        "cluster-signing-key-file": "",
        "controllers": "*,bootstrapsigner,tokencleaner",
        "kubeconfig": config,
        "leader-elect": "true",
        "requestheader-client-ca-file": f"{pki}/front-proxy-ca.crt",
        "root-ca-file": f"{pki}/ca.crt",
        "service-account-private-key-file": f"{pki}/sa.key",
        "use-service-account-credentials": "true",
    }
    if networking.get("podSubnet"):
        flags |= {"allocate-node-cidrs": "true", "cluster-cidr": networking["podSubnet"]}
        flags["service-cluster-ip-range"] = networking.get("serviceSubnet", "10.96.0.0/12")
    return flags


def _scheduler_flags() -> dict[str, str]:
    config = "/etc/kubernetes/scheduler.conf"
    return {
        "authentication-kubeconfig": config,
        "authorization-kubeconfig": config,
        "bind-address": "127.0.0.1",
        "kubeconfig": config,
        "leader-elect": "true",
    }


def _extra(cluster: Json, component: str) -> dict[str, str]:
    extra = cluster.get(component, {}).get("extraArgs", {})
    if isinstance(extra, list):
        return {entry["name"]: str(entry["value"]) for entry in extra}
    return {key: str(value) for key, value in extra.items()}


def _pod(cluster: Json, name: str, flags: dict[str, str], pki: str, port: int) -> Json:
    component = {"kube-apiserver": "apiServer", "kube-controller-manager": "controllerManager"}.get(name, "scheduler")
    flags = flags | _extra(cluster, component)
    volumes = _volumes(cluster, name, component, flags, pki)
    image = f"{cluster.get('imageRepository', 'registry.k8s.io')}/{name}:{cluster['kubernetesVersion']}"
    address = flags.get("advertise-address", "127.0.0.1")
    probe = {"httpGet": {"host": address, "path": "/livez", "port": port, "scheme": "HTTPS"}, "periodSeconds": 10}
    container = {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": [name, *(f"--{flag}={value}" for flag, value in sorted(flags.items()))],
        "livenessProbe": probe,
        "resources": {"requests": {"cpu": "100m"}},
        "volumeMounts": [{"name": volume["name"], "mountPath": inside, "readOnly": True} for volume, inside in volumes],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "kube-system",
            "labels": {"component": name, "tier": "control-plane"},
        },
        "spec": {
            "containers": [container],
            "hostNetwork": True,
            "priority": 2000001000,
            "priorityClassName": "system-node-critical",
            "volumes": [volume for volume, _ in volumes],
        },
        "status": {},
    }


def _volumes(cluster: Json, name: str, component: str, flags: dict[str, str], pki: str) -> list[tuple[Json, str]]:
    """(volume, mount path): kubeadm mounts the certificates' folder, the kubeconfig, and what extraVolumes says."""
    found: list[tuple[Json, str]] = []
    if name != "kube-scheduler":
        found.append((_host_path("k8s-certs", pki, "DirectoryOrCreate"), pki))
        found.append((_host_path("ca-certs", "/etc/ssl/certs", "DirectoryOrCreate"), "/etc/ssl/certs"))
    etcd = posixpath.dirname(flags.get("etcd-cafile", pki))
    if not (etcd == pki or etcd.startswith(pki + "/")):
        found.append((_host_path("etcd-certs-0", etcd, "DirectoryOrCreate"), etcd))
    if "kubeconfig" in flags:
        found.append((_host_path("kubeconfig", flags["kubeconfig"], "FileOrCreate"), flags["kubeconfig"]))
    for extra in cluster.get(component, {}).get("extraVolumes", []):
        volume = _host_path(extra["name"], extra["hostPath"], extra.get("pathType", ""))
        found.append((volume, extra["mountPath"]))
    return found


def _host_path(name: str, path: str, kind: str) -> Json:
    return {"name": name, "hostPath": {"path": path, "type": kind}}
