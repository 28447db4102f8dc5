"""What an API server answers that is no stored object: discovery, version, minimal OpenAPI, and access reviews."""

from typing import Any

from slipway_sandbox.machines.kubernetes import resources as table
from slipway_sandbox.machines.kubernetes.rbac import Asked, User, allowed
from slipway_sandbox.machines.kubernetes.resources import Resource
from slipway_sandbox.machines.kubernetes.storage import Storage

KINDS = ("selfsubjectaccessreviews", "selfsubjectreviews")


def document(path: str, parts: list[str], release: str, resources: list[Resource]) -> dict[str, Any] | None:
    """A discovery, version or OpenAPI document; None for any other path."""
    if parts == ["version"]:
        return _version(release)
    if parts == ["api"]:
        return {"kind": "APIVersions", "apiVersion": "v1", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    if parts == ["apis"]:
        return table.group_list(resources)
    if parts[:1] == ["api"] and len(parts) == 2:
        return table.resource_list(resources, "", parts[1])
    if parts[:1] == ["apis"] and len(parts) == 2:
        groups = table.group_list(resources)["groups"]
        found = next((group for group in groups if group["name"] == parts[1]), None)
        return {"kind": "APIGroup", "apiVersion": "v1", **found} if found else None
    if parts[:1] == ["apis"] and len(parts) == 3:
        return table.resource_list(resources, parts[1], parts[2])
    if path == "/openapi/v3":
        return {"paths": {}}
    if path == "/openapi/v2":
        return {"swagger": "2.0", "info": {"title": "Kubernetes", "version": release}, "paths": {}}
    return None


def answer(storage: Storage, kind: str, body: dict[str, Any], user: User) -> dict[str, Any]:
    """SelfSubjectAccessReview and SelfSubjectReview."""
    if kind == "selfsubjectreviews":
        info = {"username": user.name, "groups": list(user.all_groups)}
        version = "authentication.k8s.io/v1"
        return {"kind": "SelfSubjectReview", "apiVersion": version, "status": {"userInfo": info}}
    spec = body.get("spec") or {}
    attributes = spec.get("resourceAttributes") or {}
    resource = attributes.get("resource", "")
    if attributes.get("subresource"):
        resource += f"/{attributes['subresource']}"
    asked = Asked(
        attributes.get("verb", ""),
        attributes.get("group", ""),
        resource,
        attributes.get("namespace", ""),
        attributes.get("name", ""),
    )
    if path := spec.get("nonResourceAttributes"):
        asked = Asked(path.get("verb", "get"), url=path.get("path", ""))
    version = "authorization.k8s.io/v1"
    status = {"allowed": allowed(storage, user, asked)}
    return {"kind": "SelfSubjectAccessReview", "apiVersion": version, "spec": spec, "status": status}


def _version(release: str) -> dict[str, Any]:
    major, minor = release.removeprefix("v").split(".")[:2]
    return {
        "major": major,
        "minor": minor,
        "gitVersion": release,
        "gitCommit": "emulated",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": "none",
        "platform": "linux/amd64",
    }
