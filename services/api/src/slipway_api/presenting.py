"""From what is known to what is answered."""

from slipway_api.domain.narration import current_step
from slipway_api.domain.states import (
    ClusterFacts,
    NodeFacts,
    NodeStatus,
    decide_condition,
    decide_node_reason,
    decide_node_status,
)
from slipway_api.domain.views import (
    AddonView,
    ClusterSummary,
    ClusterView,
    EtcdView,
    EventView,
    InfrastructureView,
    NodeDetail,
    NodeView,
    OperationView,
    PoolView,
    RefusalView,
)
from slipway_api.store import ClusterRow, FeedRow, OperationRow, StatusRow
from slipway_contracts.addon_manager import AddonState
from slipway_contracts.api import ClusterSpec, PoolSpec
from slipway_contracts.monitor import EtcdMembership
from slipway_contracts.provisioner import Step
from slipway_contracts.values import Reason


def present_summary(row: ClusterRow, status: StatusRow, spec: ClusterSpec) -> ClusterSummary:
    """A cluster in a list."""
    return ClusterSummary(
        id=row.cluster_id,
        name=row.name,
        region=row.region,
        release=spec.release,
        state=status.state,
        reason=Reason.model_validate(status.reason) if status.reason else None,
        nodes_wanted=status.nodes_wanted,
        nodes_ready=status.nodes_ready,
        percent=status.percent,
        endpoint=status.endpoint,
        generation=row.generation,
        operation_id=spec.operation_id,
        created_at=row.created_at,
    )


def present_cluster(facts: ClusterFacts, addons: list[AddonState]) -> ClusterView:
    """A cluster with all that is known of it."""
    spec, infrastructure = facts.spec, facts.infrastructure
    condition = decide_condition(facts)
    shared = None
    if infrastructure is not None:
        shared = InfrastructureView(
            phase=infrastructure.phase.value,
            steps=infrastructure.steps,
            waiting=infrastructure.waiting,
            remaining=infrastructure.remaining,
        )
    return ClusterView(
        id=spec.cluster_id,
        name=spec.name,
        region=spec.region,
        project_id=spec.project_id,
        release=spec.release,
        state=condition.state.value,
        reason=condition.reason,
        nodes_wanted=facts.nodes_wanted,
        nodes_ready=facts.nodes_ready,
        percent=facts.operation.percent if facts.operation else 0,
        endpoint=infrastructure.endpoint if infrastructure else None,
        ca_pem=infrastructure.ca_pem if infrastructure else None,
        generation=spec.generation,
        operation_id=spec.operation_id,
        created_at=spec.created_at,
        deletion_requested_at=spec.deletion_requested_at,
        network_id=spec.network_id,
        pod_cidr=spec.pod_cidr,
        service_cidr=spec.service_cidr,
        dns_domain=spec.dns_domain,
        encrypt_secrets=spec.encrypt_secrets,
        pools=tuple(present_pool(pool, facts) for pool in spec.pools),
        users=spec.users,
        infrastructure=shared,
        etcd=_etcd(facts.etcd) if facts.etcd is not None else None,
        addons=tuple(_addon(addon) for addon in addons),
    )


def _etcd(etcd: EtcdMembership) -> EtcdView:
    return EtcdView(voters=etcd.voters, learners=etcd.learners, leader_id=etcd.leader_id, since=etcd.since)


def _addon(addon: AddonState) -> AddonView:
    return AddonView(
        name=addon.addon,
        phase=addon.phase.value,
        version=addon.installed_version,
        wanted_version=addon.wanted_version,
        reason=addon.reason,
    )


def present_pool(pool: PoolSpec, facts: ClusterFacts) -> PoolView:
    """A pool, with how many of its nodes are ready and what the healer holds back."""
    refusals = [refusal for each in facts.refusals if each.pool_id == pool.pool_id for refusal in each.refusals]
    return PoolView(
        id=pool.pool_id,
        name=pool.name,
        role=pool.role.value,
        count=pool.count,
        ready=sum(1 for node in facts.nodes if node.row.pool_id == pool.pool_id and node.is_ready),
        flavor_id=pool.node_spec.flavor_id,
        image_id=pool.node_spec.image_id,
        network_id=pool.node_spec.network_id,
        node_spec=f"{pool.node_spec.name}@{pool.node_spec.version}",
        machine_version=pool.node_spec.version,
        root_volume=pool.node_spec.root_volume,
        runtime=pool.node_spec.runtime,
        kubelet=pool.node_spec.kubelet,
        zones=pool.zones,
        labels=pool.labels,
        taints=pool.taints,
        health=pool.health,
        victims=pool.victims,
        refusals=tuple(
            RefusalView(
                gate=each.gate.value, node_id=each.node_id, reason=each.reason, look_again_at=each.look_again_at
            )
            for each in refusals
        ),
    )


def present_node(node: NodeFacts, spec: ClusterSpec) -> NodeView:
    """A node in a list."""
    row, state = node.row, node.state
    pool = spec.pool(row.pool_id)
    status = decide_node_status(node)
    step = current_step(state.steps) if state is not None else None
    percent = state.percent if state is not None else 0
    return NodeView(
        id=row.node_id,
        name=row.name,
        pool_id=row.pool_id,
        pool=pool.name if pool is not None else row.pool_id,
        role=row.role.value,
        zone=(state.zone if state is not None else None) or row.zone,
        state=status.value,
        reason=decide_node_reason(node) if status is not NodeStatus.READY else None,
        step=step.title if step is not None else None,
        percent=100 if status is NodeStatus.READY else percent,
        created_at=state.created_at if state is not None else row.decided_at,
        since=state.since if state is not None else row.decided_at,
        addresses=state.addresses if state is not None else (),
        server_id=state.server_id if state is not None else None,
        server_state=state.server_state.value if state is not None else None,
        host=state.host if state is not None else None,
        incarnation=row.incarnation,
        reboots=row.reboots,
        replaces=row.replaces,
    )


def present_node_detail(node: NodeFacts, spec: ClusterSpec) -> NodeDetail:
    """A node with its steps, witnesses and evidence."""
    state = node.state
    return NodeDetail(
        **dict(present_node(node, spec)),
        port_id=state.port_id if state is not None else None,
        steps=state.steps if state is not None else (),
        witnesses=node.health.witnesses if node.health is not None else (),
        notices=state.notices if state is not None else (),
        evidence=state.evidence if state is not None else None,
    )


def present_operation(row: OperationRow, cluster: str) -> OperationView:
    """An operation as its owner reported it last."""
    return OperationView(
        id=row.operation_id,
        cluster_id=row.cluster_id,
        cluster=cluster,
        kind=row.kind,
        generation=row.generation,
        state=row.state,
        percent=row.percent,
        steps=tuple(Step.model_validate(step) for step in row.steps),
        cause=Reason.model_validate(row.cause) if row.cause else None,
        parameters=row.parameters,
        requested_by=row.requested_by,
        requested_at=row.requested_at,
        finished_at=row.finished_at,
    )


def present_event(row: FeedRow) -> EventView:
    """One event of the stream."""
    assert row.id is not None, "a row that was read has its id"
    return EventView(
        id=row.id,
        type=row.type,
        time=row.at,
        cluster_id=row.cluster_id,
        operation_id=row.operation_id,
        node_id=row.node_id,
        subject=row.subject,
        message=row.message,
        data=row.data,
    )
