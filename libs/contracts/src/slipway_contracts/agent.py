"""The node agent's protocol: what it claims, the plan it pulls, what it reports and observes. JSON over HTTPS.

The agent itself is standard library only and does not import this module; a conformance test holds the two together.
Every path of the agent host name, with who serves it:

    GET  /v1/agent/program              provisioner   the agent's zipapp; no client certificate
    GET  /v1/agent/time                 provisioner   {"now": RFC 3339}; no client certificate
    POST /v1/agent/claim                provisioner   Claim -> Claimed; no client certificate
    GET  /v1/agent/plan?after=N&wait=S  provisioner   Plan, or 204 when there is none newer than revision N
    POST /v1/agent/certificates         provisioner   CertificateRequests -> Certificates
    POST /v1/agent/report               provisioner   PlanReport -> 204
    POST /v1/agent/observations         monitor       Observation -> 204
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from slipway_contracts.provisioner import StepState
from slipway_contracts.values import Id, Instant, Value

EtcdMemberId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
"""The id of a member of etcd: 16 hexadecimal digits, as etcdctl prints it with its leading zeros."""


class AgentBootstrap(Value):
    """`/etc/slipway/agent.json`, the only thing cluster-specific in user data."""

    url: str = Field(description="https://<agent host name>[:port], the provisioner's agent endpoint")
    ca_pem: str = Field(description="the CA of the agent host name")
    token: str = Field(description="one-time, bound to the first key that claims it", repr=False)
    node_id: Id
    program_sha256: str


class Claim(Value):
    """The agent's first call: binds the token to its public key."""

    token: str = Field(repr=False)
    node_id: Id
    csr_pem: str = Field(description="proves possession of the agent's key; its subject is ignored")
    clock: Instant = Field(description="the agent's clock")
    hostname: str
    agent_version: str
    boot_id: str


class Claimed(Value):
    """The agent's identity."""

    certificate_pem: str
    ca_pem: str = Field(description="the CA that signs the services' and agents' certificates")
    observe_url: str = Field(description="the monitor's agent endpoint")
    observe_every: float = Field(default=10.0, description="seconds")


class Artifact(Value):
    """A program that must be on the node; what is there with the right digest is not fetched."""

    kind: Literal["artifact"] = "artifact"
    url: str
    sha256: str
    path: str
    mode: int = 0o755


class Package(Value):
    """Programs that the image may lack: fetched only if one of them is in none of the places; what is there stays.

    The digest is checked before anything of the file is used. Of an archive, only files and folders are taken, and
    none that would lie outside of the folder; with anything else in it the step fails with ArtifactUnusable.
    """

    kind: Literal["package"] = "package"
    name: str = Field(examples=["containerd"])
    programs: tuple[str, ...] = Field(min_length=1, description="names of files", examples=[("containerd",)])
    places: tuple[str, ...] = Field(description="folders where the image may have them", examples=[("/usr/bin",)])
    url: str
    sha256: str
    folder: str = Field(description="where an archive is unpacked, or a program put")
    archive: bool = Field(description="a tar.gz; else the file is the one program itself")


class UnitFile(Value):
    """A systemd unit for a machine that has none of this name: written only there, and never over another one."""

    kind: Literal["unit_file"] = "unit_file"
    name: str = Field(examples=["containerd.service"])
    content: str


class File(Value):
    """A file with this content; written atomically, only when it differs."""

    kind: Literal["file"] = "file"
    path: str
    content: str = Field(repr=False)
    mode: int = 0o644


class Certificate(Value):
    """A key that the agent makes and keeps, and a certificate that the provisioner signs for it.

    The provisioner knows from the plan what the certificate's subject is; the agent names only the entry. The
    certificate is asked for again when the file is missing, does not match the key, or `generation` moved.
    """

    kind: Literal["certificate"] = "certificate"
    name: str = Field(description="unique in the plan, e.g. etcd-peer")
    key_path: str
    cert_path: str
    generation: int = 1
    kubeconfig_path: str | None = Field(
        default=None, description="also write a kubeconfig that embeds key and certificate"
    )
    kubeconfig_server: str | None = None
    kubeconfig_ca_path: str | None = None
    kubeconfig_user: str | None = None


class Unit(Value):
    """A systemd unit that runs; restarted when its text or one of `restart_on` changed since it was started."""

    kind: Literal["unit"] = "unit"
    name: str = Field(examples=["kubelet.service"])
    content: str | None = Field(default=None, description="the unit file; none: the image's own")
    restart_on: tuple[str, ...] = Field(default=(), description="paths of files")


class Command(Value):
    """A program to run to its end; skipped when `creates` exists (and none of `redo_on` changed since)."""

    kind: Literal["command"] = "command"
    argv: tuple[str, ...]
    env: dict[str, str] = {}
    creates: str | None = None
    redo_on: tuple[str, ...] = ()
    timeout: float = Field(default=120.0, description="seconds")


class Remove(Value):
    """A file that must not be there (short-lived admin credentials)."""

    kind: Literal["remove"] = "remove"
    path: str


class HttpProbe(Value):
    """Waits until GET answers one of the statuses; `waiting` is what a user reads meanwhile."""

    kind: Literal["http_probe"] = "http_probe"
    url: str
    alternatives: tuple[str, ...] = Field(default=(), description="URLs one of which may answer in its place")
    statuses: tuple[int, ...] = (200,)
    ca_path: str | None = None
    cert_path: str | None = None
    key_path: str | None = None
    timeout: float = Field(default=600.0, description="seconds until the step fails")
    waiting_code: str = Field(examples=["WaitingForEtcd"])
    waiting: str = Field(examples=["etcd has no quorum yet"])
    for_others: bool = Field(
        default=False, description="the wait is for other nodes and does not count against this one"
    )


