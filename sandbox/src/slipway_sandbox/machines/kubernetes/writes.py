"""Creating, updating, patching and deleting objects, with the checks and side effects of a real API server."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from slipway_sandbox.machines.kubernetes import ownership, statuses
from slipway_sandbox.machines.kubernetes.admission import (
    check_identity,
    check_update,
    default,
    prepare_create,
    timestamp,
)
from slipway_sandbox.machines.kubernetes.field_validation import check_fields
from slipway_sandbox.machines.kubernetes.node_restriction import check_node
from slipway_sandbox.machines.kubernetes.ownership import Manager
from slipway_sandbox.machines.kubernetes.patches import json_patch, merge_patch, strategic_merge
from slipway_sandbox.machines.kubernetes.rbac import User, escalation, referenced_rules
from slipway_sandbox.machines.kubernetes.resources import Resource
from slipway_sandbox.machines.kubernetes.storage import Object, Storage

_KEPT_METADATA = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")


@dataclass(frozen=True)
class Place:
    """The address of an object, and on whose behalf it is written."""

    resource: Resource
    namespace: str
    name: str
    subresource: str
    user: User
    manager: str
    dry_run: bool = False
    force: bool = False
    strict: bool = False  # fieldValidation=Strict


class Writes:
    """All changes of a storage. Every method raises Refused for what a real API server refuses."""

    def __init__(self, storage: Storage, now: Callable[[], datetime], service_cidr: str) -> None:
        self._storage = storage
        self._now = now
        self._service_cidr = service_cidr

    def create(self, place: Place, body: Object) -> Object:
        """POST."""
        return self._create(place, body, Manager(place.manager, "Update", place.resource.api_version))

    def update(self, place: Place, body: Object) -> Object:
        """PUT: of the whole object, or of its status alone."""
        live = self._live(place)
        check_identity(place.resource, place.namespace, body)
        if place.strict:
            check_fields(place.resource, body)
        if body["metadata"].get("name", place.name) != place.name:
            raise statuses.bad_request("the name of the object does not match the name on the URL")
        return self._replace(place, live, body)

    def patch(self, place: Place, content_type: str, body: bytes) -> tuple[int, Object]:
        """PATCH of any type; a server-side apply may create the object (201)."""
        kind = content_type.partition(";")[0].strip()
        if kind in ("application/apply-patch+yaml", "application/apply-patch+cbor"):
            return self._apply(place, _decode(body))
        live = self._live(place)
        if kind == "application/json-patch+json":
            patched = json_patch(live, _decode(body))
        elif kind == "application/merge-patch+json":
            patched = merge_patch(live, _decode(body))
        elif kind == "application/strategic-merge-patch+json":
            patched = strategic_merge(live, _decode(body))
        else:
            raise statuses.unsupported_media_type(content_type)
        check_identity(place.resource, place.namespace, patched)
        return 200, self._replace(place, live, patched)

    def delete(self, place: Place, options: Object) -> tuple[int, Object]:
        """DELETE: at once, or marked while finalizers or a pod's grace period hold it."""
        live = self._live(place)
        expected = options.get("preconditions") or {}
        for key in ("uid", "resourceVersion"):
            if expected.get(key) and expected[key] != live["metadata"].get(key):
                why = f"Precondition failed: {key} in precondition: {expected[key]}, {key} in object meta: other"
                raise statuses.conflict(place.resource.qualified, place.name, why)
        if place.dry_run:
            return 200, live
        running = place.resource.plural == "pods" and (live.get("spec") or {}).get("nodeName")
        grace = options.get("gracePeriodSeconds")
        if live["metadata"].get("finalizers") or (running and grace != 0):
            default_grace = (live.get("spec") or {}).get("terminationGracePeriodSeconds", 30) if running else 0
            return 200, self._mark_deleted(place, live, default_grace if grace is None else grace)
        if place.resource.plural == "namespaces":
            self._empty_namespace(place.name)
        self._storage.remove(place.resource.qualified, place.namespace, place.name)
        details = {"name": place.name, "kind": place.resource.plural, "uid": live["metadata"].get("uid")}
        if place.resource.group:
            details["group"] = place.resource.group
        return 200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    def _create(self, place: Place, body: Object, manager: Manager) -> Object:
        check_identity(place.resource, place.namespace, body)
        if place.strict:
            check_fields(place.resource, body)
        self._require_namespace(place)
        if place.namespace:
            body = {**body, "metadata": {**body["metadata"], "namespace": place.namespace}}
        created = prepare_create(place.resource, body, self._storage, self._now(), self._service_cidr)
        check_node(place.user, place.resource, None, created)
        name = created["metadata"]["name"]
        if self._storage.get(place.resource.qualified, place.namespace, name):
            raise statuses.already_exists(place.resource.qualified, name)
        self._check_escalation(place, created)
        if manager.operation == "Apply":
            managers = {manager: set(ownership.owned_fields(body))}
        else:
            managers = ownership.after_update(None, created, manager)
        written = ownership.write_managers(None, managers, timestamp(self._now()))
        created["metadata"]["managedFields"] = written
        return created if place.dry_run else self._storage.put(place.resource.qualified, created)

    def _apply(self, place: Place, applied: Object) -> tuple[int, Object]:
        check_identity(place.resource, place.namespace, applied)
        if "kind" not in applied or "apiVersion" not in applied:
            raise statuses.bad_request("an apply configuration must have apiVersion and kind")
        if applied["metadata"].get("managedFields"):
            raise statuses.bad_request("metadata.managedFields must be nil")
        manager = Manager(place.manager, "Apply", place.resource.api_version, place.subresource)
        if place.subresource != "status" and "status" in place.resource.subresources:
            applied = {key: item for key, item in applied.items() if key != "status"}
        named = {**applied["metadata"], "name": place.name}
        applied = {**applied, "metadata": named}
        live = self._storage.get(place.resource.qualified, place.namespace, place.name)
        if live is None:
            if place.subresource:
                raise statuses.not_found(place.resource.qualified, place.name)
            return 201, self._create(place, applied, manager)
        lost = ownership.conflicts(live, applied, manager)
        if lost and not place.force:
            causes = [(_manager_text(other), ownership.dotted(path)) for other, path in lost]
            raise statuses.field_conflicts(place.resource.qualified, place.name, causes)
        merged, managers = ownership.apply(live, applied, manager)
        return 200, self._replace(place, live, merged, managers)

    def _replace(
        self,
        place: Place,
        live: Object,
        wanted: Object,
        managers: dict[Manager, set[ownership.Path]] | None = None,
    ) -> Object:
        """Stores `wanted` in place of `live`, unless nothing would change."""
        resource = place.resource
        version = wanted["metadata"].get("resourceVersion")
        uid = wanted["metadata"].get("uid", live["metadata"]["uid"])
        if (version and version != live["metadata"]["resourceVersion"]) or uid != live["metadata"]["uid"]:
            raise statuses.modified(resource.qualified, place.name)
        after = self._settle(place, live, wanted)
        if managers is None:
            manager = Manager(place.manager, "Update", resource.api_version, place.subresource)
            managers = ownership.after_update(live, after, manager)
        written = ownership.write_managers(live, managers, timestamp(self._now()))
        after["metadata"]["managedFields"] = written
        check_node(place.user, resource, live, after)
        if after == live or place.dry_run:
            return after
        leaving = after["metadata"].get("deletionTimestamp") and not after["metadata"].get("finalizers")
        if leaving and (resource.plural != "pods" or not after["metadata"].get("deletionGracePeriodSeconds")):
            self._storage.remove(resource.qualified, place.namespace, place.name)
            return after
        return self._storage.put(resource.qualified, after)

    def _settle(self, place: Place, live: Object, wanted: Object) -> Object:
        """`wanted` with all that this address may not change put back."""
        resource = place.resource
        if place.subresource == "status":
            after = {**live, "status": wanted.get("status") or {}}
        else:
            after = {**wanted, "apiVersion": resource.api_version, "kind": resource.kind}
            if "status" in resource.subresources:
                after.pop("status", None)
                after |= {"status": live["status"]} if "status" in live else {}
        source = live if place.subresource else wanted
        metadata = {key: item for key, item in source["metadata"].items() if item not in ({}, [], None)}
        if place.subresource == "status":
            metadata |= {k: v for k, v in wanted["metadata"].items() if k in ("annotations", "labels") and v}
        kept = {key: live["metadata"][key] for key in _KEPT_METADATA if key in live["metadata"]}
        kept |= {"name": place.name, "resourceVersion": live["metadata"]["resourceVersion"]}
        if place.namespace:
            kept["namespace"] = place.namespace
        after["metadata"] = metadata | kept
        after = default(resource, after, self._storage, self._service_cidr, creating=False)
        check_update(resource, live, after)
        self._check_escalation(place, after)
        if "generation" in kept and after.get("spec") != live.get("spec"):
            after["metadata"]["generation"] = live["metadata"]["generation"] + 1
        return after

    def _live(self, place: Place) -> Object:
        live = self._storage.get(place.resource.qualified, place.namespace, place.name)
        if live is None:
            raise statuses.not_found(place.resource.qualified, place.name)
        return live

    def _require_namespace(self, place: Place) -> None:
        if place.resource.namespaced and not self._storage.get("namespaces", "", place.namespace):
            raise statuses.not_found("namespaces", place.namespace)

    def _check_escalation(self, place: Place, value: Object) -> None:
        plural = place.resource.plural
        if plural in ("roles", "clusterroles"):
            wanted = value.get("rules") or []
        elif plural in ("rolebindings", "clusterrolebindings"):
            wanted = referenced_rules(self._storage, value)
        else:
            return
        missing = escalation(self._storage, place.user, place.namespace, wanted)
        if missing is not None:
            why = f'user "{place.user.name}" is attempting to grant RBAC permissions not currently held: {missing}'
            raise statuses.forbidden_because(place.resource.qualified, value["metadata"]["name"], why)

    def _mark_deleted(self, place: Place, live: Object, grace: int) -> Object:
        if live["metadata"].get("deletionTimestamp"):
            return live
        marked = {"deletionTimestamp": timestamp(self._now()), "deletionGracePeriodSeconds": grace}
        return self._storage.put(place.resource.qualified, {**live, "metadata": live["metadata"] | marked})

    def _empty_namespace(self, namespace: str) -> None:
        for resource in self._storage.resources():
            for value in self._storage.objects(resource, namespace):
                self._storage.remove(resource, namespace, value["metadata"]["name"])


def _decode(body: bytes) -> Any:
    """JSON, which an apply patch of the clients we know is too; YAML otherwise."""
    try:
        return json.loads(body)
    except ValueError:
        import yaml

        try:
            return yaml.safe_load(body)
        except yaml.YAMLError as broken:
            raise statuses.bad_request(f"error decoding patch: {broken}") from broken


def _manager_text(manager: Manager) -> str:
    return manager.name if manager.operation == "Apply" else f"{manager.name} using {manager.api_version}"
