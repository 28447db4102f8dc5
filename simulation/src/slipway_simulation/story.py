"""What happens to a cluster in one seed: made, disturbed, perhaps scaled and healed, deleted; and what must come of it.

The seed draws a few ingredients. While they last, everything may go wrong that they say; then the faults stop, and
everything must come to rest within a bounded time (I6). Then it is deleted, again under faults.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from slipway_contracts.values import Role
from slipway_simulation.faults import INGREDIENTS, STRIKES, Trouble
from slipway_simulation.users import NotAccepted
from slipway_simulation.world import World

SHAPES = ((1, 1, 1), (1, 1, 1), (1, 1, 2), (1, 1, 2), (3, 1, 1))
WHOLE_LIFE_EVERY = 5
"""Every such seed tells a cluster's whole life; the others begin with one that runs, which costs a fraction."""
DELETED = 0.2
"""How many of those others end with its deletion."""
ASK_AGAIN = 2.0
LOOK_EVERY = 5.0


@dataclass
class Plot:
    """What one seed does."""

    counts: dict[Role, int]
    ingredients: tuple[str, ...]
    faults_last: float
    scale_to: int | None = None
    runs_already: bool = False
    """The story begins with a cluster at rest instead of with nothing."""
    ends_deleted: bool = True
    rests_within: float = 1500.0
    """Seconds after the last fault: lost messages are said again every ten minutes, a dead machine is given five."""
    gone_within: float = 900.0
    """Seconds after the last fault, too."""
    random: Random = field(default_factory=lambda: Random(0))

    def describe(self) -> str:
        """For a reader."""
        shape = "+".join(str(count) for count in self.counts.values())
        scale = f", scaled to {self.scale_to}" if self.scale_to is not None else ""
        what = ", ".join(self.ingredients) or "nothing goes wrong"
        begins = "running " if self.runs_already else ""
        ends = ", then deleted" if self.runs_already and self.ends_deleted else ""
        return f"{begins}{shape}{scale}{ends}; {what}; faults for {self.faults_last:.0f} s"


def plot_of(seed: int) -> Plot:
    """The plot of a seed."""
    random = Random(f"{seed}/plot")
    etcd, controllers, workers = random.choice(SHAPES)
    names = sorted(INGREDIENTS)
    chosen = tuple(sorted(random.sample(names, random.choice((1, 1, 2, 2, 3, 4)))))
    plot = Plot(
        counts={Role.ETCD: etcd, Role.CONTROLLER: controllers, Role.WORKER: workers},
        ingredients=chosen,
        faults_last=random.choice((20.0, 60.0, 120.0)),
        scale_to=random.choice((None, None, workers + 1, max(workers - 1, 0))),
        random=random,
    )
    if seed % WHOLE_LIFE_EVERY == 0:
        return plot
    plot.runs_already, plot.faults_last = True, random.choice((60.0, 120.0))
    plot.ends_deleted = random.random() < DELETED
    if plot.scale_to is None and not plot.ends_deleted and not STRIKES & set(chosen):
        plot.scale_to = workers + 1  # nothing can be learned of a cluster of which nobody wants anything
    return plot


def a_quiet_plot() -> Plot:
    """1+1+1, made and deleted, and nothing goes wrong but what else is armed."""
    return Plot({Role.ETCD: 1, Role.CONTROLLER: 1, Role.WORKER: 1}, (), 0.0)


def a_plot_of_lost_members(seed: int) -> Plot:
    """A member of etcd dies in a cluster of 3+1+1, among other faults."""
    random = Random(f"{seed}/members")
    others = random.sample(sorted(set(INGREDIENTS) - STRIKES), random.choice((0, 1, 2)))
    counts = {Role.ETCD: 3, Role.CONTROLLER: 1, Role.WORKER: 1}
    return Plot(counts, ("a dead member of etcd", *others), 120.0, random=random)


def a_plot_of_an_old_backup(service: str, seed: int) -> Plot:
    """A service's database goes back while a cluster of 1+1+1 is made and scaled, in every second seed healed too."""
    random = Random(f"{seed}/backup")
    others = ("a dead worker",) if seed % 2 == 0 else ()
    counts = {Role.ETCD: 1, Role.CONTROLLER: 1, Role.WORKER: 1}
    ingredients = (f"an old backup of {service}", *others)
    return Plot(counts, ingredients, 120.0, scale_to=random.choice((2, 0)), random=random)


