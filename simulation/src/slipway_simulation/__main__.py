"""python -m slipway_simulation: replays one seed, or runs many."""

import argparse
import sys
import time

from slipway_simulation.runs import Outcome, run_many, run_seed


def main() -> None:
    """Exit code 1 when a seed failed."""
    parser = argparse.ArgumentParser(prog="python -m slipway_simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay this one")
    parser.add_argument("--seeds", type=int, default=100, help="run so many (100)")
    parser.add_argument("--first", type=int, default=1, help="the first of them (1)")
    parser.add_argument("--processes", type=int, default=None, help="at once (all cores)")
    parser.add_argument("-v", "--verbose", action="store_true", help="every step of the seed")
    options = parser.parse_args()
    if options.seed is not None:
        outcome = run_seed(options.seed, echo=options.verbose)
        print(outcome.report())  # noqa: T201
        print(f"{outcome.simulated:.0f} s simulated in {outcome.took:.1f} s")  # noqa: T201
        sys.exit(outcome.failure is not None)
    sys.exit(_many(range(options.first, options.first + options.seeds), options.processes))


def _many(seeds: range, processes: int | None) -> int:
    began = time.monotonic()
    outcomes: list[Outcome] = []
    for outcome in run_many(seeds, processes):
        outcomes.append(outcome)
        if outcome.failure is not None:
            print(outcome.report(), end="\n\n", flush=True)  # noqa: T201
    failed = sorted(outcome.seed for outcome in outcomes if outcome.failure is not None)
    hours = sum(outcome.simulated for outcome in outcomes) / 3600
    print(  # noqa: T201
        f"{len(outcomes)} seeds, {hours:.1f} h simulated in {time.monotonic() - began:.0f} s;"
        f" {sum(outcome.kills for outcome in outcomes)} kills,"
        f" {sum(outcome.messages for outcome in outcomes)} messages;"
        f" failed: {failed or 'none'}"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    main()
