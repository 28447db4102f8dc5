"""The signing call between services, and the addon manager's connections, without sockets."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import aiohttp

from slipway_addon_manager.adapters.kubernetes import Call
from slipway_addon_manager.ports import ClusterApi
from slipway_chassis.errors import RetryLater
from slipway_chassis.regions import Region
from slipway_chassis.signing import ClusterCredential
from slipway_contracts.signing import CredentialPersona, SignedCredential, SigningRequest
from slipway_provisioner.peers import PeerIdentity, PeerKind
from slipway_simulation.cluster_apis import Asked, ClusterApis
from slipway_simulation.processes import ServiceProcess, Unreachable

SOON = timedelta(seconds=5)


@dataclass
class ServiceSigner:
    """The call as one service makes it."""

    provisioner: ServiceProcess
    service: str
    persona: CredentialPersona

    async def sign(self, cluster_id: str, csr_pem: str, lifetime: timedelta) -> SignedCredential:
        """As slipway_chassis.signing.SigningClient.sign."""
        wanted = SigningRequest(persona=self.persona, csr_pem=csr_pem, lifetime=lifetime.total_seconds())
        peer = PeerIdentity(PeerKind.SERVICE, self.service, "")
        path, body = f"/v1/clusters/{cluster_id}/credentials", wanted.model_dump(mode="json", exclude_none=True)
        try:
            answer = await self.provisioner.call(
                lambda running: running.interfaces["signing"].dispatch("POST", path, {}, body, peer)
            )
        except Unreachable as down:
            raise RetryLater(SOON, "SigningUnreachable", str(down)) from down
        if answer.status != 200:
            raise RetryLater(SOON, "CredentialNotYet", f"{answer.status} {answer.body}"[:300])
        return SignedCredential.model_validate(json.loads(json.dumps(answer.body)))


@dataclass
class Signing:
    """The region's provisioner as its callers reach it."""

    provisioner: ServiceProcess

    def as_service(self, service: str, persona: CredentialPersona) -> ServiceSigner:
        """The call with this service's certificate."""
        return ServiceSigner(self.provisioner, service, persona)


class NoSigner:
    """The api's signer: users of the simulation ask for no kubeconfig."""

    async def sign(self, region: Region, cluster_id: str, request: SigningRequest) -> SignedCredential:
        """See slipway_api.ports.Signer."""
        raise NotImplementedError("users of the simulation ask for no kubeconfig")


@dataclass
class AddonClusters:
    """The addon manager's clusters, by its own adapter over an in-process call."""

    apis: ClusterApis
    adapter: Callable[[Call], ClusterApi]

    def connect(self, credential: ClusterCredential) -> AbstractAsyncContextManager[ClusterApi]:
        """See slipway_addon_manager.ports.Clusters."""
        return self._connected(credential)

    @asynccontextmanager
    async def _connected(self, credential: ClusterCredential) -> AsyncIterator[ClusterApi]:
        async def call(method: str, path: str, query: Mapping[str, str], body: Any) -> tuple[int, bytes]:
            kind = "application/apply-patch+yaml" if method == "PATCH" else "application/json"
            url = f"{credential.endpoint}{path}" + (f"?{urlencode(query)}" if query else "")
            asked = Asked(method, url, kind, body, credential.certificate_pem, credential.ca_pem)
            try:
                return await self.apis.ask(asked)
            except aiohttp.ClientError as error:
                raise RetryLater(SOON, "ClusterUnreachable", str(error)) from error

        yield self.adapter(call)
