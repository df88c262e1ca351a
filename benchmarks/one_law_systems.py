"""One law with defaults alone, of simulators that are not in the package.

    python -m benchmarks.one_law_systems [--cases potts-1.3 sirs ...] [--seeds 5]

Every case is learned at the large size from small snapshots by `ActiveLearner`, for paths from
several states in random order, and compared with direct simulations as `benchmarks.judging` says.
A line for each seed, then median and worst.
"""

import argparse
import warnings
from typing import Any, NamedTuple

import numpy as np

from benchmarks.judging import Scale, floor, judge, learn, line, summary
from benchmarks.user_simulators import SIRS, FitzHugh, Potts
from sklmacro.simulators import Ising

N_TIMES = 100
N_PATHS, N_SNAPSHOTS = 256, 8


class Cubic(Ising):
    """Ising model on the cubic lattice, as it is but for `start`."""

    @staticmethod
    def start(means, cells, rng):
        n_up = round((1 + means[0]) / 2 * np.prod(cells))
        spins = np.where(np.arange(np.prod(cells)) < n_up, 1, -1)
        return rng.permutation(spins).astype(np.int8).reshape(cells)


class Case(NamedTuple):
    """A simulator, sizes (small, large) along each axis, and the paths that are asked for."""

    simulator: Any
    cells: tuple[int, int]
    axes: int
    duration: float
    starts: tuple[tuple[float, ...], ...]
    n_true: int = 256

    def snapshots(self, k: int, n: int, seed: int) -> np.ndarray:
        """Return n snapshots of start k."""
        rng, cells = np.random.default_rng([seed, k]), (self.cells[1],) * self.axes
        return np.stack([self.simulator.start(self.starts[k], cells, rng) for _ in range(n)])


SHARES = ((1 / 3, 1 / 3), (0.8, 0.1), (0.1, 0.1), (0.5, 0.5), (0.2, 0.5))
INFECTED = ((0.95, 0.05), (0.6, 0.1), (0.5, 0.5), (0.2, 0.2), (0.1, 0.85))
SPINS = ((0.0,), (0.25,), (-0.5,), (0.75,), (-1.0,))
FIELDS = ((0.3, 0.3), (1.0, 0.4), (-1.0, -0.4), (0.5, -0.5), (-0.5, 0.3))

CASES = {
    "potts-1.3": Case(Potts(1.3), (16, 64), 2, 60.0, SHARES),
    "potts-1.1": Case(Potts(1.1), (16, 64), 2, 150.0, SHARES),
    "sirs": Case(SIRS(), (16, 64), 2, 25.0, INFECTED),
    "ising3d-5": Case(Cubic(5.0, kind="cubic"), (8, 16), 3, 60.0, SPINS),
    "ising3d-4.3": Case(Cubic(4.3, kind="cubic"), (8, 16), 3, 60.0, SPINS),
    "fitzhugh": Case(FitzHugh(), (16, 64), 2, 40.0, FIELDS, 64),
    "excitable": Case(FitzHugh(a=0.5), (16, 64), 2, 40.0, FIELDS, 64),
}


def run(name: str, seeds: int, budget: float) -> None:
    """Print the lines of a case."""
    case = CASES[name]
    simulator, numbers = case.simulator, range(len(case.starts))
    dt = simulator.pair_time / 2
    every = max(1, round(case.duration / N_TIMES / dt))
    n_steps = round(case.duration / dt / every) * every
    times = np.arange(0, n_steps + 1, every) * dt
    truths = [
        simulator.simulate(case.snapshots(k, case.n_true, 0), times, observe=True, random_state=k)
        for k in numbers
    ]
    scale = Scale.of(truths)
    least = floor(truths, scale)
    asked = np.concatenate([case.snapshots(k, 1, 1) for k in numbers])
    errors = []
    for seed in range(seeds):
        learner, seconds = learn(
            simulator, asked, small=case.cells[0], large=case.cells[1], duration=case.duration,
            budget=budget, seed=seed,
        )  # fmt: skip

        def simulate(k, learner=learner):
            return learner.simulate(
                case.snapshots(k, N_SNAPSHOTS, 2), n_steps, dt, n_paths=N_PATHS // N_SNAPSHOTS,
                store_every=every, random_state=k,
            )  # fmt: skip

        own = judge(simulate, truths, scale)
        errors.append(own.errors.mean())
        line(f"{name} seed {seed}", own, least, learner, seconds)
        names = ", ".join(cluster.name for cluster in learner.model_["closure"].clusters_)
        print(f"    closures {names}; errors by start {own.errors}")
    summary(name, errors)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budget", type=float, default=4e7)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in options.cases:
        run(name, options.seeds, options.budget)


if __name__ == "__main__":
    main()
