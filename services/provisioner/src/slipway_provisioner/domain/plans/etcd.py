"""The plan of an etcd member: the upstream binary as a systemd unit, a static initial cluster, TLS everywhere.

A server that takes a lost one's place joins the etcd that is there, once another member's plan has made room for it.
Flags: https://etcd.io/docs/v3.6/op-guide/configuration/. The metrics listener on loopback is without TLS, so that the
agent can look at /livez and /readyz without a client certificate; it serves no data.
"""

from slipway_contracts.agent import EtcdAccess, EtcdMember, File, HttpProbe, PlanStep, Unit
from slipway_provisioner.domain.pki import AuthorityName
from slipway_provisioner.domain.plans.model import (
    ETCD_CLIENT_PORT,
    ETCD_METRICS_PORT,
    ETCD_PEER_PORT,
    ETCD_PKI,
    WAIT_FOR_OTHERS,
    MembershipChange,
    PlanInputs,
    certificate,
    host_port,
)
from slipway_provisioner.domain.plans.profiles import Profiles
from slipway_provisioner.domain.plans.units import service_unit

UNIT = "etcd.service"
DATA = "/var/lib/etcd"
CA = f"{ETCD_PKI}/ca.crt"
_BASES = {
    "etcd-server": f"{ETCD_PKI}/server",
    "etcd-peer": f"{ETCD_PKI}/peer",
    "etcd-client": f"{ETCD_PKI}/healthcheck-client",
}
_ACCESS = {
    "url": f"https://127.0.0.1:{ETCD_CLIENT_PORT}",
    "ca_path": CA,
    "cert_path": f"{_BASES['etcd-client']}.crt",
    "key_path": f"{_BASES['etcd-client']}.key",
}
"""How the agent speaks to this member."""
START_STEP = "etcd"
"""The step from which on etcd may have run on the node."""
_ADD, _PROMOTE = "etcd-add-", "etcd-promote-"
_LOCAL = f"http://127.0.0.1:{ETCD_METRICS_PORT}"


def etcd_steps(inputs: PlanInputs, profiles: Profiles) -> tuple[PlanStep, ...]:
    """Install, start, wait for the quorum; then what another member needs."""
    own = (_install(inputs), _certificates(inputs, profiles), _start(inputs), _quorum())
    return own if inputs.change is None else (*own, _help(inputs.change))


def help_step(change: MembershipChange) -> str:
    """The name of the step by which a node helps another one; each change has steps of its own."""
    return f"{_ADD if change.member_id is None else _PROMOTE}{change.member}"


def is_help(step: str) -> bool:
    """Whether a step is not about the node itself: its failure is not the node's."""
    return step.startswith((_ADD, _PROMOTE))


def _install(inputs: PlanInputs) -> PlanStep:
    programs = tuple(inputs.program(name) for name in ("etcd", "etcdctl", "etcdutl"))
    return PlanStep(name="install", title="Install etcd", actions=programs)


def _certificates(inputs: PlanInputs, profiles: Profiles) -> PlanStep:
    authority = File(path=CA, content=inputs.keys.certificates[AuthorityName.ETCD])
    entries = tuple(certificate(inputs, name, profiles[name], base) for name, base in _BASES.items())
    return PlanStep(name="certificates", title="Get etcd's certificates", actions=(authority, *entries))


def _start(inputs: PlanInputs) -> PlanStep:
    # Certificates and keys are read again by etcd itself at each handshake, the authority's only at its start.
    unit = Unit(name=UNIT, content=service_unit("etcd", etcd_command(inputs), notify=True), restart_on=(CA,))
    alive = HttpProbe(
        url=f"{_LOCAL}/livez",
        timeout=120.0,
        waiting_code="WaitingForEtcdStart",
        waiting="etcd was started and does not answer yet",
    )
    return PlanStep(name=START_STEP, title="Start etcd", actions=(unit, alive))


def _quorum() -> PlanStep:
    ready = HttpProbe(
        url=f"{_LOCAL}/readyz",
        timeout=WAIT_FOR_OTHERS,
        waiting_code="WaitingForEtcdQuorum",
        waiting="etcd has no quorum yet: it needs more than half of its members",
        for_others=True,
    )
    return PlanStep(name="etcd-quorum", title="Wait for etcd's quorum", actions=(ready,), etcd=EtcdAccess(**_ACCESS))


def _help(change: MembershipChange) -> PlanStep:
    former = () if change.former_address is None else (_peer_url(change.former_address),)
    action = EtcdMember(
        **_ACCESS,
        name=change.member,
        peer_url=_peer_url(change.address),
        former_peer_urls=former,
        member_id=change.member_id,
        waiting=f"the member of {change.node} does not vote yet",
    )
    title = f"Make room in etcd for {change.node}" if change.member_id is None else f"Let {change.node} vote in etcd"
    return PlanStep(name=help_step(change), title=title, actions=(action,))


def etcd_command(inputs: PlanInputs) -> tuple[str, ...]:
    """etcd's command line on this node."""
    seat, address = inputs.seat, inputs.address
    assert seat is not None, "decide_wait lets no member without a place pass"
    peers = sorted(seat.initial, key=lambda member: member.name)
    cluster = ",".join(f"{peer.name}={_peer_url(str(peer.address))}" for peer in peers)
    client_url = f"https://{host_port(address, ETCD_CLIENT_PORT)}"
    return (
        inputs.program_path("etcd"),
        f"--name={seat.name}",
        f"--data-dir={DATA}",
        f"--initial-cluster={cluster}",
        f"--initial-cluster-state={'existing' if seat.existing else 'new'}",
        f"--initial-cluster-token={inputs.spec.cluster_id}",
        f"--initial-advertise-peer-urls={_peer_url(address)}",
        f"--listen-peer-urls={_peer_url(address)}",
        f"--listen-client-urls={client_url},https://127.0.0.1:{ETCD_CLIENT_PORT}",
        f"--advertise-client-urls={client_url}",
        f"--listen-metrics-urls={_LOCAL}",
        f"--trusted-ca-file={CA}",
        f"--cert-file={ETCD_PKI}/server.crt",
        f"--key-file={ETCD_PKI}/server.key",
        "--client-cert-auth=true",
        f"--peer-trusted-ca-file={CA}",
        f"--peer-cert-file={ETCD_PKI}/peer.crt",
        f"--peer-key-file={ETCD_PKI}/peer.key",
        "--peer-client-cert-auth=true",
        "--strict-reconfig-check=true",
        "--quota-backend-bytes=8589934592",
        "--watch-progress-notify-interval=5s",
        "--feature-gates=InitialCorruptCheck=true",
    )


def _peer_url(address: str) -> str:
    return f"https://{host_port(address, ETCD_PEER_PORT)}"
