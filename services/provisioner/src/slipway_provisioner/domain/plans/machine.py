"""The step that makes a plain cloud image fit for a kubelet: kernel settings, containerd, its registry mirrors."""

from urllib.parse import urlsplit

from slipway_contracts.agent import Action, File, PlanStep, ProgramVersion, Unit
from slipway_provisioner.domain.plans.model import PlanInputs
from slipway_provisioner.domain.plans.packages import missing_packages

CONTAINERD_CONFIG = "/etc/containerd/config.toml"
REGISTRIES = "/etc/containerd/certs.d"
RESOLV_CONF = "/run/slipway/resolv.conf"
PREPARE = "/usr/local/lib/slipway/prepare-machine"
PREPARE_UNIT = "slipway-machine.service"

# Modules and settings that a container cannot have are its host's affair: no line here may fail the others.
_PREPARE = f"""#!/bin/sh
for module in overlay br_netfilter; do
  modprobe "$module" 2>/dev/null || echo "module $module is not loaded by this machine itself"
done
for setting in net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1 \\
    fs.inotify.max_user_instances=8192 fs.inotify.max_user_watches=524288; do
  sysctl -q -w "$setting" 2>/dev/null || echo "setting $setting is not this machine's to make"
done

# Pods must not get a resolver that listens on the node's loopback.
mkdir -p /run/slipway
resolver=/etc/resolv.conf
[ ! -s /run/systemd/resolve/resolv.conf ] || resolver=/run/systemd/resolve/resolv.conf
[ -e "$resolver" ] && ln -sfn "$resolver" {RESOLV_CONF} || : > {RESOLV_CONF}

# Distributions keep the CNI plugins elsewhere; Flannel installs its own into the usual place.
mkdir -p /opt/cni/bin
for plugin in /usr/lib/cni/* /usr/libexec/cni/*; do
  [ ! -f "$plugin" ] || [ -e "/opt/cni/bin/${{plugin##*/}}" ] || ln -s "$plugin" "/opt/cni/bin/${{plugin##*/}}"
done
exit 0
"""

_PREPARE_UNIT = f"""[Unit]
Description=Kernel settings and paths for Kubernetes
Before=containerd.service kubelet.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh {PREPARE}

[Install]
WantedBy=multi-user.target
"""


def prepare_machine(inputs: PlanInputs) -> PlanStep:
    """containerd runs with the cgroup driver, the sandbox image and the registry mirrors of this region."""
    actions: list[Action] = [
        *missing_packages(inputs),
        *_runtime_versions(inputs),
        File(path=PREPARE, content=_PREPARE, mode=0o755),
        Unit(name=PREPARE_UNIT, content=_PREPARE_UNIT, restart_on=(PREPARE,)),
        *_registries(inputs),
        File(path=CONTAINERD_CONFIG, content=_containerd_config(inputs)),
        Unit(name="containerd.service", restart_on=(CONTAINERD_CONFIG,)),
    ]
    return PlanStep(name="machine", title="Prepare the machine", actions=tuple(actions))


def _runtime_versions(inputs: PlanInputs) -> tuple[ProgramVersion, ...]:
    """What the machine has must be what the release runs with, before anything is set up for it."""
    supported = inputs.release.supports
    return tuple(
        ProgramVersion(
            program=program,
            argv=(program, "--version"),
            at_least=supported[program].at_least,
            below=supported[program].below,
            code="RuntimeOutOfRange",
            lenient=inputs.machine.any_runtime,
        )
        for program in ("containerd", "runc")
        if program in supported
    )


def _containerd_config(inputs: PlanInputs) -> str:
    """In the format of version 2, which containerd 1.x reads and 2.x translates."""
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    systemd = "true" if inputs.cgroup_driver == "systemd" else "false"
    return f"""version = 2

[{cri}]
  sandbox_image = "{inputs.release.images["pause"]}"

[{cri}.cni]
  bin_dir = "/opt/cni/bin"
  conf_dir = "/etc/cni/net.d"

[{cri}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[{cri}.containerd.runtimes.runc.options]
  SystemdCgroup = {systemd}

[{cri}.registry]
  config_path = "{REGISTRIES}"
"""


def _registries(inputs: PlanInputs) -> tuple[File, ...]:
    """The region's mirrors and the node spec's, which go before them, and registries that are not to be verified.

    https://github.com/containerd/containerd/blob/main/docs/hosts.md
    """
    runtime = inputs.made_of.runtime
    mirrors = {**inputs.registry_mirrors, **runtime.registry_mirrors}
    insecure = frozenset(runtime.insecure_registries)
    return tuple(_hosts(each, mirrors.get(each), insecure) for each in sorted({*mirrors, *insecure}))


def _hosts(registry: str, mirror: str | None, insecure: frozenset[str]) -> File:
    hosts = [mirror] if mirror else []
    if registry in insecure:
        hosts += [f"https://{registry}", f"http://{registry}"]
    lines = [f'server = "https://{registry}"']
    for url in hosts:
        lines += ["", f'[host."{url}"]', '  capabilities = ["pull", "resolve"]']
        if url.startswith("https://") and urlsplit(url).netloc in insecure:
            lines.append("  skip_verify = true")
    return File(path=f"{REGISTRIES}/{registry}/hosts.toml", content="\n".join(lines) + "\n")
