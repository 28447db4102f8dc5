"""The plans against the real etcd, kubeadm and kube-apiserver: each node's files are laid out in a root of its own.

What the agent would start by systemd is started here with exactly the command line of the plan's unit, in a chroot.
"""

import contextlib
import http.client
import os
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from slipway_contracts.agent import Artifact, Certificate, Command, File, PlanStep, Remove, Unit
from slipway_contracts.values import Role
from slipway_node_agent.certificates import render_kubeconfig
from slipway_provisioner.domain.cluster_keys import ClusterKeys, make_cluster_keys
from slipway_provisioner.domain.pki import make_request, sign_request
from slipway_provisioner.domain.plans.model import Endpoint, PlanInputs, RenderedPlan
from slipway_provisioner.domain.plans.render import render_plan
from slipway_provisioner.domain.plans.testing import CLUSTER_ID, a_spec, plan_inputs
from slipway_provisioner.signing import bootstrap_access

ASSETS = os.environ.get("KUBEBUILDER_ASSETS", "")
PROGRAMS = ("etcd", "kube-apiserver", "kubeadm")
HOW = "set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver and kubeadm (setup-envtest, or a release's tarball)"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not all((Path(ASSETS) / each).exists() for each in PROGRAMS) or not ASSETS, reason=HOW),
    pytest.mark.skipif(os.geteuid() != 0, reason="each node gets a chroot: run this test as root"),
]

BOUND = 60.0
"""Seconds that a program may take to be ready on a busy machine."""


@dataclass
class Machine:
    """A root folder that stands for a node's disk."""

    root: Path
    inputs: PlanInputs
    plan: RenderedPlan
    keys: ClusterKeys

    def path(self, absolute: str) -> Path:
        """Where a node's path lies here."""
        return self.root / absolute.lstrip("/")

    def write(self, path: str, content: str, mode: int = 0o600) -> None:
        """As the agent does."""
        target = self.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        target.chmod(mode)

    def step(self, name: str) -> PlanStep:
        """One step of the plan."""
        return next(step for step in self.plan.steps if step.name == name)

    def lay_out(self) -> None:
        """All files, programs and certificates of the plan."""
        for step in self.plan.steps:
            for action in step.actions:
                if isinstance(action, File):
                    self.write(action.path, action.content, action.mode)
                elif isinstance(action, Artifact) and Path(action.path).name in PROGRAMS:
                    self.install(Path(action.path).name, action.path)
                elif isinstance(action, Certificate):
                    self.certify(action)

    def install(self, program: str, path: str) -> None:
        """Put one of the real programs where the plan wants it."""
        target = self.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        source = (Path(ASSETS) / program).resolve()
        try:
            target.hardlink_to(source)
        except OSError:
            shutil.copy2(source, target)

    def certify(self, entry: Certificate) -> None:
        """As agent and provisioner do together."""
        profile = self.plan.profiles[entry.name]
        key, request = make_request("ignored")
        certificate = sign_request(self.keys.authorities[profile.authority], request, profile, datetime.now(UTC))
        self.write(entry.key_path, key)
        self.write(entry.cert_path, certificate)
        if entry.kubeconfig_path is not None:
            authority = self.path(str(entry.kubeconfig_ca_path)).read_text()
            server, user = str(entry.kubeconfig_server), str(entry.kubeconfig_user)
            self.write(entry.kubeconfig_path, render_kubeconfig(server, authority, user, certificate, key))

    def run(self, argv: tuple[str, ...]) -> str:
        """A command to its end."""
        done = subprocess.run(["chroot", self.root, *argv], capture_output=True, text=True, timeout=BOUND, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    @contextlib.contextmanager
    def running(self, argv: list[str]) -> Iterator[subprocess.Popen[bytes]]:
        """A program while the test needs it."""
        log = self.root / f"{Path(argv[0]).name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(["chroot", self.root, *argv], stdout=output, stderr=subprocess.STDOUT)
            try:
                yield process
            finally:
                process.send_signal(signal.SIGKILL)
                process.wait(10)


def a_machine(tmp_path: Path, inputs: PlanInputs, keys: ClusterKeys) -> Machine:
    machine = Machine(tmp_path / inputs.node.name, inputs, render_plan(inputs), keys)
    for folder in ("tmp", "etc", "dev", "var/lib"):
        (machine.root / folder).mkdir(parents=True)
    machine.write("/etc/hosts", "127.0.0.1 localhost\n", 0o644)
    machine.lay_out()
    return machine


def command_of(unit: Unit) -> list[str]:
    """What systemd would start."""
    text = (unit.content or "").replace("\\\n", "")
    line = next(line for line in text.splitlines() if line.startswith("ExecStart="))
    return shlex.split(line.removeprefix("ExecStart="))


def etcd_command(machine: Machine, metrics: str) -> list[str]:
    """The unit's command; only what listens on loopback is moved, for here three members share one."""
    unit = next(action for action in machine.step("etcd").actions if isinstance(action, Unit))
    argv = command_of(unit)
    own = machine.inputs.address
    moved = [each.replace(",https://127.0.0.1:2379", "").replace("127.0.0.1:2381", f"{own}:2381") for each in argv]
    assert moved != argv, "the flags that this test moves are still there"
    assert metrics in " ".join(moved)
    return moved


def status(url_host: str, port: int, path: str, context: ssl.SSLContext | None = None) -> int | str:
    """One GET."""
    try:
        connection: http.client.HTTPConnection = (
            http.client.HTTPSConnection(url_host, port, timeout=5, context=context)
            if context is not None
            else http.client.HTTPConnection(url_host, port, timeout=5)
        )
        with contextlib.closing(connection):
            connection.request("GET", path)
            return connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"


def await_that(condition: Callable[[], bool], what: Callable[[], str]) -> None:
    """Bounded."""
    deadline = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)