async def live(world: World, plot: Plot) -> None:
    """The whole story. Raises Violated."""
    world.journal.say("Once upon a time", plot=plot.describe())
    await world.pass_time(20)
    world.invariants.remember_foreign()
    trouble = Trouble(world, plot.random)
    trouble.begin(plot.ingredients)
    await insist(world, lambda: world.user.create(plot.counts))
    await _be_disturbed(world, plot, trouble)
    await _be_deleted(world, plot, trouble)


async def grow_up(world: World, counts: dict[Role, int]) -> None:
    """The beginning that stories of running clusters share: nothing goes wrong. Raises Violated."""
    world.journal.say("Once upon a time there was a cluster")
    await world.pass_time(20)
    world.invariants.remember_foreign()
    await insist(world, lambda: world.user.create(counts))
    await come_to_rest(world, Plot(counts, (), 0.0))


async def live_on(world: World, plot: Plot) -> None:
    """The rest of the story, after `grow_up`. Raises Violated."""
    world.journal.say("One day", plot=plot.describe())
    trouble = Trouble(world, plot.random)
    trouble.begin(plot.ingredients)
    await _be_disturbed(world, plot, trouble)
    if plot.ends_deleted:
        await _be_deleted(world, plot, trouble)


async def have_a_day_off(world: World, plot: Plot, away_for: float) -> None:
    """I7 and I6: all services die together and stay away; the cluster is as they left it, and stays so afterwards."""
    await grow_up(world, plot.counts)
    before = {server.id for server in world.sight.our_servers()}
    for process in world.processes.values():
        process.kill("the end of the day", back_after=away_for)
    await world.pass_time(away_for)
    _require_same(world, before, "while all services were away")
    await come_to_rest(world, plot)
    await world.pass_time(plot.rests_within)
    _require_same(world, before, "after all services had come back")
    await come_to_rest(world, plot)


def _require_same(world: World, before: set[str], when: str) -> None:
    now = {server.id for server in world.sight.our_servers()}
    if now != before:
        world.journal.violated(f"I7: {len(before - now)} servers were taken and {len(now - before)} made {when}")
        world.journal.check()


async def _be_disturbed(world: World, plot: Plot, trouble: Trouble) -> None:
    await world.pass_time(plot.faults_last * plot.random.uniform(0.2, 1.0))
    if plot.scale_to is not None:
        await insist(world, lambda: world.user.scale(plot.scale_to or 0))
        plot.counts = plot.counts | {Role.WORKER: plot.scale_to}
    await world.pass_time(plot.faults_last)
    trouble.end()
    await come_to_rest(world, plot)
    await insist(world, lambda: world.stranger.require_kept_out(world.sight.cluster_id()))
    world.invariants.check_made_once()
    world.invariants.check_kept()
    world.invariants.check_foreign()


async def _be_deleted(world: World, plot: Plot, trouble: Trouble) -> None:
    trouble.begin(plot.ingredients)
    world.invariants.etcd = None
    await insist(world, world.user.delete)
    await world.pass_time(plot.random.uniform(0.0, 30.0))
    trouble.end()
    await be_gone(world, plot)


async def insist(world: World, ask: Callable[[], object]) -> None:
    """Ask until it is accepted."""
    for _ in range(200):
        try:
            await ask()  # type: ignore[misc]
        except NotAccepted as refusal:
            world.journal.say("User is refused", why=str(refusal)[:120])
            await world.pass_time(ASK_AGAIN)
        else:
            return
    world.journal.violated("I6: the user was never heard")
    world.journal.check()


async def come_to_rest(world: World, plot: Plot) -> None:
    """I6: the cluster is as it was asked for."""
    missing = ""
    for _ in range(int(plot.rests_within / LOOK_EVERY)):
        await world.pass_time(LOOK_EVERY)
        missing = world.sight.what_is_missing(plot.counts)
        if not missing:
            world.journal.say("Everything is as it was asked for")
            return
    world.journal.violated(f"I6: not within {plot.rests_within:.0f} s after the last fault: {missing}")
    world.journal.check()


async def be_gone(world: World, plot: Plot) -> None:
    """I6 and I2: the cluster is deleted, and nothing of it is left."""
    for _ in range(int(plot.gone_within / LOOK_EVERY)):
        await world.pass_time(LOOK_EVERY)
        if world.sight.is_deleted():
            world.journal.say("The cluster is deleted")
            break
    else:
        left = [f"{each.kind} {each.name}" for each in world.invariants.marked()]
        world.journal.violated(f"I6: not deleted within {plot.gone_within:.0f} s after the last fault: {left}")
    await world.pass_time(40)
    world.invariants.check_nothing_left()
    world.journal.check()
