"""POST /servers: everything Nova checks before it accepts a server."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from slipway_sandbox.cloud.messages import Json, Refused, Response, answer
from slipway_sandbox.cloud.model import DEFAULT_VOLUME_TYPE, Flavor, Image, PortLink, RootVolume, Server, ServerGroup
from slipway_sandbox.cloud.neutron.binding import make_port, may_use_network
from slipway_sandbox.cloud.nova.capacity import check_server_quota
from slipway_sandbox.cloud.nova.lifecycle import begin_build
from slipway_sandbox.cloud.nova.servers import POLICY
from slipway_sandbox.cloud.nova.views import links_of
from slipway_sandbox.cloud.service import Call, Route, require_role
from slipway_sandbox.cloud.state import iso_micro

UUID = re.compile(r"^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$")
KNOWN = {
    "name", "flavorRef", "imageRef", "networks", "user_data", "key_name", "availability_zone", "metadata", "tags",
    "security_groups", "description", "config_drive", "min_count", "max_count", "OS-DCF:diskConfig", "adminPass",
    "block_device_mapping_v2", "hostname", "host", "hypervisor_hostname", "trusted_image_certificates",
    "personality", "accessIPv4", "accessIPv6", "return_reservation_id",
}  # fmt: skip
MAX_USER_DATA = 65535


def create_server(call: Call) -> Response:
    """Accept a server (202) or say in Nova's words why not; nothing is made when it is refused."""
    require_role(call, POLICY.format("servers:create"))
    body = call.body("server")
    _check_shape(call, body)
    hints = call.request.json().get("os:scheduler_hints") or call.request.json().get("OS-SCH-HNT:scheduler_hints")
    flavor = _flavor(call, str(body["flavorRef"]))
    image_id, volume = _boots_from(call, body, flavor)
    zone = _zone(call, body.get("availability_zone"))
    group = _group(call, (hints or {}).get("group"))
    if body.get("key_name"):
        raise Refused(400, "Invalid key_name provided.")
    check_server_quota(call, flavor, body.get("metadata", {}))
    links = _links(call, body)
    server = _new_server(call, body, flavor, image_id, zone, group, links)
    server.root_volume = volume
    call.state.servers[server.id] = server
    if group:
        group.members.append(server.id)
    begin_build(call.state, server)
    names = [{"name": item.get("name")} for item in body.get("security_groups", [])] or [{"name": "default"}]
    shown = {
        "id": server.id,
        "links": links_of(call, "servers", server.id),
        "OS-DCF:diskConfig": "MANUAL",
        "security_groups": names,
        "adminPass": call.state.new_hex()[:12],
    }
    return answer(202, {"server": shown}, Location=f"{call.base}/v2.1/servers/{server.id}")


def _invalid(attribute: str, value: Any, why: str) -> Refused:
    return Refused(400, f"Invalid input for field/attribute {attribute}. Value: {value}. {why}")


def _check_shape(call: Call, body: Json) -> None:
    unknown = sorted(key for key in body if key not in KNOWN)
    if unknown:
        names = ", ".join(f"'{name}'" for name in unknown)
        verb = "was" if len(unknown) == 1 else "were"
        raise _invalid("server", body, f"Additional properties are not allowed ({names} {verb} unexpected)")
    required = ["name", "flavorRef", *(["networks"] if call.microversion >= (2, 37) else [])]
    for key in required:
        if key not in body:
            raise _invalid("server", body, f"'{key}' is a required property")
    name = body["name"]
    if not isinstance(name, str) or not name.strip():
        raise _invalid("name", name, f"'{name}' is too short")
    if len(name) > 255:
        raise _invalid("name", name, f"'{name}' is too long")
    for index, tag in enumerate(body.get("tags", [])):
        if not re.fullmatch(r"[^,/]*", str(tag)):
            raise _invalid(str(index), tag, f"'{tag}' does not match '^[^,/]*$'")
    _check_user_data(body.get("user_data"))


def _check_user_data(user_data: object) -> None:
    if user_data is None:
        return
    if not isinstance(user_data, str) or len(user_data) > MAX_USER_DATA:
        raise _invalid("user_data", "(too long)", "the value is too long")
    try:
        base64.b64decode(user_data, validate=False)
    except binascii.Error as error:
        raise _invalid("user_data", "(not base64)", "the value is not a 'base64'") from error


def _flavor(call: Call, reference: str) -> Flavor:
    wanted = reference.rstrip("/").split("/")[-1]
    flavor = call.state.flavors.get(wanted)
    if flavor is None:
        raise Refused(400, f"Flavor {wanted} could not be found.")
    return flavor


def _boots_from(call: Call, body: Json, flavor: Flavor) -> tuple[str, RootVolume | None]:
    """The image that the server shows, or no image and the volume that Nova fills from one."""
    reference = str(body.get("imageRef") or "")
    if not reference:
        return "", _root_volume(call, body.get("block_device_mapping_v2"), flavor)
    wanted = reference.rstrip("/").split("/")[-1]
    if not UUID.match(wanted):
        raise _invalid("imageRef", reference, f"'{reference}' is not valid under any of the given schemas")
    if _usable_image(call, wanted, flavor).min_disk > flavor.disk:
        raise Refused(400, "Flavor's disk is too small for requested image.")
    return wanted, None


