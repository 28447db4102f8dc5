"""What a cluster's Node objects should say, against what they say. Pure."""

import json
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from slipway_contracts.api import ClusterSpec, PoolSpec, Taint
from slipway_contracts.provisioner import NodePhase, ServerState
from slipway_contracts.values import Role

POOL_LABEL = "slipway.dev/pool"
NODE_LABEL = "slipway.dev/node-id"

KEPT = "slipway.dev/kept"
"""The annotation that says which labels and taints of a Node are ours, so that they go when the pool drops them."""

ROLE_LABEL = "node-role.kubernetes.io/"
"""Labels below it may not be set by a kubelet itself (NodeRestriction)."""

_NAMES = {Role.CONTROLLER.value: "control-plane", Role.WORKER.value: "worker"}
_RELEASE = re.compile(r"^v(\d+)\.(\d+)\.(\d+)")

_OWN_LABELS = frozenset(
    {
        "kubernetes.io/arch",
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
    }
)
_OWN_LABEL_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")


class NodeLike(Protocol):
    """Our record of a node."""

    node_id: str
    pool_id: str
    name: str
    role: str
    phase: str
    server_id: str | None


class RegisteringNode(Protocol):
    """Our record of a node, as far as its registration goes."""

    node_id: str
    name: str
    phase: str
    since: datetime
    server_state: str
    reregister_at: datetime | None


class Seen(Protocol):
    """A Node object."""

    @property
    def name(self) -> str: ...
    @property
    def provider_id(self) -> str | None: ...
    @property
    def labels(self) -> dict[str, str]: ...
    @property
    def taints(self) -> tuple[dict[str, Any], ...]: ...
    @property
    def kept(self) -> str | None: ...


SeenT = TypeVar("SeenT", bound=Seen)


@dataclass(frozen=True)
class Upkeep:
    """What is to be changed of a Node object."""

    labels: Mapping[str, str | None] = field(default_factory=dict)
    """None: the label goes."""
    taints: tuple[dict[str, Any], ...] | None = None
    """All that the Node has afterwards, those of others included; None: they stay as they are."""
    kept: str | None = None
    """The new text of the annotation; None: it stays."""


def taints_of(pool: PoolSpec) -> tuple[Taint, ...]:
    """The taints of the pool's nodes: its own, and Kubernetes' own of a controller."""
    control_plane = Taint(key="node-role.kubernetes.io/control-plane", effect="NoSchedule")
    return (control_plane, *pool.taints) if pool.role is Role.CONTROLLER else pool.taints


def may_register(label: str) -> bool:
    """Whether a kubelet accepts the label for its own Node: of Kubernetes' own domains only those that it lists.

    https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction
    """
    domain = label.partition("/")[0] if "/" in label else ""
    reserved = domain in ("kubernetes.io", "k8s.io") or domain.endswith((".kubernetes.io", ".k8s.io"))
    own = any(domain == each or domain.endswith("." + each) for each in _OWN_LABEL_DOMAINS)
    return not reserved or own or label in _OWN_LABELS


def decide_upkeep(spec: ClusterSpec, records: Sequence[NodeLike], found: Iterable[Seen]) -> dict[str, Upkeep]:
    """By Node name what has to change: what the pool wants is put (back), what it dropped goes, all else stays."""
    by_name = {record.name: record for record in records}
    changes: dict[str, Upkeep] = {}
    for node in found:
        record = by_name.get(node.name)
        if record is None or record.role not in _NAMES:
            continue
        change = _upkeep(spec.pool(record.pool_id), record, node)
        if change != Upkeep():
            changes[node.name] = change
    return changes