class ProgramVersion(Value):
    """A program of the machine whose version must be in a range; outside of it the step fails with the code."""

    kind: Literal["program_version"] = "program_version"
    program: str = Field(examples=["containerd"])
    argv: tuple[str, ...] = Field(description="prints the version, the first thing of the form 1.2.3")
    at_least: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    below: str | None = Field(default=None, pattern=r"^\d+\.\d+\.\d+$")
    code: str = Field(examples=["RuntimeOutOfRange"])
    lenient: bool = Field(default=False, description="outside of the range the step is done all the same, with a word")


class EtcdMember(Value):
    """A change of etcd's membership, made by the agent of a member that is well: a lost member's place is given anew.

    Without `member_id` (the new server's etcd is certainly not started yet): every member with this peer URL or a
    former one whose name differs is removed, a voter only while those that are healthy stay a majority afterwards;
    so is a learner that does not answer, for etcd takes one at a time; then a learner is added, and its id is the
    step's `result`. With `member_id`: that learner is promoted once it is
    in sync; if etcd does not know the id, the step fails with EtcdMemberMissing.
    """

    kind: Literal["etcd_member"] = "etcd_member"
    url: str = Field(description="the helping member's own client URL")
    ca_path: str
    cert_path: str
    key_path: str
    name: str = Field(description="as the new member will publish it")
    peer_url: str
    former_peer_urls: tuple[str, ...] = Field(default=(), description="of ports that were lost")
    member_id: EtcdMemberId | None = None
    timeout: float = Field(default=600.0, description="seconds until the step fails")
    waiting_code: str = Field(default="WaitingForEtcdLearner")
    waiting: str = Field(examples=["the new member of etcd is catching up"])


Action = Annotated[
    Artifact
    | Package
    | File
    | Certificate
    | Unit
    | UnitFile
    | Command
    | Remove
    | HttpProbe
    | ProgramVersion
    | EtcdMember,
    Field(discriminator="kind"),
]


class EtcdAccess(Value):
    """How an agent speaks to its node's own member of etcd."""

    url: str = Field(description="the member's client URL on loopback")
    ca_path: str
    cert_path: str
    key_path: str


class PlanStep(Value):
    """Actions that belong together, applied in order; a user sees the title."""

    name: str
    title: str
    actions: tuple[Action, ...]
    etcd: EtcdAccess | None = Field(default=None, description="the agent observes etcd's membership by it")


class Plan(Value):
    """All that the node should be. Applying it twice changes nothing the second time."""

    node_id: Id
    revision: int = Field(ge=1)
    steps: tuple[PlanStep, ...]
    traceparent: str | None = Field(default=None, description="W3C trace context, to be returned with each report")


class StepReport(Value):
    """How far one step is."""

    name: str
    state: StepState
    since: Instant
    code: str | None = Field(default=None, description="of a step that is done: it works and is not as it should be")
    message: str | None = None
    for_others: bool = False
    result: str | None = Field(default=None, description="what the step found or made: the id of a member of etcd")


class PlanReport(Value):
    """How far the plan is: sent after each change and at least once a minute while unfinished."""

    node_id: Id
    revision: int
    state: StepState
    steps: tuple[StepReport, ...]
    log_tail: str | None = Field(
        default=None, description="with a failure: the end of what the command printed, secrets removed"
    )
    traceparent: str | None = Field(default=None, max_length=60, description="as the plan had it")


class CertificateRequest(Value):
    """One public key to be signed under the plan's entry of this name."""

    name: str
    csr_pem: str


class CertificateRequests(Value):
    """All that a step needs."""

    revision: int
    requests: tuple[CertificateRequest, ...]


class SignedCertificate(Value):
    """The answer to one request."""

    name: str
    certificate_pem: str


class Certificates(Value):
    """Signed certificates by name."""

    certificates: tuple[SignedCertificate, ...]


class UnitState(StrEnum):
    """As systemd says."""

    ACTIVE = "active"
    ACTIVATING = "activating"
    INACTIVE = "inactive"
    FAILED = "failed"
    ABSENT = "absent"


class UnitObservation(Value):
    """One unit of the plan."""

    name: str
    state: UnitState


class ProbeObservation(Value):
    """One local health endpoint (kubelet healthz, etcd health, API server livez), looked at from the node itself."""

    name: str
    healthy: bool
    saw: str = Field(description="one sentence")


class EtcdMemberView(Value):
    """One member of etcd as another one's agent sees it."""

    member_id: EtcdMemberId
    name: str = Field(description="empty until the member has started for the first time")
    peer_url: str
    learner: bool = False
    healthy: bool = Field(description="its client URL answers, to this agent, that it serves")
    saw: str = Field(description="one sentence")


class EtcdObservation(Value):
    """The membership of etcd as this node's own member has it, and what this agent sees of each member."""

    member_id: EtcdMemberId = Field(description="this node's own")
    leader_id: EtcdMemberId | None = None
    members: tuple[EtcdMemberView, ...]


class Observation(Value):
    """What the agent sees of its own node; pushed every observe_every seconds."""

    node_id: Id
    boot_id: str
    at: Instant
    applied_revision: int
    units: tuple[UnitObservation, ...] = ()
    probes: tuple[ProbeObservation, ...] = ()
    etcd: EtcdObservation | None = Field(
        default=None, description="on etcd's nodes; none while the own member does not answer"
    )