def strict(ca: Path, cert: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """As Python 3.13 verifies by default."""
    context = ssl.create_default_context(cafile=str(ca))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if cert is not None:
        context.load_cert_chain(cert, key)
    return context


@pytest.fixture(scope="module")
def keys() -> ClusterKeys:
    return make_cluster_keys(CLUSTER_ID, datetime.now(UTC))


@pytest.fixture
def subnet() -> str:
    """Loopback addresses of this process alone."""
    return f"127.{100 + os.getpid() % 100}.{os.getpid() // 100 % 250}"


def test_three_etcd_members_form_a_quorum_by_their_plans(tmp_path: Path, keys: ClusterKeys, subnet: str) -> None:
    members = [
        a_machine(tmp_path, plan_inputs(Role.ETCD, number=number, subnet=subnet, keys=keys), keys)
        for number in (1, 2, 3)
    ]
    first = members[0]
    own = first.inputs.address
    client = strict(
        first.path("/etc/etcd/pki/ca.crt"),
        first.path("/etc/etcd/pki/healthcheck-client.crt"),
        first.path("/etc/etcd/pki/healthcheck-client.key"),
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(first.running(etcd_command(first, f"{own}:2381")))
        await_that(lambda: status(own, 2381, "/livez") == 200, lambda: (first.root / "etcd.log").read_text()[-3000:])
        assert status(own, 2381, "/readyz") != 200, "one of three members is no quorum"
        for member in members[1:]:
            stack.enter_context(member.running(etcd_command(member, f"{member.inputs.address}:2381")))
        for member in members:
            at = member.inputs.address
            await_that(lambda at=at: status(at, 2381, "/readyz") == 200, lambda at=at: str(status(at, 2381, "/readyz")))
        assert status(own, 2379, "/readyz", client) == 200
        without = strict(first.path("/etc/etcd/pki/ca.crt"))
        assert status(own, 2379, "/readyz", without) != 200, "a client needs a certificate"


@pytest.fixture
def own_address() -> str:
    """An address of this machine beyond loopback, which kubeadm does not advertise. No packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address beyond loopback")
        return str(probe.getsockname()[0])


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_kubeadm_and_the_api_server_work_from_a_controllers_plan(
    tmp_path: Path, keys: ClusterKeys, subnet: str, own_address: str
) -> None:
    spec = a_spec(pools=())
    etcd = a_machine(
        tmp_path,
        plan_inputs(Role.ETCD, subnet=subnet, etcd_addresses=(f"{subnet}.11",), keys=keys, spec=spec),
        keys,
    )
    inputs = plan_inputs(Role.CONTROLLER, subnet=subnet, etcd_addresses=(f"{subnet}.11",), keys=keys, spec=spec)
    inputs = replace(inputs, node=replace(inputs.node, address=own_address))
    controller = a_machine(tmp_path, inputs, keys)
    controller.install("kube-apiserver", "/kube-apiserver")
    kubeadm = next(action for action in controller.step("control-plane").actions if isinstance(action, Command))
    controller.run((kubeadm.argv[0], "config", "validate", "--config", "/etc/slipway/kubeadm.yaml"))
    printed = controller.run(kubeadm.argv)
    manifest = controller.path(str(kubeadm.creates))
    assert manifest.exists(), printed
    for step in controller.plan.steps:
        for action in step.actions:
            if isinstance(action, Remove):
                controller.path(action.path).unlink()
    pod = yaml.safe_load(manifest.read_text())
    program, *flags = pod["spec"]["containers"][0]["command"]
    assert program == "kube-apiserver"
    own, port = "127.0.0.1", free_port()
    argv = ["/kube-apiserver", *flags, f"--bind-address={own}", f"--secure-port={port}"]
    authority = controller.path("/etc/kubernetes/pki/ca.crt")
    with (
        etcd.running(etcd_command(etcd, f"{etcd.inputs.address}:2381")),
        controller.running(argv),
    ):
        context = strict(authority)
        log = controller.root / "kube-apiserver.log"
        await_that(
            lambda: status(own, port, "/readyz", context) == 200,
            lambda: f"{status(own, port, '/readyz', context)}\n{log.read_text()[-6000:]}",
        )
        assert status(own, port, "/api/v1/nodes", context) in (401, 403), "nobody reads without a certificate"
        kubelet = strict(
            authority,
            controller.path("/etc/kubernetes/pki/kubelet-client.crt"),
            controller.path("/etc/kubernetes/pki/kubelet-client.key"),
        )
        name = inputs.node.name
        assert status(own, port, f"/api/v1/nodes/{name}", kubelet) == 404, "its own node is not there yet"
        assert status(own, port, "/api/v1/secrets", kubelet) == 403
        access = bootstrap_access(keys, Endpoint(own, port), datetime.now(UTC))
        controller.write("/tmp/masters.crt", access.certificate_pem)
        controller.write("/tmp/masters.key", access.key_pem)
        masters = strict(authority, controller.path("/tmp/masters.crt"), controller.path("/tmp/masters.key"))
        assert status(own, port, "/api/v1/secrets", masters) == 200
