"""Killed anywhere, or cut off from anything for a while: the agent comes to the same end."""

from __future__ import annotations

import random

import pytest

from slipway_node_agent.testing import FakeHost, FakeServices

from .a_world import HEALTHZ, a_world, finish, outcome, reported, require_the_same_end_after_any_cut, start


class Cut(Exception):
    """The agent was killed here."""


class CuttingHost(FakeHost):
    """Dies right after its n-th change."""

    left = 10**9

    def _changed(self) -> None:
        CuttingHost.left -= 1
        if CuttingHost.left == 0:
            raise Cut

    def write_file(self, path: str, content: str, mode: int) -> None:
        super().write_file(path, content, mode)
        self._changed()

    def remove(self, path: str) -> None:
        super().remove(path)
        self._changed()

    def restart_unit(self, name: str) -> None:
        super().restart_unit(name)
        self._changed()


def cut_world(left: int) -> FakeServices:
    services = a_world()
    services.host = CuttingHost(**vars(services.host))
    CuttingHost.left = left
    return services


def test_cut_after_every_change_of_the_machine_the_end_is_the_same() -> None:
    wanted = a_world()
    finish(wanted)
    survived = 0
    for cut in range(1, 200):
        services = cut_world(cut)
        try:
            finish(services)
            break
        except Cut:
            survived += 1
        CuttingHost.left = 10**9
        finish(services)
        assert outcome(services.host) == outcome(wanted.host), f"cut after change {cut}"
    assert survived > 20
    assert CuttingHost.left > 0, "the last round ran through without a cut"


def test_cut_after_every_effect_the_end_is_the_same() -> None:
    require_the_same_end_after_any_cut(a_world)


@pytest.mark.parametrize("seed", range(20))
def test_random_outages_only_delay_the_end(seed: int) -> None:
    dice = random.Random(seed)
    paths = [f"/v1/agent/{name}" for name in ("time", "claim", "plan", "certificates", "report")]
    services = a_world()
    driver = start(services, seed)
    for _ in range(60):
        services.down = set(dice.sample(paths, dice.randrange(4)))
        if dice.random() < 0.2:
            services.mirror.clear()
        if dice.random() < 0.3:
            services.mirror["http://mirror/kubelet"] = "kubelet 1.36"
        services.host.endpoints[HEALTHZ] = dice.choice([200, 500])
        if dice.random() < 0.1:
            driver = start(services, seed)
        driver.step()
    services.down = set()
    services.mirror["http://mirror/kubelet"] = "kubelet 1.36"
    services.host.endpoints[HEALTHZ] = 200
    driver.until(lambda: reported(services, "done"))
    wanted = a_world()
    finish(wanted)
    assert outcome(services.host) == outcome(wanted.host)
