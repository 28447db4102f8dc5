"""Glance v2: the images servers boot from (read only)."""

from __future__ import annotations

import csv

from slipway_sandbox.cloud.messages import Json, Refused, Response, answer
from slipway_sandbox.cloud.model import Image
from slipway_sandbox.cloud.service import Call, Route
from slipway_sandbox.cloud.state import iso_z

MINOR_VERSIONS = (15, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)


def _image(image: Image) -> Json:
    return {
        "id": image.id,
        "name": image.name,
        "status": "active",
        "visibility": image.visibility,
        "owner": image.owner,
        "disk_format": "raw",
        "container_format": "bare",
        "size": image.size,
        "virtual_size": image.size,
        "checksum": image.id.replace("-", ""),
        "min_ram": image.min_ram,
        "min_disk": image.min_disk,
        "protected": False,
        "os_hidden": False,
        "created_at": iso_z(image.created),
        "updated_at": iso_z(image.created),
        "tags": [],
        "self": f"/v2/images/{image.id}",
        "file": f"/v2/images/{image.id}/file",
        "schema": "/v2/schemas/image",
    }


def list_versions(call: Call) -> Response:
    """Glance's versions: 300, as Glance answers."""
    links = [{"rel": "self", "href": f"{call.base}/v2/"}]
    versions = [
        {"id": f"v2.{minor}", "status": "CURRENT" if index == 0 else "SUPPORTED", "links": links}
        for index, minor in enumerate(MINOR_VERSIONS)
    ]
    return answer(300, {"versions": versions})


def list_images(call: Call) -> Response:
    """The images a project may use, newest first, by marker and limit."""
    request = call.request
    filters = ((key, request.first(key)) for key in ("name", "status", "visibility", "id", "owner"))
    wanted = {key: value for key, value in filters if value}
    shown = [
        _image(image)
        for image in reversed(call.state.images.values())
        if image.visibility == "public" or image.owner == call.caller.project or call.caller.is_admin
    ]
    found = [image for image in shown if all(image[key] in _values(value) for key, value in wanted.items())]
    payload: Json = {"first": "/v2/images", "schema": "/v2/schemas/images"}
    marker = request.first("marker")
    if marker:
        ids = [image["id"] for image in found]
        if marker not in ids:
            raise Refused(404, f"No image found with ID {marker}")
        found = found[ids.index(marker) + 1 :]
    limit = int(request.first("limit") or 1000)
    if len(found) > limit:
        found = found[:limit]
        payload["next"] = f"/v2/images?limit={limit}&marker={found[-1]['id']}"
    return answer(200, {"images": found, **payload})


def _values(text: str) -> list[str]:
    """The alternatives of a filter: one plain value, or `in:` with values between commas, in quotes where needed."""
    if not text.startswith("in:"):
        return [text]
    return next(csv.reader([text.removeprefix("in:")], escapechar="\\", doublequote=False))


def show_image(call: Call) -> Response:
    """One image by id."""
    image = call.state.images.get(call.params["id"])
    visible = image and (image.visibility == "public" or image.owner == call.caller.project or call.caller.is_admin)
    if image is None or not visible:
        raise Refused(404, f"No image found with ID {call.params['id']}")
    return answer(200, _image(image))


ROUTES = [
    Route("GET", "", list_versions, public=True),
    Route("GET", "v2/images", list_images),
    Route("GET", "v2/images/{id}", show_image),
]
