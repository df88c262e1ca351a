"""One law against a direct path of a billion sites.

    python -m benchmarks.one_law_huge [--side 31744] [--sweeps 20] [--seed 0]

Ising, T = 2.5 and h = 0.1, learned at 64x64 from 16x16 by `ActiveLearner`. One path of the large
lattice from M = 0.5 in random order is followed for some sweeps, as long as an hour lasts; that of
the law, of as many sites, should be as near as the error of the law says.
"""

import argparse
import time
import warnings

import numpy as np

from benchmarks.judging import learn
from benchmarks.one_law import DURATION, asked
from sklmacro.simulators import Ising

M0, DT = 0.5, 0.05


def main():
    """Print the two paths, and how far apart they are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=31744)
    parser.add_argument("--sweeps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    ising, side = Ising(temperature=2.5, field=0.1), options.side
    learner, _ = learn(
        ising, asked(), small=16, large=64, duration=DURATION, budget=1e8, seed=options.seed
    )
    print(f"learned from {learner.site_time_:.1e} site updates", flush=True)
    rng = np.random.default_rng(options.seed)
    x = np.empty((1, side, side), np.int8)
    for row in x[0]:
        row[:] = 2 * (rng.random(side, np.float32) < (1 + M0) / 2) - 1
    z, times = learner.model_["closure"].transform(x), np.arange(options.sweeps + 1.0)
    begin = time.perf_counter()
    truth = ising.simulate(x, times, observe=True, random_state=options.seed)[0]
    seconds = time.perf_counter() - begin
    paths = learner.model_["sde"].simulate(
        z, round(options.sweeps / DT), DT, n_sites=side**2, n_paths=8, store_every=round(1 / DT),
        random_state=0,
    )[..., :2]  # fmt: skip
    for t, true, own in zip(times, truth, paths.mean(axis=0), strict=True):
        print(f"t={t:g}: direct M {true[0]:.5f} walls {true[1]:.5f}, law {own[0]:.5f} {own[1]:.5f}")
    error = np.sum((paths.mean(axis=0) - truth) ** 2) / np.sum(truth**2)
    print(
        f"error of the path {error:.1e}; direct {options.sweeps * side**2:.1e} updates, "
        f"{seconds:.0f} s"
    )


if __name__ == "__main__":
    main()
