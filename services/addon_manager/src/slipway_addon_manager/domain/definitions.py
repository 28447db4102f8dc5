"""The addons of every cluster, in the order in which they are applied. The one table of what runs in a cluster."""

from slipway_addon_manager.domain.coredns import coredns
from slipway_addon_manager.domain.flannel import flannel
from slipway_addon_manager.domain.kube_proxy import kube_proxy
from slipway_addon_manager.domain.model import ADDON_LABEL, MANAGED_BY, Addon, Definition, Inputs, Manifest, digest_of
from slipway_addon_manager.domain.rbac import rbac

DEFINITIONS: tuple[Definition, ...] = (
    Definition("rbac", (), rbac),
    Definition("kube-proxy", ("kube_proxy",), kube_proxy),
    Definition("flannel", ("flannel", "flannel_cni"), flannel),
    Definition("coredns", ("coredns",), coredns),
)
"""People first: access does not wait for the network. Then Services, pods' network, and what needs both."""


def define_addons(inputs: Inputs) -> tuple[Addon, ...]:
    """What should be in the cluster; an addon's version moves exactly when one of its objects does."""
    return tuple(_addon(definition, inputs) for definition in DEFINITIONS)


def _addon(definition: Definition, inputs: Inputs) -> Addon:
    manifests = tuple(_labelled(manifest, definition.name) for manifest in definition.render(inputs))
    version = f"{definition.base_version(inputs.spec, inputs.images)}-{digest_of(manifests)}"
    return Addon(definition.name, version, manifests)


def _labelled(manifest: Manifest, addon: str) -> Manifest:
    metadata = manifest["metadata"]
    labels = {**metadata.get("labels", {}), **MANAGED_BY, ADDON_LABEL: addon}
    return {**manifest, "metadata": {**metadata, "labels": labels}}
