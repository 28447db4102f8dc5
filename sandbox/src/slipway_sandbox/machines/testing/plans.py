"""Plans of a small cluster, as the provisioner would render them; enough to make every emulated program run."""

import json
from dataclasses import dataclass, field
from typing import Any

import yaml

Json = dict[str, Any]

PKI = "/etc/kubernetes/pki"
RELEASE = "v1.36.3"
PROGRAMS = "/opt/slipway"


@dataclass(frozen=True)
class Profile:
    """What is signed for one certificate of a plan."""

    authority: str
    common_name: str
    organizations: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """Names and addresses of a cluster's nodes, and its endpoint (host:port)."""

    etcd: dict[str, str]
    controllers: dict[str, str]
    workers: dict[str, str]
    endpoint: str
    cluster: str = "cluster-1"


@dataclass
class NodePlan:
    """Steps, and the profiles of the certificates that they name."""

    steps: list[Json] = field(default_factory=list)
    profiles: dict[str, Profile] = field(default_factory=dict)

    def step(self, name: str, *actions: Json) -> None:
        self.steps.append({"name": name, "title": f"Step {name}", "actions": list(actions)})

    def certificate(self, name: str, base: str, profile: Profile, **kubeconfig: str) -> Json:
        self.profiles[name] = profile
        entry = {"kind": "certificate", "name": name, "key_path": f"{base}.key", "cert_path": f"{base}.crt"}
        return entry | {f"kubeconfig_{key}": value for key, value in kubeconfig.items()}


def a_plan(role: str, name: str, layout: Layout, authorities: dict[str, str], mirror: Json) -> NodePlan:
    """The plan of one node. `authorities` are CA certificates by name, and the service accounts' key pair as sa.key and
    sa.pub; `mirror` programs as (url, sha256)."""
    return {"etcd": _etcd, "controller": _controller, "worker": _worker}[role](name, layout, authorities, mirror)


def _file(path: str, content: str, mode: int = 0o644) -> Json:
    return {"kind": "file", "path": path, "content": content, "mode": mode}


def _program(name: str, mirror: Json) -> Json:
    url, sha256 = mirror[name]
    return {"kind": "artifact", "url": url, "sha256": sha256, "path": f"{PROGRAMS}/{RELEASE}/{name}"}


def _unit(name: str, words: list[str], kind: str = "simple") -> Json:
    command = " \\\n  ".join(words)
    text = f"[Unit]\nDescription={name}\n\n[Service]\nType={kind}\nExecStart={command}\nRestart=always\nRestartSec=1\n"
    return {"kind": "unit", "name": f"{name}.service", "content": text}


def _probe(url: str, **more: Any) -> Json:
    return {"kind": "http_probe", "url": url, "waiting_code": "Waiting", "waiting": "not yet", **more}


def _etcd(name: str, layout: Layout, authorities: dict[str, str], mirror: Json) -> NodePlan:
    plan, address, pki = NodePlan(), layout.etcd[name], "/etc/etcd/pki"
    names = (name, address, "127.0.0.1", "localhost")
    plan.step("install", _program("etcd", mirror))
    plan.step(
        "certificates",
        _file(f"{pki}/ca.crt", authorities["etcd"]),
        plan.certificate("etcd-server", f"{pki}/server", Profile("etcd", name, names=names)),
        plan.certificate("etcd-peer", f"{pki}/peer", Profile("etcd", name, names=names)),
    )
    words = [
        f"{PROGRAMS}/{RELEASE}/etcd",
        f"--name={name}",
        "--data-dir=/var/lib/etcd",
        "--initial-cluster=" + ",".join(f"{peer}=https://{at}:2380" for peer, at in layout.etcd.items()),
        f"--initial-cluster-token={layout.cluster}",
        f"--initial-advertise-peer-urls=https://{address}:2380",
        f"--listen-peer-urls=https://{address}:2380",
        f"--listen-client-urls=https://{address}:2379,https://127.0.0.1:2379",
        f"--advertise-client-urls=https://{address}:2379",
        "--listen-metrics-urls=http://127.0.0.1:2381",
        f"--trusted-ca-file={pki}/ca.crt",
        f"--cert-file={pki}/server.crt",
        f"--key-file={pki}/server.key",
        "--client-cert-auth=true",
        f"--peer-trusted-ca-file={pki}/ca.crt",
        f"--peer-cert-file={pki}/peer.crt",
        f"--peer-key-file={pki}/peer.key",
        "--peer-client-cert-auth=true",
    ]
    plan.step("etcd", _unit("etcd", words, "notify"), _probe("http://127.0.0.1:2381/readyz", for_others=True))
    return plan


def _kubelet(plan: NodePlan, name: str, address: str, server: str, mirror: Json, *, controller: bool) -> None:
    user = f"system:node:{name}"
    config: Json = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"x509": {"clientCAFile": f"{PKI}/ca.crt"}},
        "providerID": f"openstack:///{name}",
        "tlsCertFile": f"{PKI}/kubelet.crt",
        "tlsPrivateKeyFile": f"{PKI}/kubelet.key",
    }
    if controller:
        config["staticPodPath"] = "/etc/kubernetes/manifests"
        config["registerWithTaints"] = [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]
    plan.step(
        "kubelet",
        _program("kubelet", mirror),
        plan.certificate(
            "kubelet",
            f"{PKI}/kubelet-client",
            Profile("kubernetes", user, ("system:nodes",)),
            path="/etc/kubernetes/kubelet.conf",
            server=server,
            ca_path=f"{PKI}/ca.crt",
            user=user,
        ),
        plan.certificate("kubelet-serving", f"{PKI}/kubelet", Profile("kubernetes", user, names=(name, address))),
        _file("/etc/slipway/kubelet.yaml", yaml.safe_dump(config)),
        {"kind": "unit", "name": "containerd.service"},
        _unit(
            "kubelet",
            [
                f"{PROGRAMS}/{RELEASE}/kubelet",
                "--config=/etc/slipway/kubelet.yaml",
                "--kubeconfig=/etc/kubernetes/kubelet.conf",
                f"--hostname-override={name}",
                f"--node-ip={address}",
                "--node-labels=slipway.dev/pool=a",
            ],
        ),
        _probe("http://127.0.0.1:10248/healthz"),
    )


