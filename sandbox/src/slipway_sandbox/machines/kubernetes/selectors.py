"""Label and field selectors."""

import re
from collections.abc import Callable
from typing import Any

from slipway_sandbox.machines.kubernetes.statuses import bad_request

Predicate = Callable[[dict[str, Any]], bool]

_SET = re.compile(r"^(?P<key>\S+)\s+(?P<op>in|notin)\s+\((?P<values>[^)]*)\)$")
_EQUAL = re.compile(r"^(?P<key>[^=!\s]+)\s*(?P<op>==|!=|=)\s*(?P<value>\S*)$")
_COMMA = re.compile(r",(?![^(]*\))")


_FIELDS = ("metadata.name", "metadata.namespace")
_MORE_FIELDS: dict[str, tuple[str, ...]] = {
    "pods": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
    "nodes": ("spec.unschedulable",),
    "namespaces": ("status.phase",),
    "secrets": ("type",),
    "services": ("spec.clusterIP", "spec.type"),
    "replicasets.apps": ("status.replicas",),
    "jobs.batch": ("status.successful",),
    "certificatesigningrequests.certificates.k8s.io": ("spec.signerName",),
}
_EVENT_FIELDS = ("reason", "type", "source", "reportingComponent")


def parse_selectors(query: dict[str, str], qualified: str) -> Predicate:
    """What `labelSelector` and `fieldSelector` of a request ask for.

    Raises Refused when one cannot be read, or asks for a field by which objects of this resource are not selected.
    """
    labels = [_label_requirement(text.strip()) for text in _split(query.get("labelSelector", ""))]
    fields = [_field_requirement(text.strip(), qualified) for text in _split(query.get("fieldSelector", ""))]

    def matches(value: dict[str, Any]) -> bool:
        own = value["metadata"].get("labels") or {}
        return all(requirement(own) for requirement in labels) and all(requirement(value) for requirement in fields)

    return matches


def matches_label_selector(selector: dict[str, Any] | None, labels: dict[str, str]) -> bool:
    """A LabelSelector object; none selects nothing, an empty one everything."""
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_expression(item, labels) for item in selector.get("matchExpressions") or [])


def _expression(item: dict[str, Any], labels: dict[str, str]) -> bool:
    key: str = item["key"]
    operator: str = item["operator"]
    values: list[str] = item.get("values") or []
    if operator in ("In", "NotIn"):
        return (labels.get(key) in values) is (operator == "In")
    return (key in labels) is (operator == "Exists")


def _split(text: str) -> list[str]:
    return [part for part in _COMMA.split(text) if part.strip()]


def _label_requirement(text: str) -> Predicate:
    if found := _SET.match(text):
        key = found["key"]
        values = {value.strip() for value in found["values"].split(",")}
        wanted = found["op"] == "in"
        return lambda labels: (labels.get(key) in values) == wanted
    if found := _EQUAL.match(text):
        key, value, wanted = found["key"], found["value"], found["op"] != "!="
        return lambda labels: (labels.get(key) == value) == wanted
    if text.startswith("!"):
        return lambda labels: text[1:].strip() not in labels
    if " " in text:
        raise bad_request(f'unable to parse requirement: "{text}"')
    return lambda labels: text in labels


def _field_requirement(text: str, qualified: str) -> Predicate:
    found = _EQUAL.match(text)
    if not found:
        raise bad_request(f'invalid selector: "{text}"; can\'t understand it')
    if not _is_selectable(qualified, found["key"]):
        raise bad_request(f"field label not supported: {found['key']}")
    path, value, wanted = found["key"].split("."), found["value"], found["op"] != "!="

    def matches(item: Any) -> bool:
        for part in path:
            item = item.get(part) if isinstance(item, dict) else None
        return (str(item if item is not None else "") == value) == wanted

    return matches


def _is_selectable(qualified: str, field: str) -> bool:
    if qualified in ("events", "events.events.k8s.io") and field.startswith(("involvedObject.", "regarding.")):
        return True
    events = _EVENT_FIELDS if qualified == "events" else ()
    return field in _FIELDS or field in _MORE_FIELDS.get(qualified, ()) or field in events