def _upkeep(pool: PoolSpec | None, record: NodeLike, node: Seen) -> Upkeep:
    labels = {ROLE_LABEL + _NAMES[record.role]: ""}
    if pool is None:
        return Upkeep(_label_changes(labels, frozenset(), node))
    labels |= {**pool.labels, POOL_LABEL: pool.name, NODE_LABEL: record.node_id}
    known_labels, known_taints = _read_kept(node.kept)
    wanted = tuple({key: value for key, value in taint.model_dump().items() if value} for taint in taints_of(pool))
    places = sorted(f"{key}:{effect}" for key, effect in map(_place, wanted))
    kept = json.dumps({"labels": sorted(pool.labels), "taints": places})
    return Upkeep(
        labels=_label_changes(labels, known_labels, node),
        taints=_all_taints(wanted, known_taints, node),
        kept=kept if kept != node.kept else None,
    )


def _label_changes(wanted: Mapping[str, str], known: frozenset[str], node: Seen) -> dict[str, str | None]:
    lacking: dict[str, str | None] = {key: value for key, value in wanted.items() if node.labels.get(key) != value}
    return lacking | {key: None for key in sorted(known) if key not in wanted and key in node.labels}


def _all_taints(
    wanted: tuple[dict[str, Any], ...], known: frozenset[tuple[str, str]], node: Seen
) -> tuple[dict[str, Any], ...] | None:
    """The Node's taints with ours as they should be; None when they are."""
    places = {_place(taint) for taint in wanted}
    lacking = any(not any(_same(taint, each) for each in node.taints) for taint in wanted)
    dropped = any(_place(each) in known - places for each in node.taints)
    if not lacking and not dropped:
        return None
    return (*(each for each in node.taints if _place(each) not in known | places), *wanted)


def _read_kept(text: str | None) -> tuple[frozenset[str], frozenset[tuple[str, str]]]:
    """Labels' keys and taints' places; an annotation that somebody spoiled says nothing."""
    try:
        document = json.loads(text or "{}")
        labels = frozenset(str(each) for each in document.get("labels", ()))
        places = [str(each).rpartition(":") for each in document.get("taints", ())]
    except (ValueError, AttributeError, TypeError):
        return frozenset(), frozenset()
    return labels, frozenset((key, effect) for key, _, effect in places)


def _place(taint: Mapping[str, Any]) -> tuple[str, str]:
    """What Kubernetes tells taints apart by."""
    return str(taint.get("key", "")), str(taint.get("effect", ""))


def _same(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    return _place(wanted) == _place(there) and wanted.get("value", "") == there.get("value", "")


def superseded(records: Sequence[NodeLike], found: Sequence[SeenT]) -> list[SeenT]:
    """Node objects of servers that are gone: of a removed node, or of an earlier server of the same node.

    Objects that we know nothing of are somebody else's and stay.
    """
    by_name = {record.name: record for record in records}
    gone = []
    for node in found:
        record = by_name.get(node.name)
        if record is None:
            continue
        if record.phase == NodePhase.REMOVED.value or (
            record.server_id is not None
            and node.provider_id is not None
            and node.provider_id.rpartition("/")[2] != record.server_id
        ):
            gone.append(node)
    return gone


REGISTRATION_TAKES = timedelta(seconds=60)
"""From a kubelet's start to its Node object, with room for an API that has just come up."""


def missing(records: Sequence[RegisteringNode], names: Container[str], now: datetime) -> list[str]:
    """Ids of nodes that run, and whose Node object somebody deleted: their kubelets have to start anew.

    The object of a controller's earlier server is such a one where no other API server could delete it in time, so
    that the new kubelet took it for its own.
    """
    return [
        each.node_id
        for each in records
        if each.phase == NodePhase.PROVISIONED.value
        and each.server_state == ServerState.ACTIVE.value
        and each.name not in names
        and now >= max(each.since, each.reregister_at or each.since) + REGISTRATION_TAKES
    ]


def release_range(versions: Iterable[str]) -> tuple[str | None, str | None]:
    """The lowest and the highest of these Kubernetes releases; vendor suffixes are left out."""
    known = sorted(tuple(int(part) for part in match.groups()) for match in map(_RELEASE.match, versions) if match)
    if not known:
        return None, None
    return _text(known[0]), _text(known[-1])


def _text(release: tuple[int, ...]) -> str:
    return "v" + ".".join(map(str, release))
