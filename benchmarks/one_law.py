"""One law with defaults alone, on cases that nobody tuned: errors beside what they cost.

    python -m benchmarks.one_law [--cases 2.5,0.1 2.4,0.05 ...] [--seeds 5] [--sizes 64 256 1024]

Ising, learned at 64x64 from 16x16 by `ActiveLearner` for seven starts of random order. The error of
the mean path of M and walls is that of `mean_path_error`, walls scaled to [0, 1] by the range of
all true paths, averaged over the starts; `floor` is the true mean's own. `std` are the ratios of
the predicted to the true standard deviations. A line for each seed, then median and worst, and what
direct simulation of a start costs, to an error of AIM and at least one path, over what learning
cost. It is the same for lattices too large for true paths, of which one is enough.
"""

import argparse
import math
import warnings

import numpy as np

from benchmarks.judging import Scale, floor, judge, learn, line, summary
from sklmacro.simulators import Ising

STARTS = (0.0, 0.25, -0.25, 0.5, -0.5, 0.75, -0.75)
CASES = ("2.5,0.1", "2.4,0.05", "2.7,0.2", "2.35,-0.1", "3.5,0")
DURATION, EVERY, DT = 500.0, 2.0, 0.25
N_PATHS, MOST_TRUE = 512, 512
AIM = 3e-4
BEYOND = (4096, 31744)  # cells along an axis, of which only the price is told


def starts(m, side, n, seed):
    """Snapshots (n, side, side) of magnetisation m in random order."""
    rng, n_up = np.random.default_rng([seed, 7]), round((1 + m) / 2 * side * side)
    spins = np.where(np.arange(side * side) < n_up, 1, -1).astype(np.int8)
    return np.stack([rng.permutation(spins).reshape(side, side) for _ in range(n)])


def asked():
    """Snapshots (7, 64, 64) that paths are asked to start from."""
    return np.concatenate([starts(m, 64, 1, 50 + k) for k, m in enumerate(STARTS)])


def true_paths(ising, side):
    """Paths (n, n_times, 2) of M and walls from each start, fewer of large lattices."""
    n = MOST_TRUE * 64**2 // side**2
    packed = n >= 8
    n = 64 * max(1, n // 64) if packed else 4
    times = np.arange(0.0, DURATION + EVERY / 2, EVERY)
    return [
        ising.simulate(starts(m, side, n, k), times, observe=True, packed=packed, random_state=k)
        for k, m in enumerate(STARTS)
    ]


def scale_of(truths):
    """Return M as it is, and walls by their range."""
    low, width = Scale.of(truths)
    return Scale(np.array([0.0, low[1]]), np.array([1.0, width[1]]))


def run(case, seeds, sizes, budget):
    """Print the lines of a case."""
    temperature, field = map(float, case.split(","))
    ising = Ising(temperature=temperature, field=field)
    truths = {side: true_paths(ising, side) for side in sizes}
    scales = {side: scale_of(truths[side]) for side in sizes}
    floors = {side: floor(truths[side], scales[side]) for side in sizes}
    table = {side: [] for side in sizes}
    updates = []
    for seed in range(seeds):
        learner, seconds = learn(
            ising, asked(), small=16, large=64, duration=DURATION, budget=budget, seed=seed
        )
        updates.append(learner.site_time_)
        for side in sizes:

            def simulate(k, side=side, learner=learner):
                return learner.simulate(
                    starts(STARTS[k], side, 8, 100 + k), round(DURATION / DT), DT,
                    n_paths=N_PATHS // 8, store_every=round(EVERY / DT), random_state=k,
                )  # fmt: skip

            own = judge(simulate, truths[side], scales[side])
            table[side].append(own.errors.mean())
            line(
                f"T={temperature:g} h={field:g} L={side} seed {seed}", own, floors[side], learner,
                seconds,
            )  # fmt: skip
    for side, errors in table.items():
        summary(f"T={temperature:g} h={field:g} L={side}", errors)
        n_paths = math.ceil(floors[side] * len(truths[side][0]) / AIM)
        price(side, n_paths, updates)
    for side in BEYOND:
        price(side, 1, updates)


def price(side, n_paths, updates):
    """Print what direct simulation of a start costs, over the median of learning's updates."""
    direct, learned = n_paths * DURATION * side**2, np.median(updates)
    print(
        f"    L={side}: {n_paths} direct paths to {AIM:g}, {direct:.1e} updates, "
        f"{direct / learned:.3g} times those of learning",
        flush=True,
    )


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", default=CASES)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sizes", nargs="+", type=int, default=[64])
    parser.add_argument("--budget", type=float, default=4e7)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for case in options.cases:
        run(case, options.seeds, options.sizes, options.budget)


if __name__ == "__main__":
    main()
