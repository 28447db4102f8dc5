"""What goes wrong in a story: the ingredients that a seed draws from, each with its own chance and timing."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from slipway_contracts.values import Role
from slipway_sandbox.cloud.faults import Effect, Fault
from slipway_sandbox.cloud.levers import KillMode
from slipway_simulation.bus import CALM, Manners
from slipway_simulation.world import STORES, World

_CREATES = (
    ("compute", "POST", "/servers$"),
    ("network", "POST", "/ports$"),
    ("network", "POST", "/security-groups$"),
    ("network", "PUT", "/tags$"),
    ("compute", "POST", "/os-server-groups$"),
    ("load-balancer", "POST", "/loadbalancers$"),
    ("load-balancer", "POST", "/pools$"),
    ("load-balancer", "PUT", "/members$"),
)
_REST = (("compute", "DELETE", ""), ("network", "DELETE", ""), ("load-balancer", "DELETE", ""), ("", "GET", ""))


@dataclass
class Trouble:
    """What is going wrong at present, and how it ends."""

    world: World
    random: Random
    _timers: list[asyncio.TimerHandle] = field(default_factory=list)
    _endings: list[Callable[[], Any]] = field(default_factory=list)

    def begin(self, ingredients: Iterable[str]) -> None:
        """All of these at once."""
        for name in ingredients:
            (INGREDIENTS | OF_SEVERAL_MEMBERS | OLD_BACKUPS)[name](self.world, self)

    def later(self, after: float, what: Callable[[], Any]) -> None:
        """Do something in so many seconds, unless the faults have stopped by then."""
        self._timers.append(asyncio.get_running_loop().call_later(after, what))

    def at_the_end(self, what: Callable[[], Any]) -> None:
        """Do something when the faults stop."""
        self._endings.append(what)

    def end(self) -> None:
        """From now on everything works."""
        world, cloud = self.world, self.world.cloud.cloud
        world.journal.say("The faults stop")
        for timer in self._timers:
            timer.cancel()
        for ending in self._endings:
            ending()
        self._timers, self._endings = [], []
        world.bus.manners = CALM
        world.bus.come_back()
        world.killer.chance = 0.0
        world.network.lost = 0.0
        cloud.faults.clear()
        cloud.fail_next_builds(0)
        cloud.fail_next_builds(0, no_valid_host=True)


STRIKES = frozenset({"a dead worker", "a dead controller", "a worker that hangs"})
"""Ingredients after which there is something to heal."""


def _crashes(world: World, trouble: Trouble) -> None:
    world.killer.chance = trouble.random.choice((0.0005, 0.002, 0.005))


def _unruly_bus(world: World, trouble: Trouble) -> None:
    world.bus.manners = Manners(
        twice=0.2, late=0.2, late_by=trouble.random.choice((5.0, 60.0)), stale=0.1, unconfirmed=0.05
    )


def _lossy_bus(world: World, _trouble: Trouble) -> None:
    world.bus.manners = Manners(lost=0.1, twice=0.1, late=0.1, late_by=20.0, stale=0.1)


def _no_rabbit(world: World, trouble: Trouble) -> None:
    trouble.later(trouble.random.uniform(0, 20), world.bus.go_away)
    trouble.later(trouble.random.uniform(60, 80), world.bus.come_back)


def _lossy_network(world: World, _trouble: Trouble) -> None:
    world.network.lost = 0.1


def _cloud_errors(world: World, trouble: Trouble) -> None:
    for _ in range(trouble.random.randint(2, 8)):
        service, method, path = trouble.random.choice(_CREATES + _REST)
        status = trouble.random.choice((409, 429, 503, 500))
        fault = Fault(Effect.STATUS, service, method, path, status=status, count=trouble.random.randint(1, 3))
        _arm(world, trouble, fault)


def _cloud_timeouts(world: World, trouble: Trouble) -> None:
    for _ in range(trouble.random.randint(1, 5)):
        service, method, path = trouble.random.choice(_CREATES + _REST)
        effect = trouble.random.choice((Effect.TIMEOUT_AFTER, Effect.TIMEOUT_AFTER, Effect.TIMEOUT_BEFORE, Effect.CUT))
        _arm(world, trouble, Fault(effect, service, method, path, skip=trouble.random.randint(0, 3)))


def _arm(world: World, trouble: Trouble, fault: Fault) -> None:
    def arm() -> None:
        world.journal.say(
            "Cloud will fail",
            effect=fault.effect.value,
            status=fault.status,
            call=f"{fault.method} {fault.service}{fault.path}",
        )
        world.cloud.cloud.arm(fault)

    trouble.later(trouble.random.uniform(0, 20), arm)


def _cloud_away(world: World, trouble: Trouble) -> None:
    service = trouble.random.choice(("compute", "network", "load-balancer", "identity", ""))

    def down() -> None:
        world.journal.say("Cloud is down", service=service or "all of it")
        fault = world.cloud.cloud.take_down(service)
        trouble.later(trouble.random.uniform(5, 60), lambda: world.cloud.cloud.faults.clear(fault.id))

    trouble.later(trouble.random.uniform(0, 20), down)


def _failed_builds(world: World, trouble: Trouble) -> None:
    world.cloud.cloud.fail_next_builds(trouble.random.randint(1, 2), no_valid_host=trouble.random.random() < 0.5)


def _dead_worker(world: World, trouble: Trouble) -> None:
    _strike(world, trouble, Role.WORKER, ("vanish", "vanish", "shutoff", "error"))


def _dead_etcd_member(world: World, trouble: Trouble) -> None:
    _strike(world, trouble, Role.ETCD, ("vanish",))


def _dead_controller(world: World, trouble: Trouble) -> None:
    # the only controller in ERROR is left alone: Kubernetes cannot be asked, and a server in ERROR may be running
    _strike(world, trouble, Role.CONTROLLER, ("vanish", "shutoff"))


def _strike(world: World, trouble: Trouble, role: Role, modes: tuple[KillMode, ...]) -> None:
    mode = trouble.random.choice(modes)
    trouble.later(trouble.random.uniform(15, 100), lambda: world.strike(role, mode))


def _hung_worker(world: World, trouble: Trouble) -> None:
    trouble.later(trouble.random.uniform(15, 100), lambda: world.hang(Role.WORKER))


def _lying_lists(world: World, trouble: Trouble) -> None:
    """I10: an empty, partial or foreign answer is 'unknown', never 'none'."""
    for _ in range(trouble.random.randint(1, 6)):
        effect = trouble.random.choice((Effect.EMPTY_LIST, Effect.PARTIAL_LIST, Effect.FOREIGN_LIST))
        service, path = trouble.random.choice((("compute", "/servers/detail$"), ("network", "/ports$"), ("", "")))
        _arm(world, trouble, Fault(effect, service, "GET", path, count=trouble.random.randint(1, 3)))


def _slow_cloud(world: World, trouble: Trouble) -> None:
    for _ in range(trouble.random.randint(1, 6)):
        service, method, path = trouble.random.choice(_CREATES + _REST)
        _arm(
            world, trouble, Fault(Effect.DELAY, service, method, path, seconds=trouble.random.choice((5.0, 20.0, 45.0)))
        )


def _no_quota(world: World, trouble: Trouble) -> None:
    """Enough at the time of the request, and not enough afterwards."""
    limits = trouble.random.choice(({"instances": 2}, {"port": 3}, {"security_group": 2}, {"load_balancer": 0}))
    generous = {"instances": 40, "port": 500, "security_group": 10, "load_balancer": 10}
    trouble.later(trouble.random.uniform(0, 8), lambda: world.cloud.cloud.set_quota("demo", limits))
    trouble.later(trouble.random.uniform(20, 60), lambda: world.cloud.cloud.set_quota("demo", generous))
    trouble.at_the_end(lambda: world.cloud.cloud.set_quota("demo", generous))


INGREDIENTS: dict[str, Callable[[World, Trouble], None]] = {
    "crashes": _crashes,
    "an unruly bus": _unruly_bus,
    "a lossy bus": _lossy_bus,
    "no RabbitMQ for a minute": _no_rabbit,
    "a lossy network": _lossy_network,
    "errors of the cloud": _cloud_errors,
    "timeouts of the cloud": _cloud_timeouts,
    "the cloud is away": _cloud_away,
    "failed builds": _failed_builds,
    "a dead worker": _dead_worker,
    "a dead controller": _dead_controller,
    "a worker that hangs": _hung_worker,
    "lists that lie": _lying_lists,
    "a slow cloud": _slow_cloud,
    "no quota": _no_quota,
}

OF_SEVERAL_MEMBERS = {"a dead member of etcd": _dead_etcd_member}
"""What only a cluster survives whose etcd has more than one member."""


def _old_backup(name: str) -> Callable[[World, Trouble], None]:
    def begin(world: World, trouble: Trouble) -> None:
        def back_up() -> None:
            if not world.has_begun():
                trouble.later(1.0, back_up)  # what a backup without the cluster's keys has lost cannot be found again
                return
            world.journal.say("A database is backed up", service=name)
            picture = world.processes[name].store.take_picture()
            trouble.later(trouble.random.uniform(5, 60), lambda: world.restore(name, picture))

        trouble.later(trouble.random.uniform(0, 60), back_up)

    return begin


OLD_BACKUPS = {f"an old backup of {name}": _old_backup(name) for name in STORES}
"""A service's database goes back to how it was up to a minute ago, and so does what the service knows of the others."""
