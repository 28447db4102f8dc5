"""The server list against the emulated cloud: openstacksdk's configuration, keystoneauth and real bodies."""

from datetime import timedelta
from pathlib import Path

import pytest
import requests

from slipway_chassis.errors import RetryLater
from slipway_chassis.regions import Region
from slipway_monitor.adapters.openstack import OpenStackServers, connect_as, inline
from slipway_sandbox.cloud.cloud import Cloud
from slipway_sandbox.cloud.faults import Effect
from slipway_sandbox.cloud.login import write_clouds_yaml
from slipway_sandbox.cloud.testing import SteppingClock, Tenant
from slipway_sandbox.cloud.transport import ORIGIN, CloudTransport

METADATA = {"slipway_cluster": "c1", "slipway_node": "n1"}


class Stand:
    """A cloud with one tenant's servers, and the adapter in both of its ways."""

    def __init__(self, folder: Path) -> None:
        self.clock = SteppingClock()
        self.cloud = Cloud(now=self.clock.now)
        self.tenant = Tenant(self.cloud)
        self._http = requests.Session()
        self._http.mount(ORIGIN, CloudTransport(self.cloud))
        self._clouds = write_clouds_yaml(folder, ORIGIN)
        self.own = self.adapter(None)
        self.everywhere = self.adapter("sandbox-admin")

    def adapter(self, observer: str | None) -> OpenStackServers:
        region = Region(
            name="sandbox",
            cloud="sandbox-service",
            observer_cloud=observer,
            mirror="http://mirror.invalid",
            releases_file=Path("releases.yaml"),
            agent_url="https://agents.invalid",
            observe_url="https://observe.invalid",
            signing_url="https://sign.invalid",
        )
        connect = connect_as(region, timedelta(seconds=8), http=self._http, clouds_file=self._clouds)
        return OpenStackServers(connect, inline, everywhere=observer is not None)

    def a_server(self) -> str:
        server = self.tenant.a_server(metadata=METADATA)
        self.clock.step(60)
        return server


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


async def test_both_ways_show_the_same_servers(stand: Stand) -> None:
    server_id = stand.a_server()
    project = stand.tenant.project_id
    for adapter in (stand.own, stand.everywhere):
        page = await adapter.list([project], None)
        [server] = [each for each in page.servers if each.server_id == server_id]
        assert (server.status, server.task_state, server.project_id) == ("ACTIVE", None, project)
        assert (server.cluster_id, server.node_id) == ("c1", "n1")
        assert server.updated is not None
        assert page.unreached == {}
        assert await adapter.get(project, server_id) == server


async def test_changes_show_deleted_servers_and_only_what_changed(stand: Stand) -> None:
    kept, lost = stand.a_server(), stand.a_server()
    since = stand.clock.now()
    stand.clock.step(30)
    stand.cloud.kill_server(lost, "vanish")
    page = await stand.everywhere.list([], since)
    assert {each.server_id: each.gone for each in page.servers} == {lost: True}
    assert await stand.everywhere.get(stand.tenant.project_id, lost) is None
    full = await stand.everywhere.list([], None)
    assert kept in {each.server_id for each in full.servers}
    assert lost not in {each.server_id for each in full.servers}


async def test_a_broken_server_tells_its_fault(stand: Stand) -> None:
    server_id = stand.a_server()
    stand.cloud.kill_server(server_id, "error")
    found = await stand.own.get(stand.tenant.project_id, server_id)
    assert found is not None
    assert found.status == "ERROR"
    assert found.fault


async def test_more_servers_than_a_page_are_all_listed(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway_monitor.adapters.openstack.PAGE", 2)
    made = {stand.a_server() for _ in range(5)}
    page = await stand.everywhere.list([], None)
    assert {each.server_id for each in page.servers} == made


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_a_cloud_that_answers_an_error_is_a_failure_and_not_an_empty_list(stand: Stand, status: int) -> None:
    stand.a_server()
    stand.cloud.fail_next("compute", "GET", "/servers/detail", status, count=5)
    with pytest.raises(RetryLater) as caught:
        await stand.everywhere.list([], None)
    assert caught.value.reason.code.startswith("Cloud")


async def test_a_refused_connection_is_a_failure(stand: Stand) -> None:
    stand.cloud.take_down(effect=Effect.REFUSE)
    with pytest.raises(RetryLater) as caught:
        await stand.everywhere.list([], None)
    assert caught.value.reason.code == "CloudUnreachable"


async def test_one_project_that_cannot_be_listed_does_not_hide_the_others(stand: Stand) -> None:
    server_id = stand.a_server()
    page = await stand.own.list([stand.tenant.project_id, "0" * 32], None)
    assert [each.server_id for each in page.servers] == [server_id]
    assert list(page.unreached) == ["0" * 32]


async def test_a_reader_may_not_list_all_projects_and_is_told_so(stand: Stand) -> None:
    stand.a_server()
    with pytest.raises(RetryLater) as caught:
        await stand.adapter("sandbox-reader").list([], None)
    assert caught.value.reason.code == "CloudForbidden"
    assert caught.value.reason.whose_move == "operator"
