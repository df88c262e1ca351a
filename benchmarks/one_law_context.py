"""One law for all temperatures and fields, against direct simulation at points that it never saw.

    python -m benchmarks.one_law_context [--points 50] [--seeds 5] [--budget 2e8]

Ising, 64x64 from 16x16, T in [2.3, 4] and h in [-0.3, 0.3]: `ActiveLearner` with `context`, every
snapshot with a temperature and a field of its own. The points are drawn at random. The error of the
mean path of M and walls is that of `benchmarks.one_law`, over 500 sweeps and the starts M = 0, 0.5
and -0.5 of random order; `floor` is the true mean's own.
"""

import argparse
import time
import warnings

import numpy as np

import sklmacro as skm
from benchmarks.one_law import DT, DURATION, EVERY, starts
from sklmacro.scoring import mean_path_error
from sklmacro.simulators import Ising

RANGES = {"temperature": (2.3, 4.0), "field": (-0.3, 0.3)}
STARTS = (0.0, 0.5, -0.5)
N_PATHS, SEED = 256, 12345


def true_paths(points):
    """Paths (n_points, n_starts, n, n_times, 2) of M and walls."""
    times = np.arange(0.0, DURATION + EVERY / 2, EVERY)
    first = [starts(m, 64, N_PATHS, k) for k, m in enumerate(STARTS)]
    return np.array([
        [
            Ising(temperature=t, field=h).simulate(
                x, times, observe=True, packed=True, random_state=k
            )
            for k, x in enumerate(first)
        ]
        for t, h in points
    ])  # fmt: skip


def judge(learner, points, truth):
    """Errors (n_points,) of the mean paths, and the floors."""
    n_steps, every = round(DURATION / DT), round(EVERY / DT)
    errors, floors = [], []
    for point, true in zip(points, truth, strict=True):
        low, width = true[..., 1].min(), np.ptp(true[..., 1])
        unit = [0, low], [1, width]
        own = []
        for k, m in enumerate(STARTS):
            paths = learner.simulate(
                starts(m, 64, 8, 100 + k), n_steps, DT, n_paths=N_PATHS // 8, store_every=every,
                context=point, random_state=k, outside="ignore",
            )[..., :2]  # fmt: skip
            scaled = [(p - unit[0]) / unit[1] for p in (paths, true[k])]
            own.append(mean_path_error(*scaled))
            floors.append(mean_path_error(scaled[1][::2], scaled[1][1::2]) / 4)
        errors.append(np.mean(own))
    return np.array(errors), np.reshape(floors, (len(points), -1)).mean(axis=1)


def main():
    """Print a line for each seed, and the five worst points."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budget", type=float, default=2e8)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    low, high = np.array(list(RANGES.values())).T
    points = np.random.default_rng(SEED).uniform(low, high, (options.points, 2))
    truth = true_paths(points)
    asked = np.concatenate([starts(m, 64, 16, 50 + k) for k, m in enumerate(STARTS)])
    for seed in range(options.seeds):
        begin = time.perf_counter()
        learner = skm.ActiveLearner(
            skm.make_macro_pipeline(Ising()), duration=DURATION, context=RANGES, n_initial=100,
            max_site_time=options.budget, random_state=seed,
        ).fit(asked)  # fmt: skip
        seconds = time.perf_counter() - begin
        errors, floors = judge(learner, points, truth)
        print(
            f"seed {seed}: median {np.median(errors):.2e}, worst {errors.max():.2e} of "
            f"{len(points)} points (floors {np.median(floors):.0e}, estimated "
            f"{learner.error_:.1e}), {learner.site_time_:.1e} updates, {seconds:.0f} s",
            flush=True,
        )
        for k in np.argsort(errors)[-5:]:
            t, h = points[k]
            print(f"    T={t:.2f} h={h:+.2f}: {errors[k]:.1e} (floor {floors[k]:.0e})", flush=True)


if __name__ == "__main__":
    main()
