"""Kubernetes' objects as the provisioner reads them: narrow models of raw JSON. Pure."""

from datetime import timedelta
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from slipway_chassis.errors import RetryLater
from slipway_provisioner.domain.kubernetes_nodes import KEPT
from slipway_provisioner.ports import KubernetesNode

SOON = timedelta(seconds=5)
_MIRROR = "kubernetes.io/config.mirror"


class Owner(BaseModel):
    """Who an object belongs to."""

    kind: str
    controller: bool = False


class Metadata(BaseModel):
    """What every object has."""

    name: str
    namespace: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owners: list[Owner] | None = Field(default=None, alias="ownerReferences")
    deleted_at: str | None = Field(default=None, alias="deletionTimestamp")
    version: str = Field(default="", alias="resourceVersion")


class Condition(BaseModel):
    """One condition of a Node."""

    type: str
    status: str


class NodeSpec(BaseModel):
    """What is wanted of a Node."""

    provider_id: str | None = Field(default=None, alias="providerID")
    unschedulable: bool = False
    taints: list[dict[str, Any]] | None = None


class NodeInfo(BaseModel):
    """What a kubelet says of itself."""

    kubelet: str | None = Field(default=None, alias="kubeletVersion")


class NodeStatus(BaseModel):
    """What is seen of a Node."""

    conditions: list[Condition] | None = None
    info: NodeInfo | None = Field(default=None, alias="nodeInfo")


class Node(BaseModel):
    """A Node object, as far as the provisioner reads it."""

    metadata: Metadata
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class PodStatus(BaseModel):
    """How far a pod is."""

    phase: str = ""


class Pod(BaseModel):
    """A pod, as far as a drain reads it."""

    metadata: Metadata
    status: PodStatus = PodStatus()


def must_leave(pod: Pod) -> bool:
    """Whether a drain asks the pod to go: not those that belong to the node, nor those that ended."""
    mirror = _MIRROR in (pod.metadata.annotations or {})
    pinned = any(owner.kind == "DaemonSet" and owner.controller for owner in pod.metadata.owners or ())
    return not mirror and not pinned and pod.status.phase not in ("Succeeded", "Failed")


def read_node(document: dict[str, Any]) -> KubernetesNode:
    """The Node as the port has it; RetryLater where it is none."""
    try:
        node = Node.model_validate(document)
    except ValidationError as error:
        raise RetryLater(SOON, "ApiUnreadable", "The cluster's API answered something that is no Node") from error
    return KubernetesNode(
        name=node.metadata.name,
        provider_id=node.spec.provider_id or None,
        ready=any(each.type == "Ready" and each.status == "True" for each in node.status.conditions or ()),
        labels=node.metadata.labels or {},
        unschedulable=node.spec.unschedulable,
        kubelet_version=node.status.info.kubelet if node.status.info is not None else None,
        taints=tuple(node.spec.taints or ()),
        kept=(node.metadata.annotations or {}).get(KEPT),
        version=node.metadata.version,
    )
