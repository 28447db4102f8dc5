"""PostgreSQL dies while clusters are created, scaled and deleted: nothing that was committed is lost or done twice."""

from slipway_platform.platform import Platform
from slipway_platform.postgres import PrivatePostgres
from slipway_platform.testing import until
from tests.chaos.life import SMALL, Lives, none_ready, require_none_ended

NOTICED_WITHIN = 60.0


def fails_once(platform: Platform, postgres: PrivatePostgres) -> None:
    """It is killed, all services notice, it comes back."""
    postgres.kill()
    until(lambda: none_ready(platform), "all services notice", NOTICED_WITHIN)
    postgres.start()


def test_it_is_killed_in_each_part_of_a_clusters_life(
    platform: Platform, postgres: PrivatePostgres, lives: Lives
) -> None:
    lives.begin("kept")
    lives.until_servers("kept", 1)
    fails_once(platform, postgres)
    lives.until_ready("kept")
    lives.scale("kept", 3)
    lives.until_servers("kept", SMALL + 1)
    fails_once(platform, postgres)
    lives.until_ready("kept", SMALL + 2)
    lives.require_one_server_for_each_node("kept")
    lives.begin_deletion("kept")
    until(lambda: lives.servers("kept") < SMALL + 2, "the first server is deleted", NOTICED_WITHIN)
    fails_once(platform, postgres)
    lives.until_deleted("kept")
    platform.wait_ready()
    require_none_ended(platform)
