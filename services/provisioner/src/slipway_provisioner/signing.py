"""The signing call: services bring a public key and get a credential to one cluster for the persona that is theirs.

And the provisioner's own credentials, made for use in memory. Contract: slipway_contracts.signing.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis.clock import Clock
from slipway_contracts.provisioner import InfrastructurePhase
from slipway_contracts.signing import CredentialPersona, SignedCredential, SigningRequest
from slipway_provisioner.answers import Answer, Refused, parse, problem
from slipway_provisioner.crypto import MasterKey
from slipway_provisioner.domain.bindings import ADDON_MANAGER, MONITOR, PROVISIONER
from slipway_provisioner.domain.cluster_keys import ClusterKeys
from slipway_provisioner.domain.pki import (
    AuthorityName,
    CannotSign,
    CertificateProfile,
    make_identity,
    read_certificate,
    sign_request,
)
from slipway_provisioner.domain.plans.model import Endpoint
from slipway_provisioner.peers import PeerIdentity, PeerKind
from slipway_provisioner.ports import ClusterAccess
from slipway_provisioner.store import ClusterRecord
from slipway_provisioner.store_keys import read_cluster_keys

log = structlog.get_logger()

USERS_GROUP = "slipway:users"
OWN_LIFETIME = timedelta(hours=1)
BOOTSTRAP_LIFETIME = timedelta(minutes=5)
"""Of the one certificate in system:masters, with which the services' bindings are written."""

_ALLOWED = {
    "api": CredentialPersona.USER,
    "monitor": CredentialPersona.MONITOR,
    "addon_manager": CredentialPersona.ADDON_MANAGER,
}
_LIMITS = {
    CredentialPersona.USER: timedelta(hours=12),
    CredentialPersona.MONITOR: timedelta(hours=24),
    CredentialPersona.ADDON_MANAGER: timedelta(hours=24),
}
_SERVICES = {CredentialPersona.MONITOR: MONITOR, CredentialPersona.ADDON_MANAGER: ADDON_MANAGER}
_RESERVED = ("system:", "slipway:", "kubeadm:")
_LONGEST_NAME = 255
_PATH = re.compile(r"^/v1/clusters/([^/]+)/credentials$")


class SigningApi:
    """The region's signing call, independent of the transport."""

    def __init__(
        self, master: MasterKey, clock: Clock, reading: Callable[[], AbstractAsyncContextManager[AsyncSession]]
    ) -> None:
        self._master = master
        self._clock = clock
        self._reading = reading

    async def dispatch(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, Any] | None,
        peer: PeerIdentity | None,
    ) -> Answer:
        """Answer one request; `peer` is who the handshake verified, if anybody."""
        match = _PATH.match(path)
        if method != "POST" or match is None:
            return problem(HTTPStatus.NOT_FOUND, "NotFound", f"there is no {method} {path}")
        try:
            caller = _service_of(peer)
            return await self._sign(match[1], _allowed(caller, parse(SigningRequest, body)), caller)
        except Refused as refused:
            return refused.answer

    async def _sign(self, cluster_id: str, request: SigningRequest, caller: str) -> Answer:
        keys, endpoint = await self._target(cluster_id)
        profile = decide_profile(request)
        try:
            certificate = sign_request(keys.kubernetes, request.csr_pem, profile, self._clock.now())
        except CannotSign as error:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "CannotSign", str(error)) from error
        expires_at = read_certificate(certificate).not_valid_after_utc
        log.info("Credential signed", cluster_id=cluster_id, caller=caller, user=profile.common_name)
        credential = SignedCredential(
            certificate_pem=certificate,
            ca_pem=keys.kubernetes.certificate_pem,
            endpoint=endpoint.url,
            expires_at=expires_at,
        )
        return Answer(HTTPStatus.OK, credential.model_dump(mode="json"))

    async def _target(self, cluster_id: str) -> tuple[ClusterKeys, Endpoint]:
        async with self._reading() as session:
            record = await session.get(ClusterRecord, cluster_id)
            if record is None or record.phase == InfrastructurePhase.DELETED.value:
                raise Refused(HTTPStatus.NOT_FOUND, "UnknownCluster", f"this region has no cluster {cluster_id}")
            keys = await read_cluster_keys(session, self._master, cluster_id)
            if keys is None or record.outer_address is None:
                raise Refused(
                    HTTPStatus.CONFLICT, "NotReadyYet", "the cluster has no keys or no endpoint yet; try again"
                )
            return keys, Endpoint(record.outer_address, record.endpoint_port)


def decide_profile(request: SigningRequest) -> CertificateProfile:
    """What the credential says; Refused with 422 when the user's name is not one that RBAC may bind."""
    lifetime = min(timedelta(seconds=request.lifetime), _LIMITS[request.persona])
    if request.persona is CredentialPersona.USER:
        return _client(_user_name(request.user_name), lifetime, USERS_GROUP)
    if request.user_name is not None:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "InvalidName", "only the persona user has a name")
    return _client(_SERVICES[request.persona], lifetime)


def own_access(keys: ClusterKeys, endpoint: Endpoint, now: datetime) -> ClusterAccess:
    """The provisioner's own access to a cluster, for an hour."""
    return _access(keys, endpoint, _client(PROVISIONER, OWN_LIFETIME), now)


def bootstrap_access(keys: ClusterKeys, endpoint: Endpoint, now: datetime) -> ClusterAccess:
    """Five minutes in system:masters, to write the services' bindings where they are missing."""
    return _access(keys, endpoint, _client(PROVISIONER, BOOTSTRAP_LIFETIME, "system:masters"), now)


def _access(keys: ClusterKeys, endpoint: Endpoint, profile: CertificateProfile, now: datetime) -> ClusterAccess:
    identity = make_identity(keys.kubernetes, profile, now)
    return ClusterAccess(endpoint.url, keys.kubernetes.certificate_pem, identity.certificate_pem, identity.key_pem)


def _client(user: str, lifetime: timedelta, *groups: str) -> CertificateProfile:
    return CertificateProfile(
        authority=AuthorityName.KUBERNETES, common_name=user, organizations=groups, client=True, lifetime=lifetime
    )


def _user_name(name: str | None) -> str:
    if not name or name != name.strip() or not name.isprintable() or len(name.encode()) > _LONGEST_NAME:
        message = f"user_name must have 1 to {_LONGEST_NAME} printable bytes without blanks at its ends"
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "InvalidName", message)
    if name.startswith(_RESERVED):
        message = f"names that start with {', '.join(_RESERVED)} are not for users"
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "ReservedName", message)
    return name


def _allowed(caller: str, request: SigningRequest) -> SigningRequest:
    if _ALLOWED.get(caller) is not request.persona:
        message = f"{caller} may not have credentials for {request.persona}"
        raise Refused(HTTPStatus.FORBIDDEN, "PersonaNotAllowed", message)
    return request


def _service_of(peer: PeerIdentity | None) -> str:
    if peer is None or peer.kind is not PeerKind.SERVICE:
        raise Refused(HTTPStatus.UNAUTHORIZED, "NoServiceCertificate", "show a certificate of a Slipway service")
    return peer.name