def _root_volume(call: Call, mapping: Any, flavor: Flavor) -> RootVolume:
    roots = [each for each in mapping or [] if isinstance(each, dict) and str(each.get("boot_index")) == "0"]
    if not roots:
        raise Refused(400, "Invalid imageRef provided.")
    root = roots[0]
    if len(roots) > 1 or (root.get("source_type"), root.get("destination_type")) != ("image", "volume"):
        why = "Boot sequence for the instance and image/block device mapping combination is not valid."
        raise Refused(400, f"Block Device Mapping is Invalid: {why}")
    if "volume_type" in root and call.microversion < (2, 67):
        raise _invalid("block_device_mapping_v2", root, "Additional properties are not allowed ('volume_type')")
    image = _usable_image(call, str(root.get("uuid", "")), flavor)
    if not root.get("volume_size"):
        why = "Images with destination_type 'volume' need to have a non-zero size specified"
        raise Refused(400, f"Block Device Mapping is Invalid: {why}")
    if image.min_disk > int(root["volume_size"]):
        raise Refused(400, "Volume is smaller than the minimum size specified in image metadata.")
    return RootVolume(int(root["volume_size"]), str(root.get("volume_type") or DEFAULT_VOLUME_TYPE))


def _usable_image(call: Call, image_id: str, flavor: Flavor) -> Image:
    image = call.state.images.get(image_id)
    if image is None or (image.visibility != "public" and image.owner != call.caller.project):
        raise Refused(400, "Can not find requested image")
    if image.min_ram > flavor.ram:
        raise Refused(400, "Flavor's memory is too small for requested image.")
    return image


def _zone(call: Call, wanted: object) -> str | None:
    if wanted is None:
        return None
    if wanted not in {host.zone for host in call.state.hosts.values()}:
        raise Refused(400, "The requested availability zone is not available")
    return str(wanted)


def _group(call: Call, wanted: object) -> ServerGroup | None:
    if wanted is None:
        return None
    group = call.state.groups.get(str(wanted))
    if group is None or group.project_id != call.caller.project:
        raise Refused(400, f"Instance group {wanted} could not be found.")
    limit = call.state.projects[call.caller.project].compute_quota["server_group_members"]
    if 0 <= limit <= len(group.members):
        raise Refused(403, "Quota exceeded, too many servers in group")
    return group


def _links(call: Call, body: Json) -> list[PortLink]:
    wanted = body.get("networks", "none")
    if wanted == "none":
        return []
    if wanted == "auto":
        raise Refused(400, "Unable to automatically allocate a network: name one")
    links: list[PortLink] = []
    _check_groups(call, body)
    for item in wanted:
        well_formed = isinstance(item, dict) and UUID.match(str(item.get("port") or item.get("uuid") or ""))
        if not well_formed:
            raise _invalid("networks", wanted, f"{wanted} is not valid under any of the given schemas")
        if "port" in item:
            links.append(PortLink(_free_port(call, str(item["port"])), made_by_nova=False))
        else:
            _check_network(call, str(item["uuid"]))
    # Only now, when nothing can be refused any more, may anything be made.
    groups = [str(item["name"]) for item in body.get("security_groups", [])]
    for item in wanted:
        if "port" not in item:
            port = make_port(call.state, call.caller.project, str(item["uuid"]), groups)
            links.append(PortLink(port["id"], made_by_nova=True))
    return links


def _free_port(call: Call, port_id: str) -> str:
    port = call.state.network["port"].get(port_id)
    if port is None or not (call.caller.is_admin or port["project_id"] == call.caller.project):
        raise Refused(400, f"Port id {port_id} could not be found.")
    if port["device_id"]:
        raise Refused(409, f"Port {port_id} is still in use.")
    return port_id


def _check_network(call: Call, network_id: str) -> None:
    network = call.state.network["network"].get(network_id)
    if network is None or not may_use_network(network, call.caller.project):
        raise Refused(400, f"Network {network_id} could not be found.")
    if network["router:external"] and not call.caller.is_admin:
        raise Refused(403, f"It is not allowed to create an interface on external network {network_id}")


def _check_groups(call: Call, body: Json) -> None:
    known = {
        name
        for group in call.state.network["security_group"].values()
        if group["project_id"] == call.caller.project
        for name in (group["id"], group["name"])
    }
    for item in body.get("security_groups", []):
        if item.get("name") not in known:
            raise Refused(400, f"Unable to find security_group with name or id '{item.get('name')}'")


def _new_server(
    call: Call,
    body: Json,
    flavor: Flavor,
    image_id: str,
    zone: str | None,
    group: ServerGroup | None,
    links: list[PortLink],
) -> Server:
    state, now = call.state, call.state.now()
    state.server_count += 1
    server = Server(
        id=state.new_uuid(),
        number=state.server_count,
        project_id=call.caller.project,
        user_id=call.caller.user_id,
        name=str(body["name"]),
        flavor=flavor,
        image_id=image_id,
        created=now,
        updated=now,
        wanted_zone=zone,
        group_id=group.id if group else None,
        user_data=body.get("user_data"),
        description=body.get("description"),
        metadata={key: str(value) for key, value in body.get("metadata", {}).items()},
        tags=sorted({str(tag) for tag in body.get("tags", [])}),
        links=links,
    )
    server.actions.append(
        {"action": "create", "instance_uuid": server.id, "start_time": iso_micro(now), "message": None},
    )
    return server


CREATION_ROUTES = [Route("POST", "v2.1/servers", create_server)]
