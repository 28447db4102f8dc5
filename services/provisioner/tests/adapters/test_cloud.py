"""What every implementation of the Cloud port must do: the fake and the real one alike."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from slipway_chassis.errors import GiveUp
from slipway_contracts.api import RootVolume
from slipway_contracts.provisioner import ServerState
from slipway_contracts.values import Role
from slipway_provisioner.adapters.resources import body_of
from slipway_provisioner.domain.model import (
    BalancerOrder,
    Kind,
    ListenerOrder,
    Member,
    MonitorOrder,
    PoolOrder,
    PortOrder,
    SecurityGroupOrder,
    ServerGroupOrder,
    ServerOrder,
)
from slipway_provisioner.domain.security_groups import rules_of
from slipway_provisioner.ports import Conflict
from slipway_provisioner.testing.sites import Site


async def a_port(site: Site, name: str = "port") -> str:
    return await site.cloud.create(site.project_id, PortOrder(site.named(name), site.mark(name), site.network_id))


LABELS = {"cost-centre": "42", "slipway_node": "not this one"}


async def a_server(site: Site, port_id: str, name: str = "server") -> str:
    order = ServerOrder(
        site.named(name), site.mark(name), site.image_id, site.flavor_id, port_id, None, None, "#cloud-config\n", LABELS
    )
    return await site.cloud.create(site.project_id, order)


async def test_a_port_has_an_address_and_is_found_by_its_mark(site: Site) -> None:
    port_id = await a_port(site)
    await site.cloud.ensure_tags(site.project_id, Kind.PORT, port_id, site.mark("port").tags)
    port = await site.cloud.get(site.project_id, Kind.PORT, port_id)
    assert port is not None
    assert port.address
    found = await site.cloud.find(site.project_id, Kind.PORT, site.named("port"), site.mark("port").resource_id)
    assert [each.cloud_id for each in found] == [port_id]


async def test_another_ones_resource_of_the_same_name_is_not_found(site: Site) -> None:
    await a_port(site)
    assert await site.cloud.find(site.project_id, Kind.PORT, site.named("port"), site.mark("other").resource_id) == ()


async def test_a_second_server_on_a_port_is_refused(site: Site) -> None:
    port_id = await a_port(site)
    await a_server(site, port_id)
    await site.pass_time()
    with pytest.raises(Conflict):
        await a_server(site, port_id, "second")
    port = await site.cloud.get(site.project_id, Kind.PORT, port_id)
    assert port is not None
    assert port.device_id


async def test_a_server_is_built_listed_and_deleted(site: Site) -> None:
    server_id = await a_server(site, await a_port(site))
    (building,) = await site.servers(None)
    assert (building.server_id, building.state) == (server_id, ServerState.BUILDING)
    await site.pass_time()
    server = await site.cloud.server(site.project_id, server_id)
    assert server is not None
    assert server.state is ServerState.ACTIVE
    assert server.zone
    assert server.host
    assert server.metadata == {"cost-centre": "42"} | site.mark("server").metadata
    since = site.now() - timedelta(seconds=30)  # clocks differ, and Nova counts whole seconds
    await site.cloud.delete(site.project_id, Kind.SERVER, server_id)
    await site.pass_time()
    assert await site.cloud.server(site.project_id, server_id) is None
    assert await site.cloud.get(site.project_id, Kind.SERVER, server_id) is None
    assert await site.servers(None) == ()
    changed = await site.cloud.servers(site.project_id, since)
    # a deleted server has lost its metadata: it is known by its id alone
    assert [view.deleted for view in changed if view.server_id == server_id] == [True]


async def test_a_server_boots_from_a_volume_that_goes_with_it(sandboxed: Any) -> None:
    site, name = sandboxed.site, "server"
    order = ServerOrder(
        name=site.named(name),
        mark=site.mark(name),
        image_id=site.image_id,
        flavor_id=site.flavor_id,
        port_id=await a_port(site),
        zone=None,
        server_group=None,
        user_data="#cloud-config\n",
        root_volume=RootVolume(size=40, type="ssd"),
    )
    (volume,) = body_of(order)["server"]["block_device_mapping_v2"]
    assert (volume["volume_size"], volume["volume_type"], volume["delete_on_termination"]) == (40, "ssd", True)
    server_id = await site.cloud.create(site.project_id, order)
    await site.pass_time()
    shown = sandboxed.tenant.get(f"/compute/v2.1/servers/{server_id}")["server"]
    assert (shown["status"], shown["image"]) == ("ACTIVE", ""), "Nova shows no image of a server that has a volume"
    with pytest.raises(GiveUp):
        await site.cloud.create(site.project_id, replace(order, image_id="00000000-0000-4000-8000-000000000000"))


async def test_a_server_without_changes_is_not_in_the_list_of_changes(site: Site) -> None:
    await a_server(site, await a_port(site))
    await site.pass_time(3600)
    later = site.now() + timedelta(seconds=2)  # Nova counts whole seconds
    assert await site.servers(later) == ()


@pytest.mark.parametrize("kind", Kind)
async def test_deleting_what_is_not_there_is_fine(site: Site, kind: Kind) -> None:
    absent = "00000000-0000-4000-8000-000000000000"
    await site.cloud.delete(site.project_id, kind, absent)
    assert await site.cloud.get(site.project_id, kind, absent) is None


async def test_groups_are_made_with_rules_that_are_not_made_twice(site: Site) -> None:
    groups = {}
    for role in Role:
        order = SecurityGroupOrder(site.named(f"group-{role}"), site.mark(f"group-{role}"))
        groups[role] = await site.cloud.create(site.project_id, order)
    for _ in range(2):
        await site.cloud.ensure_rules(site.project_id, groups[Role.ETCD], rules_of(Role.ETCD), groups)
    server_group = await site.cloud.create(site.project_id, ServerGroupOrder(site.named("spread"), site.mark("spread")))
    own_id = site.mark("spread").resource_id
    found = await site.cloud.find(site.project_id, Kind.SERVER_GROUP, site.named("spread"), own_id)
    assert [each.cloud_id for each in found] == [server_group]


async def test_a_security_group_in_use_stays(site: Site) -> None:
    group = await site.cloud.create(site.project_id, SecurityGroupOrder(site.named("group"), site.mark("group")))
    order = PortOrder(site.named("port"), site.mark("port"), site.network_id, (group,))
    port_id = await site.cloud.create(site.project_id, order)
    with pytest.raises(Conflict):
        await site.cloud.delete(site.project_id, Kind.SECURITY_GROUP, group)
    await site.cloud.delete(site.project_id, Kind.PORT, port_id)
    await site.cloud.delete(site.project_id, Kind.SECURITY_GROUP, group)
    assert await site.cloud.get(site.project_id, Kind.SECURITY_GROUP, group) is None


async def test_an_endpoint_is_made_step_by_step_and_goes_with_its_parts(site: Site) -> None:
    cloud, project = site.cloud, site.project_id
    port_id = await a_port(site, "vip")
    found_port = await cloud.get(project, Kind.PORT, await a_port(site, "member"))
    assert found_port is not None
    assert found_port.address
    balancer = await cloud.create(project, BalancerOrder(site.named("balancer"), site.mark("balancer"), port_id))
    found = await cloud.get(project, Kind.LOAD_BALANCER, balancer)
    assert found is not None
    assert found.status == "PENDING_CREATE"
    await site.pass_time()
    listener = await cloud.create(project, ListenerOrder(site.named("listener"), site.mark("listener"), balancer, 6443))
    await site.pass_time()
    pool = await cloud.create(project, PoolOrder(site.named("pool"), site.mark("pool"), listener))
    await site.pass_time()
    monitor = await cloud.create(project, MonitorOrder(site.named("monitor"), site.mark("monitor"), pool, 5.0))
    await site.pass_time()
    await cloud.set_members(project, pool, [Member("node-1", found_port.address, 6443)])
    await site.pass_time()
    settled = await cloud.get(project, Kind.LOAD_BALANCER, balancer)
    assert settled is not None
    assert settled.status == "ACTIVE"
    names = ((Kind.LISTENER, "listener"), (Kind.POOL, "pool"), (Kind.HEALTH_MONITOR, "monitor"))
    for kind, name in names:
        assert len(await cloud.find(project, kind, site.named(name), site.mark(name).resource_id)) == 1
    await cloud.delete(project, Kind.LOAD_BALANCER, balancer)
    await site.pass_time()
    gone = ((Kind.LOAD_BALANCER, balancer), (Kind.LISTENER, listener), (Kind.HEALTH_MONITOR, monitor))
    for kind, cloud_id in gone:
        assert await cloud.get(project, kind, cloud_id) is None


async def test_what_carries_a_clusters_mark_is_listed_also_untagged(site: Site) -> None:
    port_id = await a_port(site)
    server_id = await a_server(site, port_id)
    marked = await site.cloud.list_marked(site.project_id, site.cluster_id)
    assert {(each.cloud_id, each.resource_id) for each in marked} == {
        (port_id, site.mark("port").resource_id),
        (server_id, site.mark("server").resource_id),
    }
    assert await site.cloud.list_marked(site.project_id, "another-cluster") == ()


async def test_the_control_call_and_the_console_answer(site: Site) -> None:
    await site.cloud.answers(site.project_id)
    server_id = await a_server(site, await a_port(site))
    await site.pass_time()
    console = await site.cloud.console(site.project_id, server_id)
    assert console is None or isinstance(console, str)


async def test_a_running_server_may_be_started_and_rebooted(site: Site) -> None:
    server_id = await a_server(site, await a_port(site))
    await site.pass_time()
    await site.cloud.start_server(site.project_id, server_id)
    await site.cloud.reboot_server(site.project_id, server_id)
    await site.pass_time()
    server = await site.cloud.server(site.project_id, server_id)
    assert server is not None
    assert server.state is ServerState.ACTIVE
