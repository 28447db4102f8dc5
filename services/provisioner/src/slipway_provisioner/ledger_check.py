"""The ledger compared with the cloud, for operators: lists and gets only; nothing is changed in either."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlmodel import col

from slipway_chassis.database import Database
from slipway_chassis.errors import GiveUp, RetryLater
from slipway_chassis.findings import Finding, error, warning
from slipway_contracts.provisioner import InfrastructurePhase
from slipway_provisioner.domain.model import BALANCER_PARTS, Found, Kind
from slipway_provisioner.ledger import is_gone
from slipway_provisioner.ports import Cloud
from slipway_provisioner.store import ClusterRecord, EntryState, LedgerEntry


class LedgerCheck:
    """Finds what is in the cloud and not in the ledger, and the other way round, for all clusters not deleted."""

    def __init__(self, database: Database, cloud: Cloud) -> None:
        self._database = database
        self._cloud = cloud

    async def __call__(self) -> Sequence[Finding]:
        """One look at all clusters of the region; what the cloud does not answer is a finding too."""
        async with self._database.reading() as session:
            query = select(ClusterRecord).where(col(ClusterRecord.phase) != InfrastructurePhase.DELETED.value)
            clusters = (await session.execute(query.order_by(col(ClusterRecord.cluster_id)))).scalars().all()
        findings: list[Finding] = []
        for cluster in clusters:
            try:
                findings += await self._of_cluster(cluster)
            except (RetryLater, GiveUp) as refusal:
                subject = f"cluster {cluster.name} ({cluster.cluster_id})"
                message = f"The cloud does not say what there is: {refusal.reason.message}"
                findings.append(error("LedgerUnchecked", subject, message, "Mend the access to the cloud, check again"))
        return findings

    async def _of_cluster(self, cluster: ClusterRecord) -> list[Finding]:
        before = await self._entries(cluster.cluster_id)
        found = await self._cloud.list_marked(cluster.project_id, cluster.cluster_id)
        # after the list: what was made meanwhile was written down before it was asked for
        after = await self._entries(cluster.cluster_id)
        return [*self._unknown(cluster, found, after), *await self._missing(cluster, found, before)]

    async def _entries(self, cluster_id: str) -> dict[str, LedgerEntry]:
        async with self._database.reading() as session:
            query = select(LedgerEntry).where(col(LedgerEntry.cluster_id) == cluster_id)
            return {entry.resource_id: entry for entry in (await session.execute(query)).scalars()}

    def _unknown(
        self, cluster: ClusterRecord, found: Sequence[Found], entries: dict[str, LedgerEntry]
    ) -> list[Finding]:
        findings = []
        by_cloud_id = {entry.cloud_id: entry for entry in entries.values() if entry.cloud_id}
        for each in found:
            entry = entries.get(each.resource_id or "") or by_cloud_id.get(each.cloud_id)
            subject = f"{each.kind.value} {each.cloud_id} ({each.name})"
            if entry is None and each.is_ours:
                message = f"Slipway made it for cluster {cluster.name}, and the ledger has forgotten it: it went back"
                remedy = "Nothing: within minutes it is found again, and adopted or deleted"
                findings.append(warning("Forgotten", subject, message, remedy))
            elif entry is None:
                message = (
                    f"It carries the tag of cluster {cluster.name} and is not in the ledger: Slipway did not make it"
                )
                remedy = "Whoever made it deletes it, or its tag; Slipway touches only what is in its ledger"
                findings.append(warning("NotInLedger", subject, message, remedy))
            elif entry.state == EntryState.GONE.value or entry.cloud_id not in (None, each.cloud_id):
                message = (
                    f"It belongs to cluster {cluster.name}, and the ledger has it as gone or has another in its place"
                )
                remedy = "Delete it in the cloud by hand; it was made late, or came back from a backup of the cloud"
                findings.append(error("GoneButThere", subject, message, remedy))
        return findings

    async def _missing(
        self, cluster: ClusterRecord, found: Sequence[Found], entries: dict[str, LedgerEntry]
    ) -> list[Finding]:
        listed = {each.cloud_id for each in found}
        findings = []
        for entry in entries.values():
            kind, cloud_id = Kind(entry.kind), entry.cloud_id
            if entry.state != EntryState.CREATED.value or cloud_id is None or cloud_id in listed:
                continue
            if kind in BALANCER_PARTS or not await is_gone(self._cloud, entry.project_id, kind, cloud_id):
                continue
            now = (await self._entries(cluster.cluster_id)).get(entry.resource_id)
            if now is None or now.state != EntryState.CREATED.value or now.cloud_id != cloud_id:
                continue
            message = f"Cluster {cluster.name} has it in the ledger, and the cloud says that there is none"
            remedy = "Nothing, if healing replaces it within minutes; if it stays, look at the cluster's refusals"
            findings.append(error("MissingInCloud", f"{kind.value} {cloud_id} ({entry.name})", message, remedy))
        return findings
