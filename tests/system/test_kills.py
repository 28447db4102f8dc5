"""Every service killed with SIGKILL between its side effects, and started again.

No node ever has two servers, and nothing is left in the cloud.
"""

import pytest

from slipway_platform.platform import Platform
from slipway_platform.testing import Kills, ServerHistory, User, run_while_killed

pytestmark = pytest.mark.timeout(400)


CREATING = (
    "provisioner.create_port:after",
    "provisioner.create_server:before",
    "provisioner.create_server:after",
    "provisioner.ensure_bindings:after",
)
DELETING = ("provisioner.delete_server:after",)


def test_the_provisioner_dies_at_its_side_effects(
    platform: Platform, user: User, history: ServerHistory, small: tuple[str, ...]
) -> None:
    before = user.inventory()
    creating = Kills(platform, "provisioner", CREATING)
    run_while_killed(user, [creating], ("cluster", "create", "killed", *small), within=240)
    assert creating.done == list(CREATING)
    history.require_one_server_for_each_node(user, "killed")
    deleting = Kills(platform, "provisioner", DELETING)
    run_while_killed(user, [deleting], ("cluster", "delete", "killed", "--yes"), within=120)
    assert deleting.done == list(DELETING)
    assert user.inventory() == before


OTHERS = {
    "provisioner": ("provisioner.create_load_balancer:after",),
    "healer": ("commit:before#3", "relay:after"),
    "monitor": ("commit:after#5",),
    "addon_manager": ("addon_manager.apply:after",),
    "api": ("relay:before",),
}


def test_all_services_die_around_their_commits_and_messages(
    platform: Platform, user: User, history: ServerHistory, small: tuple[str, ...]
) -> None:
    before = user.inventory()
    kills = [Kills(platform, service, points) for service, points in OTHERS.items()]
    platform.wait_ready("api")
    run_while_killed(user, kills, ("cluster", "create", "hunted", *small), within=240)
    platform.wait_ready()
    assert {each.service: tuple(each.done) for each in kills} == OTHERS
    history.require_one_server_for_each_node(user, "hunted")
    user.slipway("cluster", "delete", "hunted", "--yes")
    assert user.inventory() == before