def _worker(name: str, layout: Layout, authorities: dict[str, str], mirror: Json) -> NodePlan:
    plan = NodePlan()
    plan.step("certificates", _file(f"{PKI}/ca.crt", authorities["kubernetes"]))
    _kubelet(plan, name, layout.workers[name], f"https://{layout.endpoint}", mirror, controller=False)
    return plan


def _controller(name: str, layout: Layout, authorities: dict[str, str], mirror: Json) -> NodePlan:
    plan, address = NodePlan(), layout.controllers[name]
    endpoint = f"https://{layout.endpoint}"
    plan.step("install", _program("kubeadm", mirror))
    _controller_certificates(plan, name, layout, authorities)
    members = layout.etcd.values()
    plan.step(
        "control-plane",
        *(_kubeconfig(plan, part, f"kubernetes-{part}", endpoint) for part in ("admin", "super-admin")),
        _file("/etc/slipway/kubeadm.yaml", _kubeadm(name, address, layout)),
        _probe(
            f"https://{next(iter(members))}:2379/readyz",
            ca_path=f"{PKI}/etcd/ca.crt",
            cert_path=f"{PKI}/apiserver-etcd-client.crt",
            key_path=f"{PKI}/apiserver-etcd-client.key",
        ),
        {
            "kind": "command",
            "argv": [
                f"{PROGRAMS}/{RELEASE}/kubeadm",
                *["init", "phase", "control-plane", "all", "--config", "/etc/slipway/kubeadm.yaml"],
            ],
            "creates": "/etc/kubernetes/manifests/kube-apiserver.yaml",
        },
        *({"kind": "remove", "path": f"/etc/kubernetes/{part}.conf"} for part in ("admin", "super-admin")),
    )
    _kubelet(plan, name, address, endpoint, mirror, controller=True)
    plan.step("api", _probe("https://127.0.0.1:6443/readyz", ca_path=f"{PKI}/ca.crt"))
    return plan


def _controller_certificates(plan: NodePlan, name: str, layout: Layout, authorities: dict[str, str]) -> None:
    address = layout.controllers[name]
    own, endpoint = f"https://{address}:6443", f"https://{layout.endpoint}"
    names = (name, address, "127.0.0.1", layout.endpoint.partition(":")[0])
    plan.step(
        "certificates",
        _file(f"{PKI}/ca.crt", authorities["kubernetes"]),
        _file(f"{PKI}/front-proxy-ca.crt", authorities["front-proxy"]),
        _file(f"{PKI}/etcd/ca.crt", authorities["etcd"]),
        _file(f"{PKI}/sa.key", authorities["sa.key"], 0o600),
        _file(f"{PKI}/sa.pub", authorities["sa.pub"]),
        plan.certificate("apiserver", f"{PKI}/apiserver", Profile("kubernetes", "kube-apiserver", names=names)),
        plan.certificate(
            "apiserver-kubelet-client",
            f"{PKI}/apiserver-kubelet-client",
            Profile("kubernetes", "apiserver-kubelet-client"),
        ),
        plan.certificate("apiserver-etcd-client", f"{PKI}/apiserver-etcd-client", Profile("etcd", "apiserver")),
        plan.certificate("front-proxy-client", f"{PKI}/front-proxy-client", Profile("front-proxy", "front-proxy")),
        *(_kubeconfig(plan, part, f"system:kube-{part}", own) for part in ("controller-manager", "scheduler")),
        _kubeconfig(plan, "kubelet-placeholder", f"system:node:{name}", endpoint, file="kubelet"),
    )


def _kubeconfig(plan: NodePlan, name: str, user: str, server: str, file: str | None = None) -> Json:
    path = f"/etc/kubernetes/{file or name}.conf"
    profile = Profile("kubernetes", user)
    ca_path = f"{PKI}/ca.crt"
    return plan.certificate(name, f"/etc/slipway/{name}", profile, path=path, server=server, ca_path=ca_path, user=user)


def _kubeadm(name: str, address: str, layout: Layout) -> str:
    init = {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "InitConfiguration",
        "localAPIEndpoint": {"advertiseAddress": address, "bindPort": 6443},
        "nodeRegistration": {"name": name},
    }
    external = {
        "endpoints": [f"https://{at}:2379" for at in layout.etcd.values()],
        "caFile": f"{PKI}/etcd/ca.crt",
        "certFile": f"{PKI}/apiserver-etcd-client.crt",
        "keyFile": f"{PKI}/apiserver-etcd-client.key",
    }
    cluster = {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "ClusterConfiguration",
        "kubernetesVersion": RELEASE,
        "controlPlaneEndpoint": layout.endpoint,
        "networking": {"podSubnet": "10.244.0.0/16", "serviceSubnet": "10.96.0.0/16"},
        "etcd": {"external": external},
        "apiServer": {"extraArgs": [{"name": "profiling", "value": "false"}]},
    }
    return "\n---\n".join(json.dumps(document) for document in (init, cluster))
