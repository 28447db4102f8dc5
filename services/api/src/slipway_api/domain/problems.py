"""Problem details (RFC 9457): every error a user can meet, with the field it is about and what to do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

TYPE_PREFIX = "urn:slipway:problem:"

CATALOGUE: Mapping[str, tuple[int, str]] = {
    # the request itself
    "not_json": (400, "The body is not JSON"),
    "invalid_field": (422, "A field has a value that is not allowed"),
    "unknown_field": (422, "A field is not known"),
    "missing_field": (422, "A field is missing"),
    "immutable_field": (422, "A field cannot be changed after creation"),
    "unsupported_media_type": (415, "The body must be JSON"),
    "body_too_large": (413, "The body is too large"),
    "not_found": (404, "There is no such thing"),
    "method_not_allowed": (405, "The method is not allowed here"),
    "idempotency_key_reused": (422, "The Idempotency-Key belongs to another request"),
    # who asks
    "token_missing": (401, "A Keystone token is needed"),
    "token_invalid": (401, "The token is not valid"),
    "token_expired": (401, "The token has expired"),
    "project_scope_missing": (403, "The token has no project"),
    "persona_insufficient": (403, "The role does not allow this"),
    "not_let_in": (403, "The cluster does not let you in"),
    # what is wanted
    "invalid_name": (422, "The name is no DNS label"),
    "name_too_long": (422, "The names are too long together"),
    "name_taken": (409, "The name is taken"),
    "duplicate_pool": (422, "Two pools have the same name"),
    "missing_pool": (422, "A pool is missing"),
    "too_many_pools": (422, "There are too many pools of a role"),
    "invalid_count": (422, "The number of nodes is not allowed"),
    "even_etcd_count": (422, "The number of etcd nodes must be odd"),
    "etcd_size_fixed": (409, "The number of etcd nodes is decided at creation"),
    "machines_fixed": (409, "The machines of this pool are decided at creation"),
    "invalid_cidr": (422, "The address range is not valid"),
    "overlapping_cidrs": (422, "Address ranges overlap"),
    "cidr_too_small": (422, "The address range is too small"),
    "invalid_label": (422, "A label or taint is not valid"),
    "restricted_label": (422, "A label or taint uses a reserved prefix"),
    "unknown_region": (422, "The region is not known"),
    "unknown_release": (422, "The Kubernetes release is not known"),
    "unknown_flavor": (422, "The flavor does not exist"),
    "unknown_image": (422, "The image does not exist"),
    "image_not_active": (422, "The image cannot be used"),
    "unknown_network": (422, "The network does not exist"),
    "network_without_subnet": (422, "The network has no IPv4 subnet"),
    "network_external": (422, "The network is external"),
    "unknown_node_spec": (422, "The node spec does not exist"),
    "conflicting_fields": (422, "Two fields exclude each other"),
    "not_for_etcd": (422, "An etcd node is no part of Kubernetes"),
    "volumes_not_offered": (422, "The region has no volumes to boot from"),
    "unknown_volume_type": (422, "The volume type does not exist"),
    "block_storage_missing": (422, "The cloud has no block storage"),
    "volume_too_small": (422, "The root volume is too small for the image"),
    "unknown_zone": (422, "The availability zone does not exist"),
    "ambiguous_name": (422, "The name fits several resources"),
    "flavor_too_small": (422, "The flavor is too small for the image"),
    "unknown_victim": (422, "The node is not in this pool"),
    "instances_quota_exceeded": (409, "The project's quota of servers is too small"),
    "cores_quota_exceeded": (409, "The project's quota of cores is too small"),
    "ram_quota_exceeded": (409, "The project's quota of memory is too small"),
    "ports_quota_exceeded": (409, "The project's quota of ports is too small"),
    "security_groups_quota_exceeded": (409, "The project's quota of security groups is too small"),
    "server_groups_quota_exceeded": (409, "The project's quota of server groups is too small"),
    "server_group_members_quota_exceeded": (409, "The project's quota of members of a server group is too small"),
    "volumes_quota_exceeded": (409, "The project's quota of volumes is too small"),
    "gigabytes_quota_exceeded": (409, "The project's quota of volumes' gigabytes is too small"),
    "per_volume_gigabytes_quota_exceeded": (409, "The project's limit of a volume's size is too small"),
    # what stands in the way
    "precondition_failed": (412, "The object has changed since it was read"),
    "conflicting_change": (409, "Another change came first"),
    "being_deleted": (409, "The cluster is being deleted"),
    "desired_state_behind": (409, "The desired state here is older than what was carried out"),
    "not_available_yet": (409, "The cluster cannot give out credentials yet"),
    "user_name_not_signable": (403, "Your name cannot be in a certificate"),
    "invalid_csr": (422, "The certificate request cannot be signed"),
    # what is away
    "identity_unavailable": (503, "Keystone does not answer"),
    "cloud_unavailable": (503, "The cloud does not answer"),
    "signing_unavailable": (503, "The region's provisioner does not answer"),
    "database_unavailable": (503, "The database does not answer"),
    "internal_error": (500, "Something went wrong here"),
}
"""code -> (HTTP status, title). Codes are stable; titles and sentences may get better."""


@dataclass(frozen=True)
class FieldProblem:
    """One thing wrong with one field: a stable code, a sentence, and what to do about it."""

    code: str
    field: str
    message: str
    remedy: str


@dataclass
class Problem(Exception):
    """An answer that is no success. Raised anywhere, turned into application/problem+json in one place."""

    code: str
    detail: str
    errors: Sequence[FieldProblem] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """The HTTP status of this kind of problem."""
        return CATALOGUE[self.code][0]

    @property
    def title(self) -> str:
        """The constant title of this kind of problem."""
        return CATALOGUE[self.code][1]

    def document(self, instance: str) -> dict[str, object]:
        """The RFC 9457 document; `instance` names the occurrence (the request's id)."""
        return {
            "type": TYPE_PREFIX + self.code,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            "code": self.code,
            "errors": [
                {"code": each.code, "field": each.field, "message": each.message, "remedy": each.remedy}
                for each in self.errors
            ],
        }


def refuse(errors: Sequence[FieldProblem]) -> None:
    """Raise one Problem for all of them, named after the first; nothing happens when there are none."""
    if not errors:
        return
    first = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    raise Problem(first.code, f"{first.field}: {first.message}{more}", tuple(errors))
