"""The `Status` bodies of a Kubernetes API server, with its codes, reasons and sentences."""

from typing import Any


class Refused(Exception):
    """A request the API server does not carry out; `status()` is the body it answers."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}

    def status(self) -> dict[str, Any]:
        """The body, as metav1.Status."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if self.details:
            body["details"] = self.details
        return body | {"code": self.code}


def not_found(qualified: str, name: str) -> Refused:
    """`qualified` is the plural with its group, as in deployments.apps."""
    return Refused(404, "NotFound", f'{qualified} "{name}" not found', _details(qualified, name))


def no_such_path() -> Refused:
    """An unknown API group, version or resource."""
    return Refused(404, "NotFound", "the server could not find the requested resource")


def already_exists(qualified: str, name: str) -> Refused:
    """A create of a name that is taken."""
    return Refused(409, "AlreadyExists", f'{qualified} "{name}" already exists', _details(qualified, name))


def conflict(qualified: str, name: str, why: str) -> Refused:
    """A write that lost a race."""
    return Refused(
        409, "Conflict", f'Operation cannot be fulfilled on {qualified} "{name}": {why}', _details(qualified, name)
    )


def modified(qualified: str, name: str) -> Refused:
    """A write with an old resourceVersion."""
    why = "the object has been modified; please apply your changes to the latest version and try again"
    return conflict(qualified, name, why)


def field_conflicts(qualified: str, name: str, causes: list[tuple[str, str]]) -> Refused:
    """A server-side apply of fields that others own: `causes` are (manager, field)."""
    managers = sorted({manager for manager, _ in causes})
    plural = "s" if len(causes) > 1 else ""
    if len(managers) == 1 and len(causes) == 1:
        message = f'Apply failed with 1 conflict: conflict with "{managers[0]}": {causes[0][1]}'
    else:
        listed = "\n".join(f"- {field}" for _, field in causes)
        quoted = " and ".join(f'"{manager}"' for manager in managers)
        message = f"Apply failed with {len(causes)} conflict{plural}: conflicts with {quoted}:\n{listed}"
    detail = [
        {"reason": "FieldManagerConflict", "message": f'conflict with "{manager}"', "field": field}
        for manager, field in causes
    ]
    return Refused(409, "Conflict", message, _details(qualified, name) | {"causes": detail})


def forbidden(user: str, verb: str, qualified: str, name: str | None, where: str, why: str = "") -> Refused:
    """`where` is `at the cluster scope` or `in the namespace "x"`."""
    subject = f' "{name}"' if name else ""
    group = qualified.partition(".")[2]
    plural = qualified.partition(".")[0]
    message = (
        f'{qualified}{subject} is forbidden: User "{user}" cannot {verb} resource "{plural}" '
        f'in API group "{group}" {where}{": " + why if why else ""}'
    )
    return Refused(403, "Forbidden", message, _details(qualified, name))


def forbidden_because(qualified: str, name: str, why: str) -> Refused:
    """An admission or escalation check that said no."""
    return Refused(403, "Forbidden", f'{qualified} "{name}" is forbidden: {why}', _details(qualified, name))


def invalid(kind: str, name: str, field: str, why: str) -> Refused:
    """An object that breaks a rule of its kind."""
    message = f'{kind} "{name}" is invalid: {field}: {why}'
    causes = [{"reason": "FieldValueInvalid", "message": why, "field": field}]
    return Refused(422, "Invalid", message, {"name": name, "kind": kind, "causes": causes})


def manager_required() -> Refused:
    """A server-side apply that does not say on whose behalf it is."""
    return invalid("PatchOptions.meta.k8s.io", "", "fieldManager", "Required value: is required for apply patch")


def bad_request(message: str) -> Refused:
    """A body or query that cannot be read."""
    return Refused(400, "BadRequest", message)


def expired(message: str) -> Refused:
    """A resourceVersion or continue token that is too old: list again."""
    return Refused(410, "Expired", message)


def method_not_allowed() -> Refused:
    """A verb that the resource does not have."""
    return Refused(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def unsupported_media_type(content_type: str) -> Refused:
    """A patch type that the server does not know."""
    message = f'the body of the request was in an unknown format - "{content_type}" is not an accepted media type'
    return Refused(415, "UnsupportedMediaType", message)


def too_many_requests(message: str, retry_after: int, causes: list[dict[str, str]]) -> Refused:
    """An eviction that a disruption budget forbids for now."""
    return Refused(429, "TooManyRequests", message, {"causes": causes, "retryAfterSeconds": retry_after})


def unavailable(message: str) -> Refused:
    """The API server cannot reach its etcd."""
    return Refused(500, "InternalError", message)


def _details(qualified: str, name: str | None) -> dict[str, Any]:
    plural, _, group = qualified.partition(".")
    details: dict[str, Any] = {"name": name} if name else {}
    if group:
        details["group"] = group
    return details | {"kind": plural}
