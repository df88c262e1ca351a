"""One law with defaults alone, on cases that nobody tuned: errors beside what they cost.

    python -m benchmarks.one_law [--cases 2.5,0.1 2.4,0.05 ...] [--seeds 5] [--sizes 64 256]

Ising, learned at 64x64 from 16x16 by `ActiveLearner` for seven starts of random order. The error of
the mean path of M and walls is that of `mean_path_error`, walls scaled to [0, 1] by the range of
all true paths, averaged over the starts; `floor` is the true mean's own. `std` are the ratios of
the predicted to the true standard deviations. A line for each seed, then median and worst.
"""

import argparse
import time
import warnings

import numpy as np

import sklmacro as skm
from sklmacro.scoring import mean_path_error
from sklmacro.simulators import Ising

STARTS = (0.0, 0.25, -0.25, 0.5, -0.5, 0.75, -0.75)
CASES = ("2.5,0.1", "2.4,0.05", "2.7,0.2", "2.35,-0.1", "3.5,0")
DURATION, EVERY, DT = 500.0, 2.0, 0.25
N_PATHS, MOST_TRUE = 512, 512


def starts(m, side, n, seed):
    """Snapshots (n, side, side) of magnetisation m in random order."""
    rng, n_up = np.random.default_rng([seed, 7]), round((1 + m) / 2 * side * side)
    spins = np.where(np.arange(side * side) < n_up, 1, -1).astype(np.int8)
    return np.stack([rng.permutation(spins).reshape(side, side) for _ in range(n)])


def true_paths(ising, side):
    """Paths (n, n_times, 2) of M and walls from each start, fewer of large lattices."""
    n = 64 * max(1, MOST_TRUE * 64**2 // side**2 // 64)
    times = np.arange(0.0, DURATION + EVERY / 2, EVERY)
    return [
        ising.simulate(starts(m, side, n, k), times, observe=True, packed=True, random_state=k)
        for k, m in enumerate(STARTS)
    ]


def judge(learner, truths, side):
    """Errors of the mean paths by start, and the mean std ratios (2,)."""
    low = min(t[..., 1].min() for t in truths)
    width = max(t[..., 1].max() for t in truths) - low
    errors, ratios = [], []
    for k, (m, truth) in enumerate(zip(STARTS, truths, strict=True)):
        n_steps, every = round(DURATION / DT), round(EVERY / DT)
        paths = learner.simulate(
            starts(m, side, 8, 100 + k), n_steps, DT, n_paths=N_PATHS // 8, store_every=every,
            random_state=k,
        )[..., :2]  # fmt: skip
        scaled = [(p - [0, low]) / [1, width] for p in (paths, truth)]
        errors.append(mean_path_error(*scaled))
        ratios.append(paths[:, 5:].std(0).mean(0) / truth[:, 5:].std(0).mean(0))
    return np.array(errors), np.mean(ratios, axis=0)


def floor(truths):
    """Error of the mean of the true paths, from halves of them."""
    low = min(t[..., 1].min() for t in truths)
    width = max(t[..., 1].max() for t in truths) - low
    scaled = [(t - [0, low]) / [1, width] for t in truths]
    return np.mean([mean_path_error(u[::2], u[1::2]) / 4 for u in scaled])


def run(case, seeds, sizes, budget):
    """Print the lines of a case."""
    temperature, field = map(float, case.split(","))
    ising = Ising(temperature=temperature, field=field)
    truths = {side: true_paths(ising, side) for side in sizes}
    asked = np.concatenate([starts(m, 64, 1, 50 + k) for k, m in enumerate(STARTS)])
    table = {side: [] for side in sizes}
    for seed in range(seeds):
        begin = time.perf_counter()
        pipeline = skm.make_macro_pipeline(ising)
        learner = skm.ActiveLearner(
            pipeline, duration=DURATION, max_site_time=budget, random_state=seed
        ).fit(asked)
        seconds = time.perf_counter() - begin
        for side in sizes:
            errors, ratios = judge(learner, truths[side], side)
            table[side].append(errors.mean())
            print(
                f"T={temperature:g} h={field:g} L={side} seed {seed}: error {errors.mean():.2e} "
                f"(floor {floor(truths[side]):.0e}, estimated {learner.error_:.1e}), worst start "
                f"{errors.max():.1e}, std {ratios.round(2)}, {learner.site_time_:.1e} updates, "
                f"{seconds:.0f} s",
                flush=True,
            )
    for side, errors in table.items():
        print(
            f"T={temperature:g} h={field:g} L={side}: median {np.median(errors):.2e}, "
            f"worst {max(errors):.2e} of {seeds} seeds",
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
