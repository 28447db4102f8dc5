"""An emulated Kubernetes API server: one synchronous function from a request to an answer, on a storage and a clock."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from slipway_sandbox.machines.kubernetes import resources as table
from slipway_sandbox.machines.kubernetes import reviews, statuses
from slipway_sandbox.machines.kubernetes.bootstrap import bootstrap_objects
from slipway_sandbox.machines.kubernetes.eviction import check_disruption
from slipway_sandbox.machines.kubernetes.lists import read_page
from slipway_sandbox.machines.kubernetes.queries import flag
from slipway_sandbox.machines.kubernetes.rbac import MASTER, Asked, User, allowed
from slipway_sandbox.machines.kubernetes.resources import Resource
from slipway_sandbox.machines.kubernetes.routing import Target, find_target
from slipway_sandbox.machines.kubernetes.selectors import parse_selectors
from slipway_sandbox.machines.kubernetes.statuses import Refused
from slipway_sandbox.machines.kubernetes.storage import Storage
from slipway_sandbox.machines.kubernetes.tables import as_table
from slipway_sandbox.machines.kubernetes.watches import Watch
from slipway_sandbox.machines.kubernetes.writes import Place, Writes

Body = dict[str, Any]

_DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}


class KubernetesModel:
    """One API server of a cluster; all API servers of a cluster share its storage.

    `now` is the clock. The first model on an empty storage creates what a real API server creates at its first start.
    """

    def __init__(
        self,
        storage: Storage,
        now: Callable[[], datetime],
        *,
        release: str = "v1.36.3",
        service_cidr: str = "10.96.0.0/12",
    ) -> None:
        self.storage = storage
        self.release = release
        self._now = now
        self._writes = Writes(storage, now, service_cidr)
        for qualified, value in bootstrap_objects(service_cidr):
            self._bootstrap(qualified, value)

    def handle(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes | Body | None,
        user: User,
    ) -> tuple[int, Any]:
        """Answers a request with (status, body): a JSON object, or text for health paths.

        A watch answers the list of events that are due at once; `watch` gives one that can be continued. The answer
        is the caller's own to change.
        """
        status, answer = self.answer(method, path, query, headers, body, user)
        return status, json.loads(json.dumps(answer)) if isinstance(answer, dict | list) else answer

    def answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes | Body | None,
        user: User,
    ) -> tuple[int, Any]:
        """As `handle`, without the copy: the answer may share parts with the storage and must not be changed."""
        lowered = {key.lower(): value for key, value in headers.items()}
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        try:
            if raw and "protobuf" in lowered.get("content-type", ""):
                raise statuses.unsupported_media_type(lowered["content-type"])
            if method == "POST" and (review := path.rpartition("/")[2]) in reviews.KINDS:
                return 201, reviews.answer(self.storage, review, _object(raw), user)
            target = find_target(path, self.resources())
            if target is None:
                return self._other(method, path, user)
            return self._dispatch(method, target, dict(query), lowered, raw, user)
        except Refused as refused:
            return refused.code, refused.status()

    def watch(self, path: str, query: Mapping[str, str], user: User) -> Watch:
        """A watch to be polled. Raises Refused."""
        target = find_target(path, self.resources())
        if target is None:
            raise statuses.no_such_path()
        self._authorize(user, "watch", target)
        asked = dict(query)
        if target.name:
            asked["fieldSelector"] = f"metadata.name={target.name}"
        namespace = target.namespace or None
        qualified = target.resource.qualified
        return Watch(self.storage, qualified, namespace, parse_selectors(asked, qualified), asked)

    def resources(self) -> list[Resource]:
        """All that is served now."""
        return [*table.BUILTIN, *table.custom_resources(self.storage.objects(_DEFINITIONS))]

    def _dispatch(
        self, method: str, target: Target, query: dict[str, str], headers: dict[str, str], raw: bytes, user: User
    ) -> tuple[int, Any]:
        wants_table = "as=Table" in headers.get("accept", "")
        if method == "GET":
            if flag(query, "watch"):
                return 200, self.watch(_path_of(target), query, user).poll()
            return 200, self._read(target, query, user, wants_table=wants_table)
        if method == "DELETE" and not target.name:
            return self._delete_collection(target, query, raw, user)
        verb = "delete" if method == "DELETE" else _VERBS.get(method)
        creates = not target.name or target.subresource in ("eviction", "binding")
        if verb is None or (verb == "create") != creates:
            raise statuses.method_not_allowed()
        self._authorize(user, verb, target)
        place = _place(target, query, headers, user)
        if target.subresource in ("eviction", "binding", "scale"):
            return self._act(verb, place, _object(raw))
        if verb == "create":
            return 201, self._writes.create(place, _object(raw))
        if verb == "update":
            return 200, self._writes.update(place, _object(raw))
        if verb == "delete":
            return self._writes.delete(place, _object(raw, optional=True))
        if "apply-patch" in headers.get("content-type", "") and not query.get("fieldManager"):
            raise statuses.manager_required()
        return self._writes.patch(place, headers.get("content-type", "application/json-patch+json"), raw)

    def _read(self, target: Target, query: dict[str, str], user: User, *, wants_table: bool) -> Body:
        self._authorize(user, "get" if target.name else "list", target)
        resource = target.resource
        if not target.name:
            return self._list(target, query, wants_table=wants_table)
        found = self.storage.get(resource.qualified, target.namespace, target.name)
        if found is None:
            raise statuses.not_found(resource.qualified, target.name)
        if target.subresource == "scale":
            return _scale(found)
        if wants_table:
            metadata = {"resourceVersion": found["metadata"]["resourceVersion"]}
            return as_table(resource.kind, [found], metadata, self._now())
        return found

    def _list(self, target: Target, query: dict[str, str], *, wants_table: bool) -> Body:
        resource = target.resource
        page = read_page(self.storage, resource.qualified, target.namespace or None, query)
        items, metadata = page.items, page.metadata
        if wants_table:
            return as_table(resource.kind, items, metadata, self._now())
        if resource in table.BUILTIN:
            items = [{k: v for k, v in item.items() if k not in ("kind", "apiVersion")} for item in items]
        kind = f"{resource.kind}List"
        return {"kind": kind, "apiVersion": resource.api_version, "metadata": metadata, "items": items}

    def _delete_collection(self, target: Target, query: dict[str, str], raw: bytes, user: User) -> tuple[int, Body]:
        self._authorize(user, "deletecollection", target)
        matches = parse_selectors(query, target.resource.qualified)
        for value in self.storage.objects(target.resource.qualified, target.namespace or None):
            if matches(value):
                metadata = value["metadata"]
                one = Target(target.resource, metadata.get("namespace", ""), metadata["name"], "")
                self._writes.delete(_place(one, query, {}, user), _object(raw, optional=True))
        return 200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}

    def _act(self, verb: str, place: Place, body: Body) -> tuple[int, Body]:
        """Subresources that do something: eviction, binding, scale."""
        live = self.storage.get(place.resource.qualified, place.namespace, place.name)
        if live is None:
            raise statuses.not_found(place.resource.qualified, place.name)
        success = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
        whole = Place(place.resource, place.namespace, place.name, "", place.user, place.manager, place.dry_run)
        if place.subresource == "eviction":
            check_disruption(self.storage, live)
            self._writes.delete(whole, body.get("deleteOptions") or {})
            return 201, success
        if place.subresource == "binding":
            spec = {**live["spec"], "nodeName": body["target"]["name"]}
            self._writes.update(whole, {**live, "spec": spec})
            return 201, success
        if verb not in ("update", "patch"):
            raise statuses.method_not_allowed()
        spec = {**live["spec"], "replicas": body["spec"]["replicas"]}
        return 200, _scale(self._writes.update(whole, {**live, "spec": spec}))

    def _other(self, method: str, path: str, user: User) -> tuple[int, Any]:
        """Paths that are no resource: discovery, version, health, OpenAPI."""
        parts = [part for part in path.split("/") if part]
        self._authorize_url(user, path)
        if method != "GET":
            raise statuses.method_not_allowed()
        if parts and parts[0] in ("healthz", "livez", "readyz"):
            return 200, "ok"
        answer = reviews.document(path, parts, self.release, self.resources())
        if answer is None:
            raise statuses.no_such_path()
        return 200, answer

    def _authorize(self, user: User, verb: str, target: Target) -> None:
        resource = f"{target.resource.plural}/{target.subresource}".rstrip("/")
        asked = Asked(verb, target.resource.group, resource, target.namespace, target.name)
        if target.resource.plural == "namespaces":
            asked = Asked(verb, "", resource, target.name, target.name)
        if not allowed(self.storage, user, asked):
            where = f'in the namespace "{target.namespace}"' if target.namespace else "at the cluster scope"
            raise statuses.forbidden(user.name, verb, target.resource.qualified, target.name, where)

    def _authorize_url(self, user: User, path: str) -> None:
        if not allowed(self.storage, user, Asked("get", url=path)):
            message = f'forbidden: User "{user.name}" cannot get path "{path}"'
            raise Refused(403, "Forbidden", message)

    def _bootstrap(self, qualified: str, value: Body) -> None:
        resource = next(entry for entry in table.BUILTIN if entry.qualified == qualified)
        metadata = value["metadata"]
        if self.storage.get(qualified, metadata.get("namespace", ""), metadata["name"]) is None:
            place = Place(resource, metadata.get("namespace", ""), "", "", MASTER, "kube-apiserver")
            self._writes.create(place, value)


def _place(target: Target, query: dict[str, str], headers: dict[str, str], user: User) -> Place:
    agent = headers.get("user-agent", "unknown").partition("/")[0]
    return Place(
        target.resource,
        target.namespace,
        target.name,
        target.subresource,
        user,
        query.get("fieldManager") or agent,
        dry_run=query.get("dryRun") == "All",
        force=flag(query, "force"),
        strict=query.get("fieldValidation") == "Strict",
    )


def _path_of(target: Target) -> str:
    resource = target.resource
    root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    scope = f"/namespaces/{target.namespace}" if target.namespace else ""
    return f"{root}{scope}/{resource.plural}" + (f"/{target.name}" if target.name else "")


def _object(raw: bytes, *, optional: bool = False) -> Body:
    if optional and not raw:
        return {}
    try:
        value = json.loads(raw)
    except ValueError as broken:
        raise statuses.bad_request(f"the body of the request is not JSON: {broken}") from broken
    if not isinstance(value, dict):
        raise statuses.bad_request("the body of the request is not a JSON object")
    return value


def _scale(value: Body) -> Body:
    metadata = {key: value["metadata"].get(key) for key in ("name", "namespace", "uid", "resourceVersion")}
    replicas = (value.get("status") or {}).get("replicas", 0)
    spec = {"replicas": value["spec"].get("replicas", 0)}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": spec,
        "status": {"replicas": replicas},
    }
