"""A small object storage: containers, objects, listings and temporary URLs."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

from slipway_sandbox.cloud.messages import Json, Refused, Response, answer
from slipway_sandbox.cloud.model import Account, Blob
from slipway_sandbox.cloud.service import ANONYMOUS, Call, Route
from slipway_sandbox.cloud.state import State

NOT_FOUND = "The resource could not be found."
DIGESTS = {40: "sha1", 64: "sha256", 128: "sha512"}
META = "x-object-meta-"
ACCOUNT_META = "x-account-meta-"


def _account(call: Call) -> Account:
    name = call.params["account"]
    project_id = name.removeprefix("AUTH_")
    allowed = call.caller.is_admin or (project_id == call.caller.project and "member" in call.caller.roles)
    if not (allowed or _has_temporary_url(call, project_id)):
        status = 401 if call.caller is ANONYMOUS else 403
        raise Refused(status, "Access was denied to this resource.")
    return call.state.accounts.setdefault(project_id, Account())


def _has_temporary_url(call: Call, project_id: str) -> bool:
    request, account = call.request, call.state.accounts.get(project_id)
    signature, expires = request.first("temp_url_sig"), request.first("temp_url_expires")
    if not (account and signature and expires) or "object" not in call.params:
        return False
    until = _moment(expires)
    digest = DIGESTS.get(len(signature))
    if until is None or until <= call.state.now() or digest is None:
        return False
    path = unquote(request.path.removeprefix("/object-store"))
    methods = ("GET", "PUT", "POST", "DELETE") if request.method == "HEAD" else ()
    seconds = int(until.timestamp())
    for key in ("temp-url-key", "temp-url-key-2"):
        secret = account.metadata.get(key, "")
        for method in (request.method, *methods):
            message = f"{method}\n{seconds}\n{path}".encode()
            expected = hmac.new(secret.encode(), message, digest).hexdigest()
            if secret and hmac.compare_digest(expected, signature):
                return True
    return False


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(text), UTC) if text.isdigit() else datetime.fromisoformat(text)
    except ValueError:
        return None


def _container(call: Call) -> dict[str, Blob]:
    container = _account(call).containers.get(call.params["container"])
    if container is None:
        raise Refused(404, NOT_FOUND)
    _expire(call.state, container)
    return container


def _expire(state: State, container: dict[str, Blob]) -> None:
    for name in [n for n, blob in container.items() if blob.delete_at and blob.delete_at <= state.now()]:
        del container[name]


def show_info(_call: Call) -> Response:
    """GET /info: what this storage can do beyond the basics."""
    methods = ["GET", "HEAD", "PUT", "POST", "DELETE"]
    return answer(200, {"swift": {}, "tempurl": {"methods": methods, "allowed_digests": list(DIGESTS.values())}})


def show_account(call: Call) -> Response:
    """GET of an account: its containers."""
    account = _account(call)
    items = [
        {"name": name, "count": len(blobs), "bytes": sum(len(b.data) for b in blobs.values())}
        for name, blobs in sorted(account.containers.items())
    ]
    return _list(call, items, {"X-Account-Container-Count": str(len(items))})


def update_account(call: Call) -> Response:
    """POST to an account: its metadata, such as the key of temporary URLs."""
    account = _account(call)
    for name, value in call.request.headers.items():
        if name.startswith(ACCOUNT_META):
            account.metadata[name.removeprefix(ACCOUNT_META)] = value
        elif name.startswith("x-remove-account-meta-"):
            account.metadata.pop(name.removeprefix("x-remove-account-meta-"), None)
    return answer(204)


def head_account(call: Call) -> Response:
    """HEAD of an account."""
    account = _account(call)
    headers = {f"X-Account-Meta-{name}": value for name, value in account.metadata.items()}
    return Response(204, b"", {**headers, "X-Account-Container-Count": str(len(account.containers))})


def create_container(call: Call) -> Response:
    """PUT of a container: 201, or 202 where it exists."""
    containers = _account(call).containers
    status = 202 if call.params["container"] in containers else 201
    containers.setdefault(call.params["container"], {})
    return answer(status)


def update_container(call: Call) -> Response:
    """POST of a container: 204; metadata of containers is not kept."""
    _container(call)
    return answer(204)


def delete_container(call: Call) -> Response:
    """DELETE of a container: 409 while it holds objects."""
    if _container(call):
        raise Refused(409, "There was a conflict when trying to complete your request.")
    del _account(call).containers[call.params["container"]]
    return answer(204)


def _totals(container: dict[str, Blob]) -> dict[str, str]:
    used = sum(len(blob.data) for blob in container.values())
    return {"X-Container-Object-Count": str(len(container)), "X-Container-Bytes-Used": str(used)}


def head_container(call: Call) -> Response:
    """HEAD of a container."""
    return Response(204, b"", _totals(_container(call)))


def list_container(call: Call) -> Response:
    """GET of a container: its objects by prefix, delimiter, marker and limit."""
    container, request = _container(call), call.request
    prefix, delimiter = request.first("prefix") or "", request.first("delimiter") or ""
    items: list[Json] = []
    for name in sorted(name for name in container if name.startswith(prefix)):
        rest = name[len(prefix) :]
        if delimiter and delimiter in rest:
            folder = {"subdir": prefix + rest.split(delimiter)[0] + delimiter}
            if folder not in items:
                items.append(folder)
            continue
        blob = container[name]
        items.append(
            {
                "name": name,
                "hash": blob.etag,
                "bytes": len(blob.data),
                "content_type": blob.content_type,
                "last_modified": blob.modified.strftime("%Y-%m-%dT%H:%M:%S.%f"),
            }
        )
    return _list(call, items, _totals(container))


def _list(call: Call, items: list[Json], headers: dict[str, str]) -> Response:
    request = call.request
    marker, limit = request.first("marker") or "", int(request.first("limit") or 10000)
    names = [str(item.get("name") or item.get("subdir")) for item in items]
    kept = [index for index, name in enumerate(names) if name > marker][:limit]
    if request.first("format") == "json" or "json" in request.headers.get("accept", ""):
        found = answer(200, [items[index] for index in kept])
        found.headers.update(headers)
        return found
    text = "".join(f"{names[index]}\n" for index in kept)
    kind = {"Content-Type": "text/plain; charset=utf-8"}
    return Response(200 if text else 204, text.encode(), {**kind, **headers})


def put_object(call: Call) -> Response:
    """PUT of an object; `X-Delete-At` and `X-Delete-After` let it expire; a wrong `ETag` is refused."""
    container, headers = _container(call), call.request.headers
    etag = hashlib.md5(call.request.body, usedforsecurity=False).hexdigest()
    if headers.get("etag", etag).strip('"') != etag:
        raise Refused(422, "Unable to process the contained instructions")
    delete_at = None
    if "x-delete-at" in headers:
        delete_at = datetime.fromtimestamp(int(headers["x-delete-at"]), UTC)
    elif "x-delete-after" in headers:
        delete_at = call.state.now() + timedelta(seconds=int(headers["x-delete-after"]))
    container[call.params["object"]] = Blob(
        data=call.request.body,
        content_type=headers.get("content-type", "application/octet-stream"),
        etag=etag,
        modified=call.state.now(),
        metadata={name: value for name, value in headers.items() if name.startswith(META)},
        delete_at=delete_at,
    )
    return answer(201, ETag=etag)


def _object(call: Call) -> Blob:
    _account(call)
    blob = _container(call).get(call.params["object"])
    if blob is None:
        raise Refused(404, NOT_FOUND)
    return blob


def get_object(call: Call) -> Response:
    """GET of an object, whole or one `Range` of it."""
    blob = _object(call)
    headers = {
        "Content-Type": blob.content_type,
        "ETag": blob.etag,
        "Last-Modified": blob.modified.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        "Accept-Ranges": "bytes",
        **blob.metadata,
    }
    if call.request.method == "HEAD":
        return Response(200, b"", {**headers, "Content-Length": str(len(blob.data))})
    unit, _, span = call.request.headers.get("range", "").partition("=")
    first, _, last = span.partition("-")
    if unit == "bytes" and first.isdigit():
        end = int(last) if last.isdigit() else len(blob.data) - 1
        return Response(206, blob.data[int(first) : end + 1], headers)
    return Response(200, blob.data, headers)


def delete_object(call: Call) -> Response:
    """DELETE of an object."""
    _object(call)
    del _container(call)[call.params["object"]]
    return answer(204)


_ACCOUNT, _CONTAINER = "v1/{account}", "v1/{account}/{container}"
_OBJECT = "v1/{account}/{container}/{object...}"
ROUTES = [
    Route("GET", "info", show_info, public=True),
    Route("GET", _ACCOUNT, show_account),
    Route("HEAD", _ACCOUNT, head_account),
    Route("POST", _ACCOUNT, update_account),
    Route("GET", _CONTAINER, list_container),
    Route("HEAD", _CONTAINER, head_container),
    Route("PUT", _CONTAINER, create_container),
    Route("POST", _CONTAINER, update_container),
    Route("DELETE", _CONTAINER, delete_container),
    Route("GET", _OBJECT, get_object, public=True),
    Route("HEAD", _OBJECT, get_object, public=True),
    Route("PUT", _OBJECT, put_object, public=True),
    Route("DELETE", _OBJECT, delete_object, public=True),
]
