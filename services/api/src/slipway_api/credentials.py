"""Kubeconfigs: who asks is let in, and the region's provisioner signs her public key. No private key moves."""

import base64
from typing import Any

from cryptography import x509

from slipway_api.changes import Changes, RequestContext
from slipway_api.clusters import Clusters
from slipway_api.domain.people import Caller
from slipway_api.domain.problems import FieldProblem, Problem
from slipway_api.domain.requests import KubeconfigRequest
from slipway_api.domain.specs import Change, next_spec, with_user
from slipway_api.domain.views import AcceptedView, KubeconfigView
from slipway_api.ports import Signer
from slipway_api.read_model import observe_cluster, spec_of
from slipway_api.store import ClusterRow
from slipway_chassis.regions import Regions
from slipway_chassis.service import Service
from slipway_contracts.api import OperationKind
from slipway_contracts.signing import CredentialPersona, SignedCredential, SigningRequest

CHANGES_MET = 10
"""How many changes of others may come first while somebody is let in: a whole class may ask at once."""


class Credentials:
    """Gives out what a person needs to enter a cluster."""

    def __init__(
        self, service: Service, clusters: Clusters, changes: Changes, regions: Regions, signer: Signer
    ) -> None:
        self._service = service
        self._clusters = clusters
        self._changes = changes
        self._regions = regions
        self._signer = signer

    async def kubeconfig(
        self, caller: Caller, context: RequestContext, name: str, request: KubeconfigRequest
    ) -> KubeconfigView:
        """A kubeconfig for the caller, complete but for her key.

        Problem not_available_yet: the cluster's endpoint or keys do not exist yet. not_let_in: the cluster's users do
        not name her, and the request does not ask to change that.
        """
        if request.csr_pem is not None:
            _require_csr(request.csr_pem)
        row = await self._clusters.changeable(caller, context, name)
        async with self._service.database.reading() as session:
            facts = await observe_cluster(session, row)
        infrastructure = facts.infrastructure
        if infrastructure is None or infrastructure.endpoint is None or infrastructure.ca_pem is None:
            raise Problem(
                "not_available_yet",
                f"The endpoint of {row.name} does not exist yet; try again when the cluster is ready.",
                headers={"Retry-After": "15"},
            )
        operation_id = None
        if request.grant:
            operation_id = await self._let_in(caller, context, row)
        else:
            _require_let_in(caller, row)
        signed = await self._sign(caller, row, request)
        view = _view(row, caller, infrastructure.endpoint, infrastructure.ca_pem, signed, operation_id)
        await self._changes.audit(caller, context, 200, None, row.cluster_id)
        return view

    async def _let_in(self, caller: Caller, context: RequestContext, row: ClusterRow) -> str | None:
        """Another change that came first does not matter to this one: it is made again from what is there now."""
        for _ in range(CHANGES_MET):
            try:
                return await self._add_user(caller, context, row)
            except Problem as problem:
                if problem.code != "conflicting_change":
                    raise
            row = await self._clusters.changeable(caller, context, row.cluster_id)
        return await self._add_user(caller, context, row)

    async def _add_user(self, caller: Caller, context: RequestContext, row: ClusterRow) -> str | None:
        spec, user = spec_of(row), caller.cluster_user
        if user in spec.users:
            return None
        wanted = next_spec(spec, self._clusters.fresh_id(), users=with_user(spec, user))
        change = Change(wanted, OperationKind.UPDATE_CLUSTER, {"user": user.name})
        answer = await self._changes.replace(caller, context, row, change)
        return AcceptedView.model_validate_json(answer.body).operation.id

    async def _sign(self, caller: Caller, row: ClusterRow, request: KubeconfigRequest) -> SignedCredential | None:
        if request.csr_pem is None:
            return None
        wanted = SigningRequest(
            persona=CredentialPersona.USER,
            csr_pem=request.csr_pem,
            user_name=caller.cluster_user.name,
            lifetime=request.lifetime,
        )
        return await self._signer.sign(self._regions.named(row.region), row.cluster_id, wanted)


def _require_let_in(caller: Caller, row: ClusterRow) -> None:
    """What renews by itself must not undo that somebody was removed, nor keep rights above a role that became less."""
    user = caller.cluster_user
    if any(each.name == user.name and caller.may(each.persona) for each in spec_of(row).users):
        return
    raise Problem(
        "not_let_in",
        f"The users of {row.name} do not name {user.name}, or with more rights than the role {user.persona.value} "
        "gives; ask for access with 'slipway cluster kubeconfig'.",
    )


def _require_csr(csr_pem: str) -> None:
    try:
        valid = x509.load_pem_x509_csr(csr_pem.encode()).is_signature_valid
    except ValueError:
        valid = False
    if not valid:
        problem = FieldProblem(
            "invalid_csr",
            "csr_pem",
            "this is no certificate request that its own key has signed",
            "Send a PKCS#10 request in PEM, as 'openssl req -new' makes it.",
        )
        raise Problem("invalid_csr", f"csr_pem: {problem.message}", (problem,))


def _view(
    row: ClusterRow,
    caller: Caller,
    endpoint: str,
    ca_pem: str,
    signed: SignedCredential | None,
    operation_id: str | None,
) -> KubeconfigView:
    user = caller.cluster_user.name
    return KubeconfigView(
        endpoint=signed.endpoint if signed else endpoint,
        ca_pem=signed.ca_pem if signed else ca_pem,
        certificate_pem=signed.certificate_pem if signed else None,
        expires_at=signed.expires_at if signed else None,
        user=user,
        operation_id=operation_id,
        kubeconfig=_kubeconfig(row.name, user, endpoint, ca_pem, signed),
    )


def _kubeconfig(cluster: str, user: str, endpoint: str, ca_pem: str, signed: SignedCredential | None) -> dict[str, Any]:
    """The Kubernetes client configuration, v1; the client adds `client-key-data`."""
    context = f"{user}@{cluster}"
    entry = {"client-certificate-data": _base64(signed.certificate_pem)} if signed else {}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": cluster,
                "cluster": {
                    "server": signed.endpoint if signed else endpoint,
                    "certificate-authority-data": _base64(signed.ca_pem if signed else ca_pem),
                },
            }
        ],
        "users": [{"name": context, "user": entry}],
        "contexts": [{"name": context, "context": {"cluster": cluster, "user": context}}],
        "current-context": context,
    }


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
